"""Three daemons on one PostgreSQL, ill-treated; then the API's own books are audited. Counts are counted all the while.

`PYTHONPATH=tests:. python -m fleet.chaos SECONDS SEED [REQUESTS] [KINDS]` prints one line of figures. Kinds of blows:
kill (SIGKILL, and a new process), pause (SIGSTOP for 1 to 12 s), cut (the way to the database stands still as long),
pg (the server is restarted as after a power cut).
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

import psycopg
from fleet.fleet_processes import PATIENCE_S, Cluster, Host, cluster, until
from fleet.fleet_world import Proxy, connected
from support.forked import run
from support.postgres import PostgresServer, join_server
from support.processes import running_api

from orchestrator.store.audit import SQL

KINDS: Final = ("kill", "pause", "cut", "pg")
#: The API loses the answer of one create in twenty, and refuses as many.
FAULTS: Final = "drop_after_accept=.05,create.429=.05"
#: Its time is 120 times as fast: a wait of a doubt takes six seconds, longer than what a stopped daemon may still send.
SPEED: Final = 120
_LONGEST_S: Final = 12.0
_OVER_WITHIN_S: Final = 600.0
_COUNT_EVERY_S: Final = 0.25
_DOUBTS: Final = "SELECT count(*) FROM event WHERE new = 'in_doubt'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the books say. twice: requests that were billed more than once; lost: those that never were.

    snapshots: how often the store's counts were compared with counting, all along; miscounted: how often they differed.
    """

    blows: Counter[str]
    requests: int
    billed: int
    twice: int
    lost: int
    stored: int
    doubts: int
    snapshots: int
    miscounted: int
    complaints: str

    @property
    def is_right(self) -> bool:
        """Every request was billed once, its result is stored, and neither count nor audit finds anything."""
        once = self.billed == self.requests == self.stored
        return once and self.snapshots > 0 and not (self.twice or self.lost or self.miscounted or self.complaints)


class Counting:
    """Compares, all the while, each job's counts with its requests: one statement, so one snapshot, at a time."""

    def __init__(self, url: str) -> None:
        self.snapshots = self.miscounted = 0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counting")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Count no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_COUNT_EVERY_S):
            with suppress(psycopg.OperationalError), connected(self._url) as connection:  # it may be down for a while
                self._count(connection)

    def _count(self, connection: psycopg.Connection) -> None:
        while not self._over.wait(_COUNT_EVERY_S):
            self.miscounted += len(connection.execute(SQL["miscounted"].postgres.text).fetchall())
            self.snapshots += 1


class Lines:
    """The ways from each daemon to the database, on a loop of their own."""

    def __init__(self, url: str, names: str) -> None:
        self._proxies = {name: Proxy(url) for name in names}
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def open(self) -> dict[str, str]:
        """The URL of each daemon's own way."""
        self._thread.start()
        return {name: self._ask(proxy.start(self._stack)) for name, proxy in self._proxies.items()}

    def _ask(self, work: Coroutine[Any, Any, str]) -> str:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def cut(self, name: str) -> None:
        """From now on it stands still."""
        self._loop.call_soon_threadsafe(self._proxies[name].open.clear)

    def mend(self, name: str) -> None:
        """What was under way goes on."""
        self._loop.call_soon_threadsafe(self._proxies[name].open.set)

    def close(self) -> None:
        """Break every connection, and end the loop."""
        self._ask(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ended(self) -> str:
        await self._stack.aclose()
        left = asyncio.all_tasks() - {cast("asyncio.Task[object]", asyncio.current_task())}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return ""


@dataclass(slots=True)
class Mischief:
    """Deals blows, one every few seconds. A daemon that stands still is left alone until it goes on."""

    daemons: Cluster
    server: PostgresServer
    lines: Lines
    chance: random.Random
    kinds: tuple[str, ...]
    dealt: Counter[str] = field(default_factory=Counter)
    still: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)

    def deal(self, seconds: float) -> None:
        """Blows for *seconds*; then everything goes on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._wait(self.chance.uniform(1, 3))
            self._blow(self.chance.choice(self.kinds), self.chance.choice(list(self.daemons.hosts.values())))
        while self.still:
            self._wait(0.1)

    def _blow(self, kind: str, host: Host) -> None:
        if kind == "pg":
            self.server.restart()
        elif host.name in self.still:
            return
        elif kind == "kill":
            host.alive.kill()
            host.alive.wait()
            self._wait(self.chance.uniform(0, 2))
            self.daemons.up(host.name)
        elif kind == "pause":
            host.alive.send_signal(signal.SIGSTOP)
            self._until_later(host, lambda: host.alive.send_signal(signal.SIGCONT))
        else:
            self.lines.cut(host.name)
            self._until_later(host, lambda: self.lines.mend(host.name))
        self.dealt[kind] += 1

    def _until_later(self, host: Host, undo: Callable[[], None]) -> None:
        self.still[host.name] = (time.monotonic() + self.chance.uniform(1, _LONGEST_S - 1), undo)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name in [name for name, (over, _) in self.still.items() if over < time.monotonic()]:
                self.still.pop(name)[1]()
            time.sleep(0.05)


@contextmanager
def _ways(url: str, names: str) -> Iterator[tuple[Lines, dict[str, str]]]:
    lines = Lines(url, names)
    try:
        yield lines, lines.open()
    finally:
        lines.close()


def chaos(
    server: PostgresServer, folder: Path, *, seconds: float, seed: int, requests: int, kinds: tuple[str, ...] = KINDS
) -> Outcome:
    """Three daemons through *seconds* of blows, and what the books say after the job is over."""
    url = server.new_database()
    with ExitStack() as stack:
        api = stack.enter_context(running_api(speed=SPEED, batch_seconds=[60, 300], faults=FAULTS, seed=seed))
        lines, ways = stack.enter_context(_ways(url, "ABC"))
        daemons = stack.enter_context(cluster(url, api, folder, "", LIMITS__MAX_IN_FLIGHT_BATCHES="12"))
        for name, way in ways.items():
            daemons.up(name, way)
        until(daemons.settled, "every stage is held")
        daemons.submit(requests)
        mischief = Mischief(daemons, server, lines, random.Random(seed), kinds)
        counting = stack.enter_context(Counting(url))
        mischief.deal(seconds)
        until(daemons.is_over, "the job is over", _OVER_WITHIN_S)
        counting.stop()
        return _judged(daemons, counting, mischief.dealt, requests)


def _judged(daemons: Cluster, counting: Counting, blows: Counter[str], requests: int) -> Outcome:
    books = daemons.books()
    check = run("orchestrator", "db", "check", env=daemons.env(), timeout=PATIENCE_S)
    return Outcome(
        blows=blows,
        requests=requests,
        billed=books.total(),
        twice=sum(count - 1 for count in books.values()),
        lost=requests - len(books),
        stored=daemons.number("SELECT count(*) FROM result"),
        doubts=daemons.number(_DOUBTS),
        snapshots=counting.snapshots,
        miscounted=counting.miscounted,
        complaints="" if check.returncode == 0 else check.stdout.decode() + check.stderr.decode(),
    )


def main() -> int:
    """The command."""
    seconds, seed, requests, kinds = (*sys.argv[1:], *("60", "1", "5000", ",".join(KINDS))[len(sys.argv) - 1 :])[:4]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        server = join_server(Path(folder) / "postgres")
        try:
            outcome = chaos(
                server,
                Path(folder),
                seconds=float(seconds),
                seed=int(seed),
                requests=int(requests),
                kinds=tuple(kinds.split(",")),
            )
        finally:
            server.leave()
    sys.stdout.write(f"{'right' if outcome.is_right else 'WRONG'} seed {seed}: {outcome}\n")
    return 0 if outcome.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
