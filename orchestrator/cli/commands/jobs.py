"""`ls`, `status`, `watch`, `wait`, `events`: show jobs, at any time, whichever process owns the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli import console, follow, jobs_text, store_access
from orchestrator.cli.group import command
from orchestrator.cli.options import Duration, GlobalOptions, JobRef, job_argument
from orchestrator.cli.progress import LineProgress, ProgressDisplay, progress_for
from orchestrator.domain import account, errors, model, queries, states
from orchestrator.views import cost_views, fleet_views, job_views, service_views, status_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.config import Settings

LS_EXAMPLES = """
Examples:
  orchestrator ls
  orchestrator ls --unfinished
  orchestrator ls --tag nightly --tag fr
  orchestrator ls --json | jq -r '.jobs[] | select(.state == "paused") | .id'
"""

STATUS_EXAMPLES = """
Examples:
  orchestrator status                   the newest job that is not over, else the newest
  orchestrator status reviews           by name; a unique prefix of the id does, too
  orchestrator status @last --json      one object: state, requests, batches, attention, ...
"""

WATCH_EXAMPLES = """
Examples:
  orchestrator watch @last
  orchestrator watch reviews --sandbox
  orchestrator watch jan feb mar        several: one line per change, until all are over

Ctrl-C stops watching; the job continues.
"""

WAIT_EXAMPLES = """
Examples:
  orchestrator wait @last && orchestrator results @last -o answers.jsonl
  orchestrator wait reviews --timeout 2h || echo "exit code $?"

Exit codes: 0 all succeeded, 1 some did not, 3 it is paused and needs a person, 7 --timeout reached.
It only waits: an engine (serve, run or resume) must do the work.
"""


EVENTS_EXAMPLES = """
Examples:
  orchestrator events reviews
  orchestrator events @last --json | jq -r '.events[] | select(.new == "paused") | .why'
"""


@command(LS_EXAMPLES)
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most N jobs.")
@click.option("--unfinished", is_flag=True, help="Only jobs that are not over.")
@click.option("--tag", "tags", multiple=True, help="Only jobs with this tag; may be repeated.")
@click.option("--by", metavar="NAME", help="Only jobs that were submitted with the token of this name.")
@click.option("--since", metavar="TIME", help="Only jobs made in the last 7d, or since a day such as 2026-11-23 (UTC).")
@click.option("--until", metavar="TIME", help="Only jobs made up to that day, itself included.")
def ls(
    options: GlobalOptions, limit: int, unfinished: bool, tags: tuple[str, ...], by: str | None, **days: str | None
) -> None:
    settings = options.settings()
    wanted = queries.UNFINISHED if unfinished else frozenset()
    today = datetime.now(UTC).date()
    made = {name: cost_views.parse_since(text, today, called=f"--{name}") for name, text in days.items()}
    where = queries.JobFilter(
        states=wanted, tags=frozenset(tags), submitted_by=by, since=made["since"], until=made["until"]
    )
    with store_access.open_reads(options, settings) as reads:
        sandbox = reads.meta().sandbox
        jobs = reads.jobs(limit=limit + 1, where=where)
        statuses = [reads.status(job) for job in jobs[:limit]]
    has_more = len(jobs) > limit
    if options.as_json:
        console.show_json(
            {"jobs": [job_views.JobView.of(status) for status in statuses], "has_more": has_more, "sandbox": sandbox}
        )
        return
    console.show_banner(options, sandbox=sandbox)
    if not statuses:
        makes = console.pasteable(options, "orchestrator run INPUT", sandbox=sandbox)
        console.show("no jobs" if where != queries.ALL_JOBS else f"no jobs yet: `{makes}` makes one")
        return
    console.show(jobs_text.jobs_table(statuses, follow.api_clock_of(settings, sandbox=sandbox)))
    if has_more:
        console.say(options, f"there are more: --limit {limit * 4} shows them")


@command(STATUS_EXAMPLES)
@job_argument(required=False)
def status(options: GlobalOptions, job: str | None) -> None:
    """Progress, age of the batches at the API, and whether a person is needed; who is in a fleet. Works at any time."""
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        try:
            chosen = store_access.job_or_newest(reads, job)
        except errors.NoSuchThing:
            if job is None:
                _show_fleet_alone(options, settings, sandbox=reads.meta().sandbox)
            raise
        found = reads.status(chosen)
        caching = reads.cost(chosen).cache
        ages = status_text.BatchAges() if options.as_json else status_text.read_ages(reads, chosen.id)
        others = [each for each in reads.unfinished() if each.id != chosen.id] if job is None else []
    fleet = store_access.view_fleet(options, settings)
    if options.as_json:
        told = {"caching": cost_views.JobCacheView.of(caching)}
        console.show_json({**job_views.JobView.of(found).fields(), **told, **_daemons(fleet)})
        return
    console.show_banner(options, sandbox=found.sandbox)
    clock = follow.api_clock_of(settings, sandbox=found.sandbox)
    lines = jobs_text.status_lines(found, ages, clock, cost_views.report_lines(caching))
    console.show(console.with_raising(options, "\n".join([*lines, *fleet_views.fleet_lines(fleet)])))
    if chosen.state not in states.OVER and not store_access.engine_is_running(options, settings):
        works = console.engine_lines(options, chosen.public_id, sandbox=found.sandbox)
        first = "once its cap is raised, " if chosen.reason_code == account.BUDGET else ""
        console.say(options, f"no engine is running on this store; {first}{works} goes on")
    if others:
        console.say(
            options, f"{len(others)} more not over: {console.pasteable(options, 'orchestrator ls --unfinished')}"
        )


def _show_fleet_alone(options: GlobalOptions, settings: Settings, *, sandbox: bool) -> None:
    """What there is to see before the first job; nothing where one process owns the store."""
    fleet = store_access.view_fleet(options, settings)
    if fleet.fleet and options.as_json:
        console.show_json(_daemons(fleet))
    elif fleet.fleet:
        console.show_banner(options, sandbox=sandbox)
        console.show("\n".join(fleet_views.fleet_lines(fleet)))


def _daemons(fleet: fleet_views.FleetAnswerView) -> dict[str, object]:
    return {"daemons": fleet.daemons} if fleet.fleet else {}


@command(WATCH_EXAMPLES)
@click.argument("jobs", metavar="[JOB]...", type=JobRef(), nargs=-1)
def watch(options: GlobalOptions, jobs: tuple[str, ...]) -> None:
    """On a terminal the lines of one job are rewritten; elsewhere, and of several, there is one line per change. It
    changes nothing.
    """
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        found = [store_access.job_or_newest(reads, job) for job in jobs or (None,)]
        sandbox = reads.meta().sandbox
    chosen = list({job.id: job for job in found}.values())
    console.say_banner(options, sandbox=sandbox)
    for job in chosen:
        _warn_if_idle(options, job, sandbox=sandbox)
    if len(chosen) > 1:
        _show_all(options, _all_followed(options, settings, chosen), follow.api_clock_of(settings, sandbox=sandbox))
        return
    status = _followed(options, settings, chosen[0], follow.WaitLimits(), until=follow.is_over)
    if options.as_json:
        console.show_json(job_views.JobView.of(status))
    else:
        clock = follow.api_clock_of(settings, sandbox=sandbox)
        lines = jobs_text.status_lines(status, status_text.BatchAges(), clock)
        console.show(console.with_raising(options, "\n".join(lines)))


def _all_followed(
    options: GlobalOptions, settings: Settings, jobs: Sequence[model.JobSnapshot]
) -> Sequence[model.JobStatus]:
    """The last status of each of *jobs*, in lines that tell which it is."""
    import asyncio

    from orchestrator.cli.signals import run_async

    reader = store_access.reader_for(options, settings)

    async def one(job: model.JobSnapshot) -> model.JobStatus:
        shown = ProgressDisplay() if options.quiet else LineProgress()
        sampler = follow.StatusSampler(job.id, settings)
        last = await follow.wait_for_job(sampler, lambda: (reader, None), shown, limits=follow.WaitLimits())
        console.say(options, console.with_raising(options, f"{job.public_id} {status_text.sentence(last)}"))
        return last

    async def every() -> Sequence[model.JobStatus]:
        return await asyncio.gather(*map(one, jobs))

    return run_async(every)


def _show_all(options: GlobalOptions, found: Sequence[model.JobStatus], api_clock: status_text.ApiClock) -> None:
    if options.as_json:
        console.show_json({"jobs": [job_views.JobView.of(each) for each in found], "sandbox": found[0].sandbox})
    else:
        console.show(jobs_text.jobs_table(found, api_clock))


@command(WAIT_EXAMPLES)
@job_argument()
@click.option("--timeout", type=Duration(), help="Wait at most so long, such as 30s or 2h; then exit with 7.")
def wait(options: GlobalOptions, job: str, timeout: timedelta | None) -> int:
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        chosen = reads.find(job)
        sandbox = reads.meta().sandbox
    console.say_banner(options, sandbox=sandbox)
    if not _needs_no_waiting(chosen):
        _warn_if_idle(options, chosen, sandbox=sandbox)
    found = _followed(options, settings, chosen, follow.WaitLimits(timeout=timeout), until=_needs_no_waiting)
    if options.as_json:
        console.show_json(job_views.JobView.of(found))
    if found.job.state is states.JobState.PAUSED and not found.job.is_tried:
        raise follow.paused_error(found)
    if not options.as_json:
        console.say(options, f"{found.job.public_id} {status_text.sentence(found)}")
    return status_text.exit_code_of(found)


@command(EVENTS_EXAMPLES)
@job_argument()
@click.option("-n", "--limit", type=click.IntRange(1, 999), default=200, show_default=True, help="Show at most N.")
@click.option("--after", metavar="ID", type=click.IntRange(0), default=0, help="Only events above this id.")
def events(options: GlobalOptions, job: str, limit: int, after: int) -> None:
    """In the order in which they happened, by the clock of the daemon. Works at any time, whoever owns the store."""
    with store_access.open_reads(options) as reads:
        chosen = reads.find(job)
        found = reads.events(chosen.id, after=after, limit=limit + 1)
        sandbox = reads.meta().sandbox
    page, more = found[:limit], found[limit - 1].id if len(found) > limit else None
    if options.as_json:
        listed = [service_views.EventView.of(event, chosen.public_id) for event in page]
        console.show_json({**service_views.EventsView(events=listed, next=more).fields(), "sandbox": sandbox})
        return
    console.show_banner(options, sandbox=sandbox)
    console.show(jobs_text.events_table(page) if page else f"{chosen.public_id}: nothing happened since")
    if more is not None:
        console.say(options, f"there are more: --after {more} shows them")


def _followed(
    options: GlobalOptions,
    settings: Settings,
    job: model.JobSnapshot,
    limits: follow.WaitLimits,
    *,
    until: Callable[[model.JobSnapshot], bool],
) -> model.JobStatus:
    """Show the progress of *job* until *until* holds; its last status."""
    from orchestrator.cli.signals import run_async

    sampler, reader, progress = (
        follow.StatusSampler(job.id, settings),
        store_access.reader_for(options, settings),
        progress_for(options),
    )
    return run_async(lambda: follow.wait_for_job(sampler, lambda: (reader, None), progress, limits=limits, until=until))


def _needs_no_waiting(job: model.JobSnapshot) -> bool:
    """Over, or paused, so that only a person moves it on."""
    return follow.is_over(job) or job.state is states.JobState.PAUSED


def _warn_if_idle(options: GlobalOptions, job: model.JobSnapshot, *, sandbox: bool) -> None:
    if job.state not in states.OVER and not store_access.engine_is_running(options, options.settings()):
        works = console.engine_lines(options, job.public_id, sandbox=sandbox)
        console.say(options, f"no engine is running on this store: nothing moves until {works} does")
