"""`ls`, `status`, `watch`, `wait`: show jobs, at any time, whichever process owns the store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli import console, follow, jobs_text, store_access
from orchestrator.cli.group import command
from orchestrator.cli.options import Duration, GlobalOptions, job_argument
from orchestrator.domain import model, queries, states
from orchestrator.views import job_views, status_text

if TYPE_CHECKING:
    from collections.abc import Callable

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

Ctrl-C stops watching; the job continues.
"""

WAIT_EXAMPLES = """
Examples:
  orchestrator wait @last && orchestrator results @last -o answers.jsonl
  orchestrator wait reviews --timeout 2h || echo "exit code $?"

Exit codes: 0 all succeeded, 1 some did not, 3 it is paused and needs a person, 7 --timeout reached.
It only waits: an engine (serve, run or resume) must do the work.
"""


@command(LS_EXAMPLES)
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most N jobs.")
@click.option("--unfinished", is_flag=True, help="Only jobs that are not over.")
@click.option("--tag", "tags", multiple=True, help="Only jobs with this tag; may be repeated.")
def ls(options: GlobalOptions, limit: int, unfinished: bool, tags: tuple[str, ...]) -> None:
    settings = options.settings()
    where = queries.JobFilter(states=queries.UNFINISHED if unfinished else frozenset(), tags=frozenset(tags))
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
    """Progress, age of the batches at the API, and whether a person is needed. Works at any time."""
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        chosen = store_access.job_or_newest(reads, job)
        found = reads.status(chosen)
        ages = status_text.BatchAges() if options.as_json else status_text.read_ages(reads, chosen.id)
        others = [each for each in reads.unfinished() if each.id != chosen.id] if job is None else []
    if options.as_json:
        console.show_json(job_views.JobView.of(found))
        return
    console.show_banner(options, sandbox=found.sandbox)
    console.show("\n".join(jobs_text.status_lines(found, ages, follow.api_clock_of(settings, sandbox=found.sandbox))))
    if chosen.state not in states.OVER and not store_access.engine_is_running(options, settings):
        works = console.engine_lines(options, chosen.public_id, sandbox=found.sandbox)
        console.say(options, f"no engine is running on this store; {works} goes on")
    if others:
        console.say(
            options, f"{len(others)} more not over: {console.pasteable(options, 'orchestrator ls --unfinished')}"
        )


@command(WATCH_EXAMPLES)
@job_argument(required=False)
def watch(options: GlobalOptions, job: str | None) -> None:
    """On a terminal the lines are rewritten; elsewhere there is one line per change. It changes nothing."""
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        chosen = store_access.job_or_newest(reads, job)
        sandbox = reads.meta().sandbox
    console.say_banner(options, sandbox=sandbox)
    _warn_if_idle(options, chosen, sandbox=sandbox)
    found = _followed(options, settings, chosen, follow.WaitLimits(), until=follow.is_over)
    if options.as_json:
        console.show_json(job_views.JobView.of(found))
    else:
        console.show(
            "\n".join(
                jobs_text.status_lines(found, status_text.BatchAges(), follow.api_clock_of(settings, sandbox=sandbox))
            )
        )


@command(WAIT_EXAMPLES)
@job_argument()
@click.option("--timeout", type=Duration(), help="Wait at most so long, such as 30s or 2h; then exit with 7.")
def wait(options: GlobalOptions, job: str, timeout: timedelta | None) -> int:
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        chosen = reads.find(job)
        sandbox = reads.meta().sandbox
    console.say_banner(options, sandbox=sandbox)
    _warn_if_idle(options, chosen, sandbox=sandbox)
    found = _followed(options, settings, chosen, follow.WaitLimits(timeout=timeout), until=_needs_no_waiting)
    if options.as_json:
        console.show_json(job_views.JobView.of(found))
    if found.job.state is states.JobState.PAUSED:
        raise follow.paused_error(found)
    if not options.as_json:
        console.say(options, f"{found.job.public_id} {status_text.sentence(found)}")
    return status_text.exit_code_of(found)


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
        follow.progress_for(options),
    )
    return run_async(lambda: follow.wait_for_job(sampler, lambda: (reader, None), progress, limits=limits, until=until))


def _needs_no_waiting(job: model.JobSnapshot) -> bool:
    """Over, or paused, so that only a person moves it on."""
    return follow.is_over(job) or job.state is states.JobState.PAUSED


def _warn_if_idle(options: GlobalOptions, job: model.JobSnapshot, *, sandbox: bool) -> None:
    if job.state not in states.OVER and not store_access.engine_is_running(options, options.settings()):
        works = console.engine_lines(options, job.public_id, sandbox=sandbox)
        console.say(options, f"no engine is running on this store: nothing moves until {works} does")
