"""Where the batches of a job stand in the picture of their time."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import Batch
from orchestrator.domain.states import BatchState
from orchestrator.http_api.dashboard.timeline import timeline
from orchestrator.http_api.look import Pulse

NOON: Final = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


ZEROS: Final = ("depth", "cuts", "doubt_looks", "downloads", "download_tries", "fence", "count", "size_bytes")
EMPTY: Final = ("digest", "nonce", "api_version")


def batch(state: BatchState, **changes: Any) -> Batch:
    """A batch that was planned at noon and sent an hour later."""
    whole: dict[str, Any] = {each.name: None for each in fields(Batch)}
    whole |= dict.fromkeys(ZEROS, 0) | dict.fromkeys(EMPTY, "")
    whole |= {"id": BatchId(1), "job_id": JobId(1), "state": state, "betas": (), "collected": False, "adopted": False}
    whole |= {"planned_at": NOON, "sent_at": NOON + HOUR, "created_at": NOON + HOUR, "expires_at": NOON + 25 * HOUR}
    return Batch(**whole | changes)


def drawn(one: Batch, hours: float, *, speed: float = 1.0) -> dict[str, Any]:
    """The picture of *one*, some *hours* after noon."""
    found = timeline([one], Pulse(now=NOON + hours * HOUR, speed=speed))
    assert found is not None
    return found


def test_a_young_batch_is_drawn_large_and_its_24_hours_are_told() -> None:
    """A line a day away would press everything that is going on into a corner."""
    found = drawn(batch(BatchState.IN_PROGRESS), 3)
    assert (found["line"], found["line_in"]) == (None, 22 * HOUR)
    row = found["rows"][0]
    assert row["fly"]["x"] + row["fly"]["width"] == pytest.approx(found["now"])
    assert 0 < row["wait"]["width"] < row["fly"]["width"]


def test_an_old_batch_is_drawn_with_its_24_hours() -> None:
    """From a quarter of its time on, one sees how much is left."""
    found = drawn(batch(BatchState.IN_PROGRESS), 13)
    assert found["line_in"] is None
    assert found["now"] < found["line"] < 100


def test_what_the_api_dates_is_put_behind_the_moment_of_sending() -> None:
    """Its clock may differ from ours, and the sandbox's runs faster: neither moves a bar before its start."""
    skewed = NOON - timedelta(days=300)
    settled = batch(
        BatchState.SETTLED,
        created_at=skewed,
        expires_at=skewed + 24 * HOUR,
        ended_at=skewed + 10 * HOUR,
        settled_at=NOON + 3 * HOUR,
    )
    found = drawn(settled, 5, speed=10)
    row = found["rows"][0]
    assert (found["now"], found["line"], found["line_in"]) == (None, None, None)
    assert row["wait"]["x"] == 0
    assert abs(row["wait"]["width"] - row["fly"]["width"]) < 0.1
    assert row["collect"]["width"] > 0


def test_a_job_without_batches_has_no_picture() -> None:
    """Nothing is drawn of nothing."""
    assert timeline([], Pulse(now=NOON)) is None
