"""Sessions: access to an engine for as long as a block lasts.

A local session works on a store. Whoever holds the store's lock runs the engine: while another process does, this one
sends it commands; once that process is gone, this one takes its place, so that submitted jobs go on. A store that is
shared has no lock: this process runs an engine beside the others. A remote session works through a server, which runs
its own engine; this process never takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from orchestrator.client.errors import EngineSilent, not_open
from orchestrator.client.remote_commands import RemoteEngine
from orchestrator.client.remote_reads import HttpReader
from orchestrator.client.transport import CONNECT_TIMEOUT_S, ServerTransport, SocketTransport
from orchestrator.daemon import first_error, running_engine
from orchestrator.domain.errors import GuardRefused, OrchestratorError, StoreError, StoreOwned, UsageError
from orchestrator.ports.engine import Commands, EngineHealth, NoticeCommands, OpenJobs
from orchestrator.ports.estimates import Estimates
from orchestrator.ports.reads import RemoteReader
from orchestrator.store.location import DirectReader, location_of
from orchestrator.views.fleet_views import FleetAnswerView

if TYPE_CHECKING:
    from orchestrator.assembly import Engine
    from orchestrator.client.server_address import Server
    from orchestrator.config import Settings

#: How often we look whether the engine of another process is still there.
_CHECK_EVERY: Final = timedelta(seconds=2)
#: Between two tries while a store is owned by a process that does not listen (yet, or any more).
_RETRY_EVERY: Final = timedelta(milliseconds=100)


class LocalSession:
    """Made by `local_session`. It owns the handle, which changes when the engine moves to another process."""

    def __init__(self, settings: Settings, *, sandbox: bool) -> None:
        self._settings = settings
        self._location = location_of(settings)
        self._sandbox = sandbox
        self._handle: EngineHandle | None = None
        self.opened = asyncio.Event()
        self.leave = asyncio.Event()

    @property
    def handle(self) -> EngineHandle:
        """The handle to the current engine.

        Between two owners it is still the old one, whose calls raise GuardRefused.
        """
        if self._handle is None or self.leave.is_set():
            raise not_open()
        return self._handle

    async def keep(self) -> None:
        """Run an engine, or use that of another process, until `leave` is set.

        Raises the error of our own engine, and GuardRefused if the owner of the store does not answer.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + CONNECT_TIMEOUT_S
        while not self.leave.is_set():
            if await self._use_other_engine() or await self._run_engine():
                give_up_at = loop.time() + CONNECT_TIMEOUT_S
            elif loop.time() >= give_up_at and not self.opened.is_set():
                raise GuardRefused(
                    f"another process owns {self._location}, and its engine does not answer",
                    cause=f"no answer within {CONNECT_TIMEOUT_S:g} s",
                    hint="look at that process, or stop it; the store is safe",
                )
            else:
                await self._unless_leaving(_RETRY_EVERY)

    async def _run_engine(self) -> bool:
        """Run the engine here until `leave` is set; False if another process owns the store."""
        try:
            async with running_engine(self._settings, sandbox=self._sandbox) as engine:
                self._open(local_handle(engine))
                await self.leave.wait()
        except StoreOwned:
            return False
        return True

    async def _use_other_engine(self) -> bool:
        """Use the engine of another process until it is gone; False if none answers, or none need be asked."""
        if self._location.is_shared:
            return False
        answered = False
        transport = SocketTransport(self._location.socket)
        async with RemoteEngine(transport, DirectReader(self._location)) as engine:
            with suppress(EngineSilent):
                self._check(await engine.identity())
                await engine.refresh_health()
                answered = True
                self._open(remote_handle(engine))
                while not await self._unless_leaving(_CHECK_EVERY):
                    await engine.refresh_health()
        return answered

    def _check(self, identity: Mapping[str, object]) -> None:
        if identity["sandbox"] is not self._sandbox:
            kind, remedy = ("real", "without") if self._sandbox else ("sandbox", "with")
            raise StoreError(f"{self._location} holds {kind} work", hint=f"open it {remedy} sandbox, or another one")

    def _open(self, handle: EngineHandle) -> None:
        self._handle = handle
        self.opened.set()

    async def _unless_leaving(self, pause: timedelta) -> bool:
        """Sleep for *pause*, or until `leave` is set: True then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await self.leave.wait()
        return self.leave.is_set()


@asynccontextmanager
async def local_session(settings: Settings, *, sandbox: bool) -> AsyncIterator[LocalSession]:
    """A session on the store of *settings*.

    If our own engine fails, the block is cancelled and the engine's error raised.
    """
    session = LocalSession(settings, sandbox=sandbox)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(session.keep(), name="client.local_session")
            await session.opened.wait()
            try:
                yield session
            finally:
                session.leave.set()
                await asyncio.wait({task})  # a tidy stop also where the block ends by an error
    except BaseExceptionGroup as exc:
        raise first_error(exc) from None


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHandle:
    """The ports of an engine. bulk: reads many rows without delaying `reader`. is_local: it runs in this process."""

    commands: Commands
    open_jobs: OpenJobs
    notices: NoticeCommands
    estimates: Estimates
    health: EngineHealth
    reader: RemoteReader
    bulk: RemoteReader
    view_fleet: Callable[[], Awaitable[FleetAnswerView]]
    is_local: bool


def local_handle(engine: Engine) -> EngineHandle:
    """The handle to an engine in this process."""
    return EngineHandle(
        commands=engine.commands,
        open_jobs=engine.commands,
        notices=engine.commands,
        estimates=engine,
        health=engine.health,
        reader=engine,
        bulk=engine.bulk,
        view_fleet=lambda: _fleet_of(engine),
        is_local=True,
    )


def remote_handle(engine: RemoteEngine) -> EngineHandle:
    """The handle to an engine in another process."""
    return EngineHandle(
        commands=engine,
        open_jobs=engine,
        notices=engine,
        estimates=engine,
        health=engine.health,
        reader=engine.reader,
        bulk=engine.reader,
        view_fleet=engine.view_fleet,
        is_local=False,
    )


async def _fleet_of(engine: Engine) -> FleetAnswerView:
    return FleetAnswerView.of(await engine.view_fleet())


#: How often we ask what the server knows of the API.
_REFRESH_EVERY_S: Final = 2.0


class RemoteSession:
    """Made by `remote_session`. handle: leads to the server."""

    def __init__(self, handle: EngineHandle) -> None:
        self.handle = handle


Session = LocalSession | RemoteSession


@asynccontextmanager
async def remote_session(
    server: Server, *, sandbox: bool, say: Callable[[str], None] | None = None
) -> AsyncIterator[RemoteSession]:
    """A session on *server*. sandbox: refuse a server that does real work.

    say: is called once when the server stops answering and reads begin to be retried. Raises ServerSilent, NeedsPerson,
    UsageError.
    """
    transport = ServerTransport(server)
    with HttpReader(transport, say=say) as reader:
        async with RemoteEngine(transport, reader) as engine:
            identity = await engine.identity()
            if sandbox and identity.get("sandbox") is not True:
                raise not_a_sandbox(server)
            await engine.refresh_health()
            async with _health_refreshed(engine):
                yield RemoteSession(remote_handle(engine))


@asynccontextmanager
async def _health_refreshed(engine: RemoteEngine) -> AsyncIterator[None]:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_refresh_health(engine), name="client.remote_session")
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as exc:
        raise first_error(exc) from None


def not_a_sandbox(server: Server) -> UsageError:
    """The error for `--sandbox` with a server whose work is paid for."""
    return UsageError(
        f"{server.url} is not a sandbox: what it sends is paid for", hint="leave --sandbox out, or name another server"
    )


async def _refresh_health(engine: RemoteEngine) -> None:
    while True:
        await asyncio.sleep(_REFRESH_EVERY_S)
        with suppress(OrchestratorError):  # whoever looks at a job meets it as well, and waits for it or raises it
            await engine.refresh_health()
