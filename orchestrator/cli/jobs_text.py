"""Jobs as text: the screen of `status`, the table of `ls`, and the messages of `run`, `submit` and `resume`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import as_table, coloured, near_path, pasteable, results_line, say
from orchestrator.domain import account, humanize, model, queries, states
from orchestrator.domain.pilot import trial_words
from orchestrator.domain.version_choice import version_words
from orchestrator.views import cost_views, event_text, status_text
from orchestrator.views.retry_views import retry_hints

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.ports.engine import IngestResult
    from orchestrator.ports.streams import Source

_COLOURS = {
    status_text.Tone.RUN: "blue",
    status_text.Tone.WARN: "yellow",
    status_text.Tone.OK: "green",
    status_text.Tone.BAD: "red",
}


def status_lines(
    status: model.JobStatus,
    ages: status_text.BatchAges,
    api_clock: status_text.ApiClock,
    caching: Iterable[str] = (),
) -> Iterator[str]:
    """The screen of `status`. caching: what is said of the prompt cache."""
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
    if answers := status_text.answer_words(status):
        yield f"answers    {', '.join(answers)}"
    yield from _cost_lines(status)
    yield from (f"{'' if place else 'cache':11}{line}" for place, line in enumerate(caching))
    yield f"batches    {status_text.batch_words(status).removeprefix('batches ')}"
    if age := status_text.age_words(status, ages, api_clock):
        yield f"           {age}"
    if job.state not in states.OVER and status.next_expiry is not None:
        yield f"expiry     the next batch expires at {humanize.instant(status.next_expiry)} by the API's clock"
    yield f"input      {humanize.plain(near_path(job.source))}, {headers_text(job)}"
    if schema := status_text.schema_words(job):
        yield f"schema     {schema}"
    if job.tags:
        yield f"tags       {humanize.plain(', '.join(job.tags))}"
    yield f"created    {humanize.instant(job.created_at)}, {humanize.span(api_clock.now - job.created_at)} ago"
    if job.submitted_by is not None:
        yield f"by         {job.submitted_by}"
    if job.finished_at is not None:
        yield f"over       {humanize.instant(job.finished_at)}, after {humanize.span(job.finished_at - job.created_at)}"
    if deleted := status_text.purged_words(job):
        yield f"deleted    {deleted}"
    yield from _notes(status)


def _cost_lines(status: model.JobStatus) -> Iterator[str]:
    """Nothing before the first answer, unless there is a cap."""
    cost = status.cost
    caps = None if cost is None else cost_views.cap_words(cost)
    if cost is None or not (cost.nanos or cost.unpriced or status.job.requests.succeeded or caps):
        return
    spent = " ".join(filter(None, (cost_views.spent_words(cost.nanos, cost.unpriced), caps)))
    words = (spent, cost_views.forecast_words(cost), cost_views.cache_words(cost))
    yield f"cost       {', '.join(filter(None, words))}"


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
    parts += status_text.twin_words(status.job)
    if status.job.resubmitted:
        parts.append(f"{status.job.resubmitted:,} resubmitted so far")
    return f"{found.total:,}: {', '.join(parts)}" if parts else f"{found.total:,}"


def headers_text(sent: model.JobSnapshot | model.Batch) -> str:
    """What requests are sent with: `API version 2023-06-01 (3 requests set top_p), betas one, two`."""
    betas = f", betas {', '.join(sent.betas)}" if sent.betas else ""
    reason = sent.version_reason if isinstance(sent, model.JobSnapshot) else None
    why = "" if reason is None else f" ({reason})"
    return humanize.plain(f"API version {sent.api_version}{why}{betas}")


def _notes(status: model.JobStatus) -> Iterator[str]:
    for attention in status.attention:
        yield coloured(f"attention  {humanize.plain(attention.message)}", "red")
    if status.sweep_until is not None:
        yield (
            f"sweep      a batch that was given up is still looked for until {humanize.instant(status.sweep_until)} "
            "by the API's clock, whenever an engine runs"
        )


_HEADINGS: Final = ("JOB", "STATE", "DONE", "FAILED", "BATCHES", "AGE", "ANSWERS", "TAGS", "BY", "NAME")


def jobs_table(statuses: Sequence[model.JobStatus], api_clock: status_text.ApiClock) -> str:
    """The table of `ls`."""
    rows = [_HEADINGS, *(_row(status, api_clock) for status in statuses)]
    # Nothing is to be said of answers, no job has tags, or none a name: no column for it.
    return as_table(_used(rows, may_lack={6, 7, 8}), right=(2, 3, 4, 5), cuts_last=True)


def _used(rows: Sequence[tuple[str, ...]], *, may_lack: AbstractSet[int]) -> list[tuple[str, ...]]:
    """*rows* without those of the columns *may_lack* in which nothing stands below the heading."""
    used = [column for column in range(len(rows[0])) if column not in may_lack or any(row[column] for row in rows[1:])]
    return [tuple(row[column] for column in used) for row in rows]


def _row(status: model.JobStatus, api_clock: status_text.ApiClock) -> tuple[str, ...]:
    job, found = status.job, status.job.requests
    ended, known = status_text.batches_ended(status)
    return (
        job.public_id,
        status_text.state_words(job) + (", deleted" if job.purged_at else "") + (" !" if status.attention else ""),
        f"{found.succeeded:,}/{found.total:,}",
        f"{found.failed + found.canceled:,}",
        f"{ended}/{known}",
        humanize.span(api_clock.now - job.created_at),
        ", ".join(status_text.answer_words(status)),
        humanize.plain(", ".join(job.tags)),
        job.submitted_by or "",
        humanize.plain(job.name),
    )


def failure_types(groups: Sequence[queries.ErrorGroup]) -> str:
    """Which error types `--only` could name."""
    if not groups:
        return "no request of it has failed"
    types = dict.fromkeys(group.error_type for group in groups)
    return (
        f"its failures are of {'this type' if len(types) == 1 else 'these types'}: {humanize.plain(', '.join(types))}"
    )


def events_table(events: Iterable[model.Event]) -> str:
    """The history of a job."""
    rows: list[tuple[str, ...]] = [("WHEN", "WHAT", "WHO", "WHY")]
    rows += [
        (
            humanize.instant(event.at),
            event_text.event_words(event),
            event.actor or "",
            event_text.event_reason(event),
        )
        for event in events
    ]
    return as_table(_used(rows, may_lack={2}))


def say_taken_in(options: GlobalOptions, source: Source, taken: IngestResult) -> None:
    """The input that was read, and the job that it became or was already."""
    job = taken.job
    if job is None:
        return
    bad = "all valid" if taken.refused == 0 else f"{humanize.count(taken.refused, 'bad line')} left out"
    if not taken.attached:
        bad = ", ".join([bad, *status_text.twin_words(job)])
    shown = humanize.plain(near_path(source.name))
    total = humanize.count(job.requests.total, "request")
    say(options, _line("done", "read", f"{shown}: {total}, {humanize.size(source.size_bytes)}, {bad}"))
    for notice in taken.notices:
        say_line(options, "part", "notice", notice)
    if not taken.attached:
        said = "" if job.trial is None else f", a {trial_words(job.trial, job.requests.total)}"
        say(options, _line("done", "job", f"{job.public_id}{said}"))
        if job.version_reason is not None:
            say(options, _line("done", "version", humanize.plain(version_words(job.api_version, job.version_reason))))
        if taken.under_cap is not None:
            say(options, _line("part", "cap", humanize.plain(taken.under_cap)))
        return
    found = job.requests
    settled = found.settled
    where = job.state.value if job.state in states.OVER else f"{job.state.value}, {settled:,}/{found.total:,} settled"
    made = "" if _is_made_of(job, source) else f", made of {humanize.plain(near_path(job.source))}"
    told = f"{job.public_id}{made}, is there already" if made else f"{job.public_id} is there already"
    say(options, _line("done", "job", f"{told}: {where} (--new would start another one)"))
    if taken.not_applied is not None:
        say(options, _line("part", "options", f"{humanize.plain(taken.not_applied)}; --new makes another job"))
    if taken.renamed_from is not None:
        now, before = humanize.plain(job.name), humanize.plain(taken.renamed_from)
        say(options, _line("done", "name", f"it is called {now} now; it was {before}"))


def _is_made_of(job: model.JobSnapshot, source: Source) -> bool:
    """Whether *job* was made of the very input *source*, as far as its name tells; several files have none."""
    given = os.path.realpath(source.name)
    return job.source == given or not Path(given).is_file()


def say_line(options: GlobalOptions, mark: str, title: str, text: str) -> None:
    """One line of what a command did. mark: done, part, failed or next."""
    say(options, _line(mark, title, humanize.plain(text)))


def say_refused_lines(options: GlobalOptions, count: int, path: str) -> None:
    """Where the lines that were left out are."""
    say(options, _line("next", "refused", f"{path}  {humanize.count(count, 'line')}, with what is wrong"))


def say_end(options: GlobalOptions, status: model.JobStatus, output: str | None) -> None:
    """How the job ended, where its results are, and what to do next."""
    say_outcome(options, status, output)
    _say_next(options, status, output)


def _say_next(options: GlobalOptions, status: model.JobStatus, output: str | None) -> None:
    if deleted := status_text.purged_words(status.job):
        say(options, _line("part", "deleted", deleted))
    elif output is None:
        say(options, f"  next     {results_line(options, status)}")
    for _, line in retry_hints(status):
        say(options, f"  next     {pasteable(options, f'orchestrator {line}', sandbox=status.sandbox)}")


def say_trial(options: GlobalOptions, status: model.JobStatus, output: str | None, rest: str, go_on: str) -> None:
    """What a trial that has ended came to, and *rest*, what the others will; in one line, with the command for them."""
    cost = status.cost
    told = "" if cost is None else f" for {cost_views.spent_words(cost.nanos, cost.unpriced)}"
    mark = "part" if status_text.exit_code_of(status) else "done"
    say(options, _line(mark, "trial", f"{status_text.outcome_words(status)}{told}; {rest}: `{go_on}`"))
    say_results(options, output)
    _say_next(options, status, output)


def say_outcome(options: GlobalOptions, status: model.JobStatus, output: str | None) -> None:
    """How the job ended, and where its results are."""
    what = "canceled" if status.job.state is states.JobState.CANCELED else "done"
    mark = {status_text.Tone.OK: "done", status_text.Tone.WARN: "part"}.get(status_text.tone_of(status.job), "failed")
    say(options, _line(mark, what, status_text.outcome_words(status)))
    say_results(options, output)


def say_results(options: GlobalOptions, output: str | None, part: str | None = None) -> None:
    """Where the results are, if they are in a file. part: how many, where it is not all of them."""
    if output is not None and output != "-":
        place = humanize.plain(output)
        say(options, _line("next", "results", place if part is None else f"{place}  {part}"))


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
