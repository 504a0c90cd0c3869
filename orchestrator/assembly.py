"""Puts an engine together: store, provider or sandbox, commands. What a simulation replaces is a `Runtime`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from typing_extensions import override

from orchestrator.api_side import estimator_of, provider_of, sandbox_of
from orchestrator.config import Settings
from orchestrator.config.network import check_exporter
from orchestrator.domain import api_answers, batches_api, ids
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.engine.batch_list import list_batches
from orchestrator.engine.commands import EngineCommands
from orchestrator.engine.context import ApiHealth, Context, StageLiveness, Wakeup, engine_settings
from orchestrator.engine.export import export
from orchestrator.engine.runner import Runner
from orchestrator.observability.telemetry import Meters
from orchestrator.ports.dispatch import Dispatcher, FleetView
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.estimates import CountMode, EstimateResult, Estimates
from orchestrator.ports.reads import Reader, Reads, StoreLocation
from orchestrator.ports.runtime import Clock, Courier, Entropy, Meter, Provider
from orchestrator.ports.store import Store
from orchestrator.ports.streams import Sink, Source
from orchestrator.prices.price_book import PriceBook
from orchestrator.store.database import Start
from orchestrator.store.location import location_of, open_store, server_location_of
from orchestrator.store.ownership import Lock
from orchestrator.system_clock import SystemClock, SystemEntropy

if TYPE_CHECKING:
    import httpx2

    from orchestrator.fleet.joining import Fleet
    from orchestrator.store.postgres.server_location import PostgresLocation


T = TypeVar("T")

_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What an engine gets from its machine; a simulation brings its own.

    transport: in place of the network. own: takes the store's lock. start: where the store runs. listens: whether it
    has a socket. dispatch: gives the dispatcher of its units. is_alone: no other engine works on its store. fleet: what
    this process is a member of.
    """

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    transport: httpx2.AsyncBaseTransport | None = None
    own: Callable[[Path], Lock] = Lock.take
    start: Start[Any] | None = None
    listens: bool = True
    dispatch: Callable[[Context], Dispatcher] = Runner
    is_alone: bool = True
    fleet: Fleet | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Engine(Reader, Estimates):
    """An engine in this process: what the faces may read, and what they may ask of it. settings: those in force."""

    location: StoreLocation
    sandbox: bool
    settings: Settings
    prices: PriceBook
    commands: EngineCommands
    health: ApiHealth
    store: Store
    provider: Provider
    wakeup: Wakeup
    liveness: StageLiveness
    clock: Clock
    meters: Meters
    passed: batches_api.LoopGuard
    fleet: Fleet | None = None

    @override
    async def read(self, look: Callable[[Reads], T]) -> T:
        return await self.store.read(look)

    @property
    def bulk(self) -> BulkReader:
        """Reads of many rows, which never delay a look."""
        return BulkReader(self.store)

    async def view_fleet(self) -> FleetView | None:
        """The daemons on its store; None where this process owns it. Raises StoreUnreachable, StoreError."""
        return None if self.fleet is None else await self.fleet.view()

    @override
    async def estimate(self, source: Source, new: NewJob, terms: IngestOptions, mode: CountMode) -> EstimateResult:
        estimator = estimator_of(self.settings, self.provider, self.prices, self._known_answers)
        return await estimator.estimate(source, new, terms, mode)

    async def _known_answers(self, kind: str | None, models: Collection[str]) -> AnswersKnown:
        return await self.bulk.read(lambda reads: reads.known_answers(kind, models))

    def retune(self, settings: Settings) -> None:
        """Go on with *settings*, as far as the engine may take them over while it runs."""
        self.settings = settings
        self.commands.retune(engine_settings(settings))
        if self.fleet is not None:
            self.fleet.retune(settings)

    @property
    def trouble(self) -> str | None:
        """Why nothing that is handed in would be worked on, for a person; None if it would."""
        queue = None if self.fleet is None else self.fleet.trouble()
        return self.store.lost or self.liveness.trouble(self.clock.now()) or queue

    async def export(self, job: ids.JobId, sink: Sink) -> int:
        """Write the settled requests of *job* in input order; returns how many."""
        return await export(self.bulk, job, sink)

    async def remote_batches(self) -> AsyncGenerator[api_answers.RemoteBatch, None]:
        """Everything that the API lists, newest first."""
        async with aclosing(list_batches(self.provider, _PAGE)) as batches:
            async for batch in batches:
                yield batch


class BulkReader(Reader):
    """Reads of many rows, on a connection of their own that never delays other reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @override
    async def read(self, look: Callable[[Reads], T]) -> T:
        return await self._store.read_bulk(look)


async def joined(settings: Settings, runtime: Runtime | None = None, *, is_daemon: bool = False) -> Runtime:
    """*runtime* on the store of *settings*: with a URL, as a member of its fleet, on the fleet's time.

    A runtime that is not alone has its fleet already. is_daemon: brings the queue's tables up to date. Raises
    StoreUnreachable, StoreError, UsageError.
    """
    chosen = Runtime() if runtime is None else runtime
    if settings.database.url is None or not chosen.is_alone:
        return chosen
    location = server_location_of(settings.database.url, settings)
    await asyncio.to_thread(location.knock)
    fleet = _fleet(settings, location, is_daemon=is_daemon)
    await fleet.meet()
    return replace(chosen, clock=fleet.clock, dispatch=partial(_shared_out, fleet), is_alone=False, fleet=fleet)


def _fleet(settings: Settings, location: PostgresLocation, *, is_daemon: bool) -> Fleet:
    from orchestrator.fleet.joining import Fleet

    return Fleet(settings, location.server.parameters.get("password"), is_daemon=is_daemon)


async def view_fleet(settings: Settings) -> FleetView | None:
    """The daemons on the store of *settings*, for a process that is none of them; None where one process owns it.

    Raises StoreUnreachable, StoreError.
    """
    url = settings.database.url
    return None if url is None else await _fleet(settings, server_location_of(url, settings), is_daemon=False).view()


def _shared_out(fleet: Fleet, context: Context) -> Dispatcher:
    from orchestrator.fleet.fleet_chores import EngineSide
    from orchestrator.store.postgres.migrate_postgres import SERVER_SCHEMA_VERSION

    store = context.store
    engine = EngineSide(
        due=store.submit.due,
        tidy=store.discard_leftovers,
        ring=context.wakeup.notify_all,
        distrust=lambda: store.reconcile.begin(context.clock.now()),
        schema=SERVER_SCHEMA_VERSION,
    )
    return fleet.dispatcher(engine)


async def open_engine(
    stack: AsyncExitStack, settings: Settings, runtime: Runtime, *, sandbox: bool, courier: Courier | None = None
) -> tuple[Engine, Context]:
    """Lock, store, provider, commands; *stack* closes them in the reverse order. No stage runs yet.

    Raises StoreOwned if another process owns the store, UsageError for a price file that cannot be used.
    """
    if courier is not None:
        stack.push_async_callback(courier.aclose)
    prices = PriceBook(settings.prices)
    now = runtime.clock.now()
    meters = Meters()
    shared = {} if runtime.fleet is None else {**runtime.fleet.for_store(), "waited": meters.turn_waits.add}
    store = await open_store(settings, now=now, sandbox=sandbox, own=runtime.own, start=runtime.start, shared=shared)
    stack.push_async_callback(store.aclose)
    lineage = (await store.read(lambda reads: reads.meta())).lineage
    guard = batches_api.LoopGuard(lineage)
    meter = _meter(stack, settings, lineage, meters)
    local = sandbox_of(settings, keeps=True) if sandbox else None
    provider = await provider_of(stack, settings, runtime.transport, sandbox=local, meter=meter, passed=guard)
    context = Context(
        store=store,
        provider=provider,
        clock=runtime.clock,
        entropy=runtime.entropy,
        settings=engine_settings(settings),
        prices=prices,
        meter=meter,
        courier=courier,
        sandbox=sandbox,
    )
    engine = _engine(context, store, settings, prices=prices, sandbox=sandbox, meters=meters, guard=guard)
    return replace(engine, fleet=runtime.fleet), context


def _engine(  # noqa: PLR0913 - the parts that an engine is put together of
    context: Context,
    store: Store,
    settings: Settings,
    *,
    prices: PriceBook,
    sandbox: bool,
    meters: Meters,
    guard: batches_api.LoopGuard,
) -> Engine:
    return Engine(
        location=location_of(settings),
        sandbox=sandbox,
        settings=settings,
        prices=prices,
        commands=EngineCommands(context),
        health=context.health,
        store=store,
        provider=context.provider,
        wakeup=context.wakeup,
        liveness=context.liveness,
        clock=context.clock,
        meters=meters,
        passed=guard,
    )


def _meter(stack: AsyncExitStack, settings: Settings, lineage: str, meters: Meters) -> Meter:
    """*meters*, and traces beside them where the settings ask for them; their packages are loaded only then."""
    if not settings.telemetry.otel:
        return meters
    from orchestrator.observability.telemetry import open_tracing

    tracing = open_tracing(meters, lineage=lineage, ask_no_proxy=check_exporter(os.environ))
    stack.push_async_callback(tracing.aclose)
    return tracing
