"""Keeps a way to an engine open for as long as a block lasts: one of our own, or that of the process before us.

Whoever holds the store's lock runs the engine. While another process does, we ask it; once it is gone we take its
place, so that what was handed over goes on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.client.errors import not_open
from orchestrator.client.link import FileReader, Link, near
from orchestrator.client.remote import RemoteEngine
from orchestrator.client.way import KNOCK_S, EngineSilent, SocketWay
from orchestrator.config import default_socket_path
from orchestrator.daemon import first_error, running_engine
from orchestrator.domain.errors import GuardRefused, StoreError, StoreOwned

if TYPE_CHECKING:
    from orchestrator.config import Settings

#: How often we look whether the engine of another process is still there.
_LOOK_EVERY: Final = timedelta(seconds=2)
#: Between two tries while a store is owned by a process that does not listen (yet, or any more).
_TRY_AGAIN: Final = timedelta(milliseconds=100)


class Keeper:
    """Made by `keeping`; `link` is the way to the engine of this moment."""

    def __init__(self, settings: Settings, *, sandbox: bool) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._link: Link | None = None
        self.opened = asyncio.Event()
        self.leave = asyncio.Event()

    @property
    def link(self) -> Link:
        """The way to the engine. Between two owners it is still the old one, whose calls raise GuardRefused."""
        if self._link is None or self.leave.is_set():
            raise not_open()
        return self._link

    async def keep(self) -> None:
        """Run, or find, an engine until `leave`. Raises what ends our own engine; GuardRefused if none answers."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + KNOCK_S
        while not self.leave.is_set():
            if await self._be_guest() or await self._be_owner():
                give_up_at = loop.time() + KNOCK_S
            elif loop.time() >= give_up_at and not self.opened.is_set():
                raise GuardRefused(
                    f"another process owns {self._settings.database.path}, and its engine does not answer",
                    cause=f"no answer within {KNOCK_S:g} s",
                    hint="look at that process, or stop it; the store is safe",
                )
            else:
                await self._unless_leaving(_TRY_AGAIN)

    async def _be_owner(self) -> bool:
        """Run the engine here until `leave`; False if another process owns the store."""
        try:
            async with running_engine(self._settings, sandbox=self._sandbox) as engine:
                self._open(near(engine))
                await self.leave.wait()
        except StoreOwned:
            return False
        return True

    async def _be_guest(self) -> bool:
        """Work through the engine of another process until that is gone; False if none answers."""
        database = self._settings.database.path
        answered = False
        way = SocketWay(default_socket_path(database, os.environ))
        async with RemoteEngine(way, FileReader(database)) as engine:
            with suppress(EngineSilent):
                self._check(await engine.identity())
                await engine.look()
                answered = True
                self._open(engine.link)
                while not await self._unless_leaving(_LOOK_EVERY):
                    await engine.look()
        return answered

    def _check(self, identity: Mapping[str, object]) -> None:
        if identity["sandbox"] is not self._sandbox:
            kind, remedy = ("real", "without") if self._sandbox else ("sandbox", "with")
            raise StoreError(
                f"{self._settings.database.path} holds {kind} work", hint=f"open it {remedy} sandbox, or another one"
            )

    def _open(self, link: Link) -> None:
        self._link = link
        self.opened.set()

    async def _unless_leaving(self, pause: timedelta) -> bool:
        """Wait; True, at once, when it is time to leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause.total_seconds()):
                await self.leave.wait()
        return self.leave.is_set()


@asynccontextmanager
async def keeping(settings: Settings, *, sandbox: bool) -> AsyncIterator[Keeper]:
    """A keeper whose link is open. If our own engine fails, the block is cancelled and the engine's error rises."""
    keeper = Keeper(settings, sandbox=sandbox)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(keeper.keep(), name="client.keeper")
            await keeper.opened.wait()
            try:
                yield keeper
            finally:
                keeper.leave.set()
                await asyncio.wait({task})  # a tidy stop also where the block ends by an error
    except BaseExceptionGroup as exc:
        raise first_error(exc) from None
