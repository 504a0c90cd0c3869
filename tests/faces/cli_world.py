"""What the tests of the command line share: the real program in a home of its own, on the sandbox."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.forked import DEVNULL, PIPE, ROOT, Process, run, start

#: Batches end within milliseconds; looks are close together.
FAST: Final = {"ORCHESTRATOR_SANDBOX__SPEED": "100000", "ORCHESTRATOR_LIMITS__POLL_INTERVAL": "0.02s"}
#: Batches take minutes: longer than any test.
SLOW: Final = {"ORCHESTRATOR_SANDBOX__SPEED": "1", "ORCHESTRATOR_LIMITS__POLL_INTERVAL": "0.05s"}
#: Flags of a sandbox whose batches end at once, and whose prompt cache keeps for a real hour: at any pace of the test.
KEEPING: Final = ("--speed", "1", "--batch-time", "0s", "0s")
_PATIENCE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """Its stdout, read as one JSON object."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Program:
    """`orchestrator` in *folder*, with an environment that knows nothing of this machine."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.db = folder / "store.db"
        self._runtime = runtime

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a command."""
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "XDG_RUNTIME_DIR": str(self._runtime),
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "ORCHESTRATOR_DATABASE__PATH": str(self.db),
            **FAST,
        }
        return {**own, **({} if more is None else more)}

    def __call__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        given: bytes = b"",
        patience_s: float = _PATIENCE_S,
        is_fresh: bool = False,
        forks: bool = False,
    ) -> Done:
        """Run it to its end; *given* is its standard input. It fails if that takes longer than *patience_s*.

        is_fresh: in an interpreter of its own, forks: its own processes are forked, too; see `support.forked`.
        """
        ended = run(
            "orchestrator",
            *args,
            cwd=self.folder,
            env=self.env(env),
            given=given,
            timeout=patience_s,
            is_fresh=is_fresh,
            forks=forks,
        )
        done = Done(code=ended.returncode, out=ended.stdout.decode(), err=ended.stderr.decode())
        assert "Traceback" not in done.err, done.err
        return done

    @contextmanager
    def started(self, *args: str, env: Mapping[str, str] | None = None, is_fresh: bool = False) -> Iterator[Started]:
        """Run it beside the test; it is killed at the end if it still runs."""
        log = (self.folder / f"stderr-{time.monotonic_ns()}").open("w+b")
        process = start(
            "orchestrator",
            *args,
            cwd=self.folder,
            env=self.env(env),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=log,
            is_fresh=is_fresh,
        )
        try:
            yield Started(process, Path(log.name))
        finally:
            process.kill()
            process.communicate()
            log.close()


class Started:
    """A command that runs."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def err(self) -> str:
        """What it has said on stderr by now."""
        return self._log.read_text()

    def says(self, words: str) -> None:
        """Return once its stderr has *words*; fail if it ends before."""
        deadline = time.monotonic() + _PATIENCE_S
        while words not in self.err:
            assert self._process.poll() is None, f"it ended with {self._process.returncode}: {self.err}"
            assert time.monotonic() < deadline, f"it never said {words!r}: {self.err}"
            select_a_moment()

    def line(self) -> str:
        """The next line of its stdout."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def send(self, number: signal.Signals) -> None:
        """Send *number*."""
        self._process.send_signal(number)

    def signal(self, number: signal.Signals) -> Done:
        """Send *number* and wait for the end."""
        self._process.send_signal(number)
        return self.end()

    def end(self) -> Done:
        """Wait for the end."""
        out, _ = self._process.communicate(timeout=_PATIENCE_S)
        done = Done(code=self._process.wait(), out=out.decode(), err=self.err)
        assert "Traceback" not in done.err, done.err
        return done


def select_a_moment() -> None:
    """Let another process go on: the only kind of waiting that a test of processes needs, always for an event."""
    time.sleep(0.02)


def request(number: int, **params: object) -> dict[str, object]:
    """A small request that the sandbox answers."""
    plain = {
        "model": "claude-haiku-4-5",
        "max_tokens": 16,
        "messages": [{"role": "user", "content": f"question {number}"}],
    }
    return {"custom_id": f"r-{number}", "params": {**plain, **params}}


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> str:
    """Write *rows* as JSON Lines; gives the file's name."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def ids_in(path: Path) -> list[str]:
    """The custom_ids of a result file, in its order."""
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def results_in(folder: Path) -> Path:
    """The one file of results in *folder* that is called as its job is."""
    (found,) = folder.glob("*.results.jsonl")
    return found


@contextmanager
def program_in(folder: Path) -> Iterator[Program]:
    """A program with a home in *folder*; its sockets lie where their paths are short enough."""
    (folder / "home").mkdir()
    with tempfile.TemporaryDirectory(prefix="orc-") as runtime:
        yield Program(folder, Path(runtime))


@contextmanager
def sandbox_at(program: Program, *flags: str) -> Iterator[dict[str, str]]:
    """A sandbox server, and the environment of whoever uses it."""
    with program.started("sandbox", "--port", "0", "--speed", "100000", *flags) as server:
        url = server.line().partition("=")[2].strip()
        yield {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "sandbox"}
