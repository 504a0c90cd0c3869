"""`orchestrator`: the root of all commands, and the one place where a command's end becomes an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

import click

from orchestrator.cli.command_errors import Stopped, report_error
from orchestrator.cli.group import COMMANDS, LazyGroup
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.stdio import prepare_stdio, redirect_to_null
from orchestrator.domain.errors import OutputNotWritten

PROGRAM: Final = "orchestrator"
COMPLETE_VARIABLE: Final = "_ORCHESTRATOR_COMPLETE"

#: What a command ends with, for people.
EXIT_CODES: Final = {
    "0": "everything asked for happened; for run and wait: every request succeeded",
    "1": "finished, but some requests failed, expired or were canceled; the results are written",
    "2": "usage, settings or input file wrong; nothing was stored or sent",
    "3": "a person is needed: credentials, permission, billing, spend limit, a paused job",
    "4": "no such job, batch or request; no price for a model",
    "5": "refused by a guard: a cost that nobody confirmed, a cap that is reached, a store whose owner does not answer",
    "6": "the API, or the server of --server, never answered; the work is safe",
    "7": "--timeout reached; the job goes on with its engine, or with the next run",
    "8": "the database file: locked, newer, damaged, disk full, removed or replaced",
    "9": "everything is done and stored, but the output could not be written; ask for it again",
    "70": "a bug in orchestrator (`-v -v` shows it); everything stored is safe",
    "71": "out of memory; everything stored is safe",
    "130": "interrupted, 143 terminated; everything is safe",
}

EXAMPLES = """
JOB is an id, a unique prefix of one, a name, or @last. Of several jobs of one name the newest is shown; a command that
changes something refuses such a name and lists them.

Examples:
  orchestrator run reviews.jsonl --sandbox        try it: no key, no network, no cost
  orchestrator run reviews.jsonl                  the real thing; Ctrl-C and run it again at any time
  orchestrator status                             how the newest unfinished job is doing
  orchestrator errors @last                       what went wrong, by cause
  orchestrator ls --server https://jobs.example.com --token-file FILE
                                                  the same for a daemon elsewhere, as every command that can

Exit codes:
"""
EXAMPLES += "".join(f"  {code:<4} {meaning}\n" for code, meaning in EXIT_CODES.items())


@click.group(
    PROGRAM,
    cls=LazyGroup,
    entries=COMMANDS,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Run any number of requests through the Message Batches API.

    Kill it at any instant and start it again: no request is lost, none is paid for twice.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command in *argv* (default: this process's) and end the process with its exit code.

    The interpreter's own shutdown is skipped: with the SDK's three thousand modules it takes 0.2 s of every run
    (measured), and everything that had to be closed is closed by now.
    """
    prepare_stdio()
    code = run(sys.argv[1:] if argv is None else argv)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, OutputNotWritten):  # nobody is left to read it
            stream.flush()
    os._exit(code)


def run(argv: Sequence[str]) -> int:
    """Run the command in *argv*; its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background job keeps ignoring Ctrl-C
            signal.signal(number, _stop)
    options = GlobalOptions(argv=tuple(argv))
    try:
        code = _invoke(list(argv), options)
        sys.stdout.flush()
    except BrokenPipeError:
        return _quiet_pipe()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last word on every error
        return _reported(error, options)
    return code


def _invoke(argv: list[str], options: GlobalOptions) -> int:
    """Click's own `main` would turn a broken pipe into exit code 1 before we see it, so it only completes words."""
    if COMPLETE_VARIABLE in os.environ:
        cli.main(args=argv, prog_name=PROGRAM, obj=options)
    try:
        with cli.make_context(PROGRAM, argv, obj=options) as ctx:
            code = cli.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0 if code is None else int(code)


def _reported(error: BaseException, options: GlobalOptions) -> int:
    try:
        return report_error(error, tracebacks=options.verbose >= 2, options=options)
    except BrokenPipeError:
        return _quiet_pipe()


def _quiet_pipe() -> int:
    """Whoever read our output went away, as `head` does; that is no error, and nobody is left to tell."""
    redirect_to_null(sys.stdout.fileno())  # else the interpreter complains when it flushes at the end
    return 0


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
