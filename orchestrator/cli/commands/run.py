"""`run` and `resume`: work on a job until it is over, or follow the engine that does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import (
    console,
    follow,
    input_options,
    jobs_text,
    output_files,
    signals,
    store_access,
)
from orchestrator.cli.command_errors import Stopped
from orchestrator.cli.commands.submit import describe_stop, submit_job
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.job_files import input_argument
from orchestrator.cli.job_run import JobRun, OutputChoice
from orchestrator.cli.options import Duration, GlobalOptions, job_argument
from orchestrator.cli.shape_options import ShapeChoice, with_shape
from orchestrator.domain import humanize, model, states
from orchestrator.domain.answer_table import OutputShape
from orchestrator.views import job_views, status_text

if TYPE_CHECKING:
    from orchestrator.client.results_file import Output
    from orchestrator.config import Settings
    from orchestrator.ports.engine import Commands
    from orchestrator.ports.reads import RemoteReader

RUN_EXAMPLES = """
INPUT is JSON Lines, one request per line, also .gz and .zst; - is standard input:
  {"custom_id": "r1", "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [...]}}
Several files are one input, in their order: shard-*.jsonl.
With -p it is a table, and each row becomes a request: CSV, TSV, JSON, Parquet, text, a folder or several files.
FILE.toml is a job file: it has these options under their long names, and the input; the command line is stronger.

Examples:
  orchestrator run reviews.jsonl --sandbox             try it: no key, no network, no cost
  orchestrator run reviews.jsonl -o answers.jsonl      results in input order, written when all is done
  orchestrator run reviews.jsonl -o answers.csv        a table: the rows of the input, each with its answer
  orchestrator run reviews.jsonl                       again: goes on, or writes the same results again
  orchestrator run reviews.jsonl --max-cost 10         no more than $10, whatever happens
  orchestrator run reviews.jsonl --limit 10            a trial: the first 10; the same without it buys only the rest
  orchestrator run reviews.jsonl --pilot 100           100 of them first, to tell what the others will cost
  orchestrator run old.jsonl --api-version 2023-06-01  by this version, whatever the requests need
  make-requests | orchestrator run - > answers.jsonl
  orchestrator run reviews.csv -p 'Classify: {{ text }}' -m claude-haiku-4-5 --id-column id
  orchestrator run reviews.csv -p '{{ text }}' -m claude-haiku-4-5 --schema 'label, score float'     answers are JSON
  orchestrator run prompts/ -p '{{ text }}' -m claude-haiku-4-5
  orchestrator run job.toml                            a job file: all of it in one file; `orchestrator init` writes one
  orchestrator run reviews.jsonl --sandbox --crash-test     it kills itself, goes on, and shows that nothing was
                                                            lost or paid for twice; with a store of its own

--crash-test --json: of each life, killed_at names the instant, and where says it in words; batches (by state) and
settled (requests) are what the store held then; cut_off are the batches whose POST had no answer yet, each with
whether it was found at the API later.

Ctrl-C once detaches: everything is safe, and the same command goes on. Ctrl-C twice ends at once, which is safe, too.
What may cost more than [budget] confirm_above ($5) is asked about first; without a terminal it needs --yes.
--max-cost is never exceeded: what may be billed is reserved before it is sent. When it is reached the results so far
are written; the same command with more, or `orchestrator budget set`, goes on.
--pilot sends some requests first, drawn by lot: then their results are written, and a person is asked (--yes: nobody).
Without a terminal the job waits, with exit code 3 and what the others are expected to cost; `orchestrator resume` sends
them.
--limit and --sample are trials: all of the input is handed in, and only those requests are sent. Then their results
are written, and the exit code is that of these; the job waits until the same command is given without, with a larger
--limit (which buys only what is missing), or `orchestrator resume` lets it go on.
If a job is paused for a person (credit, key, ...), fix the cause and give the same command again.

Exit codes: 0 all succeeded, 1 some did not, 2 wrong input, 3 a person is needed, 5 not confirmed, or a cap is reached,
6 the API never answered, 7 --timeout (the job goes on with its engine, or with the next run), 9 all is done, but not
written to FILE.
"""

RESUME_EXAMPLES = """
Examples:
  orchestrator resume reviews                     un-pauses it; without a running engine, works on it here until the end
  orchestrator resume @last -o answers.jsonl      the same, and writes the results
  orchestrator resume reviews --detach            only un-pauses it

Ctrl-C detaches; everything is safe. Exit codes are those of run.
"""

_LARGE_BYTES = 50_000_000


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


no_wait_option = click.option(
    "--no-wait-budget", "no_wait", is_flag=True, help="End with 5 where a budget of a day or month is to be waited for."
)


@command(RUN_EXAMPLES)
@input_argument
@click.option("-o", "--output", metavar="FILE", help="Where the results go; - is stdout.  [default: JOB.results.jsonl]")
@output_files.overwrite_option
@with_shape()
@click.option("--detach", is_flag=True, help="Store the job and leave the rest to `orchestrator serve`.")
@click.option("--crash-test", is_flag=True, help="With --sandbox: kill it (SIGKILL) again and again, and audit it.")
@timeout_option
@silence_option
@no_wait_option
@input_options.job_input_options
def run(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    chosen: input_options.InputOptions,
    output: str | None,
    overwrite: bool,
    shaped: ShapeChoice,
    detach: bool,
    crash_test: bool,
    timeout: timedelta | None,
    silence: timedelta,
    no_wait: bool,
) -> int:
    """It can be killed at any instant and given again: no request is lost, none is paid for twice. The same input is
    the same job. A file that is not this job's earlier output is never replaced, unless by --overwrite.
    """
    if crash_test:
        from orchestrator.cli.crash_test.processes import run_crash_test  # it loads the sandbox

        refused = {"--detach": detach, "--timeout": timeout is not None, "--db": options.db is not None}
        refused |= {"--server": options.server is not None, "a trial": chosen.is_trial}
        refused["-o of a table or text"] = shaped.shape(output or "") != OutputShape()
        named = [name for name, is_there in refused.items() if is_there]
        return run_crash_test(options, chosen, output, silence, overwrite=overwrite, refused=named)
    if detach:
        if output is not None or overwrite or any(shaped.words()):
            raise HintedUsageError(
                "--detach writes no results", hint="`orchestrator results JOB -o FILE` writes them, later"
            )
        submit_job(options, chosen)
        return 0
    limits = follow.WaitLimits(timeout=timeout, silence=silence, for_budgets=not no_wait)
    return _run(options, chosen, OutputChoice(output, overwrite, shaped), limits)


def _run(
    options: GlobalOptions, chosen: input_options.InputOptions, wish: OutputChoice, limits: follow.WaitLimits
) -> int:
    settings = options.settings()
    chosen.source(settings)  # a template that is none is told before anything is opened
    place = _output(options, chosen, wish)
    store_access.configure_log(options, settings)
    console.say_banner(options, sandbox=store_access.is_sandbox_store(options))
    api = (
        None
        if store_access.is_done_elsewhere(options, settings)
        else console.say_api_address(options, settings, sandbox=options.sandbox)
    )
    _say_reading(options, chosen)
    running = JobRun(options, settings, limits, place, wish)
    is_repeatable = not chosen.new and chosen.path != input_options.STDIN

    def describe(stopped: Stopped) -> None:
        if running.resume_line is None and running.has_work:
            stopped.hint = console.same_line(options)
            return
        describe_stop(
            options,
            stopped,
            console.same_line(options) if running.resume_line and is_repeatable else running.resume_line,
            running.left,
        )

    status = signals.run_async(lambda: running.run_input(chosen), describe)
    go_on = running.resume_line
    if is_repeatable and not chosen.is_trial_of_file:
        go_on = console.same_line(options, without=input_options.TRIAL_FLAGS)
    return _finish(options, status, running.path, api, str(go_on))


@command(RESUME_EXAMPLES)
@job_argument()
@click.option("-o", "--output", metavar="FILE", help="Write the results there at the end; - is stdout.")
@output_files.overwrite_option
@with_shape()
@click.option("--detach", is_flag=True, help="Only un-pause it.")
@timeout_option
@silence_option
@no_wait_option
def resume(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    job: str,
    output: str | None,
    overwrite: bool,
    shaped: ShapeChoice,
    detach: bool,
    timeout: timedelta | None,
    silence: timedelta,
    no_wait: bool,
) -> int:
    """A paused job is un-paused. If no engine runs, this command works on it until it is over, like run."""
    settings = options.settings()
    with store_access.open_reads(options, settings) as reads:
        found = reads.sole(job)
        sandbox = reads.meta().sandbox
    console.say_banner(options, sandbox=sandbox)
    if output is None and any(shaped.words()):
        raise HintedUsageError("no results are written", hint="name a file: -o FILE")
    wish = OutputChoice(output, overwrite, shaped)
    place = None if output is None else wish.checked(options, output)
    if place is not None:
        signals.run_async(
            lambda: place.refuse_foreign(store_access.reader_for(options, settings), found.id), signals.nothing_changed
        )
    if detach or (output is None and store_access.engine_is_running(options, settings)):
        return _unpause(options, settings, found)
    store_access.configure_log(options, settings)
    api = (
        None
        if store_access.is_done_elsewhere(options, settings)
        else console.say_api_address(options, settings, sandbox=sandbox)
    )
    limits = follow.WaitLimits(timeout=timeout, silence=silence, for_budgets=not no_wait)
    running = JobRun(options, settings, limits, place, wish)
    again = console.resume_line(options, found.public_id, output, more=shaped.words(), sandbox=sandbox)
    running.resume_line = again
    status = signals.run_async(
        lambda: running.resume_job(found), lambda stopped: describe_stop(options, stopped, again, running.left)
    )
    return _finish(options, status, running.path, api, again)


def _output(options: GlobalOptions, chosen: input_options.InputOptions, wish: OutputChoice) -> Output | None:
    """Where the results of *chosen* go, refused now if they could not be written there; None: by the job's own name."""
    if wish.output is None and chosen.path != input_options.STDIN:
        # Is this a folder to write to?
        wish._replace(overwrite=True).checked(options, wish.shaped.default_name(chosen.stem))
        return None
    output = wish.checked(options, input_options.STDIN if wish.output is None else wish.output)
    output_files.refuse_the_input(chosen, output.path)
    return output


def _say_reading(options: GlobalOptions, chosen: input_options.InputOptions) -> None:
    """Reading a large input takes a while; say so before, not after."""
    files = [Path(path) for path in chosen.paths if path != input_options.STDIN and Path(path).is_file()]
    total = sum(file.stat().st_size for file in files)
    if total > _LARGE_BYTES:
        what = chosen.path if len(files) == 1 else humanize.count(len(files), "file")
        console.say(options, f"reading {humanize.plain(what)}, {humanize.size(total)} ...")


def _finish(options: GlobalOptions, status: model.JobStatus, output: str | None, api: str | None, go_on: str) -> int:
    """Say how it ended. go_on: the command that sends the rest after a trial."""
    if status.job.is_tried:
        jobs_text.say_trial(options, status, output, follow.rest_words(status.job), go_on)
    else:
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
