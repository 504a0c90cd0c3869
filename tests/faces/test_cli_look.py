"""What is shown of jobs: JSON shapes, screens, and honest words about how long it may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faces.cli_world import SLOW, Program, program_in, request, write_lines

from orchestrator.cli.follow import LineProgress
from orchestrator.domain import humanize
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JobSnapshot, JobStatus, RequestCounts
from orchestrator.domain.states import BatchState, JobState
from orchestrator.views import status_text
from orchestrator.views.status_text import ApiClock, BatchAges

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NO_AGES = BatchAges()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(4)])
        yield found


def _status(state: JobState = JobState.RUNNING, batches: dict[str, int] | None = None, **counts: int) -> JobStatus:
    numbers = {name: counts.get(name, 0) for name in ("queued", "batched", "succeeded", "failed", "canceled")}
    job = JobSnapshot(
        id=JobId(1),
        public_id="reviews-7f3a",
        name="reviews",
        state=state,
        reason_code="billing" if state is JobState.PAUSED else None,
        reason="no credit" if state is JobState.PAUSED else None,
        source="/data/in.jsonl",
        content_hash="0",
        key=None,
        api_version="2026-10-21",
        betas=(),
        tags=(),
        priority=10,
        still_open=False,
        created_at=NOW,
        finished_at=None,
        purged_at=None,
        resubmitted=0,
        requests=RequestCounts(total=sum(numbers.values()), **numbers),
    )
    found = {state.value: 0 for state in BatchState} | ({} if batches is None else batches)
    return JobStatus(
        job=job, batches=found, stop_reasons={}, attention=(), next_expiry=None, sweep_until=None, sandbox=False
    )


def test_the_json_of_a_job_has_what_scripts_rely_on(program: Program) -> None:
    """`status --json` is one object; `ls --json` has the same ones; every batch state is a key."""
    assert program("run", "in.jsonl", "--sandbox").code == 0
    one = program("status", "@last", "--json").facts
    assert {"id", "name", "state", "reason", "requests", "batches", "created_at", "finished_at", "sandbox"} <= set(one)
    assert set(one["requests"]) == {"total", "queued", "batched", "succeeded", "failed", "canceled"}
    assert set(one["batches"]) == {state.value for state in BatchState}
    assert (one["name"], one["state"], one["sandbox"], one["requests"]["succeeded"]) == ("in", "finished", True, 4)
    assert program("ls", "--json").facts["jobs"] == [one]
    assert program("wait", "@last", "--json").facts == program("watch", "@last", "--json").facts == one


def test_every_screen_says_sandbox(program: Program) -> None:
    """Somebody would publish canned answers."""
    assert "SANDBOX" in program("run", "in.jsonl", "--sandbox").err
    for args in (("ls",), ("status",), ("errors", "@last"), ("batches", "show", "1")):
        assert "SANDBOX" in program(*args).out, args
    for args in (("results", "@last"), ("wait", "@last"), ("watch", "@last")):
        assert "SANDBOX" in program(*args).err, args
    for args in (("ls",), ("status",), ("errors", "@last"), ("batches", "show", "1")):
        assert program(*args, "--json").facts["sandbox"] is True, args


def test_a_job_is_found_by_id_prefix_name_and_last(program: Program) -> None:
    """`JOB` is an id, a unique prefix, a name, or `@last`."""
    job = program("submit", "in.jsonl", "--sandbox", "--name", "nightly run").out.strip()
    for ref in (job, job[:9], "nightly run", "@last"):
        assert program("status", ref, "--json").facts["id"] == job


def test_status_shows_the_job_that_needs_looking_at(program: Program) -> None:
    """Without a name it is the newest that is not over; the others are counted."""
    first = program("submit", "in.jsonl", "--sandbox", "--new").out.strip()
    second = program("submit", "in.jsonl", "--sandbox", "--new").out.strip()
    assert program("cancel", second, "--sandbox").code == 0
    assert program("resume", second, "--sandbox", "--timeout", "20s", env=SLOW).code == 1
    shown = program("status")
    assert f"job        {first}" in shown.out
    assert "no engine is running" in shown.err
    listed = program("ls", "--unfinished", "--json").facts["jobs"]
    assert [job["id"] for job in listed] == [first]


def test_a_batch_is_shown_with_its_history(program: Program) -> None:
    """By our number or by the API's id."""
    assert program("run", "in.jsonl", "--sandbox").code == 0
    shown = program("batches", "show", "1", "--json").facts
    assert [event["state"] for event in shown["events"] if event["state"]][-1] == "settled"
    assert program("batches", "show", shown["remote_id"], "--json").facts == shown


def test_progress_counts_batches_and_requests() -> None:
    """A plus where more batches will be planned; those that were given up are not counted."""
    status = _status(
        batches={"settled": 3, "ended": 1, "in_progress": 2, "void": 5}, queued=7, batched=20, succeeded=30
    )
    assert status_text.batch_words(status) == "batches 4/6+ ended, 2 in flight"
    assert status_text.request_words(status) == "requests 30/57 settled"


def test_time_to_expiry_runs_as_fast_as_the_apis_clock() -> None:
    """In the sandbox an hour takes ten seconds; the real API's hour is ours."""
    status = _status(batches={"in_progress": 1}, batched=10)
    ages = BatchAges(oldest_sent_at=NOW - timedelta(seconds=10), lifetime=timedelta(hours=24), requests=10)
    assert status_text.age_words(status, ages, ApiClock(now=NOW)) == "oldest 00:10, expires in 24h"
    assert status_text.age_words(status, ages, ApiClock(now=NOW, speed=360)) == "oldest 00:10, expires in 23h"


def test_the_estimate_comes_from_batches_that_ended() -> None:
    """Nothing ended: no estimate. Else the rest of this round, and one more for every round that still waits."""
    sent = NOW - timedelta(minutes=10)
    ages = BatchAges(oldest_sent_at=sent, lifetime=timedelta(hours=24), requests=100)
    status = _status(batches={"in_progress": 1}, batched=100, queued=150)
    assert status_text.time_left(status, ages, ApiClock(now=NOW)) is None
    known = replace(ages, typical=timedelta(minutes=30))
    assert status_text.time_left(status, known, ApiClock(now=NOW)) == timedelta(minutes=80)
    slow = replace(ages, typical=timedelta(minutes=5), requests=250)
    assert status_text.time_left(status, slow, ApiClock(now=NOW)) == timedelta(0)


def test_lines_that_differ_only_in_counts_come_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of a day's work must be readable; a change of state is told at once."""
    progress = LineProgress()
    for second, succeeded in ((0.0, 0), (0.2, 1), (0.9, 2), (1.1, 3)):
        api_clock = ApiClock(now=NOW + timedelta(seconds=second))
        progress.show(_status(queued=9 - succeeded, succeeded=succeeded), NO_AGES, api_clock)
    progress.show(_status(JobState.PAUSED, queued=6, succeeded=3), NO_AGES, ApiClock(now=NOW + timedelta(seconds=1.2)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("requests ")[1].split("/")[0] for line in lines] == ["0", "3", "3"]
    assert "paused (billing): no credit" in lines[-1]


def test_trouble_with_the_api_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Once a call has worked, `run` keeps trying, and says so."""
    LineProgress().show(_status(queued=1), NO_AGES, ApiClock(now=NOW), "connection refused")
    assert "the API does not answer, trying again: connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=-3), "0s"),
        (timedelta(seconds=45), "45s"),
        (timedelta(minutes=3), "3m"),
        (timedelta(hours=5, minutes=12), "5h12m"),
        (timedelta(hours=24), "24h"),
        (timedelta(days=2, hours=3), "2d3h"),
    ],
)
def test_durations_are_told_in_at_most_two_units(duration: timedelta, text: str) -> None:
    """A person wants the order of magnitude."""
    assert humanize.span(duration) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (61_400, "61 kB"), (999_600, "1.0 MB"), (256_000_000, "256 MB")],
)
def test_sizes_are_decimal(size_bytes: int, text: str) -> None:
    """As the API's own limits are."""
    assert humanize.size(size_bytes) == text
