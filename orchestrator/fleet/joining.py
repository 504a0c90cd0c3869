"""What a process needs to be a member of the fleet on the database of its settings."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from orchestrator.config import Settings
from orchestrator.fleet import membership
from orchestrator.fleet.fleet_clock import FleetClock
from orchestrator.fleet.fleet_view import view_fleet
from orchestrator.fleet.membership import Member, alike
from orchestrator.fleet.queue_pool import AWAY, HAS_QUEUE, QUEUE, SCHEMA, FleetDatabase, Pool, in_our_words, key_of
from orchestrator.fleet.shared_logins import SharedLogins
from orchestrator.ports.dispatch import FleetView, UnitKind

if TYPE_CHECKING:
    import psycopg

    from orchestrator.domain.ids import BatchId
    from orchestrator.fleet.fleet_chores import EngineSide
    from orchestrator.fleet.fleet_dispatcher import FleetDispatcher

#: Pages, scrapes and streams that look at the same time share one look.
_VIEW_HOLDS: Final = timedelta(seconds=1)
_DROP: Final = f"DELETE FROM {SCHEMA}.{QUEUE} WHERE dedupe_key = $1 AND status = 'queued'"  # noqa: S608 - names of ours


class Fleet:
    """The fleet on *settings*' database. password: of that database, where the URL has none.

    is_daemon: the queue's tables are brought up to date; a command only makes them where there are none.
    """

    def __init__(self, settings: Settings, password: str | None = None, *, is_daemon: bool = True) -> None:
        url = settings.database.url
        assert url is not None  # noqa: S101 - who asks for a fleet has read it
        self._database = FleetDatabase(url=url, password=password)
        self._settings = settings
        self._is_daemon = is_daemon
        self.clock = FleetClock()
        self._dispatcher: FleetDispatcher | None = None
        self._shown: FleetView | None = None
        self._shown_at = timedelta(0)
        self._asking = asyncio.Lock()
        self.logins = SharedLogins(self._pool)
        name = settings.fleet.name or f"{socket.gethostname()}:{os.getpid()}"
        self.member = Member(name=name, settings=alike(settings))

    def retune(self, settings: Settings) -> None:
        """Show *settings* as this process's own, from its next sign of life on."""
        self.member.settings = alike(settings)

    def for_store(self) -> Mapping[str, Any]:
        """What a store of a fleet is opened with: whose it is, how a unit becomes due, and the queue's own tables."""
        return {"daemon": self.member.id, "due": due, "also": self._make_queue}

    def _make_queue(self, connection: psycopg.Connection) -> None:
        if self._is_daemon or connection.execute(HAS_QUEUE.encode()).fetchone() == (False,):
            from orchestrator.fleet.queue_schema import upgrade_queue

            upgrade_queue(connection)

    async def meet(self) -> None:
        """Take the fleet's time over. Raises StoreUnreachable, StoreError."""
        with in_our_words():
            async with self._pool() as pool:
                await self.clock.ask(pool)

    async def view(self) -> FleetView:
        """The whole fleet, for faces, as it was within the last second. Raises StoreUnreachable, StoreError."""
        async with self._asking:
            if self._shown is None or self.clock.elapsed() - self._shown_at > _VIEW_HOLDS:
                with in_our_words():
                    async with self._pool() as pool:
                        self._shown, self._shown_at = await view_fleet(pool), self.clock.elapsed()
            return self._shown

    async def drop_stage(self, stage: str) -> None:
        """Take *stage*, which waits for somebody to hold it, off the queue. Raises StoreUnreachable, StoreError."""
        with in_our_words():
            async with self._pool() as pool:
                await pool.execute(_DROP, key_of(UnitKind.STAGE, stage))

    @property
    def taken_over(self) -> int:
        """How many units this process was given because their holder was silent."""
        return 0 if self._dispatcher is None else self._dispatcher.taken_over

    def trouble(self) -> str | None:
        """Why this process takes no units, for a person; None if it does, or is none that should."""
        return None if self._dispatcher is None else self._dispatcher.trouble

    def dispatcher(self, engine: EngineSide) -> FleetDispatcher:
        """Hands out the units of an engine."""
        from orchestrator.fleet.fleet_chores import Chores
        from orchestrator.fleet.fleet_dispatcher import FleetDispatcher
        from orchestrator.fleet.fleet_session import FleetLimits

        limits = self._settings.limits
        shared = FleetLimits(
            max_uploads=limits.max_uploads,
            max_downloads=limits.max_downloads,
            heartbeat=self._settings.fleet.heartbeat,
        )
        chores = Chores(self.member, self.clock, engine, self.logins)
        self._dispatcher = FleetDispatcher(self._database, self.member.name, shared, chores)
        return self._dispatcher

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Show that this process lives while the block runs: its imports are its own (for a process without an engine).

        Raises StoreUnreachable or StoreError if the database does not hear it first.
        """
        async with AsyncExitStack() as stack:
            with in_our_words():
                pool = await stack.enter_async_context(self._pool())
                await self.member.beat(pool, None)
            beating = asyncio.create_task(self._beat(pool))
            try:
                yield
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
                with suppress(*AWAY):
                    await self.member.leave(pool)

    async def _beat(self, pool: Pool) -> None:
        while True:
            await asyncio.sleep(membership.BEAT.total_seconds())
            with suppress(*AWAY):
                await self.member.beat(pool, None)

    def _pool(self) -> AbstractAsyncContextManager[Pool]:
        return self._database.pool(f"orchestrator {self.member.name}", most=1)


def due(connection: psycopg.Connection, kind: UnitKind, batch: BatchId, priority: int) -> None:
    """`enqueue_due`; PgQueuer is loaded by the first unit that a process makes."""
    from orchestrator.fleet.queue_schema import enqueue_due

    enqueue_due(connection, kind, batch, priority)
