"""`run` and `resume`: work on a job until it is over, or follow the engine that does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from orchestrator.cli import console, follow, input_options, jobs_text, output_files, signals, store_access
from orchestrator.cli.command_errors import Stopped
from orchestrator.cli.commands.submit import describe_stop, job_of_ingest, submit_job
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import Duration, GlobalOptions, job_argument
from orchestrator.domain import errors, humanize, ids, model, states
from orchestrator.views import job_views, status_text

if TYPE_CHECKING:
    from orchestrator.client.results_file import Output
    from orchestrator.client.session import Session
    from orchestrator.config import Settings
    from orchestrator.ports.engine import Commands
    from orchestrator.ports.reads import RemoteReader

RUN_EXAMPLES = """
INPUT is JSON Lines, one request per line, also .gz and .zst; - is standard input:
  {"custom_id": "r1", "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [...]}}

Examples:
  orchestrator run reviews.jsonl --sandbox             try it: no key, no network, no cost
  orchestrator run reviews.jsonl -o answers.jsonl      results in input order, written when all is done
  orchestrator run reviews.jsonl                       again: goes on, or writes the same results again
  orchestrator run old.jsonl --api-version 2023-06-01  parameters that newer versions refuse
  make-requests | orchestrator run - > answers.jsonl
  orchestrator run reviews.jsonl --sandbox --crash-test     it kills itself, goes on, and shows that nothing was
                                                            lost or paid for twice; with a store of its own

--crash-test --json: of each life, killed_at names the instant, and where says it in words; batches (by state) and
settled (requests) are what the store held then; cut_off are the batches whose POST had no answer yet, each with
whether it was found at the API later.

Ctrl-C once detaches: everything is safe, and the same command goes on. Ctrl-C twice ends at once, which is safe, too.
If a job is paused for a person (credit, key, ...), fix the cause and give the same command again.

Exit codes: 0 all succeeded, 1 some did not, 2 wrong input, 3 a person is needed, 6 the API never answered,
7 --timeout (the job goes on with its engine, or with the next run), 9 all is done, but not written to FILE.
"""

RESUME_EXAMPLES = """
Examples:
  orchestrator resume reviews                     un-pauses it; without a running engine, works on it here until the end
  orchestrator resume @last -o answers.jsonl      the same, and writes the results
  orchestrator resume reviews --detach            only un-pauses it

Ctrl-C detaches; everything is safe. Exit codes are those of run.
"""

_LARGE_BYTES = 50_000_000


class OutputChoice(NamedTuple):
    """Where the results go, if it was said. overwrite: even if another file lies there."""

    output: str | None
    overwrite: bool


timeout_option = click.option(
    "--timeout", type=Duration(), help="Detach after so long, such as 30m; the exit code is 7."
)
silence_option = click.option(
    "--give-up-after",
    "silence",
    type=Duration(),
    default="60s",
    show_default=True,
    help="End with 6 if no API call ever worked for so long.",
)


@command(RUN_EXAMPLES)
@click.option("-o", "--output", metavar="FILE", help="Where the results go; - is stdout.  [default: JOB.results.jsonl]")
@output_files.overwrite_option
@click.option("--detach", is_flag=True, help="Store the job and leave the rest to `orchestrator serve`.")
@click.option("--crash-test", is_flag=True, help="With --sandbox: kill it (SIGKILL) again and again, and audit it.")
@timeout_option
@silence_option
@input_options.job_input_options
def run(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    chosen: input_options.InputOptions,
    output: str | None,
    overwrite: bool,
    detach: bool,
    crash_test: bool,
    timeout: timedelta | None,
    silence: timedelta,
) -> int:
    """It can be killed at any instant and given again: no request is lost, none is paid for twice. The same input is
    the same job. A file that is not this job's earlier output is never replaced, unless by --overwrite.
    """
    if crash_test:
        from orchestrator.cli.crash_test.processes import run_crash_test  # it loads the sandbox

        refused = {"--detach": detach, "--timeout": timeout is not None, "--db": options.db is not None}
        refused["--server"] = options.server is not None
        named = [name for name, is_there in refused.items() if is_there]
        return run_crash_test(options, chosen, output, silence, overwrite=overwrite, refused=named)
    if detach:
        if output is not None or overwrite:
            raise HintedUsageError(
                "--detach writes no results", hint="`orchestrator results JOB -o FILE` writes them, later"
            )
        submit_job(options, chosen)
        return 0
    return _run(options, chosen, OutputChoice(output, overwrite), follow.WaitLimits(timeout=timeout, silence=silence))


def _run(
    options: GlobalOptions, chosen: input_options.InputOptions, wish: OutputChoice, limits: follow.WaitLimits
) -> int:
    settings = options.settings()
    place = _output(options, chosen, wish)
    store_access.configure_log(options, settings)
    console.say_banner(options, sandbox=store_access.is_sandbox_store(options))
    api = (
        None
        if store_access.engine_is_running(options, settings)
        else console.say_api_address(options, settings, sandbox=options.sandbox)
    )
    _say_reading(options, chosen.path)
    running = _Running(options, settings, limits, place, overwrite=wish.overwrite)

    def describe(stopped: Stopped) -> None:
        is_repeatable = not chosen.new and chosen.path != input_options.STDIN
        describe_stop(
            options,
            stopped,
            console.same_line(options) if running.resume_line and is_repeatable else running.resume_line,
        )

    status = signals.run_async(lambda: running.run_input(chosen), describe)
    return _finish(options, status, running.path, api)


@command(RESUME_EXAMPLES)
@job_argument()
@click.option("-o", "--output", metavar="FILE", help="Write the results there at the end; - is stdout.")
@output_files.overwrite_option
@click.option("--detach", is_flag=True, help="Only un-pause it.")
@timeout_option
@silence_option
def resume(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    job: str,
    output: str | None,
    overwrite: bool,
    detach: bool,
    timeout: timedelta | None,
    silence: timedelta,
) -> int:
    """A paused job is un-paused. If no engine runs, this command works on it until it is over, like run."""
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        found = reads.sole(job)
        sandbox = reads.meta().sandbox
    console.say_banner(options, sandbox=sandbox)
    place = None if output is None else output_files.checked_output(options, output, overwrite=overwrite)
    if place is not None:
        signals.run_async(
            lambda: place.refuse_foreign(store_access.reader_for(options, settings), found.id), signals.nothing_changed
        )
    if detach or (output is None and store_access.engine_is_running(options, settings)):
        return _unpause(options, settings, found)
    store_access.configure_log(options, settings)
    api = (
        None
        if store_access.engine_is_running(options, settings)
        else console.say_api_address(options, settings, sandbox=sandbox)
    )
    running = _Running(
        options, settings, follow.WaitLimits(timeout=timeout, silence=silence), place, overwrite=overwrite
    )
    again = console.resume_line(options, found.public_id, output, sandbox=sandbox)
    status = signals.run_async(
        lambda: running.resume_job(found), lambda stopped: describe_stop(options, stopped, again)
    )
    return _finish(options, status, running.path, api)


class _Running:
    """One `run` or `resume`. output: where the results go; None: nowhere, or for an input by the job's own name."""

    def __init__(
        self,
        options: GlobalOptions,
        settings: Settings,
        limits: follow.WaitLimits,
        output: Output | None,
        *,
        overwrite: bool,
    ) -> None:
        self._options, self._settings = options, settings
        self._limits = limits
        self._output = output
        self._overwrite = overwrite
        self._refused = 0  # lines that were left out of the input
        self.resume_line: str | None = None  #: how to go on, once there is a job

    @property
    def path(self) -> str | None:
        """Where the results go, if that is known yet."""
        return None if self._output is None else self._output.path

    async def run_input(self, chosen: input_options.InputOptions) -> model.JobStatus:
        """Ingest the input, or find the job that it is already, and follow it until its results are written."""
        async with store_access.open_session(self._options, self._settings) as session:
            job = await self._take_in(session, chosen)
            unwritten = await self._write_refused(session, chosen, job)
            status = await self._stay(session, job.id)
            if unwritten is not None:
                raise unwritten
            return status

    async def resume_job(self, job: model.JobSnapshot) -> model.JobStatus:
        """Resume *job* and follow it until its results are written."""
        async with store_access.open_session(self._options, self._settings) as session:
            return await self._stay(session, job.id)

    async def _take_in(self, session: Session, chosen: input_options.InputOptions) -> model.JobSnapshot:
        """The job that the input became or was.

        Raises OutputError if another job's file is at the output; nothing is stored then.
        """
        source, new, terms = chosen.source(self._settings), chosen.new_job(self._settings), chosen.terms()
        engine = session.handle
        checked = (
            source if self._output is None else output_files.guard_output(source, self._output, new, terms, engine.bulk)
        )
        taken = await engine.commands.ingest(checked, new, terms)
        job, self._refused = job_of_ingest(taken, source.name, chosen), taken.refused
        if self._output is None:
            self._output = output_files.checked_output(
                self._options, output_files.default_output_path(job), overwrite=self._overwrite
            )
        self.resume_line = console.resume_line(self._options, job.public_id, self.path)
        await self._output.refuse_foreign(engine.bulk, job.id)
        jobs_text.say_taken_in(self._options, source.name, source.size_bytes, taken)
        return job

    async def _write_refused(
        self, session: Session, chosen: input_options.InputOptions, job: model.JobSnapshot
    ) -> errors.OutputError | None:
        """Write the lines that were left out; the error if that failed, to be raised when the work is done."""
        if not self._refused:
            return None
        place = output_files.refused_path(chosen, self.path)
        try:
            await output_files.write_refused(
                self._options, session.handle.reader, job, place, overwrite=self._overwrite
            )
        except errors.OutputError as exc:
            return exc
        return None

    async def _stay(self, session: Session, key: ids.JobId) -> model.JobStatus:
        job = await session.handle.reader.read(lambda reads: reads.get(key))
        if not session.handle.is_local:
            owner = (
                "another process runs the engine on this store"
                if self._options.server is None
                else "the server runs it"
            )
            console.say(self._options, f"{owner}: it does the work, this one watches")
        if job.state is states.JobState.PAUSED and await session.handle.commands.resume(key):
            console.say(self._options, f"it was paused ({humanize.plain(follow.short_reason(job))}); resuming it")
        sampler, progress = follow.StatusSampler(key, self._settings), follow.progress_for(self._options)
        status = await follow.wait_for_job(
            sampler, lambda: (session.handle.reader, session.handle.health), progress, limits=self._limits
        )
        if self._output is not None:
            with output_files.writing_to(self._output.path, console.results_line(self._options, status)):
                await self._output.write(session.handle.bulk, key)
        return status


def _output(options: GlobalOptions, chosen: input_options.InputOptions, wish: OutputChoice) -> Output | None:
    """Where the results of *chosen* go, refused now if they could not be written there; None: by the job's own name."""
    if wish.output is None and chosen.path != input_options.STDIN:
        # Is this a folder to write to?
        output_files.checked_output(options, f"{chosen.stem}.results.jsonl", overwrite=True)
        return None
    output = output_files.checked_output(
        options, input_options.STDIN if wish.output is None else wish.output, overwrite=wish.overwrite
    )
    output_files.refuse_the_input(chosen, output.path)
    return output


def _say_reading(options: GlobalOptions, path: str) -> None:
    """Reading a large file takes a while; say so before, not after."""
    file = Path(path)
    if path != input_options.STDIN and file.is_file() and file.stat().st_size > _LARGE_BYTES:
        console.say(options, f"reading {humanize.plain(path)}, {humanize.size(file.stat().st_size)} ...")


def _finish(options: GlobalOptions, status: model.JobStatus, output: str | None, api: str | None) -> int:
    jobs_text.say_end(options, status, output)
    if options.as_json:
        console.show_json({**job_views.JobView.of(status).fields(), "output": output, "api": api})
    return status_text.exit_code_of(status)


def _unpause(options: GlobalOptions, settings: Settings, job: model.JobSnapshot) -> int:
    async def act(commands: Commands, reader: RemoteReader) -> tuple[bool, model.JobStatus]:
        did_apply = await commands.resume(job.id)
        return did_apply, await reader.read(store_access.status_of(job.id))

    (did_apply, status), has_engine = store_access.run_command(options, settings, act)
    if options.as_json:
        console.show_json(job_views.JobView.of(status))
    elif did_apply:
        console.show(f"{job.public_id} goes on" + ("" if has_engine else " with the next engine"))
    elif status.job.state is states.JobState.RUNNING:
        console.show(f"{job.public_id} is running already")
    else:
        console.show(f"{job.public_id} is not paused: {status_text.sentence(status)}")
    if not has_engine and status.job.state not in states.OVER:
        works = console.engine_lines(options, job.public_id, sandbox=status.sandbox)
        console.say(options, f"no engine is running: {works} works on it")
    return 0
