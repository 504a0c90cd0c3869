"""`run --crash-test`: kills the same `run` again and again, lets it finish, and audits it by the sandbox's books.

Everything is real: each life is a process of its own on one store, killed by SIGKILL at an instant that the sandbox
inside it picks (`sandbox/crash_points`); the sandbox's journal outlives them all and is the witness. The store is a
fresh one in a temporary folder, so nothing of the user's is touched; it is kept only where something went wrong.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.api_side import CRASH_VARIABLE
from orchestrator.cli import command_errors, console, follow, input_options, jobs_text, output_files, signals
from orchestrator.cli.crash_test import crash_report
from orchestrator.cli.group import HintedUsageError
from orchestrator.client.results_file import foreign, is_device
from orchestrator.domain import errors, ids, model, states
from orchestrator.sandbox import CrashPoint
from orchestrator.sandbox.ledger import Audit, witness
from orchestrator.store.location import DirectReader, SqliteLocation

if TYPE_CHECKING:
    from datetime import timedelta

    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
    from orchestrator.ports.reads import Reads

#: So many batches where the input allows: each life that dies while it sends has one of its own to leave in doubt.
_BATCHES: Final = 8
#: Doubt waits 20 minutes of the API's time: half a second at this speed.
_SPEED: Final = 2400


#: Options of `run` that do not go with it, and why.
_REFUSED: Final = {
    "--detach": "it starts its own engines, and stays until the audit",
    "--timeout": "it ends by itself, after some 20 seconds where the input is small",
    "--server": "it kills its own engines, here",
    "--db": "it makes a store of its own, so that yours is not touched, and removes it",
    "-o of a table or text": "its audit reads JSON Lines",
}


class CrashTestFailed(errors.OrchestratorError):
    """The promise was broken, or the test could not be carried out: a bug of ours."""

    exit_code = command_errors.INTERNAL


def run_crash_test(
    options: GlobalOptions,
    chosen: input_options.InputOptions,
    output: str | None,
    silence: timedelta,
    *,
    overwrite: bool,
    refused: Sequence[str],
) -> int:
    """Check what was given, and run the test. refused: options that were given and do not go with it."""
    if not options.sandbox:
        raise HintedUsageError("--crash-test works with the local API only", hint="add --sandbox")
    if refused:
        hint = f"leave {refused[0]} out: {_REFUSED[refused[0]]}"
        raise HintedUsageError(f"--crash-test takes no {refused[0]}", hint=hint)
    if chosen.path == input_options.STDIN or Path(chosen.path).is_fifo():
        hint = "write it to a file, and name that"
        raise HintedUsageError("--crash-test reads its input again in every life", hint=hint)
    named = f"{chosen.stem}-crash-test-{secrets.token_hex(3)}.results.jsonl" if output is None else output
    place = output_files.checked_output(options, named, overwrite=overwrite)
    output_files.refuse_the_input(chosen, place.path)
    if place.path == input_options.STDIN or is_device(place.path):
        hint = "name a file: -o FILE"
        raise HintedUsageError("--crash-test reads the results again, and stdout is for its audit", hint=hint)
    if place.is_taken:
        raise foreign(place.path)  # its store is new, so whatever lies there is another job's
    return CrashTest(options=options, chosen=chosen, output=place.path, overwrite=overwrite, silence=silence).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashTest:
    """One crash test. output: a file, which is read again for the audit; overwrite: as for `run`."""

    options: GlobalOptions
    chosen: input_options.InputOptions
    output: str
    overwrite: bool
    silence: timedelta

    def run(self) -> int:
        """Kill, resume, finish, audit, report. The exit code is `run`'s own. Raises CrashTestFailed."""
        console.say_banner(self.options, sandbox=True)
        try:
            return self._run(self.options.settings())
        except command_errors.Stopped as stopped:
            stopped.fact, stopped.hint = command_errors.UNTOUCHED, console.same_line(self.options)
            raise

    def _run(self, settings: Settings) -> int:
        total = signals.run_async(lambda: crash_report.count(self.chosen, settings), signals.nothing_changed)
        with _folder() as folder:
            lives = _Lives(self, folder, _environment(folder / "store.db", total, settings))
            code = lives.live_all(_points(total))
            return code if lives.finished is None else self._report(lives, settings, code)

    def _report(self, lives: _Lives, settings: Settings, code: int) -> int:
        batches = lives.store.read_now(_batches)
        left_out = lives.store.read_now(crash_report.lines_left_out)
        if left_out:
            self._say_left_out(lives.store)
        seen = witness(SqliteLocation(lives.db).sandbox_journal)
        audit = Audit(seen.rows)
        books = signals.run_async(
            lambda: crash_report.books_of(audit, self.chosen, settings, self.output, left_out), signals.nothing_changed
        )
        if self.options.as_json:
            console.show_json(crash_report.view(lives.lives, batches, books, self.output))
        else:
            console.show(crash_report.table(lives.lives, batches))
            console.show(crash_report.sum_line(books))
        killed = tuple(life.point for life in lives.lives if life.point is not None)
        if seen.kills != killed:
            raise _failed("the lives did not end where they should have", lives.db, f"{seen.kills} instead of {killed}")
        if unmet := [crash_report.WHERE[point] for point in CrashPoint if point not in killed]:
            console.say(self.options, f"not met, the job was over before: {'; '.join(unmet)}")
        if not books.is_clean:
            raise _failed(f"a promise is broken: {crash_report.sum_line(books)}", lives.db)
        jobs_text.say_outcome(self.options, lives.lives[-1].status, self.output)
        return code

    def _say_left_out(self, store: DirectReader) -> None:
        """Say it as `run` does; the lives were quiet. It writes the file that they wrote once more."""
        job = store.read_now(crash_report.the_job)
        signals.run_async(
            lambda: output_files.write_refused(
                self.options, store, job, output_files.refused_path(self.chosen, self.output)
            ),
            signals.nothing_changed,
        )


class _Lives:
    """One life after the other on one store."""

    def __init__(self, test: CrashTest, folder: Path, env: dict[str, str]) -> None:
        self._test = test
        self._folder = folder
        self._env = env
        self.db = folder / "store.db"
        self.store = DirectReader(SqliteLocation(self.db))
        self.lives: list[crash_report.Life] = []
        self.finished: crash_report.Life | None = None

    def live_all(self, points: list[CrashPoint]) -> int:
        """A life for each of *points*, and one to the end, which gives the exit code.

        A life that ends by itself with another code than 0 and 1 has said why, and is the last. Raises CrashTestFailed.
        """
        for number, point in enumerate([*points, None], start=1):
            code = self._live(number, point)
            if code in {0, 1}:
                self._note(number, None)  # an input may be so small that a point is never met
                self.finished = self.lives[-1]
                return code
            if code != -signal.SIGKILL or point is None:
                return self._gone(number, code)
            self._note(number, point)
        raise AssertionError("the last life has no point to die at")

    def _live(self, number: int, point: CrashPoint | None) -> int:
        """One process; its exit code, negative for a signal."""
        env = {**self._env, **({} if point is None else {CRASH_VARIABLE: point})}
        with (
            self._log(number).open("wb") as log,
            subprocess.Popen(  # noqa: S603 - this very program, with words of our own
                _command(self._test),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if self._test.options.verbose else log,
            ) as process,
        ):
            try:
                return process.wait()
            finally:
                process.kill()  # if we are interrupted; what has ended is not killed

    def _note(self, number: int, point: CrashPoint | None) -> None:
        status, batches = self.store.read_now(
            lambda reads: (reads.status(crash_report.the_job(reads)), _batches(reads))
        )
        unclear = tuple(key for key, batch in batches.items() if batch.state is states.BatchState.SUBMITTING)
        self.lives.append(crash_report.Life(number=number, point=point, status=status, unclear=unclear))
        console.say(self._test.options, crash_report.life_line(self.lives[-1]))

    def _gone(self, number: int, code: int) -> int:
        """The exit code of a process that ended by itself. Raises CrashTestFailed for one that should not have.

        Raises NeedsPerson and ApiUnreachable in other words: the process's own name a store that is removed.
        """
        if code == errors.NeedsPerson.exit_code:
            raise _unfit(errors.NeedsPerson, self._reason())
        if code == command_errors.ApiUnreachable.exit_code:
            raise _unfit(command_errors.ApiUnreachable, "no call was answered within --give-up-after")
        if not self._test.options.verbose:
            click.echo(self._log(number).read_bytes(), err=True, nl=False)
        if code < 0 or code == command_errors.INTERNAL:
            raise _failed(f"life {number} ended with {code}, not at its crash point", self.db)
        return code

    def _reason(self) -> str:
        """Why the job is paused."""
        job = self.store.read_now(crash_report.the_job)
        return f"the job was paused ({job.reason_code}): {follow.reason_without_remedy(job)}"

    def _log(self, number: int) -> Path:
        return self._folder / f"life-{number}.log"


def _points(total: int) -> list[CrashPoint]:
    """Every point in its order; an input of one request has no second batch whose answer could be waited for."""
    return [point for point in CrashPoint if total > 1 or point is not CrashPoint.ANSWERED]


def _command(test: CrashTest) -> list[str]:
    """`run` as it was given, without what belongs to the crash test; the same for every life."""
    options, chosen = test.options, test.chosen
    args = ["run", "--sandbox", "-o", test.output]
    args += [f"--give-up-after={test.silence.total_seconds()}"]
    args += ["-q"] if options.verbose == 0 else ["-v"] * options.verbose
    args += [] if options.config is None else [f"--config={options.config}"]
    args += [f"--{param.replace('_', '-')}={text}" for param, text in chosen.job_options.items()]
    args += chosen.table.words()
    args += ["--skip-bad"] if chosen.skip_bad else []
    args += ["--overwrite"] if test.overwrite else []
    return [sys.executable, "-P", "-m", "orchestrator", *args, "--", *chosen.paths]


def _environment(db: Path, total: int, settings: Settings) -> dict[str, str]:
    """The user's environment, with its own store, one upload at a time, small batches and frequent polls."""
    import orchestrator

    code = Path(orchestrator.__file__).parent.parent
    most = max(1, -(-total // _BATCHES))
    if settings.batching.max_requests is not None:
        most = min(most, settings.batching.max_requests)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(code), os.environ.get("PYTHONPATH")))),
        "ORCHESTRATOR_DATABASE__PATH": str(db),
        "ORCHESTRATOR_DATABASE__URL": "",
        "ORCHESTRATOR_BATCHING__MAX_REQUESTS": str(most),
        "ORCHESTRATOR_LIMITS__MAX_UPLOADS": "1",
        "ORCHESTRATOR_LIMITS__POLL_INTERVAL": "0.1s",
        "ORCHESTRATOR_LIMITS__POLL_INTERVAL_MAX": "0.5s",
        "ORCHESTRATOR_SANDBOX__SPEED": str(_SPEED),
    }


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the store, removed at the end; after CrashTestFailed it is kept as evidence."""
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-crash-test-"))
    try:
        yield folder
    except CrashTestFailed:
        raise
    except BaseException:
        _remove(folder)
        raise
    _remove(folder)


def _remove(folder: Path) -> None:
    """The folder, and the socket that a killed life left."""
    socket = SqliteLocation(folder / "store.db").socket
    shutil.rmtree(folder, ignore_errors=True)
    socket.unlink(missing_ok=True)


def _unfit(kind: type[errors.OrchestratorError], cause: str) -> errors.OrchestratorError:
    """The error where faults of the sandbox let no job through, so that nothing can be tested."""
    hint = "take out the fault that stops it: `orchestrator config show --sandbox` tells where [sandbox] is set"
    return kind("the crash test needs a sandbox that works", cause=cause, hint=hint)


def _failed(message: str, db: Path, cause: str | None = None) -> CrashTestFailed:
    return CrashTestFailed(message, cause=cause, hint=f"this is a bug of ours: please report it; {db.parent} is kept")


def _batches(reads: Reads) -> dict[ids.BatchId, model.Batch]:
    return {batch.id: batch for batch in reads.batches(crash_report.the_job(reads).id)}
