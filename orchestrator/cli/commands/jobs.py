"""`ls`, `status`, `watch`, `wait`: looking at jobs, at any time, whoever owns the store."""

from __future__ import annotations

from datetime import timedelta

import click

from orchestrator.cli.follow import Looker, follow, is_over, needs_person, pulse_of
from orchestrator.cli.group import TeachingCommand
from orchestrator.cli.hints import pasteable
from orchestrator.cli.jobs_text import jobs_table, status_lines
from orchestrator.cli.options import Ask, Duration, common, job_argument
from orchestrator.cli.out import say, say_banner, show, show_banner, show_json
from orchestrator.cli.progress import progress_for
from orchestrator.cli.reading import chosen_job, engine_runs, reader_of, reading
from orchestrator.cli.summary import engine_lines
from orchestrator.domain.model import Job
from orchestrator.domain.states import OVER, JobState
from orchestrator.views import status_text
from orchestrator.views.job_views import job_view

LS_EXAMPLES = """
Examples:
  orchestrator ls
  orchestrator ls --unfinished
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


@click.command("ls", cls=TeachingCommand, examples=LS_EXAMPLES)
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most N jobs.")
@click.option("--unfinished", is_flag=True, help="Only jobs that are not over.")
@common
@click.pass_obj
def ls(ask: Ask, limit: int, unfinished: bool) -> None:
    """List the jobs, the newest first."""
    settings = ask.settings()
    with reading(ask, settings) as reads:
        sandbox = reads.meta().sandbox
        jobs = list(reversed(reads.unfinished())) if unfinished else reads.jobs(limit=limit + 1)
        statuses = [reads.status(job) for job in jobs[:limit]]
    has_more = len(jobs) > limit
    if ask.as_json:
        show_json({"jobs": [job_view(status) for status in statuses], "has_more": has_more, "sandbox": sandbox})
        return
    show_banner(ask, sandbox=sandbox)
    if not statuses:
        makes = pasteable(ask, "orchestrator run INPUT", sandbox=sandbox)
        show("no jobs" if unfinished else f"no jobs yet: `{makes}` makes one")
        return
    show(jobs_table(statuses, pulse_of(settings, sandbox=sandbox)))
    if has_more:
        say(ask, f"there are more: --limit {limit * 4} shows them")


@click.command("status", cls=TeachingCommand, examples=STATUS_EXAMPLES)
@job_argument(required=False)
@common
@click.pass_obj
def status(ask: Ask, job: str | None) -> None:
    """Show one job.

    How far it is, how old what is at the API is, and whether a person is needed. Works at any time.
    """
    settings = ask.settings()
    with reading(ask, settings) as reads:
        chosen = chosen_job(reads, job)
        found = reads.status(chosen)
        ages = status_text.Ages() if ask.as_json else status_text.read_ages(reads, chosen.id)
        others = [each for each in reads.unfinished() if each.id != chosen.id] if job is None else []
    if ask.as_json:
        show_json(job_view(found))
        return
    show_banner(ask, sandbox=found.sandbox)
    show("\n".join(status_lines(found, ages, pulse_of(settings, sandbox=found.sandbox))))
    if chosen.state not in OVER and not engine_runs(ask, settings):
        works = engine_lines(ask, chosen.public_id, sandbox=found.sandbox)
        say(ask, f"no engine is running on this store; {works} goes on")
    if others:
        say(ask, f"{len(others)} more not over: {pasteable(ask, 'orchestrator ls --unfinished')}")


@click.command("watch", cls=TeachingCommand, examples=WATCH_EXAMPLES)
@job_argument(required=False)
@common
@click.pass_obj
def watch(ask: Ask, job: str | None) -> None:
    """Show one job live until it is over.

    On a terminal the lines are rewritten; elsewhere there is one line per change. It only looks.
    """
    settings = ask.settings()
    with reading(ask, settings) as reads:
        chosen = chosen_job(reads, job)
        sandbox = reads.meta().sandbox
    say_banner(ask, sandbox=sandbox)
    _warn_if_idle(ask, chosen, sandbox=sandbox)
    reader = reader_of(ask, settings)
    found = follow(Looker(chosen.id, settings), reader, progress_for(ask), timeout=None, is_over=is_over)
    if ask.as_json:
        show_json(job_view(found))
    else:
        show("\n".join(status_lines(found, status_text.Ages(), pulse_of(settings, sandbox=sandbox))))


@click.command("wait", cls=TeachingCommand, examples=WAIT_EXAMPLES)
@job_argument()
@click.option("--timeout", type=Duration(), help="Wait at most so long, such as 30s or 2h; then exit with 7.")
@common
@click.pass_obj
def wait(ask: Ask, job: str, timeout: timedelta | None) -> int:
    """Wait until a job is over; the exit code says how it ended."""
    settings = ask.settings()
    with reading(ask, settings) as reads:
        chosen = reads.find(job)
        sandbox = reads.meta().sandbox
    say_banner(ask, sandbox=sandbox)
    _warn_if_idle(ask, chosen, sandbox=sandbox)
    reader = reader_of(ask, settings)
    found = follow(Looker(chosen.id, settings), reader, progress_for(ask), timeout=timeout, is_over=_waits_for_nobody)
    if ask.as_json:
        show_json(job_view(found))
    if found.job.state is JobState.PAUSED:
        raise needs_person(found)
    if not ask.as_json:
        say(ask, f"{found.job.public_id} {status_text.sentence(found)}")
    return status_text.exit_code_of(found)


def _waits_for_nobody(job: Job) -> bool:
    """Over, or paused: it would be waited for in vain."""
    return is_over(job) or job.state is JobState.PAUSED


def _warn_if_idle(ask: Ask, job: Job, *, sandbox: bool) -> None:
    if job.state not in OVER and not engine_runs(ask, ask.settings()):
        works = engine_lines(ask, job.public_id, sandbox=sandbox)
        say(ask, f"no engine is running on this store: nothing moves until {works} does")
