"""`pause`, `cancel`, `retry`, `batches adopt`, `batches disown`: run by the engine that runs, else on the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import click

from orchestrator.api_side import check_network
from orchestrator.cli.api_errors import explaining_api_errors, say_api_address
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.hints import resume_line
from orchestrator.cli.input_options import InputOptions, header_options, problems_as_text, refused_input
from orchestrator.cli.options import GlobalOptions, JobRef, job_argument
from orchestrator.cli.output import say, say_banner, show, show_json
from orchestrator.cli.store_access import engine_is_running, is_sandbox_store, open_reads, run_command, status_of
from orchestrator.config import Settings
from orchestrator.domain import humanize
from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import JobOptions
from orchestrator.domain.model import JobSnapshot, JobStatus
from orchestrator.domain.queries import ErrorGroup
from orchestrator.domain.result_outcome import MAY_BE_PAID_FOR
from orchestrator.domain.states import JobState
from orchestrator.ports.engine import Commands
from orchestrator.ports.reads import RemoteReader, RemoteReads
from orchestrator.views.job_views import JobView, does_not_apply

_STOPPED = frozenset({JobState.CANCELING, JobState.CANCELED})
_MANY_GROUPS = 10_000

PAUSE_EXAMPLES = """
Examples:
  orchestrator pause reviews
  orchestrator resume reviews
"""

CANCEL_EXAMPLES = """
Results that are there stay: orchestrator results JOB.  What was canceled can be queued again: orchestrator retry JOB.

Examples:
  orchestrator cancel @last

Without a running engine the job is only marked; the next engine (serve, run, resume) asks the API to stop its batches.
"""

RETRY_EXAMPLES = """
Examples:
  orchestrator retry reviews                            every request that failed or was canceled
  orchestrator retry reviews --only overloaded_error    one cause, as `orchestrator errors` names it
"""

ADOPT_EXAMPLES = """
Examples:
  orchestrator batches adopt msgbatch_013Zva2CMHLNnXjNJJ
      it is the batch in doubt that it was a candidate for
  orchestrator batches adopt msgbatch_013Zva2CMHLNnXjNJJ requests.jsonl
      it was made elsewhere, from exactly the requests of this file with the same custom_ids: a new job collects it
  orchestrator batches adopt msgbatch_013Zva2CMHLNnXjNJJ --job reviews
      the same for a job of which nothing was planned yet
"""

DISOWN_EXAMPLES = """
Examples:
  orchestrator batches disown msgbatch_013Zva2CMHLNnXjNJJ
      the batch in doubt no longer waits for it; if it was ours after all, its requests are paid for twice
"""


@command(PAUSE_EXAMPLES)
@job_argument()
def pause(options: GlobalOptions, job: str) -> None:
    settings, found = _find(options, job)

    async def act(commands: Commands, reader: RemoteReader) -> tuple[bool, JobStatus]:
        return await commands.pause(found.id), await reader.read(status_of(found.id))

    (did_apply, now), _ = run_command(options, settings, act)
    if not did_apply and now.job.state is not JobState.PAUSED:
        raise does_not_apply("pause", now.job)
    again = resume_line(options, found.public_id, None, sandbox=now.sandbox)
    _tell(options, now, f"{found.public_id} is paused{'' if did_apply else ' already'}; `{again}` goes on")


@command(CANCEL_EXAMPLES)
@job_argument()
def cancel(options: GlobalOptions, job: str) -> None:
    settings, found = _find(options, job)

    async def act(commands: Commands, reader: RemoteReader) -> tuple[bool, JobStatus]:
        return await commands.cancel(found.id), await reader.read(status_of(found.id))

    (did_apply, now), has_engine = run_command(options, settings, act)
    if not did_apply and now.job.state not in _STOPPED:
        raise does_not_apply("cancel", now.job)
    state = "canceled" if now.job.state is JobState.CANCELED else "being canceled"
    _tell(options, now, f"{found.public_id} is {state}{'' if did_apply else ' already'}; what has succeeded is kept")
    if not has_engine and now.job.state is JobState.CANCELING:
        say(options, "no engine is running: the next one (serve, run or resume) asks the API to stop its batches")


@command(RETRY_EXAMPLES)
@job_argument()
@click.option("--only", metavar="TYPE", help="Only requests that failed with this error type.")
def retry(options: GlobalOptions, job: str, only: str | None) -> None:
    settings, found = _find(options, job)

    async def act(commands: Commands, reader: RemoteReader) -> _Retried:
        before = await reader.read(status_of(found.id))
        queued = await commands.retry(found.id, only)
        groups = [] if queued or only is None else await reader.read(_error_groups(found.id))
        return _Retried(queued=queued, before=before, now=await reader.read(status_of(found.id)), groups=groups)

    done, has_engine = run_command(options, settings, act)
    if done.queued and any(matter.kind in MAY_BE_PAID_FOR for matter in done.before.attention):
        say(options, "some of these may have been paid for once: their results came, in a form that could not be used")
    if options.as_json:
        show_json({"queued": done.queued, "job": JobView.of(done.now)})
    else:
        show(f"{found.public_id}: {humanize.count(done.queued, 'request')} queued again")
    if not done.queued and only is not None:
        say(options, _types(done.groups))
    if done.queued and not has_engine:
        say(options, f"no engine is running; to go on: {resume_line(options, found.public_id, None)}")


@command(ADOPT_EXAMPLES)
@click.argument("remote_id", metavar="ID")
@click.argument("path", metavar="[INPUT]", required=False, type=click.Path(allow_dash=True))
@click.option("--job", type=JobRef(), metavar="JOB", help="The job whose requests it was made of.")
@header_options
def adopt(
    options: GlobalOptions,
    remote_id: str,
    path: str | None,
    job: str | None,
    job_options: JobOptions,
) -> None:
    """ID is the API's (msgbatch_...)."""
    settings = options.settings()
    if path is not None and job is not None:
        raise HintedUsageError("INPUT and --job exclude each other", hint="name the file, or a job that was made of it")
    sandbox = is_sandbox_store(options)
    say_banner(options, sandbox=sandbox)
    if not sandbox and not engine_is_running(options, settings):
        say_api_address(options, settings, sandbox=False)
        check_network(settings)
    if path is not None:
        sentence = _adopt_file(options, settings, remote_id, InputOptions(path=path, job_options=job_options))
    else:
        found = None if job is None else _find(options, job)[1].id
        with explaining_api_errors():
            sentence, _ = run_command(options, settings, lambda commands, _: commands.adopt(remote_id, found))
    _say_done(options, sentence, sandbox=sandbox)


def _adopt_file(options: GlobalOptions, settings: Settings, remote_id: str, chosen: InputOptions) -> str:
    """Make a job of the file and give it the batch, while no engine could plan the job first."""
    if engine_is_running(options, settings):
        raise GuardRefused(
            "a file can be adopted for only while no engine runs: it would send the requests again at once",
            hint="stop the engine, adopt, and start it again",
        )
    source = chosen.source(settings)

    async def act(commands: Commands, _reader: RemoteReader) -> str:
        taken = await commands.ingest(source, chosen.new_job(settings), chosen.terms())
        if taken.job is None:
            for line in problems_as_text(source.name, taken.problems, taken.problem_count):
                click.echo(line, err=True)
            raise refused_input(source.name, taken, may_skip=False)
        try:
            return await commands.adopt(remote_id, taken.job.id)
        except BaseException:
            if not taken.attached:  # else the next engine would send, and buy, the requests of this file
                await commands.cancel(taken.job.id)
            raise

    with explaining_api_errors():
        return run_command(options, settings, act)[0]


@command(DISOWN_EXAMPLES)
@click.argument("remote_id", metavar="ID")
def disown(options: GlobalOptions, remote_id: str) -> None:
    """ID is the API's (msgbatch_...)."""
    sandbox = is_sandbox_store(options)
    say_banner(options, sandbox=sandbox)
    sentence, _ = run_command(options, options.settings(), lambda commands, _: commands.disown(remote_id))
    _say_done(options, sentence, sandbox=sandbox)


def _find(options: GlobalOptions, ref: str) -> tuple[Settings, JobSnapshot]:
    settings = options.settings()
    with open_reads(options, settings) as reads:
        sandbox = reads.meta().sandbox
        found = reads.sole(ref)
    say_banner(options, sandbox=sandbox)
    if found.state is JobState.IMPORTING:
        raise GuardRefused(f"job {found.public_id} is still being read in", hint="try again in a moment")
    return settings, found


class _Retried(NamedTuple):
    """What a retry queued, the job before and after it, and, if nothing was queued, the causes of its failures."""

    queued: int
    before: JobStatus
    now: JobStatus
    groups: list[ErrorGroup]


def _error_groups(job: JobId) -> Callable[[RemoteReads], list[ErrorGroup]]:
    return lambda reads: reads.errors(job, groups=_MANY_GROUPS, examples=0)


def _types(groups: Sequence[ErrorGroup]) -> str:
    """Which error types `--only` could name."""
    if not groups:
        return "no request of it has failed"
    types = dict.fromkeys(group.error_type for group in groups)
    return (
        f"its failures are of {'this type' if len(types) == 1 else 'these types'}: {humanize.plain(', '.join(types))}"
    )


def _tell(options: GlobalOptions, status: JobStatus, sentence: str) -> None:
    if options.as_json:
        show_json(JobView.of(status))
    else:
        show(sentence)


def _say_done(options: GlobalOptions, sentence: str, *, sandbox: bool) -> None:
    if options.as_json:
        show_json({"done": sentence, "sandbox": sandbox})
    else:
        show(sentence)
