"""`pause`, `cancel`, `retry`, `batches adopt`, `batches disown`: by the running engine, else directly on the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import click

from orchestrator.api_side import check_network
from orchestrator.cli import choice_words, command_errors, console, input_options, job_files, jobs_text, store_access
from orchestrator.cli.change_options import change_options
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions, JobRef, Word, job_argument
from orchestrator.config import Settings
from orchestrator.domain import errors, humanize, ids, job_spec, model, queries, result_outcome, states
from orchestrator.domain.param_change import ParamChange
from orchestrator.domain.result_choice import INVALID
from orchestrator.ports.engine import Commands
from orchestrator.ports.reads import RemoteReader, RemoteReads
from orchestrator.views import guarded_source
from orchestrator.views.job_views import JobView, does_not_apply
from orchestrator.views.retry_views import change_words

_STOPPED = frozenset({states.JobState.CANCELING, states.JobState.CANCELED})
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
  orchestrator retry reviews --only overloaded_error    one error type, as `orchestrator errors` names it
  orchestrator retry reviews --cause 'betas: Extra inputs are not permitted' --drop betas
  orchestrator retry reviews --only max_tokens --grow   answers that were cut, with twice the max_tokens
  orchestrator retry reviews --only refusal --set model=claude-opus-4-8
  orchestrator retry reviews --only invalid_request_error --drop temperature --set max_tokens=8192
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

    async def act(commands: Commands, reader: RemoteReader) -> tuple[bool, model.JobStatus]:
        return await commands.pause(found.id), await reader.read(store_access.status_of(found.id))

    (did_apply, now), _ = store_access.run_command(options, settings, act)
    if not did_apply and now.job.state is not states.JobState.PAUSED:
        raise does_not_apply("pause", now.job)
    again = console.resume_line(options, found.public_id, None, sandbox=now.sandbox)
    _tell(options, now, f"{found.public_id} is paused{'' if did_apply else ' already'}; `{again}` goes on")


@command(CANCEL_EXAMPLES)
@job_argument()
def cancel(options: GlobalOptions, job: str) -> None:
    settings, found = _find(options, job)

    async def act(commands: Commands, reader: RemoteReader) -> tuple[bool, model.JobStatus]:
        return await commands.cancel(found.id), await reader.read(store_access.status_of(found.id))

    (did_apply, now), has_engine = store_access.run_command(options, settings, act)
    if not did_apply and now.job.state not in _STOPPED:
        raise does_not_apply("cancel", now.job)
    state = "canceled" if now.job.state is states.JobState.CANCELED else "being canceled"
    _tell(options, now, f"{found.public_id} is {state}{'' if did_apply else ' already'}; what has succeeded is kept")
    if not has_engine and now.job.state is states.JobState.CANCELING:
        console.say(
            options, "no engine is running: the next one (serve, run or resume) asks the API to stop its batches"
        )


@command(RETRY_EXAMPLES)
@job_argument()
@click.option(
    "--only",
    metavar="TYPE",
    type=Word(("failed", "canceled", INVALID, *sorted(result_outcome.RETRIED_STOPS))),
    multiple=True,
    help="Only requests that are so: failed, canceled, invalid, an error type, or a stop reason: refusal, max_tokens.",
)
@click.option("--cause", metavar="TEXT", multiple=True, help="Only failures of this cause, as `errors` words it.")
@change_options
def retry(
    options: GlobalOptions, job: str, only: tuple[str, ...], cause: tuple[str, ...], *, change: ParamChange
) -> None:
    """Without --only and --cause: what failed or was canceled. Each may be given several times. Answers that ended by
    a stop reason were paid for: they are asked for anew, and what the old ones cost stays in the sums. A VALUE is
    JSON, or else a text. What was handed in is kept: `orchestrator show` has both.
    """
    settings, found = _find(options, job)
    with store_access.open_reads(options, settings) as reads:
        choice_words.refuse_unknown(reads, reads.status(found), only, undone="queued")
        choice_words.refuse_unknown_causes(reads, found, cause)

    async def act(commands: Commands, reader: RemoteReader) -> _Retried:
        before = await reader.read(store_access.status_of(found.id))
        queued = await commands.retry(found.id, only, change, cause)
        groups = [] if queued or not only else await reader.read(_error_groups(found.id))
        return _Retried(
            queued=queued, before=before, now=await reader.read(store_access.status_of(found.id)), groups=groups
        )

    done, has_engine = store_access.run_command(options, settings, act)
    if done.queued and any(matter.kind in result_outcome.MAY_BE_PAID_FOR for matter in done.before.attention):
        console.say(
            options, "some of these may have been paid for once: their results came, in a form that could not be used"
        )
    if options.as_json:
        console.show_json({"queued": done.queued, "job": JobView.of(done.now)})
    else:
        console.show(f"{found.public_id}: {humanize.count(done.queued, 'request')} queued again{change_words(change)}")
    _tell_paid(options, only, done)
    if not done.queued and only:
        console.say(options, jobs_text.failure_types(done.groups))
    if done.queued and not has_engine:
        console.say(options, f"no engine is running; to go on: {console.resume_line(options, found.public_id, None)}")


@command(ADOPT_EXAMPLES)
@click.argument("remote_id", metavar="ID")
@click.argument("path", metavar="[INPUT]", required=False, type=click.Path(allow_dash=True))
@click.option("--job", type=JobRef(), metavar="JOB", help="The job whose requests it was made of.")
@input_options.header_options
def adopt(
    options: GlobalOptions,
    remote_id: str,
    path: str | None,
    job: str | None,
    job_options: job_spec.JobOptions,
) -> None:
    """ID is the API's (msgbatch_...)."""
    settings = options.settings()
    if path is not None and job is not None:
        raise HintedUsageError("INPUT and --job exclude each other", hint="name the file, or a job that was made of it")
    if path is not None and job_files.is_job_file(path):
        hint = "name a file of requests; or `submit` the job file while no engine runs, and adopt with --job"
        raise HintedUsageError("a batch is not adopted for a job file", hint=hint)
    sandbox = store_access.is_sandbox_store(options)
    console.say_banner(options, sandbox=sandbox)
    if not sandbox and not store_access.is_done_elsewhere(options, settings):
        console.say_api_address(options, settings, sandbox=False)
        check_network(settings)
    if path is not None:
        sentence = _adopt_file(
            options, settings, remote_id, input_options.InputOptions(paths=(path,), job_options=job_options)
        )
    else:
        found = None if job is None else _find(options, job)[1].id
        with command_errors.explaining_api_errors():
            sentence, _ = store_access.run_command(
                options, settings, lambda commands, _: commands.adopt(remote_id, found)
            )
    _say_done(options, sentence, sandbox=sandbox)


def _adopt_file(options: GlobalOptions, settings: Settings, remote_id: str, chosen: input_options.InputOptions) -> str:
    """Make a job of the file and give it the batch, while no engine could plan the job first."""
    if store_access.engine_is_running(options, settings):
        raise errors.GuardRefused(
            "a file can be adopted for only while no engine runs: it would send the requests again at once",
            hint="stop the engine, adopt, and start it again",
        )
    source, new, terms = chosen.source(settings), chosen.new_job(settings), chosen.terms()

    async def act(commands: Commands, reader: RemoteReader) -> str:
        async def refuse(content_hash: str, sent: job_spec.NewJob) -> None:
            job = guarded_source.attached_to(await guarded_source.living_jobs(reader), content_hash, sent, terms)
            if job is not None and job.trial is not None:  # all of it, handed in again, would have the rest sent
                why = f"job {job.public_id} of this file is a trial; nothing was changed"
                raise errors.GuardRefused(why, hint=f"`batches adopt {remote_id} --job {job.public_id}`")

        guarded = guarded_source.GuardedSource(source, new, refuse, skip_bad=terms.skip_bad)
        taken = await commands.ingest(guarded, new, terms)
        if taken.job is None:
            for line in input_options.problems_as_text(source.name, taken.problems, taken.problem_count):
                click.echo(line, err=True)
            raise input_options.refused_input(source.name, taken, may_skip=False)
        try:
            return await commands.adopt(remote_id, taken.job.id)
        except BaseException:
            if not taken.attached:  # else the next engine would send, and buy, the requests of this file
                await commands.cancel(taken.job.id)
            raise

    with command_errors.explaining_api_errors():
        return store_access.run_command(options, settings, act)[0]


@command(DISOWN_EXAMPLES)
@click.argument("remote_id", metavar="ID")
def disown(options: GlobalOptions, remote_id: str) -> None:
    """ID is the one at the API (msgbatch_…), as `status` and `batches ls` show it."""
    sandbox = store_access.is_sandbox_store(options)
    console.say_banner(options, sandbox=sandbox)
    sentence, _ = store_access.run_command(options, options.settings(), lambda commands, _: commands.disown(remote_id))
    _say_done(options, sentence, sandbox=sandbox)


def _find(options: GlobalOptions, ref: str) -> tuple[Settings, model.JobSnapshot]:
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        sandbox = reads.meta().sandbox
        found = reads.sole(ref)
    console.say_banner(options, sandbox=sandbox)
    if found.state is states.JobState.IMPORTING:
        raise errors.GuardRefused(f"job {found.public_id} is still being read in", hint="try again in a moment")
    return settings, found


def _tell_paid(options: GlobalOptions, only: Sequence[str], done: _Retried) -> None:
    """Say how many answers there were for what is queued again."""
    stops = result_outcome.RETRIED_STOPS & set(only)
    count = sum(done.before.stop_reasons.get(stop, 0) - done.now.stop_reasons.get(stop, 0) for stop in stops)
    if done.queued and count > 0:
        was, it = ("was", "it") if count == 1 else ("were", "they")
        told = f"{humanize.count(count, 'answer')} that {was} paid for will be replaced"
        console.say(options, f"{told}; what {it} cost stays in the job's cost")


class _Retried(NamedTuple):
    """What a retry queued, the job before and after it, and, if nothing was queued, the causes of its failures."""

    queued: int
    before: model.JobStatus
    now: model.JobStatus
    groups: list[queries.ErrorGroup]


def _error_groups(job: ids.JobId) -> Callable[[RemoteReads], list[queries.ErrorGroup]]:
    return lambda reads: reads.errors(job, groups=_MANY_GROUPS, examples=0)


def _tell(options: GlobalOptions, status: model.JobStatus, sentence: str) -> None:
    if options.as_json:
        console.show_json(JobView.of(status))
    else:
        console.show(sentence)


def _say_done(options: GlobalOptions, sentence: str, *, sandbox: bool) -> None:
    if options.as_json:
        console.show_json({"done": sentence, "sandbox": sandbox})
    else:
        console.show(sentence)
