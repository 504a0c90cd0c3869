"""Puts an engine together: store, provider or sandbox, commands. What a simulation replaces is a `Runtime`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from typing_extensions import override

from orchestrator.api_side import provider_of, sandbox_of
from orchestrator.config import Settings
from orchestrator.config.network import check_exporter
from orchestrator.domain import api_answers, batches_api, ids
from orchestrator.engine.batch_list import list_batches
from orchestrator.engine.commands import EngineCommands
from orchestrator.engine.context import ApiHealth, Context, StageLiveness, Wakeup, engine_settings
from orchestrator.engine.export import export
from orchestrator.observability.telemetry import Meters
from orchestrator.ports.reads import Reader, Reads
from orchestrator.ports.runtime import Clock, Courier, Entropy, Meter, Provider
from orchestrator.ports.store import Store
from orchestrator.ports.streams import Sink
from orchestrator.store.connection import Start, Thread
from orchestrator.store.location import SqliteLocation, location_of, open_store
from orchestrator.store.ownership import Lock
from orchestrator.system_clock import SystemClock, SystemEntropy

if TYPE_CHECKING:
    import httpx2


T = TypeVar("T")

_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What an engine gets from its machine; a simulation brings its own.

    transport: in place of the network. own: takes the store's lock. start: starts SQLite's thread. listens: whether it
    has a socket.
    """

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    transport: httpx2.AsyncBaseTransport | None = None
    own: Callable[[Path], Lock] = Lock.take
    start: Start = Thread.start
    listens: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine(Reader):
    """An engine in this process: what the faces may read, and what they may ask of it."""

    location: SqliteLocation
    sandbox: bool
    settings: Settings
    commands: EngineCommands
    health: ApiHealth
    store: Store
    provider: Provider
    wakeup: Wakeup
    liveness: StageLiveness
    clock: Clock
    meters: Meters
    passed: batches_api.LoopGuard

    @override
    async def read(self, look: Callable[[Reads], T]) -> T:
        return await self.store.read(look)

    @property
    def bulk(self) -> BulkReader:
        """Reads of many rows, which never delay a look."""
        return BulkReader(self.store)

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


async def open_engine(
    stack: AsyncExitStack, settings: Settings, runtime: Runtime, *, sandbox: bool, courier: Courier | None = None
) -> tuple[Engine, Context]:
    """Lock, store, provider, commands; *stack* closes them in the reverse order. No stage runs yet.

    Raises StoreOwned if another process owns the store.
    """
    if courier is not None:
        stack.push_async_callback(courier.aclose)
    now = runtime.clock.now()
    store = await open_store(settings, now=now, sandbox=sandbox, own=runtime.own, start=runtime.start)
    stack.push_async_callback(store.aclose)
    lineage = (await store.read(lambda reads: reads.meta())).lineage
    meters, guard = Meters(), batches_api.LoopGuard(lineage)
    meter = _meter(stack, settings, lineage, meters)
    local = sandbox_of(settings, keeps=True) if sandbox else None
    provider = await provider_of(stack, settings, runtime.transport, sandbox=local, meter=meter, passed=guard)
    context = Context(
        store=store,
        provider=provider,
        clock=runtime.clock,
        entropy=runtime.entropy,
        settings=engine_settings(settings),
        meter=meter,
        courier=courier,
    )
    return _engine(context, store, settings, sandbox=sandbox, meters=meters, guard=guard), context


def _engine(
    context: Context, store: Store, settings: Settings, *, sandbox: bool, meters: Meters, guard: batches_api.LoopGuard
) -> Engine:
    return Engine(
        location=location_of(settings),
        sandbox=sandbox,
        settings=settings,
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
