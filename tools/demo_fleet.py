"""`make demo-fleet`: three daemons on one PostgreSQL, one of which is killed; then the API's books are compared.

    PYTHONPATH=tests:. .venv/bin/python tools/demo_fleet.py [--requests 2000] [--keep]

Everything runs on loopback, in a folder of its own: a PostgreSQL server, the sandbox in place of the API, the daemons.
It needs PostgreSQL's programs (Debian: apt install postgresql); no server need run, and none that runs is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.postgres import NoPostgres, PostgresServer, join_server

from orchestrator.sandbox.ledger import Audit, AuditResult, witness

NAMES: Final = ("worker-1", "worker-2", "worker-3")
PROGRAM: Final = (sys.executable, "-m", "orchestrator")
#: An hour of the API is six seconds; a batch takes ten to sixty minutes of it, and is small, so that there are many.
SPEED: Final = "600"
SETTINGS: Final = {
    "ORCHESTRATOR_SANDBOX": "1",
    "ORCHESTRATOR_BATCHING__MAX_REQUESTS": "40",
    "ORCHESTRATOR_LIMITS__MAX_IN_FLIGHT_BATCHES": "12",
    "ORCHESTRATOR_FLEET__HEARTBEAT": "3s",
    "ORCHESTRATOR_LOG__FORMAT": "json",
}
PATIENCE_S: Final = 300.0
NO_POSTGRES: Final = "the fleet needs PostgreSQL's programs: sudo apt install postgresql"


class Trouble(Exception):
    """What keeps the demonstration from going on, for people."""


@dataclass(slots=True)
class Daemon:
    """A daemon and its log, which says what it did."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    _read: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> list[dict[str, Any]]:
        """Every event so far."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                if line.startswith(b"{"):
                    self.events.append(json.loads(line))
        return self.events

    def count(self, event: str) -> int:
        """How often *event* happened."""
        return sum(each["event"] == event for each in self.look())

    @property
    def stages(self) -> list[str]:
        """The stages that it holds now."""
        held: dict[str, bool] = {}
        for each in self.look():
            if each["event"] in {"stage.held", "stage.left", "stage.lost"}:
                held[each["stage"]] = each["event"] == "stage.held"
        return [stage for stage, is_held in held.items() if is_held]

    @property
    def sends(self) -> int | None:
        """The batch that it is sending, as far as its log says."""
        under_way: dict[int, None] = {}
        for each in self.look():
            if each["event"] == "batch.sending":
                under_way[each["batch_id"]] = None
            elif each["event"] == "batch.answered":
                under_way.pop(each["batch_id"], None)
        return next(iter(under_way), None)

    def __str__(self) -> str:
        """What it did, and what it holds, in a line."""
        sent, fetched = self.count("batch.sending"), self.count("batch.collected")
        return f"{self.name} sent {sent}, fetched {fetched}, holds {len(self.stages)}"


@dataclass(slots=True)
class Demo:
    """The parts: a folder, and what runs in it."""

    folder: Path
    url: str
    env: dict[str, str]
    begun: float = field(default_factory=time.monotonic)

    def say(self, head: str, text: str) -> None:
        """A line, with the time since the begin."""
        print(f"{time.monotonic() - self.begun:5.1f}s  {head:<13} {text}", flush=True)

    def run(self, *words: str) -> str:
        """What a command prints. Raises Trouble with its errors."""
        done = subprocess.run([*PROGRAM, *words], env=self.env, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            raise Trouble(f"orchestrator {words[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self, log: Path, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """A process that runs beside us."""
        with log.open("wb") as out:
            return subprocess.Popen([*PROGRAM, *words], env={**self.env, **more}, stdout=out, stderr=out)  # noqa: S603 - ours


def main(argv: Sequence[str] | None = None) -> int:
    """The demonstration; 0 if the books are clean."""
    asked = _options(argv)
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-fleet-"))
    server: PostgresServer | None = None
    try:
        server = join_server(folder / "postgres")
        return _show(folder, server, asked.requests)
    except NoPostgres as why:
        print(f"error: {NO_POSTGRES}\n  ({why})", file=sys.stderr)
    except Trouble as why:
        print(f"error: {why}\nwhat everybody said is in {folder}", file=sys.stderr)
        asked.keep = True
    finally:
        if server is not None:
            server.leave()
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, metavar="N", help="how many (2000)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with all logs there")
    return parser.parse_args(argv)


def _show(folder: Path, server: PostgresServer, requests: int) -> int:
    server.execute("CREATE DATABASE demo")
    demo = Demo(folder, server.url_of("demo"), _environment(folder))
    demo.say("PostgreSQL", demo.url)
    given = _write_requests(folder / "requests.jsonl", requests)
    with _sandbox(demo), _daemons(demo) as daemons:
        _await_daemons(demo, daemons)
        job = demo.run("submit", str(folder / "requests.jsonl"), "--db", demo.url).strip()
        demo.say("job", f"{job}: {requests:,} requests, at most 40 in a batch; 12 batches at the API at once")
        _await_settled(demo, job, daemons, requests // 4)
        _tell_fleet(demo)
        killed = _kill_busiest(demo, daemons)
        _await_settled(demo, job, daemons, requests)
        _tell_work(demo, daemons, killed)
        results = demo.run("results", job, "--db", demo.url).splitlines()
    return _audit(demo, given, results)


def _environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC", "ORCHESTRATOR", "PG"))}
    (folder / "run").mkdir(mode=0o700)
    return {**kept, **SETTINGS, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}


def _write_requests(path: Path, count: int) -> dict[str, str]:
    """The digest of each request's params, by its custom_id."""
    given = {}
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            message = {"role": "user", "content": f"What is special about the number {number}?"}
            params = json.dumps({"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [message]})
            given[f"number-{number}"] = hashlib.sha256(params.encode()).hexdigest()
            file.write(f'{{"custom_id": "number-{number}", "params": {params}}}\n')
    return given


@contextlib.contextmanager
def _sandbox(demo: Demo) -> Iterator[None]:
    log, journal = demo.folder / "sandbox.log", demo.folder / "books.jsonl"
    words = ("sandbox", "--port", "0", "--speed", SPEED, "--batch-time", "10m", "60m", "--journal", str(journal))
    with _ending(demo.start(log, *words)) as process:
        told = _until(
            lambda: re.search(r"^export ANTHROPIC_BASE_URL=(\S+)\n", log.read_text(), re.MULTILINE), process, log
        )
        address = told[1]
        demo.env["ANTHROPIC_BASE_URL"] = address
        demo.say("sandbox", f"{address}, in place of the API; an hour of its time is six seconds")
        yield


@contextlib.contextmanager
def _daemons(demo: Demo) -> Iterator[list[Daemon]]:
    with contextlib.ExitStack() as ending:
        daemons = []
        for name in NAMES:
            log = demo.folder / f"{name}.log"
            words = ("serve", "--db", demo.url, "--listen", "")
            process = ending.enter_context(_ending(demo.start(log, *words, ORCHESTRATOR_FLEET__NAME=name)))
            daemons.append(Daemon(name, process, log))
        yield daemons


@contextlib.contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _until(condition: Any, process: subprocess.Popen[bytes], log: Path) -> Any:  # noqa: ANN401 - whatever it gives
    """What *condition* gives, once it gives something. Raises Trouble if *process* ends before."""
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > end:
            raise Trouble(f"{log.name} says: {log.read_text()}")
        time.sleep(0.02)
    return found


def _await_daemons(demo: Demo, daemons: Sequence[Daemon]) -> None:
    for daemon in daemons:
        log = daemon.log
        _until(lambda log=log: "the engine runs on" in log.read_text(), daemon.process, log)
    told = ", ".join(f"{daemon.name} (pid {daemon.process.pid})" for daemon in daemons)
    demo.say("daemons", told)
    demo.say("", "(each line: how many batches a daemon has sent and fetched, and how many of the ten stages it holds)")


def _await_settled(demo: Demo, job: str, daemons: Sequence[Daemon], wanted: int) -> None:
    """Until so many requests are settled, telling how it goes."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        counts = json.loads(demo.run("status", job, "--db", demo.url, "--json"))["requests"]
        settled = counts["succeeded"] + counts["failed"] + counts["canceled"]
        living = [daemon for daemon in daemons if daemon.process.poll() is None]
        demo.say(f"{settled:,} settled", " · ".join(map(str, living)))
        if settled >= wanted:
            return
        time.sleep(1.5)
    raise Trouble(f"the job did not end within {PATIENCE_S:.0f} s")


def _tell_fleet(demo: Demo) -> None:
    """What `orchestrator status` says of the daemons."""
    told = demo.run("status", "--db", demo.url).splitlines()
    begin = next((number for number, line in enumerate(told) if line.startswith("fleet")), len(told))
    for line in told[begin:]:
        demo.say("status", line.removeprefix("fleet").strip())


def _kill_busiest(demo: Demo, daemons: Sequence[Daemon]) -> Daemon:
    """The one that did most; in the middle of a POST, if it comes to one soon."""
    busiest = max(daemons, key=lambda daemon: len(daemon.stages) + daemon.count("batch.sending"))
    end = time.monotonic() + 10
    while busiest.sends is None and time.monotonic() < end:
        time.sleep(0.001)
    busiest.process.send_signal(signal.SIGKILL)
    busiest.process.wait()
    batch = busiest.sends
    held = ", ".join(busiest.stages) or "no stage"
    doing = "" if batch is None else f", and was in the middle of sending batch {batch}"
    demo.say("kill -9", f"{busiest.name}, the busiest, which held {held}{doing}")
    return busiest


def _tell_work(demo: Demo, daemons: Sequence[Daemon], killed: Daemon) -> None:
    for daemon in daemons:
        holds = "killed" if daemon is killed else f"holds {', '.join(daemon.stages) or 'no stage'}"
        sent, fetched = daemon.count("batch.sending"), daemon.count("batch.collected")
        demo.say(daemon.name, f"sent {sent} and fetched {fetched} batches; {holds}")
    for event, words in (("batch.claimed", "found at the API, taken in"), ("batch.void", "not at the API, sent again")):
        found = [
            (daemon.name, each["batch_id"]) for daemon in daemons for each in daemon.events if each["event"] == event
        ]
        for name, batch in found:
            demo.say("in doubt", f"batch {batch}: {words} by {name}")


def _audit(demo: Demo, given: dict[str, str], results: Sequence[str]) -> int:
    """Compare what was asked for, request by request, with the sandbox's own books, and with the results."""
    answered = Counter(json.loads(line)["custom_id"] for line in results)
    audit = Audit(witness(demo.folder / "books.jsonl").rows)
    for custom_id, digest in given.items():
        audit.ask(digest, is_answered=answered[custom_id] == 1)
    books = audit.books()
    demo.say("the books", _in_words(books))
    return 0 if books.is_clean and len(results) == len(given) else 1


def _in_words(books: AuditResult) -> str:
    return (
        f"requests {books.requests:,} · batches at the API {books.batches:,} · "
        f"lost {books.lost:,} · paid twice {books.paid_twice:,}"
    )


if __name__ == "__main__":
    sys.exit(main())
