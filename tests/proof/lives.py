"""The lives of one engine: each a process of the loop, running the program's own `running_engine`, until it is killed.

A life that is killed leaves what it had committed and what it had sent; nothing of it runs any more. Its connections
are cut and its lock is freed, as the kernel does.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from support.inline import Inline
from support.world import SeededEntropy

from orchestrator.assembly import Runtime
from orchestrator.config import Settings
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import GuardRefused, StoreFull, StoreOwned
from orchestrator.store.identity import Trust
from orchestrator.store.mark import Mark, MarkRecord, mark_path
from orchestrator.store.ownership import Lock
from orchestrator.store.sqlite_store import SqliteStore
from proof.chronicle import Chronicle
from proof.deaths import NEVER, Death
from proof.loop import SimLoop
from proof.network import Internet, Network
from proof.oracle import Oracle
from proof.people import People
from proof.store_room import Disk

_LOCK_EVERY: Final = 10  #: commits
_MOVED: Final = 0.3  #: of the copies that are put back
_COPIED: Final = 0.03  #: of the commits of a world in which copies are put back
START: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass(slots=True)
class SimClock:
    """The clock of one life: the machine's wall time when it started, wrong by *offset*, and what has passed since.

    idle: how many times longer than asked a pause may take; a busy machine promises only the least.
    """

    loop: SimLoop
    chance: random.Random
    offset: timedelta
    idle: float

    def now(self) -> datetime:
        """The time, aware, UTC."""
        return START + self.offset + timedelta(seconds=self.loop.time())

    async def sleep(self, pause: timedelta) -> None:
        """Wait."""
        await asyncio.sleep(pause.total_seconds() * self.idle ** self.chance.random())


@dataclass(slots=True, kw_only=True)
class Lives:
    """Starts lives, one after the other, and ends them.

    idle, disk_is_full, clocks_are_wrong, restores: for the next one.
    """

    loop: SimLoop
    net: Internet
    oracle: Oracle
    people: People
    chronicle: Chronicle
    chance: random.Random
    settings: Settings
    idle: float = 300.0
    clocks_are_wrong: bool = False
    disk_is_full: bool = False
    restores: float = 0.0
    secret: str = ""
    number: int = 0
    _copy: bytes | None = None
    _death: Death = field(default_factory=Death)
    _doomed: str | None = None
    _commits: int = 0
    _is_up: bool = False
    _disk: Disk | None = None
    _network: Network | None = None
    _lock: Lock | None = None
    _ended: asyncio.Event | None = None

    async def live(self, death: Death, *, until: float, stay: bool = False) -> bool:
        """One life, until it is killed, or its people have all they wanted, or it is *until*, which kills it too.

        True if everything is over. stay: it goes on after that, until *until*.
        """
        if self.restores and self._copy is not None and self.chance.random() < self.restores:
            self._put_back(self._copy)
            if self.chance.random() < _MOVED:
                await self._move()
        self.number += 1
        self._death, self._doomed, self._commits, self._is_up = death, None, 0, False
        ended = self._ended = asyncio.Event()
        life = self.loop.spawn(self._process(self.number, stay=stay), self.number, f"life {self.number}")
        life.add_done_callback(lambda _task: ended.set())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await ended.wait()
        if life.done():
            return self._ended_by_itself(life)
        if not self.loop.is_dead(self.number):
            self.kill("by the clock")
        return stay

    def _put_back(self, copy: bytes) -> None:
        """Somebody puts an earlier copy in the place of the store. The mark beside it stays."""
        path = self.settings.database.path
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        path.write_bytes(copy)
        self.chronicle.note("store restored")
        self.chronicle.mark("an earlier copy is the store")
        self.oracle.rewound()
        self.people.rewound()

    async def _move(self) -> None:
        """The copy was brought to another machine, without its mark: no engine starts before a person adopts it."""
        path = self.settings.database.path
        mark_path(path).unlink()
        self.chronicle.note("store moved")
        for trust in (Trust.OWN, Trust.ADOPTED):
            with Lock.take(path, patience_s=0) as lock:
                try:
                    store = await SqliteStore.open(
                        path, lock=lock, now=START, sandbox=False, start=Inline.start, trust=trust
                    )
                except GuardRefused:
                    continue
                await store.aclose()
                if trust is Trust.OWN:
                    self.oracle.blame("I12", "a copy without its mark was opened without a question")

    def kill(self, why: str) -> None:
        """SIGKILL. Not from inside one of the life's own tasks."""
        self.chronicle.crashes += 1
        self.chronicle.note("crash")
        self.chronicle.mark(f"life {self.number} killed {why} after {self.loop.steps[self.number]} steps")
        self._doomed, self._death = None, NEVER
        self._cut()
        self.loop.kill(self.number)
        if self._ended is not None:
            self._ended.set()

    def fill_disk(self, full: bool) -> None:
        """The disk is full, or has room again."""
        self.disk_is_full = full
        if self._disk is not None:
            self._disk.full = full

    # --- told by the loop, the network and the disk ---------------------------------------------------------------

    def after_step(self, process: int) -> None:
        """A callback of *process* has run."""
        if self._doomed is None and process == self.number and self.loop.steps[process] >= self._death.step:
            self._doomed = "at a step"
        if self._doomed is not None:
            self.kill(self._doomed)

    def happens(self, process: int, what: str) -> None:
        """The network of *process* did something."""
        self.chronicle.mark(what)
        if process == self.number and self._doomed is None and self._death.meets(what):
            self._doomed = f"at {what}"

    def _before_commit(self) -> bool:
        self._commits += 1
        return self._dies_at_commit(before=True)

    def _after_commit(self, connection: sqlite3.Connection) -> bool:
        self.chronicle.commits += 1
        self.chronicle.mark("commit")
        self.oracle.snapshot(connection, tasks=len(self.loop.tasks(self.number)))
        if self._commits % _LOCK_EVERY == 0:
            self._tried_by_another()
        if self.restores and self.chance.random() < _COPIED and _has_mark(connection):
            self._copy = connection.serialize()
        return self._dies_at_commit(before=False)

    def _dies_at_commit(self, *, before: bool) -> bool:
        if self._doomed is None and self._death.meets_commit(self._commits, before=before):
            self._doomed = f"{'before' if before else 'after'} a commit"
            return True
        return False

    # --- one life -------------------------------------------------------------------------------------------------

    async def _process(self, life: int, *, stay: bool) -> None:
        around = self._surroundings(life)
        async with running_engine(self.settings, sandbox=False, keep_probing=True, runtime=around) as engine:
            self._is_up = True
            await self.people.attend(engine, life)
            if stay:
                await asyncio.Event().wait()

    def _surroundings(self, life: int) -> Runtime:
        offset = timedelta(hours=self.chance.choice((0, 0, 0, 0.01, -0.01, 24, -24)) if self.clocks_are_wrong else 0)
        if offset:
            self.chronicle.note("clock ahead" if offset > timedelta(0) else "clock behind")
        self._disk = Disk(chance=self.chance, before=self._before_commit, after=self._after_commit)
        self._disk.full = self.disk_is_full
        self._network = self.net.transport(life)
        return Runtime(
            clock=SimClock(self.loop, self.chance, offset, self.idle),
            entropy=SeededEntropy(self.chance.getrandbits(48)),
            transport=self._network,
            own=self._own,
            start=self._disk.start,
            listens=False,
        )

    def _own(self, path: Path) -> Lock:
        """The store's lock. Nobody else gets it meanwhile (I12)."""
        self._lock = Lock.take(path, patience_s=0)
        self._tried_by_another()
        if not path.exists() and not mark_path(path).exists():  # one seed, one secret: the API draws by wire ids
            Mark.open(path, MarkRecord(lineage="", secret=self.secret, sandbox=False, intents=0)).close()
        return self._lock

    def _tried_by_another(self) -> None:
        try:
            Lock.take(self.settings.database.path, patience_s=0).release()
        except StoreOwned:
            return
        self.oracle.blame("I12", "the store had two owners")

    def _cut(self) -> None:
        """The kernel closes what the process had open."""
        if self._network is not None:
            self._network.cut()
        if self._disk is not None:
            self._disk.cut()
        if self._lock is not None:
            self._lock.release()

    def _ended_by_itself(self, life: asyncio.Task[None]) -> bool:
        """All is over, or the disk was full before it was up; any other end is a defect (I13)."""
        exc = life.exception()
        self._cut()
        if exc is None:
            return True
        self.chronicle.mark(f"life {self.number} ended: {exc!r}")
        if self._is_up or not isinstance(exc, StoreFull):
            self.oracle.blame("I13", f"the engine died of {type(exc).__name__}: {exc}")
        return False


def _has_mark(connection: sqlite3.Connection) -> bool:
    """A copy of a store that is just being made, and is empty, is a new store to anybody."""
    return bool(connection.execute("SELECT marked FROM meta").fetchone()[0])
