"""The one place where the parts are put together: store, provider or sandbox, engine, socket.

`running_engine` is a process's whole engine for as long as a block lasts; `open_commands` opens the store for a single
command without running any stage. Both take the store's lock first and give it back last.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from orchestrator.api_side import check_network, provider_of, sandbox_of
from orchestrator.config import (
    DEFAULT_API_VERSION,
    Settings,
    announced,
)
from orchestrator.config.network import check_exporter
from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.batches_api import LoopGuard
from orchestrator.domain.errors import OrchestratorError, shortage
from orchestrator.domain.ids import JobId
from orchestrator.domain.limits import API_MAX_REQUESTS, MAX_INPUT_LINE_BYTES, largest_params
from orchestrator.domain.packing import Caps
from orchestrator.domain.params import ParamRules
from orchestrator.engine.batch_list import list_batches
from orchestrator.engine.commands import EngineCommands
from orchestrator.engine.context import Context
from orchestrator.engine.export import export
from orchestrator.engine.liveness import ApiHealth, StageLiveness
from orchestrator.engine.runner import Runner
from orchestrator.engine.settings import engine_settings
from orchestrator.engine.wakeup import EngineChanges, Wakeup
from orchestrator.observability.metrics import Meters
from orchestrator.ports.provider import Courier, Provider
from orchestrator.ports.reads import Reads
from orchestrator.ports.runtime import Clock, Entropy, MemoryReservation, Meter
from orchestrator.ports.streams import Sink, Source
from orchestrator.store.connection import Start, Thread
from orchestrator.store.location import SqliteLocation, location_of, open_store
from orchestrator.store.ownership import Lock
from orchestrator.store.sqlite_store import SqliteStore
from orchestrator.system_clock import SystemClock, SystemEntropy
from orchestrator.webhooks.courier import courier_for, specs_of

if TYPE_CHECKING:
    import httpx2

    from orchestrator.http_api.change_feed import ChangeFeed
    from orchestrator.http_api.listen import TcpListener
    from orchestrator.http_api.services import Services, SourceOpener

T = TypeVar("T")

_PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What an engine stands on beside its own code; the defaults are this machine's. A simulation brings its own.

    transport: in place of the network. own: takes the store's lock. start: where SQLite runs. listens: whether there is
    a socket.
    """

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    transport: httpx2.AsyncBaseTransport | None = None
    own: Callable[[Path], Lock] = Lock.take
    start: Start = Thread.start
    listens: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine in this process: what faces may ask, and what they may read."""

    location: SqliteLocation
    sandbox: bool
    settings: Settings
    commands: EngineCommands
    health: ApiHealth
    store: SqliteStore
    provider: Provider
    wakeup: Wakeup
    liveness: StageLiveness
    clock: Clock
    meters: Meters
    passed: LoopGuard

    async def read(self, look: Callable[[Reads], T]) -> T:
        """Run *look* on one committed snapshot."""
        return await self.store.read(look)

    @property
    def bulk(self) -> BulkReader:
        """Reads of many rows, which never delay a look."""
        return BulkReader(self.store)

    async def export(self, job: JobId, sink: Sink) -> int:
        """Write the settled requests of *job* in input order; returns how many."""
        return await export(self.bulk, job, sink)

    async def remote_batches(self) -> AsyncGenerator[RemoteBatch, None]:
        """Everything that the API lists, newest first."""
        async with aclosing(list_batches(self.provider, _PAGE)) as batches:
            async for batch in batches:
                yield batch


class BulkReader:
    """Reads of many rows, on the connection that never delays a look."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def read(self, look: Callable[[Reads], T]) -> T:
        """Run *look* on one committed snapshot."""
        return await self._store.read_bulk(look)


@asynccontextmanager
async def running_engine(
    settings: Settings,
    *,
    sandbox: bool,
    keep_probing: bool = False,
    tcp: TcpListener | None = None,
    around: Runtime | None = None,
) -> AsyncIterator[Engine]:
    """Own the store, recover, and run every stage and the socket until the block ends.

    tcp: where it listens beside the socket. Raises StoreOwned if another process owns the store, UsageError where the
    API cannot be asked with what the environment says. A core task that fails ends the block, and its error rises.
    """
    chosen = Runtime() if around is None else around
    if not sandbox and chosen.transport is None:
        check_network(settings)
    async with AsyncExitStack() as stack:
        courier = courier_for(settings.webhooks)
        engine, context = await _open(stack, settings, chosen, sandbox=sandbox, courier=courier)
        await engine.store.discard_leftovers()
        await _mirror_webhooks(engine)
        stop = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(Runner(context, keep_probing=keep_probing).run(stop), name="stages")
                if keep_probing:
                    group.create_task(engine.meters.watch_loop(stop), name="loop.lag")
                if chosen.listens:
                    await _listen(group, engine, tcp, stop)
                try:
                    yield engine
                finally:
                    stop.set()
        except BaseExceptionGroup as exc:
            raise first_error(exc) from exc


@asynccontextmanager
async def open_commands(settings: Settings, *, sandbox: bool) -> AsyncIterator[Engine]:
    """Own the store for a command; no stage runs, the API is asked only by commands that need it."""
    async with AsyncExitStack() as stack:
        engine, _ = await _open(stack, settings, Runtime(), sandbox=sandbox)
        await engine.store.discard_leftovers()
        yield engine


@asynccontextmanager
async def open_provider(settings: Settings, *, sandbox: bool) -> AsyncIterator[Provider]:
    """The API alone, without the store (`doctor`, `batches ls`). The sandbox is then an empty one of its own."""
    async with AsyncExitStack() as stack:
        if not sandbox:
            check_network(settings)
        local = sandbox_of(settings, keeps=False) if sandbox else None
        yield await provider_of(stack, settings, None, sandbox=local, meter=Meters())


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a group of tasks: one that a person can read, if there is any."""
    flat = list(_flatten(group))
    readable = next((exc for exc in flat if isinstance(exc, OrchestratorError)), None) or shortage(group)
    return flat[0] if readable is None else readable


def _flatten(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for exc in group.exceptions:
        found += _flatten(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return found


async def _open(
    stack: AsyncExitStack,
    settings: Settings,
    around: Runtime,
    *,
    sandbox: bool,
    courier: Courier | None = None,
) -> tuple[Engine, Context]:
    """Lock, store, provider, commands; closed in the reverse order."""
    if courier is not None:
        stack.push_async_callback(courier.aclose)
    now = around.clock.now()
    store = await open_store(settings, now=now, sandbox=sandbox, own=around.own, start=around.start)
    stack.push_async_callback(store.aclose)
    local = sandbox_of(settings, keeps=True) if sandbox else None
    meters = Meters()
    meter = await _meter(stack, settings, store, meters)
    passed = LoopGuard((await store.read(lambda reads: reads.meta())).lineage)
    provider = await provider_of(stack, settings, around.transport, sandbox=local, meter=meter, passed=passed)
    context = Context(
        store=store,
        provider=provider,
        clock=around.clock,
        entropy=around.entropy,
        settings=engine_settings(settings),
        meter=meter,
        courier=courier,
    )
    engine = Engine(
        location=location_of(settings),
        sandbox=sandbox,
        settings=settings,
        commands=EngineCommands(context),
        health=context.health,
        store=store,
        provider=provider,
        wakeup=context.wakeup,
        liveness=context.liveness,
        clock=around.clock,
        meters=meters,
        passed=passed,
    )
    return engine, context


async def _meter(stack: AsyncExitStack, settings: Settings, store: SqliteStore, meters: Meters) -> Meter:
    """*meters*, and traces beside them where the settings ask for them; their packages are loaded only then."""
    if not settings.telemetry.otel:
        return meters
    from orchestrator.observability.telemetry import open_tracing

    lineage = (await store.read(lambda reads: reads.meta())).lineage
    tracing = open_tracing(meters, lineage=lineage, ask_no_proxy=check_exporter(os.environ))
    stack.push_async_callback(tracing.aclose)
    return tracing


async def _mirror_webhooks(engine: Engine) -> None:
    """The store knows who is to be told, so that it can note it with the event; without webhooks nothing is written."""
    known = await engine.read(lambda reads: reads.endpoints())
    if engine.settings.webhooks or any(endpoint.active for endpoint in known):
        await engine.store.notices.mirror(specs_of(engine.settings.webhooks), engine.clock.now())


def api_version(settings: Settings) -> str:
    """The API version of jobs that name none."""
    return DEFAULT_API_VERSION if settings.api.version is None else settings.api.version


def _stream_opener(settings: Settings) -> SourceOpener:
    """Makes sources of bodies that arrive over HTTP."""
    from orchestrator.inputs import source_from_stream

    largest = largest_params(settings.batching.max_bytes)

    def opener(blocks: AsyncIterator[bytes], *, name: str, api_version: str, claim: MemoryReservation) -> Source:
        return source_from_stream(
            blocks,
            name=name,
            rules=ParamRules(api_version=api_version, max_request_bytes=largest),
            max_line_bytes=MAX_INPUT_LINE_BYTES,
            claim=claim,
            max_text_bytes=settings.server.max_body,
        )

    return opener


async def _listen(group: asyncio.TaskGroup, engine: Engine, tcp: TcpListener | None, stop: asyncio.Event) -> None:
    """Serve the socket, and *tcp* if there is one, as core tasks; returns when they accept connections."""
    from orchestrator.http_api.listen import serve_socket
    from orchestrator.http_api.uvicorn_server import LazyApp

    services = await _services(engine, stop, tcp)
    feed = group.create_task(services.feed.run(), name="feed")
    group.create_task(_end_feed(services.feed, feed, stop), name="feed.end")
    app, path = LazyApp(services), engine.location.socket
    await _until_ready(group, "socket", lambda ready: serve_socket(app, path, ready=ready, stop=stop))
    if tcp is not None:
        from orchestrator.http_api.listen import serve_tcp

        server = engine.settings.server
        tcp.access.sessions.over.keep_at(engine.location.logged_out_file)
        group.create_task(_announce(tcp, path, stop), name="tcp.announce")
        await _until_ready(group, "tcp", lambda ready: serve_tcp(app, tcp, server, ready=ready, stop=stop))


async def _announce(tcp: TcpListener, socket: Path, stop: asyncio.Event) -> None:
    """Commands of the same user that are given the address find the socket instead, and need no token."""
    with announced(socket, *tcp.own_addresses):
        await stop.wait()


async def _until_ready(
    group: asyncio.TaskGroup, name: str, serve: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
) -> None:
    """Start a server as a task of *group*; returns when it accepts connections, or has failed."""
    listening = asyncio.Event()
    server = group.create_task(serve(listening.set), name=name)
    waiting = asyncio.ensure_future(listening.wait())
    await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _end_feed(feed: ChangeFeed, task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """At the end everybody who watches is let go first, so that no answer holds the stop up."""
    await stop.wait()
    feed.close()
    task.cancel()


async def _services(engine: Engine, stop: asyncio.Event, tcp: TcpListener | None = None) -> Services:
    """What the faces over HTTP are handed."""
    from orchestrator.http_api.change_feed import ChangeFeed
    from orchestrator.http_api.job_cache import JobCache
    from orchestrator.http_api.services import EngineIdentity, Services
    from orchestrator.http_api.upload_memory import LargeLineMemory

    meta = await engine.read(lambda reads: reads.meta())
    batching = engine.settings.batching
    most = API_MAX_REQUESTS - meta.size_jitter if batching.max_requests is None else batching.max_requests
    return Services(
        commands=engine.commands,
        reader=engine,
        bulk=engine.bulk,
        health=engine.health,
        identity=EngineIdentity(
            db=str(engine.location),
            sandbox=engine.sandbox,
            lineage=meta.lineage,
            api_version=api_version(engine.settings),
            started_at=engine.clock.now(),
        ),
        location=engine.location,
        opener=_stream_opener(engine.settings),
        remote_batches=engine.remote_batches,
        job_cache=JobCache(engine),
        feed=ChangeFeed(engine, EngineChanges(engine.wakeup, engine.clock), stop),
        settings=engine.settings,
        caps=Caps(requests=most, size_bytes=batching.max_bytes),
        why_not_ready=lambda: engine.store.lost or engine.liveness.trouble(engine.clock.now()),
        dashboard_link=lambda: None if tcp is None else tcp.dashboard_link(),
        meters=engine.meters,
        memory=LargeLineMemory(),
        passed=engine.passed,
    )
