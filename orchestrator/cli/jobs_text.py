"""Jobs as text: the screen of `status`, the table of `ls`, and the messages of `run`, `submit` and `resume`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.cli.console import as_table, coloured, near_path, pasteable, results_line, say
from orchestrator.domain import account, humanize, model, result_outcome, states
from orchestrator.views import status_text

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.ports.engine import IngestResult

_COLOURS = {
    status_text.Tone.RUN: "blue",
    status_text.Tone.WARN: "yellow",
    status_text.Tone.OK: "green",
    status_text.Tone.BAD: "red",
}


def status_lines(
    status: model.JobStatus, ages: status_text.BatchAges, api_clock: status_text.ApiClock
) -> Iterator[str]:
    """The screen of `status`."""
    job = status.job
    state = coloured(status_text.sentence(status), _COLOURS.get(status_text.tone_of(job)))
    yield f"job        {job.public_id}" + ("" if job.name == job.public_id else f"  ({humanize.plain(job.name)})")
    yield f"state      {state}"
    remedy = account.REMEDIES.get(str(job.reason_code))
    if job.state is states.JobState.PAUSED and remedy is not None and remedy not in str(job.reason):
        yield f"           to do: {remedy}"
    if again := status_text.asked_again_words(status.asked_again_at, api_clock.now):
        yield f"           {again}"
    yield f"requests   {_request_line(status)}"
    if stops := result_outcome.stop_words(status.stop_reasons):
        yield f"answers    {', '.join(stops)}"
    yield f"batches    {status_text.batch_words(status).removeprefix('batches ')}"
    if age := status_text.age_words(status, ages, api_clock):
        yield f"           {age}"
    if job.state not in states.OVER and status.next_expiry is not None:
        yield f"expiry     the next batch expires at {_instant(status.next_expiry)} by the API's clock"
    yield f"input      {humanize.plain(near_path(job.source))}, {headers_text(job)}"
    if job.tags:
        yield f"tags       {humanize.plain(', '.join(job.tags))}"
    yield f"created    {_instant(job.created_at)}, {humanize.span(api_clock.now - job.created_at)} ago"
    if job.finished_at is not None:
        yield f"over       {_instant(job.finished_at)}, after {humanize.span(job.finished_at - job.created_at)}"
    yield from _notes(status)


def _request_line(status: model.JobStatus) -> str:
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


def headers_text(sent: model.JobSnapshot | model.Batch) -> str:
    """What requests are sent with: `API version 2023-06-01, betas one, two`."""
    betas = f", betas {', '.join(sent.betas)}" if sent.betas else ""
    return humanize.plain(f"API version {sent.api_version}{betas}")


def _notes(status: model.JobStatus) -> Iterator[str]:
    for attention in status.attention:
        yield coloured(f"attention  {humanize.plain(attention.message)}", "red")
    if status.sweep_until is not None:
        yield (
            f"sweep      a batch that was given up is still looked for until {_instant(status.sweep_until)} "
            "by the API's clock, whenever an engine runs"
        )


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def jobs_table(statuses: Sequence[model.JobStatus], api_clock: status_text.ApiClock) -> str:
    """The table of `ls`."""
    rows: list[tuple[str, ...]] = [("JOB", "STATE", "DONE", "FAILED", "BATCHES", "AGE", "ANSWERS", "TAGS", "NAME")]
    rows += [_row(status, api_clock) for status in statuses]
    # Nothing was refused or cut, or no job has tags: no column for it.
    used = [column for column in range(len(rows[0])) if column not in {6, 7} or any(row[column] for row in rows[1:])]
    return as_table([tuple(row[column] for column in used) for row in rows], right=(2, 3, 4, 5))


def _row(status: model.JobStatus, api_clock: status_text.ApiClock) -> tuple[str, ...]:
    job, found = status.job, status.job.requests
    ended, known = status_text.batches_ended(status)
    return (
        job.public_id,
        status_text.state_words(job) + (" !" if status.attention else ""),
        f"{found.succeeded:,}/{found.total:,}",
        f"{found.failed + found.canceled:,}",
        f"{ended}/{known}",
        humanize.span(api_clock.now - job.created_at),
        ", ".join(result_outcome.stop_words(status.stop_reasons)),
        humanize.plain(", ".join(job.tags)),
        humanize.plain(job.name),
    )


def say_taken_in(options: GlobalOptions, source_name: str, size_bytes: int, taken: IngestResult) -> None:
    """The input that was read, and the job that it became or was already."""
    job = taken.job
    if job is None:
        return
    bad = "all valid" if taken.refused == 0 else f"{humanize.count(taken.refused, 'bad line')} left out"
    shown = humanize.plain(near_path(source_name))
    total = humanize.count(job.requests.total, "request")
    say(options, _line("done", "read", f"{shown}: {total}, {humanize.size(size_bytes)}, {bad}"))
    if not taken.attached:
        say(options, _line("done", "job", job.public_id))
        return
    found = job.requests
    settled = found.settled
    where = job.state.value if job.state in states.OVER else f"{job.state.value}, {settled:,}/{found.total:,} settled"
    say(options, _line("done", "job", f"{job.public_id} is there already: {where} (--new would start another one)"))
    if taken.renamed_from is not None:
        now, before = humanize.plain(job.name), humanize.plain(taken.renamed_from)
        say(options, _line("done", "name", f"it is called {now} now; it was {before}"))


def say_refused_lines(options: GlobalOptions, count: int, path: str) -> None:
    """Where the lines that were left out are."""
    say(options, _line("next", "refused", f"{path}  {humanize.count(count, 'line')}, with what is wrong"))


def say_end(options: GlobalOptions, status: model.JobStatus, output: str | None) -> None:
    """How the job ended, where its results are, and what to do next."""
    perfect = status_text.exit_code_of(status) == 0
    say_outcome(options, status, output)
    ref = status.job.public_id
    if output is None:
        say(options, f"  next     {results_line(options, status)}")
    for name in () if perfect else ("errors", "retry"):
        say(options, f"  next     {pasteable(options, f'orchestrator {name} {ref}', sandbox=status.sandbox)}")


def say_outcome(options: GlobalOptions, status: model.JobStatus, output: str | None) -> None:
    """How the job ended, and where its results are."""
    what = "canceled" if status.job.state is states.JobState.CANCELED else "done"
    mark = {status_text.Tone.OK: "done", status_text.Tone.WARN: "part"}.get(status_text.tone_of(status.job), "failed")
    say(options, _line(mark, what, status_text.outcome_words(status)))
    if output is not None and output != "-":
        say(options, _line("next", "results", humanize.plain(output)))


def _line(mark: str, title: str, text: str) -> str:
    return f"{_mark(mark)} {title:<8} {text}"


def _mark(kind: str) -> str:
    """A sign in front of a line; plain ASCII where stderr cannot show others."""
    signs = {
        "done": ("✓", "*", "green"),
        "part": ("⚠", "!", "yellow"),
        "failed": ("✗", "!", "red"),
        "next": ("→", ">", "cyan"),
    }
    sign, ascii_sign, colour = signs[kind]
    is_wide = (sys.stderr.encoding or "ascii").lower().replace("-", "") == "utf8"
    return coloured(sign if is_wide else ascii_sign, colour)
