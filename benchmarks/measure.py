"""What a whole process costs, by the operating system's own books; and the local API that both sides of a run talk to.

Keep the process that measures small: Linux counts what the parent held at the fork into the child's peak memory. Work
in this process (a store, a big list) belongs into a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: The program, beside the interpreter that runs this.
PROGRAM: Final = str(Path(sys.executable).with_name("orchestrator"))
#: Variables that would change what a child does.
_UNSET: Final = ("ANTHROPIC_", "ORCHESTRATOR_", "CLAUDE_")

_TICKS: Final = os.sysconf("SC_CLK_TCK")

#: What is being measured now.
_running: Final[set[subprocess.Popen[bytes]]] = set()


class CommandFailed(RuntimeError):
    """A measured command ended with another exit code than 0, or not in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run of a process: seconds, seconds of user and system CPU, bytes of peak memory, how it ended."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    exit_code: int = 0


def run(command: Sequence[str], *, env: Mapping[str, str], timeout_s: float = 3600.0, check: bool = True) -> Cost:
    """Run *command* with *env* on top of ours (without what concerns the API or the program) and wait for its end.

    Its children count if it waits for them. Its output is thrown away; stderr is shown if it fails. Past *timeout_s* it
    is killed, exit code -9. check: raise CommandFailed unless the exit code is 0.
    """
    with tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = start(command, env=env, stderr=errors.fileno())
        alarm = threading.Timer(timeout_s, kill, (process,))
        alarm.start()
        try:
            cost = ended(process, started)
        finally:
            alarm.cancel()
        if check and cost.exit_code != 0:
            errors.seek(0)
            said = errors.read()[-4000:].decode(errors="replace")
            raise CommandFailed(f"exit {cost.exit_code} after {cost.wall_s:.1f} s: {' '.join(command)}\n{said}")
    return cost


def start(
    command: Sequence[str], *, env: Mapping[str, str], stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start *command* with *env* on top of a clean environment; `ended` takes its figures."""
    process = subprocess.Popen(
        command,
        env={**clean_env(), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd=ROOT,
    )
    _running.add(process)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, and nothing else: `Popen.kill` may take the figures that `ended` waits for."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[bytes], started: float) -> Cost:
    """Wait for *process*, which was started at *started* (monotonic), and ask the system what it took."""
    _, status, usage = os.wait4(process.pid, 0)
    _running.discard(process)
    wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        exit_code=process.returncode,
    )


def clean_env() -> dict[str, str]:
    """Our environment without what would change a client: keys, base URLs, settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_UNSET)}


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure; the exit code is the worst."""
    return Cost(
        wall_s=statistics.median(cost.wall_s for cost in costs),
        cpu_s=statistics.median(cost.cpu_s for cost in costs),
        peak_bytes=int(statistics.median(cost.peak_bytes for cost in costs)),
        exit_code=max((cost.exit_code for cost in costs), key=abs),
    )


def taking_turns(sides: Mapping[str, Callable[[], Cost]], *, rounds: int, warm_ups: int = 1) -> dict[str, Cost]:
    """The median cost of each side. They take turns, so that all see the same machine; the warm-ups do not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for turn in range(rounds + warm_ups):
        for name, side in sides.items():
            cost = side()
            if turn >= warm_ups:
                costs[name].append(cost)
    return {name: median(found) for name, found in costs.items()}


def figures(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, float]:
    """What a module of the harness measured in a process of its own: it prints one JSON object.

    Raises CommandFailed.
    """
    command = [sys.executable, "-m", module, *arguments]
    whole_env = {**clean_env(), **({} if env is None else env)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=whole_env) as process:
        _running.add(process)
        said, _ = process.communicate()
        _running.discard(process)
    if process.returncode != 0:
        raise CommandFailed(f"exit {process.returncode}: {' '.join(command)}")
    found: dict[str, float] = json.loads(said)
    return found


@contextmanager
def api(
    *, reply_bytes: int = 600, reply: str | None = None, in_flight_for_s: float = 0.0, port: int = 0
) -> Iterator[str]:
    """The local API as a process of its own, new and empty; gives its base URL. See `benchmarks/server.py`."""
    command = [sys.executable, "-m", "benchmarks.server", "--reply-bytes", str(reply_bytes), "--port", str(port)]
    command += ["--in-flight-for", str(in_flight_for_s)]
    command += [] if reply is None else ["--reply", reply]
    env = {**clean_env(), "MALLOC_ARENA_MAX": "1"}  # a body that is done with goes back at once
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env) as process:
        leaving = threading.Event()
        threading.Thread(target=_watch, args=(process, leaving), daemon=True).start()
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            leaving.set()
            process.kill()


def _watch(process: subprocess.Popen[str], leaving: threading.Event) -> None:
    """Should the API die before its time: say so and end what is measured, which would wait for it for hours."""
    code = process.wait()
    if not leaving.is_set():
        print(f"the local API has ended by itself: exit {code}", file=sys.stderr)
        for waiting in list(_running):
            kill(waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What the local API was asked since it started, or since `forget_calls`."""

    count: Mapping[str, int]  #: by route, such as "GET /v1/messages/batches/{id}"
    first_s: float | None  #: when the first call came, by CLOCK_MONOTONIC


def calls(base_url: str) -> Calls:
    """Ask the local API what it was asked."""
    with urllib.request.urlopen(f"{base_url}/calls", timeout=30) as answer:  # noqa: S310 - our own URL
        said = json.load(answer)
    return Calls(count=said["calls"], first_s=said["first_s"])


def forget_calls(base_url: str) -> None:
    """Start the API's count of calls again."""
    asked = urllib.request.Request(f"{base_url}/calls", method="DELETE")  # noqa: S310 - our own URL
    urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310


def end_batches(base_url: str) -> None:
    """Let every batch at the local API end now."""
    asked = urllib.request.Request(f"{base_url}/end", method="POST")  # noqa: S310 - our own URL
    urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310


def client_env(base_url: str) -> dict[str, str]:
    """What any client of the SDK needs to talk to the local API."""
    return {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "benchmark"}


def cpu_s_of(pid: int, *, reaped: bool = False) -> float:
    """User and system time of a living process, in hundredths of a second (proc(5), stat).

    reaped: with that of its children that have ended, and of theirs.
    """
    fields = stat_of(pid)
    return sum(int(ticks) for ticks in fields[11 : 15 if reaped else 13]) / _TICKS


def stat_of(pid: int) -> list[str]:
    """What Linux says of a living process, from its state on: the second field is its parent."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def own_peak_bytes() -> int:
    """The peak memory of this process: a child's figure below it says nothing."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
