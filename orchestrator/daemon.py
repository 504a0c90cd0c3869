"""An engine for as long as a block lasts: all of it, or its store and commands, or the API alone.

`running_engine` runs every stage and serves the socket; `open_commands` opens the store for a single command. Both take
the store's lock first and give it back last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from orchestrator.api_side import check_network, provider_of, sandbox_of
from orchestrator.assembly import Engine, Runtime, open_engine
from orchestrator.config import Settings
from orchestrator.domain.errors import OrchestratorError, shortage
from orchestrator.engine.runner import Runner
from orchestrator.observability.telemetry import Meters
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
    chosen = Runtime() if runtime is None else runtime
    if not sandbox and chosen.transport is None:
        check_network(settings)
    async with AsyncExitStack() as stack:
        courier = courier_for(settings.webhooks)
        engine, context = await open_engine(stack, settings, chosen, sandbox=sandbox, courier=courier)
        await engine.store.discard_leftovers()
        await _mirror_webhooks(engine)
        runner = Runner(context, keep_probing=keep_probing)
        async with _core_tasks(engine, runner, tcp, listens=chosen.listens, watches_loop=keep_probing):
            yield engine


@asynccontextmanager
async def _core_tasks(
    engine: Engine, runner: Runner, tcp: TcpListener | None, *, listens: bool, watches_loop: bool
) -> AsyncIterator[None]:
    """Run the stages and the servers until the block ends; the error of the first that fails ends all, and rises."""
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(runner.run(stop), name="stages")
            if watches_loop:
                group.create_task(engine.meters.watch_loop(stop), name="loop.lag")
            if listens:
                from orchestrator.serving import listen

                await listen(group, engine, tcp, stop)
            try:
                yield
            finally:
                stop.set()
    except BaseExceptionGroup as exc:
        raise first_error(exc) from exc


@asynccontextmanager
async def open_commands(settings: Settings, *, sandbox: bool) -> AsyncIterator[Engine]:
    """Own the store for a command; no stage runs, and the API is asked only by commands that need it."""
    async with AsyncExitStack() as stack:
        engine, _ = await open_engine(stack, settings, Runtime(), sandbox=sandbox)
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


async def _mirror_webhooks(engine: Engine) -> None:
    """Tell the store the endpoints, so that it notes notices with the events; without webhooks nothing is written."""
    known = await engine.read(lambda reads: reads.endpoints())
    if engine.settings.webhooks or any(endpoint.active for endpoint in known):
        await engine.store.notices.mirror(specs_of(engine.settings.webhooks), engine.clock.now())
