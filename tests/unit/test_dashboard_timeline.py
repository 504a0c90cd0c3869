"""Where the batches of a job stand in the picture of their time."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from unit.test_dashboard_colours import CSS

from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import BatchRow
from orchestrator.domain.states import BatchState
from orchestrator.http_api.dashboard.timeline import KIND_OF, KINDS, timeline
from orchestrator.views.status_text import ApiClock

NOON: Final = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


ZEROS: Final = ("depth", "cuts", "doubt_looks", "downloads", "download_tries", "fence", "count", "size_bytes")
EMPTY: Final = ("digest", "nonce", "api_version")


def batch(state: BatchState, **changes: Any) -> BatchRow:
    """A batch that was planned at noon and sent an hour later."""
    whole: dict[str, Any] = {each.name: None for each in fields(BatchRow)}
    whole |= dict.fromkeys(ZEROS, 0) | dict.fromkeys(EMPTY, "")
    whole |= {"id": BatchId(1), "job_id": JobId(1), "state": state, "betas": (), "collected": False, "adopted": False}
    whole |= {"planned_at": NOON, "sent_at": NOON + HOUR, "created_at": NOON + HOUR, "expires_at": NOON + 25 * HOUR}
    return BatchRow(**whole | changes)


#: The way of a batch that the API took an hour after it was planned.
SENT: Final = ((0, BatchState.PLANNED), (1, BatchState.SUBMITTING), (1, BatchState.IN_PROGRESS))


def drawn(one: BatchRow, hours: float, *steps: tuple[float, BatchState], speed: float = 1.0) -> dict[str, Any]:
    """The picture of *one*, some *hours* after noon; *steps*: hours after noon at which it came into a state."""
    history = [(NOON + hour * HOUR, state) for hour, state in steps]
    found = timeline([one], {BatchId(1): history}, ApiClock(now=NOON + hours * HOUR, speed=speed))
    assert found is not None
    return found


def pieces(found: dict[str, Any]) -> list[tuple[str, float]]:
    """What the only bar is made of, and how wide each part is, in percents of the bar."""
    (row,) = found["rows"]
    whole = sum(piece["width"] for piece in row["pieces"])
    return [(piece["kind"], round(piece["width"] / whole * 100)) for piece in row["pieces"]]


def test_a_young_batch_is_drawn_large_and_its_24_hours_are_told() -> None:
    """A line a day away would press everything that is going on into a corner."""
    found = drawn(batch(BatchState.IN_PROGRESS), 3, *SENT)
    assert (found["line"], found["line_in"]) == (None, 22 * HOUR)
    wait, *_, fly = found["rows"][0]["pieces"]
    assert fly["x"] + fly["width"] == pytest.approx(found["now"])
    assert 0 < wait["width"] < fly["width"]


def test_an_old_batch_is_drawn_with_its_24_hours() -> None:
    """From a quarter of its time on, one sees how much is left."""
    found = drawn(batch(BatchState.IN_PROGRESS), 13, *SENT)
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
    found = drawn(settled, 5, *SENT, (2.5, BatchState.ENDED), (3, BatchState.SETTLED), speed=10)
    assert (found["now"], found["line"], found["line_in"]) == (None, None, None)
    assert pieces(found) == [("wait", 33), ("fly", 33), ("collect", 33)]


def test_a_batch_that_was_never_sent_only_waits() -> None:
    """N (a) 6: of a paused job nothing comes; the bar says so, in the colour of waiting, up to now."""
    found = drawn(batch(BatchState.PLANNED, sent_at=None, created_at=None), 6, (0, BatchState.PLANNED))
    assert pieces(found) == [("wait", 100)]
    assert found["legend"] == [("wait", "to send")]


def test_doubt_keeps_its_colour_for_the_time_that_it_took() -> None:
    """N (a) 6: while it lasts, and also when the batch was found and is settled."""
    doubt = ((0, BatchState.PLANNED), (1, BatchState.SUBMITTING), (1, BatchState.IN_DOUBT))
    lasting = drawn(batch(BatchState.IN_DOUBT, created_at=None), 4, *doubt)
    assert pieces(lasting) == [("wait", 25), ("doubt", 75)]
    found = [(2, BatchState.IN_PROGRESS), (4, BatchState.ENDED), (4, BatchState.SETTLED)]
    over = drawn(batch(BatchState.SETTLED, ended_at=NOON + 9 * HOUR), 9, *doubt, *found)
    assert pieces(over) == [("wait", 25), ("doubt", 25), ("fly", 50)]
    assert over["rows"][0]["words"] == "to send, then in doubt, then at the API, then done"
    void = drawn(batch(BatchState.VOID, created_at=None), 9, *doubt, (3, BatchState.VOID))
    assert (pieces(void), void["rows"][0]["mark"]) == ([("wait", 33), ("doubt", 67)], "gone")


def test_what_was_given_back_waits_again() -> None:
    """N (a) 6: a clear no from the API is no time at the API."""
    again = ((0, BatchState.PLANNED), (1, BatchState.SUBMITTING), (1, BatchState.PLANNED), (3, BatchState.SUBMITTING))
    assert pieces(drawn(batch(BatchState.SUBMITTING), 4, *again)) == [("wait", 75), ("send", 25)]


@pytest.mark.parametrize(
    ("counts", "mark"),
    [
        (ApiCounts(succeeded=3), "done"),
        (ApiCounts(succeeded=3, errored=1), "failed"),
        (ApiCounts(errored=3), "failed"),
        (ApiCounts(canceled=2, expired=1), "gone"),
        (None, "done"),
    ],
)
def test_the_end_of_a_bar_says_how_the_batch_ended(counts: ApiCounts | None, mark: str) -> None:
    """N (a) 6: green is for what brought its results."""
    over = ((2, BatchState.ENDED), (3, BatchState.SETTLED))
    found = drawn(batch(BatchState.SETTLED, api_counts=counts), 9, *SENT, *over)
    assert found["rows"][0]["mark"] == mark
    assert found["legend"][-1] == (mark, KINDS[mark])


def test_every_state_has_a_colour_and_an_entry_in_the_legend() -> None:
    """N (a) 6: no colour without a word, in either theme."""
    assert {KIND_OF[state] for state in BatchState} <= set(KINDS)
    for kind in KINDS:
        assert f".g-{kind} {{ fill: var(" in CSS
        assert f".sw-{kind} {{ background: var(" in CSS


def test_a_clock_that_was_put_back_turns_no_bar_round() -> None:
    """No piece starts before the one that it follows, or ends before it starts."""
    back = ((5, BatchState.PLANNED), (1, BatchState.SUBMITTING), (2, BatchState.IN_PROGRESS))
    found = drawn(batch(BatchState.IN_PROGRESS), 3, *back)
    assert all(piece["width"] >= 0 for piece in found["rows"][0]["pieces"])


def test_a_job_without_batches_has_no_picture() -> None:
    """Nothing is drawn of nothing."""
    assert timeline([], {}, ApiClock(now=NOON)) is None
