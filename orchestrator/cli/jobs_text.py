"""Jobs as text: the screen of `status`, the table of `ls`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.cli.output import as_table, coloured, near_path
from orchestrator.domain import humanize
from orchestrator.domain.account import REMEDIES
from orchestrator.domain.result_outcome import stop_words
from orchestrator.domain.states import OVER, JobState
from orchestrator.views import status_text
from orchestrator.views.status_text import Tone

if TYPE_CHECKING:
    from orchestrator.domain.model import Batch, JobSnapshot, JobStatus
    from orchestrator.views.status_text import ApiClock, BatchAges

_COLOURS = {Tone.RUN: "blue", Tone.WARN: "yellow", Tone.OK: "green", Tone.BAD: "red"}


def status_lines(status: JobStatus, ages: BatchAges, api_clock: ApiClock) -> Iterator[str]:
    """The screen of `status`."""
    job = status.job
    state = coloured(status_text.sentence(status), _COLOURS.get(status_text.tone_of(job)))
    yield f"job        {job.public_id}" + ("" if job.name == job.public_id else f"  ({humanize.plain(job.name)})")
    yield f"state      {state}"
    remedy = REMEDIES.get(str(job.reason_code))
    if job.state is JobState.PAUSED and remedy is not None and remedy not in str(job.reason):
        yield f"           to do: {remedy}"
    if again := status_text.asked_again_words(status.asked_again_at, api_clock.now):
        yield f"           {again}"
    yield f"requests   {_request_line(status)}"
    if stops := stop_words(status.stop_reasons):
        yield f"answers    {', '.join(stops)}"
    yield f"batches    {status_text.batch_words(status).removeprefix('batches ')}"
    if age := status_text.age_words(status, ages, api_clock):
        yield f"           {age}"
    if job.state not in OVER and status.next_expiry is not None:
        yield f"expiry     the next batch expires at {_instant(status.next_expiry)} by the API's clock"
    yield f"input      {humanize.plain(near_path(job.source))}, {headers_text(job)}"
    if job.tags:
        yield f"tags       {humanize.plain(', '.join(job.tags))}"
    yield f"created    {_instant(job.created_at)}, {humanize.span(api_clock.now - job.created_at)} ago"
    if job.finished_at is not None:
        yield f"over       {_instant(job.finished_at)}, after {humanize.span(job.finished_at - job.created_at)}"
    yield from _notes(status)


def _request_line(status: JobStatus) -> str:
    found = status.job.requests
    counts = (
        (found.succeeded, "succeeded"),
        (found.failed, "failed"),
        (found.canceled, "canceled"),
        (found.batched, "in batches"),
        (found.queued, "waiting"),
    )
    parts = [f"{number:,} {text}" for number, text in counts if number]
    if status.job.resubmitted:
        parts.append(f"{status.job.resubmitted:,} resubmitted so far")
    return f"{found.total:,}: {', '.join(parts)}" if parts else f"{found.total:,}"


def headers_text(sent: JobSnapshot | Batch) -> str:
    """What requests are sent with: `API version 2023-06-01, betas one, two`."""
    betas = f", betas {', '.join(sent.betas)}" if sent.betas else ""
    return humanize.plain(f"API version {sent.api_version}{betas}")


def _notes(status: JobStatus) -> Iterator[str]:
    for attention in status.attention:
        yield coloured(f"attention  {humanize.plain(attention.message)}", "red")
    if status.sweep_until is not None:
        yield (
            f"sweep      a batch that was given up is still looked for until {_instant(status.sweep_until)} "
            "by the API's clock, whenever an engine runs"
        )


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def jobs_table(statuses: Sequence[JobStatus], api_clock: ApiClock) -> str:
    """The table of `ls`."""
    rows: list[tuple[str, ...]] = [("JOB", "STATE", "DONE", "FAILED", "BATCHES", "AGE", "ANSWERS", "TAGS", "NAME")]
    rows += [_row(status, api_clock) for status in statuses]
    # Nothing was refused or cut, or no job has tags: no column for it.
    used = [column for column in range(len(rows[0])) if column not in {6, 7} or any(row[column] for row in rows[1:])]
    return as_table([tuple(row[column] for column in used) for row in rows], right=(2, 3, 4, 5))


def _row(status: JobStatus, api_clock: ApiClock) -> tuple[str, ...]:
    job, found = status.job, status.job.requests
    ended, known = status_text.batches_ended(status)
    return (
        job.public_id,
        status_text.state_words(job) + (" !" if status.attention else ""),
        f"{found.succeeded:,}/{found.total:,}",
        f"{found.failed + found.canceled:,}",
        f"{ended}/{known}",
        humanize.span(api_clock.now - job.created_at),
        ", ".join(stop_words(status.stop_reasons)),
        humanize.plain(", ".join(job.tags)),
        humanize.plain(job.name),
    )
