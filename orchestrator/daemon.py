"""An engine for as long as a block lasts: all of it, or its store and commands, or the API alone.

`running_engine` runs every stage and serves the socket; `open_commands` opens the store for a single command. Both take
the store's lock first and give it back last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.api_side import check_network, provider_of, sandbox_of, sandbox_server
from orchestrator.assembly import Engine, Runtime, joined, open_engine
from orchestrator.config import Settings
from orchestrator.config.webhook_section import WEBHOOKS
from orchestrator.domain.errors import OrchestratorError, shortage
from orchestrator.engine.context import Context
from orchestrator.engine.units import EngineUnits
from orchestrator.observability.telemetry import Meters
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.runtime import Provider
from orchestrator.webhooks.courier import courier_for, specs_of

if TYPE_CHECKING:
    from orchestrator.http_api.listen import TcpListener


@asynccontextmanager
async def running_engine(
    settings: Settings,
    *,
    sandbox: bool,
    keep_probing: bool = False,
    tcp: TcpListener | None = None,
    runtime: Runtime | None = None,
) -> AsyncIterator[Engine]:
    """Own the store, recover, and run every stage and the socket until the block ends.

    tcp: where it listens beside the socket. Raises StoreOwned if another process owns the store, UsageError where the
    API cannot be asked with what the environment says. A core task that fails ends the block, and its error rises.
    """
    _check_sandbox(settings, sandbox=sandbox)
    chosen = await joined(settings, runtime, is_daemon=True)
    if not sandbox and chosen.transport is None:
        check_network(settings)
    async with AsyncExitStack() as stack:
        courier = courier_for(settings.webhooks)
        engine, context = await open_engine(stack, settings, chosen, sandbox=sandbox, courier=courier)
        if sandbox and settings.database.url is not None:
            await sandbox_server(settings).check(engine.provider)
        if chosen.is_alone and not engine.location.is_shared:
            await engine.store.discard_leftovers()
        if engine.location.is_shared:
            await _share_webhooks(engine, context, is_daemon=keep_probing)
        else:
            await _mirror_webhooks(engine)
        units = EngineUnits(context, keep_probing=keep_probing, is_alone=not engine.location.is_shared)
        work = partial(_work, chosen.dispatch(context), units)
        listens = chosen.listens and (keep_probing or not engine.location.is_shared)
        # The lag of the loop is a metric: where nothing listens nobody asks for it.
        async with _core_tasks(engine, work, tcp, listens=listens, watches_loop=keep_probing and chosen.listens):
            yield engine


def _check_sandbox(settings: Settings, *, sandbox: bool) -> None:
    """Raise UsageError, before anything is made there, for sandbox work on a store that is shared without a server."""
    if sandbox and settings.database.url is not None:
        sandbox_server(settings)


@asynccontextmanager
async def _core_tasks(
    engine: Engine,
    work: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    tcp: TcpListener | None,
    *,
    listens: bool,
    watches_loop: bool,
) -> AsyncIterator[None]:
    """Run the stages and the servers until the block ends; the error of the first that fails ends all, and rises."""
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(work(stop), name="stages")
            if watches_loop:
                group.create_task(engine.meters.watch_loop(stop), name="loop.lag")
            if listens:
                from orchestrator.serving import listen

                await listen(group, engine, tcp, stop)
            try:
                yield
            finally:
                stop.set()
                if engine.location.is_shared:  # others wait for what is handed on, and a POST may end
                    await asyncio.wait({working})
    except BaseExceptionGroup as exc:
        raise first_error(exc) from exc


async def _work(dispatcher: Dispatcher, units: EngineUnits, stop: asyncio.Event) -> None:
    await dispatcher.run(units, stop)
    await units.last_notices()


@asynccontextmanager
async def open_commands(settings: Settings, *, sandbox: bool) -> AsyncIterator[Engine]:
    """Own the store for a command; no stage runs, and the API is asked only by commands that need it."""
    _check_sandbox(settings, sandbox=sandbox)
    async with AsyncExitStack() as stack:
        runtime = await joined(settings)
        engine, _ = await open_engine(stack, settings, runtime, sandbox=sandbox)
        if runtime.fleet is not None:
            await stack.enter_async_context(runtime.fleet.present())
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


async def _share_webhooks(engine: Engine, context: Context, *, is_daemon: bool) -> None:
    """Whoever holds `notify` says which endpoints there are; `webhooks = []`, of a daemon, that there are none.

    Settings that say nothing of webhooks turn off nobody's.
    """
    settings = engine.settings
    if settings.webhooks:
        context.endpoints = specs_of(settings.webhooks)
    elif is_daemon and settings.is_set(WEBHOOKS):
        await _mirror_webhooks(engine)
        if engine.fleet is not None:
            await engine.fleet.drop_stage("notify")


async def _mirror_webhooks(engine: Engine) -> None:
    """Tell the store the endpoints, so that it notes notices with the events; without webhooks nothing is written."""
    known = await engine.read(lambda reads: reads.endpoints())
    if engine.settings.webhooks or any(endpoint.active for endpoint in known):
        await engine.store.notices.mirror(specs_of(engine.settings.webhooks), engine.clock.now())
