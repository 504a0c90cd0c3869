"""`ls`, `status`, `watch`, `wait`: show jobs, at any time, whichever process owns the store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from orchestrator.cli.follow import StatusSampler, WaitLimits, api_clock_of, is_over, paused_error, wait_for_job
from orchestrator.cli.group import command
from orchestrator.cli.hints import engine_lines, pasteable
from orchestrator.cli.jobs_text import jobs_table, status_lines
from orchestrator.cli.options import Duration, GlobalOptions, job_argument
from orchestrator.cli.output import say, say_banner, show, show_banner, show_json
from orchestrator.cli.progress import progress_for
from orchestrator.cli.store_access import engine_is_running, job_or_newest, open_reads, reader_for
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.queries import ALL_JOBS, UNFINISHED, JobFilter
from orchestrator.domain.states import OVER, JobState
from orchestrator.views import status_text
from orchestrator.views.job_views import JobView

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.config import Settings
    from orchestrator.domain.model import JobStatus

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

Ctrl-C stops watching; the job does not mind.
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
    where = JobFilter(states=UNFINISHED if unfinished else frozenset(), tags=frozenset(tags))
    with open_reads(options, settings) as reads:
        sandbox = reads.meta().sandbox
        jobs = reads.jobs(limit=limit + 1, where=where)
        statuses = [reads.status(job) for job in jobs[:limit]]
    has_more = len(jobs) > limit
    if options.as_json:
        show_json({"jobs": [JobView.of(status) for status in statuses], "has_more": has_more, "sandbox": sandbox})
        return
    show_banner(options, sandbox=sandbox)
    if not statuses:
        makes = pasteable(options, "orchestrator run INPUT", sandbox=sandbox)
        show("no jobs" if where != ALL_JOBS else f"no jobs yet: `{makes}` makes one")
        return
    show(jobs_table(statuses, api_clock_of(settings, sandbox=sandbox)))
    if has_more:
        say(options, f"there are more: --limit {limit * 4} shows them")


@command(STATUS_EXAMPLES)
@job_argument(required=False)
def status(options: GlobalOptions, job: str | None) -> None:
    """How far it is, how old what is at the API is, and whether a person is needed. Works at any time."""
    settings = options.settings()
    with open_reads(options, settings) as reads:
        chosen = job_or_newest(reads, job)
        found = reads.status(chosen)
        ages = status_text.BatchAges() if options.as_json else status_text.read_ages(reads, chosen.id)
        others = [each for each in reads.unfinished() if each.id != chosen.id] if job is None else []
    if options.as_json:
        show_json(JobView.of(found))
        return
    show_banner(options, sandbox=found.sandbox)
    show("\n".join(status_lines(found, ages, api_clock_of(settings, sandbox=found.sandbox))))
    if chosen.state not in OVER and not engine_is_running(options, settings):
        works = engine_lines(options, chosen.public_id, sandbox=found.sandbox)
        say(options, f"no engine is running on this store; {works} goes on")
    if others:
        say(options, f"{len(others)} more not over: {pasteable(options, 'orchestrator ls --unfinished')}")


@command(WATCH_EXAMPLES)
@job_argument(required=False)
def watch(options: GlobalOptions, job: str | None) -> None:
    """On a terminal the lines are rewritten; elsewhere there is one line per change. It only looks."""
    settings = options.settings()
    with open_reads(options, settings) as reads:
        chosen = job_or_newest(reads, job)
        sandbox = reads.meta().sandbox
    say_banner(options, sandbox=sandbox)
    _warn_if_idle(options, chosen, sandbox=sandbox)
    found = _followed(options, settings, chosen, WaitLimits(), until=is_over)
    if options.as_json:
        show_json(JobView.of(found))
    else:
        show("\n".join(status_lines(found, status_text.BatchAges(), api_clock_of(settings, sandbox=sandbox))))


@command(WAIT_EXAMPLES)
@job_argument()
@click.option("--timeout", type=Duration(), help="Wait at most so long, such as 30s or 2h; then exit with 7.")
def wait(options: GlobalOptions, job: str, timeout: timedelta | None) -> int:
    settings = options.settings()
    with open_reads(options, settings) as reads:
        chosen = reads.find(job)
        sandbox = reads.meta().sandbox
    say_banner(options, sandbox=sandbox)
    _warn_if_idle(options, chosen, sandbox=sandbox)
    found = _followed(options, settings, chosen, WaitLimits(timeout=timeout), until=_needs_no_waiting)
    if options.as_json:
        show_json(JobView.of(found))
    if found.job.state is JobState.PAUSED:
        raise paused_error(found)
    if not options.as_json:
        say(options, f"{found.job.public_id} {status_text.sentence(found)}")
    return status_text.exit_code_of(found)


def _followed(
    options: GlobalOptions,
    settings: Settings,
    job: JobSnapshot,
    limits: WaitLimits,
    *,
    until: Callable[[JobSnapshot], bool],
) -> JobStatus:
    """Show the progress of *job* until *until* holds; its last status."""
    from orchestrator.cli.run_async import run_async

    sampler, reader, progress = StatusSampler(job.id, settings), reader_for(options, settings), progress_for(options)
    return run_async(lambda: wait_for_job(sampler, lambda: (reader, None), progress, limits=limits, until=until))


def _needs_no_waiting(job: JobSnapshot) -> bool:
    """Over, or paused, so that only a person moves it on."""
    return is_over(job) or job.state is JobState.PAUSED


def _warn_if_idle(options: GlobalOptions, job: JobSnapshot, *, sandbox: bool) -> None:
    if job.state not in OVER and not engine_is_running(options, options.settings()):
        works = engine_lines(options, job.public_id, sandbox=sandbox)
        say(options, f"no engine is running on this store: nothing moves until {works} does")
