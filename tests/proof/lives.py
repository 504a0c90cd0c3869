"""The lives of one engine: each a process of the loop, running the program's own `running_engine`, until it is killed.

A life that is killed leaves what it had committed and what it had sent; nothing of it runs any more. Its connections
are cut and its lock is freed, as the kernel does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from support.inline import Inline
from support.stores import introduce
from support.world import SeededEntropy
from typing_extensions import override

from orchestrator.assembly import Runtime
from orchestrator.config import Settings
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import GuardRefused, StoreFull, StoreOwned
from orchestrator.engine.context import Context
from orchestrator.engine.runner import Runner
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.store.connect import SqliteConnection
from orchestrator.store.identity import Trust
from orchestrator.store.mark import Mark, MarkRecord, mark_path
from orchestrator.store.ownership import Lock
from orchestrator.store.sqlite_store import SqliteStore
from proof.chronicle import Chronicle
from proof.deaths import Death
from proof.loop import SimLoop
from proof.network import Internet, Network
from proof.oracle import Oracle
from proof.people import People
from proof.shelf import Looker
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

    def elapsed(self) -> timedelta:
        """What has passed."""
        return timedelta(seconds=self.loop.time())

    async def sleep(self, pause: timedelta) -> None:
        """Wait."""
        await asyncio.sleep(pause.total_seconds() * self.idle ** self.chance.random())


@dataclass(slots=True, kw_only=True)
class _Life:
    """One process. doomed: why it dies once its step is over; commits: how many it has begun."""

    number: int
    death: Death
    ended: asyncio.Event
    doomed: str | None = None
    commits: int = 0
    is_up: bool = False
    disk: Disk | None = None
    network: Network | None = None
    lock: Lock | None = None

    def cut(self) -> None:
        """The kernel closes what the process had open."""
        if self.network is not None:
            self.network.cut()
        if self.disk is not None:
            self.disk.cut()
        if self.lock is not None:
            self.lock.release()

    def dies_at_commit(self, *, before: bool) -> bool:
        """True where its death is just there."""
        if self.doomed is None and self.death.meets_commit(self.commits, before=before):
            self.doomed = f"{'before' if before else 'after'} a commit"
            return True
        return False


@dataclass(slots=True, kw_only=True)
class Lives:
    """Starts lives, one after the other, or several on one store, and ends them.

    idle, disk_is_full, clocks_are_wrong, restores: for the next one. shares: gives the dispatcher of each life of
    several; None: each has the store for itself. on_event: told of what the network of a life does.
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
    shares: Callable[[int, Context], Dispatcher] | None = None
    on_event: Callable[[int, str], None] = lambda _process, _what: None
    _copy: bytes | None = None
    _living: dict[int, _Life] = field(default_factory=dict)

    async def live(self, death: Death, *, until: float, stay: bool = False) -> bool:
        """One life, until it is killed, or its people have all they wanted, or it is *until*, which kills it too.

        True if everything is over. stay: it goes on after that, until *until*.
        """
        if self.restores and self._copy is not None and self.chance.random() < self.restores:
            self._put_back(self._copy)
            if self.chance.random() < _MOVED:
                await self._move()
        self.number += 1
        life = self._living[self.number] = _Life(number=self.number, death=death, ended=asyncio.Event())
        task = self.loop.spawn(self._process(life, stay=stay), life.number, f"life {life.number}")
        task.add_done_callback(lambda _task: life.ended.set())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await life.ended.wait()
        if self.loop.is_dead(life.number):  # killed, perhaps after the very callback in which it would have ended
            return stay
        if task.done():
            return self._ended_by_itself(life, task)
        self.kill(life.number, "by the clock")
        return stay

    @property
    def _url(self) -> str | None:
        """Where the store lies, if it is no file."""
        return self.settings.database.url

    @property
    def standing(self) -> list[int]:
        """The lives that are up and go on by themselves."""
        return [one.number for one in self._living.values() if one.is_up and not self.loop.is_frozen(one.number)]

    async def make_store(self) -> None:
        """Make the store, before several use it."""
        if self._url is not None:
            introduce(self._url, self.secret, START)
            return
        path = self.settings.database.path
        Mark.open(path, MarkRecord(lineage="", secret=self.secret, sandbox=False, intents=0)).close()
        store = await SqliteStore.open(path, lock=OpenDoor(-1), now=START, sandbox=False, start=Inline.start)
        await store.aclose()

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

    def kill(self, number: int, why: str) -> None:
        """SIGKILL. Not from inside one of the life's own tasks."""
        life = self._living.pop(number)
        self.chronicle.crashes += 1
        self.chronicle.note("crash")
        self.chronicle.mark(f"life {number} killed {why} after {self.loop.steps[number]} steps")
        life.cut()
        self.loop.kill(number)
        life.ended.set()

    def freeze(self, number: int) -> None:
        """SIGSTOP."""
        life = self._living[number]
        self.chronicle.note("stands still")
        self.chronicle.mark(f"life {number} stands still")
        if life.network is not None:
            life.network.flush()
        self.loop.freeze(number)

    def thaw(self, number: int) -> None:
        """SIGCONT, if it lives."""
        if number in self._living:
            self.chronicle.mark(f"life {number} goes on")
            self.loop.thaw(number)

    def fill_disk(self, full: bool) -> None:
        """The disk is full, or has room again."""
        self.disk_is_full = full
        for life in self._living.values():
            if life.disk is not None:
                life.disk.full = full

    # --- told by the loop, the network and the disk ---------------------------------------------------------------

    def after_step(self, process: int) -> None:
        """A callback of *process* has run."""
        life = self._living.get(process)
        if life is None:
            return
        if life.doomed is None and self.loop.steps[process] >= life.death.step:
            life.doomed = "at a step"
        if life.doomed is not None:
            self.kill(process, life.doomed)

    def happens(self, process: int, what: str) -> None:
        """The network of *process* did something."""
        self.chronicle.mark(what)
        life = self._living.get(process)
        if life is None:
            return
        if life.doomed is None and life.death.meets(what):
            life.doomed = f"at {what}"
        self.on_event(process, what)

    def _before_commit(self, life: _Life) -> bool:
        life.commits += 1
        return life.dies_at_commit(before=True)

    def _after_commit(self, life: _Life, connection: Looker) -> bool:
        self.chronicle.commits += 1
        self.chronicle.mark("commit")
        self.oracle.snapshot(connection, tasks=len(self.loop.tasks(life.number)))
        if life.commits % _LOCK_EVERY == 0:
            self._tried_by_another()
        if self.restores and self.chance.random() < _COPIED and _has_mark(connection):
            assert isinstance(connection, SqliteConnection), "only files are put back"
            self._copy = connection.serialize()
        return life.dies_at_commit(before=False)

    # --- one life -------------------------------------------------------------------------------------------------

    async def _process(self, life: _Life, *, stay: bool) -> None:
        around = self._surroundings(life)
        async with running_engine(self.settings, sandbox=False, keep_probing=True, runtime=around) as engine:
            life.is_up = True
            if self.shares is None and self._url is not None:
                await engine.store.discard_leftovers()  # a fleet's chore, of which this is none
            await self.people.attend(engine, life.number)
            if stay:
                await asyncio.Event().wait()

    def _surroundings(self, life: _Life) -> Runtime:
        offset = timedelta(hours=self.chance.choice((0, 0, 0, 0.01, -0.01, 24, -24)) if self.clocks_are_wrong else 0)
        if offset:
            self.chronicle.note("clock ahead" if offset > timedelta(0) else "clock behind")
        before, after = partial(self._before_commit, life), partial(self._after_commit, life)
        life.disk = Disk(chance=self.chance, before=before, after=after)
        life.disk.full = self.disk_is_full
        life.network = self.net.transport(life.number)
        return Runtime(
            clock=SimClock(self.loop, self.chance, offset, self.idle),
            entropy=SeededEntropy(self.chance.getrandbits(48)),
            transport=life.network,
            own=partial(self._own, life),
            start=life.disk.start,
            listens=False,
            is_alone=self.shares is None and self._url is None,
            dispatch=Runner if self.shares is None else partial(self.shares, life.number),
        )

    def _own(self, life: _Life, path: Path) -> Lock:
        """The store's lock. Nobody else gets it meanwhile (I12), unless the store is shared."""
        if self.shares is None:
            life.lock = Lock.take(path, patience_s=0)
        self._tried_by_another()
        if not path.exists() and not mark_path(path).exists():  # one seed, one secret: the API draws by wire ids
            Mark.open(path, MarkRecord(lineage="", secret=self.secret, sandbox=False, intents=0)).close()
        return OpenDoor(-1) if life.lock is None else life.lock

    def _tried_by_another(self) -> None:
        if self.shares is not None or self._url is not None:
            return
        try:
            Lock.take(self.settings.database.path, patience_s=0).release()
        except StoreOwned:
            return
        self.oracle.blame("I12", "the store had two owners")

    def _ended_by_itself(self, life: _Life, task: asyncio.Task[None]) -> bool:
        """All is over, or the disk was full before it was up; any other end is a defect (I13)."""
        exc = task.exception()
        self._living.pop(life.number)
        life.cut()
        if exc is None:
            return True
        self.chronicle.mark(f"life {life.number} ended: {exc!r}")
        if life.is_up or not isinstance(exc, StoreFull):
            self.oracle.blame("I13", f"the engine died of {type(exc).__name__}: {exc}")
        return False


class OpenDoor(Lock):
    """A lock that lets everybody in, as a database server does."""

    @override
    def hold_file(self, database: Path) -> None:
        """Nobody is kept out by the file either."""


def _has_mark(connection: Looker) -> bool:
    """A copy of a store that is just being made, and is empty, is a new store to anybody."""
    return bool(connection.execute("SELECT marked FROM meta").fetchone()[0])
