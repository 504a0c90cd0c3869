"""What is shown of jobs: JSON shapes, screens, and honest words about how long it may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faces.cli_world import SLOW, Program, program_in, request, write_lines

from orchestrator.cli.progress import LineProgress, Throughput
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
        version_reason=None,
        betas=(),
        tags=(),
        priority=10,
        schema=None,
        retry_invalid=1,
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
    assert one.pop("caching")["prefixes"] == []  # which is read for `status` alone
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


def test_the_batches_of_a_job_are_listed_from_the_store(program: Program) -> None:
    """The newest first, as `batches show` has each; a job that nobody knows is told as everywhere."""
    job = program("run", "in.jsonl", "--sandbox", "--json", env={"ORCHESTRATOR_BATCHING__MAX_REQUESTS": "1"})
    ref = str(job.facts["id"])
    listed = program("batches", "ls", ref, "--json").facts
    numbers = [batch["batch"] for batch in listed["batches"]]
    assert numbers == sorted(numbers, reverse=True)
    shown = program("batches", "show", str(numbers[0]), "--json").facts
    assert {key: value for key, value in shown.items() if key in listed["batches"][0]} == listed["batches"][0]
    first = program("batches", "ls", "@last", "--limit", "1")
    assert "settled" in first.out
    assert f"there are {len(numbers) - 1} more" in first.err
    assert program("batches", "ls", "nobody").code == 4


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


def test_who_leaves_is_told_with_numbers_what_stays_behind() -> None:
    """What is settled, and what the API goes on with, whether anybody is there or not."""
    status = _status(batches={"in_progress": 2, "in_doubt": 1, "ended": 4}, batched=90, queued=10, succeeded=1_200)
    words = "1,200 of 1,300 requests settled, 3 batches are at the API, which works on them"
    assert status_text.left_words(status) == words
    assert status_text.left_words(_status(succeeded=1)) == "1 of 1 request settled"


def test_the_throughput_is_of_the_last_ten_minutes() -> None:
    """Batches end one by one: what came in before counts no more, and nothing is said before anything came."""
    throughput = Throughput()
    for minutes, settled in ((0, 100), (1, 100)):
        throughput.see(settled, NOW + timedelta(minutes=minutes))
    assert throughput.words() == ""
    throughput.see(2_100, NOW + timedelta(minutes=2))
    assert throughput.words() == "1,000 a minute"
    for minutes in range(3, 13):
        throughput.see(2_100, NOW + timedelta(minutes=minutes))
    assert throughput.words() == ""
    throughput.see(2_150, NOW + timedelta(minutes=13))
    assert throughput.words() == "5 a minute"


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


def test_the_history_of_a_job_goes_on_at_its_cursor(program: Program) -> None:
    """Newest last, with clock times; pages lose nothing."""
    assert program("run", "in.jsonl", "--sandbox").code == 0
    whole = program("events", "@last", "--json").facts["events"]
    first = program("events", "@last", "--json", "-n", "3").facts
    rest = program("events", "@last", "--json", "--after", str(first["next"])).facts
    assert first["events"] + rest["events"] == whole
    assert (rest["next"], whole[-1]["new"], whole[-1]["job"]) == (None, "finished", whole[0]["job"])
    shown = program("events", "@last", "-n", "3")
    assert "the job is taken in, and runs  4 requests" in shown.out
    assert shown.out.splitlines()[2].startswith(whole[0]["at"][:10])
    assert f"--after {first['next']} shows them" in shown.err


def test_rm_deletes_the_bodies_of_one_job_and_keeps_the_rest(program: Program) -> None:
    """Only when it is over, and confirmed; what stays is told, and there."""
    assert program("run", "in.jsonl", "--sandbox", "--name", "kept").code == 0
    running = program("submit", "in.jsonl", "--sandbox", "--new", "--name", "gone").out.strip()
    early = program("rm", "gone", "--yes")
    assert (early.code, f"`orchestrator cancel {running}" in early.err) == (5, True)
    assert program("cancel", "gone", "--sandbox").code == 0
    asked = program("rm", "gone", "--sandbox")
    assert (asked.code, "--yes confirms it" in asked.err) == (5, True)
    assert program("results", "gone", "-o", "-").code == 0
    done = program("rm", "gone", "-y", "--sandbox")
    assert (done.code, "4 requests and their results are deleted" in done.out) == (0, True), done.err
    assert "orchestrator db compact" in done.err
    assert program("requests", "gone", "-o", "-").code == 4
    assert program("rm", "gone", "--json", "--sandbox").facts["purged"] is False
    assert program("status", "gone", "--json").facts["requests"]["canceled"] == 4
    assert program("requests", "kept", "-o", "-").out.count("\n") == 4
    assert "canceled, deleted " in program("ls").out
    for command in ("status", "errors", "resume"):
        shown = program(command, "gone", "--sandbox")
        told = shown.out + shown.err
        assert "its prompts and answers were deleted 20" in told
        assert "orchestrator re" not in told


def test_several_jobs_are_watched_at_once(program: Program) -> None:
    """Each line tells of which job; it ends when all of them are over."""
    for name in ("jan", "feb"):
        assert program("run", "in.jsonl", "--sandbox", "--new", "--name", name).code == 0
    ids = [program("status", name, "--json").facts["id"] for name in ("jan", "feb")]
    shown = program("watch", "jan", "feb", ids[0])
    assert [line.split()[0] for line in shown.out.splitlines()] == ["JOB", *ids]
    assert {f"{own} finished: 4 requests, all succeeded" for own in ids} <= set(shown.err.splitlines())
    listed = program("watch", "jan", "feb", "--json").facts["jobs"]
    assert [job["id"] for job in listed] == ids
