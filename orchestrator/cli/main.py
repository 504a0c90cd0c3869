"""`orchestrator`: the table of all commands, and the one place where a command's end becomes an exit code."""

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

from orchestrator.cli.errors import Stopped, reported
from orchestrator.cli.group import Entry, LazyGroup
from orchestrator.cli.options import Ask, common
from orchestrator.cli.stdio import prepare, silence
from orchestrator.domain.errors import OutputNotWritten

PROGRAM: Final = "orchestrator"
COMPLETE_VARIABLE: Final = "_ORCHESTRATOR_COMPLETE"
_WORK, _LOOK, _STEER, _TOOLS = "Work", "Look", "Steer", "Tools"


def _entry(name: str, title: str, help_line: str, *, module: str | None = None) -> Entry:
    where = name if module is None else module
    return Entry(module=f"orchestrator.cli.commands.{where}", attribute=name, help=help_line, title=title)


#: Every command, in the order of the help. The lines are repeated in the commands themselves; a test compares them.
COMMANDS: Final = {
    "run": _entry("run", _WORK, "Submit, wait and write the results; run it again to go on."),
    "submit": _entry("submit", _WORK, "Store a job, print its id and return."),
    "serve": _entry("serve", _WORK, "Run the engine for every job until it is stopped."),
    "check": _entry("check", _WORK, "Validate an input and show the plan; sends and stores nothing."),
    "ls": _entry("ls", _LOOK, "List the jobs, the newest first.", module="jobs"),
    "status": _entry("status", _LOOK, "Show one job.", module="jobs"),
    "watch": _entry("watch", _LOOK, "Show one job live until it is over.", module="jobs"),
    "wait": _entry("wait", _LOOK, "Wait until a job is over; the exit code says how it ended.", module="jobs"),
    "results": _entry("results", _LOOK, "Write a job's results, in input order."),
    "errors": _entry("errors", _LOOK, "Show a job's failures, grouped by cause.", module="results"),
    "pause": _entry(
        "pause", _STEER, "Send nothing new for a job; what is in flight is still collected.", module="steer"
    ),
    "resume": _entry("resume", _STEER, "Go on with a job.", module="run"),
    "cancel": _entry("cancel", _STEER, "Stop a job for good; what has succeeded is kept.", module="steer"),
    "retry": _entry("retry", _STEER, "Queue failed and canceled requests again.", module="steer"),
    "batches": _entry("batches", _STEER, "Compare the batches at the API with ours; adopt or disown one."),
    "webhooks": _entry("webhooks", _STEER, "Show, test and repeat the notices to other programs."),
    "doctor": _entry("doctor", _TOOLS, "Check key, API, clock, store, disk and limits, each with a remedy."),
    "login": _entry("login", _TOOLS, "Print a link that opens the dashboard of the daemon, once."),
    "health": _entry("health", _TOOLS, "Ask the engine of this store, or of a server, whether it is ready."),
    "config": _entry("config", _TOOLS, "Show the settings that hold, or write a file to start from."),
    "service": _entry("service", _TOOLS, "Print a unit file, or make a token for the HTTP API."),
    "db": _entry("db", _TOOLS, "Back up, check, prune, compact, adopt or migrate the store's file."),
    "sandbox": _entry("sandbox", _TOOLS, "Serve the local API on a port, for any client."),
    "completion": _entry("completion", _TOOLS, "Print the completion script for a shell."),
}

EXAMPLES: Final = """
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
  0    everything asked for happened; for run and wait: every request succeeded
  1    finished, but some requests failed, expired or were canceled; the results are written
  2    usage, settings or input file wrong; nothing was stored or sent
  3    a person is needed: credentials, permission, billing, spend limit, a paused job
  4    no such job, batch or request
  5    refused by a guard, such as an engine that owns the store and does not answer
  6    the API, or the server of --server, never answered; the work is safe
  7    --timeout reached; the job goes on with its engine, or with the next run
  8    the database file: locked, newer, damaged, disk full
  9    everything is done and stored, but the output could not be written
  70   a bug in orchestrator
  71   out of memory; everything stored is safe
  130  interrupted, 143 terminated; everything is safe
"""


@click.group(
    PROGRAM,
    cls=LazyGroup,
    entries=COMMANDS,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common
def cli() -> None:
    """Run any number of requests through the Message Batches API.

    Kill it at any instant and start it again: no request is lost, none is paid for twice.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command in *argv* (default: this process's) and end the process with its exit code.

    The interpreter is not taken apart: with the SDK's three thousand modules that takes 0.2 s of every run (measured),
    and whatever had to be closed is closed by now.
    """
    prepare()
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
    ask = Ask(argv=tuple(argv))
    try:
        code = _invoke(list(argv), ask)
        sys.stdout.flush()
    except BrokenPipeError:
        return _quiet_pipe()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last word on every error
        return _reported(error, ask)
    return code


def _invoke(argv: list[str], ask: Ask) -> int:
    """Click's own `main` would turn a broken pipe into exit code 1 before we see it, so it only completes words."""
    if COMPLETE_VARIABLE in os.environ:
        cli.main(args=argv, prog_name=PROGRAM, obj=ask)
    try:
        with cli.make_context(PROGRAM, argv, obj=ask) as ctx:
            code = cli.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0 if code is None else int(code)


def _reported(error: BaseException, ask: Ask) -> int:
    try:
        return reported(error, tracebacks=ask.verbose >= 2, ask=ask)
    except BrokenPipeError:
        return _quiet_pipe()


def _quiet_pipe() -> int:
    """Whoever read our output went away, as `head` does; that is no error, and nobody is left to tell."""
    silence(sys.stdout.fileno())  # else the interpreter complains when it flushes at the end
    return 0


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
