"""A database of a fleet, and units that count: what a dispatcher is tried on without an engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from support.stores import make_schema
from typing_extensions import override

from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fleet_chores import Chores, EngineSide
from orchestrator.fleet.fleet_clock import FleetClock
from orchestrator.fleet.fleet_dispatcher import FleetDispatcher
from orchestrator.fleet.fleet_session import FleetLimits
from orchestrator.fleet.fleet_view import view_fleet
from orchestrator.fleet.membership import Member
from orchestrator.fleet.queue_pool import FleetDatabase, in_our_words
from orchestrator.fleet.queue_schema import upgrade_queue
from orchestrator.ports.dispatch import Claim, FleetView, UnitKind, Units
from orchestrator.store.postgres.migrate_postgres import SERVER_SCHEMA_VERSION

#: Long enough for any machine that tests run on; a test that waits for so long has failed.
SOON_S: Final = 30.0
LIMITS: Final = FleetLimits(max_uploads=2, max_downloads=2, heartbeat=timedelta(seconds=2))


def connected(url: str) -> psycopg.Connection:
    """A connection of the test's own."""
    return psycopg.connect(url, autocommit=True, options="-c search_path=orchestrator")


def fill(url: str) -> None:
    """Make an empty store, with the queue; who it is, is left open."""
    make_schema(url)
    with connected(url) as connection:
        upgrade_queue(connection)


async def until(condition: Callable[[], object], what: str) -> None:
    """Until *condition* is true; fails after half a minute."""
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - a condition of any kind
            await asyncio.sleep(0.01)
    assert condition(), what


@dataclass(slots=True)
class CountedUnits(Units):
    """Units that do nothing and count it. holds, claims: of stages by name. looks: what was looked at, in order.

    answer: what a look gives; raising: what a look or a hold raises instead, once each.
    """

    stages: tuple[str, ...] = ("plan", "poll")
    own: tuple[str, ...] = ("place",)
    holds: Counter[str] = field(default_factory=Counter)
    claims: dict[str, Claim | None] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    looks: list[tuple[UnitKind, BatchId]] = field(default_factory=list)
    looking: set[BatchId] = field(default_factory=set)
    most: int = 0
    answer: Callable[[UnitKind, BatchId], Awaitable[timedelta | None]] | None = None
    raising: list[BaseException] = field(default_factory=list)

    @override
    async def hold(self, stage: str, claim: Claim | None, stop: asyncio.Event) -> None:
        self.holds[stage] += 1
        self.claims[stage] = claim
        if self.raising and claim is not None:
            raise self.raising.pop()
        self.held.add(stage)
        try:
            while not stop.is_set() and (claim is None or await claim.is_ours()):  # noqa: ASYNC110 - asked, as an engine asks
                await asyncio.sleep(0.05)
        finally:
            self.held.discard(stage)

    @override
    async def look(self, kind: UnitKind, batch: BatchId) -> timedelta | None:
        self.looks.append((kind, batch))
        if self.raising:
            raise self.raising.pop()
        self.looking.add(batch)
        self.most = max(self.most, len(self.looking))
        try:
            return None if self.answer is None else await self.answer(kind, batch)
        finally:
            self.looking.discard(batch)


@dataclass(slots=True)
class Daemon:
    """One dispatcher with its units, in this process. dues: what the rows say is due."""

    url: str
    name: str
    units: CountedUnits = field(default_factory=CountedUnits)
    dues: list[tuple[UnitKind, BatchId, int]] = field(default_factory=list)
    rings: int = 0
    tidied: int = 0
    distrusted: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    clock: FleetClock = field(default_factory=FleetClock)
    limits: FleetLimits = LIMITS
    schema: int = SERVER_SCHEMA_VERSION

    def ring(self) -> None:
        self.rings += 1

    async def tidy(self) -> None:
        self.tidied += 1

    async def distrust(self) -> None:
        self.distrusted += 1

    async def due(self) -> Iterable[tuple[UnitKind, BatchId, int]]:
        return self.dues

    def chores(self) -> Chores:
        """What it does beside its units."""
        engine = EngineSide(due=self.due, tidy=self.tidy, ring=self.ring, distrust=self.distrust, schema=self.schema)
        return Chores(Member(name=self.name, settings='{"limits.max_uploads":"4"}'), self.clock, engine)

    def dispatcher(self) -> FleetDispatcher:
        """Its dispatcher."""
        return FleetDispatcher(FleetDatabase(url=self.url), self.name, self.limits, self.chores())

    async def view(self) -> FleetView:
        """The whole fleet, as a face asks for it."""
        with in_our_words():
            async with FleetDatabase(url=self.url).pool(self.name, most=1) as pool:
                return await view_fleet(pool)

    async def run(self) -> None:
        """Until `stop`."""
        await self.dispatcher().run(self.units, self.stop)


@asynccontextmanager
async def running(*daemons: Daemon) -> AsyncIterator[None]:
    """All *daemons*, until the block ends; each is stopped then, and must end well."""
    tasks = [asyncio.create_task(daemon.run()) for daemon in daemons]
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.stop.set()
        async with asyncio.timeout(SOON_S):
            await asyncio.gather(*tasks)


class Proxy:
    """The way to a server, which can stand still without a word, as a cut network does."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.open = asyncio.Event()
        self.open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, stack: AsyncExitStack) -> str:
        """The URL through it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        stack.push_async_callback(server.wait_closed)
        stack.callback(self._end)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        return self._to._replace(netloc=f"{self._to.username}@127.0.0.1:{port}").geturl()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _serve(self, theirs: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task: Any = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self.open.wait()
            answers, there = await asyncio.open_connection(self._to.hostname, self._to.port)
            await asyncio.gather(self._pump(theirs, there), self._pump(answers, back))
        except (OSError, asyncio.CancelledError):
            back.close()
        finally:
            self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.open.wait()
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()
