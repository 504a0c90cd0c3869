"""What a daemon does beside its units: signs of life, the fleet's time, and once a minute what the queue has lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from orchestrator.domain import humanize
from orchestrator.domain.errors import StoreError, StoreLost, StoreUnreachable
from orchestrator.domain.ids import BatchId
from orchestrator.fleet import membership
from orchestrator.fleet.fleet_clock import FleetClock
from orchestrator.fleet.fleet_session import FleetSession, happens
from orchestrator.fleet.membership import Member, SeenEvents
from orchestrator.fleet.queue_pool import (
    AWAY,
    BACK_WITHIN,
    QUEUE,
    QUEUE_LOG,
    SCHEMA,
    STAGE_PRIORITY,
    Pool,
    key_of,
    stage_entrypoint,
)
from orchestrator.fleet.shared_logins import LOGINS, SharedLogins
from orchestrator.observability.logs import get_logger
from orchestrator.ports.dispatch import UnitKind

log = get_logger(__name__)

#: Rings of the bell that come closer together are one.
_RING: Final = timedelta(milliseconds=20)
#: In beats: the fleet's time is asked for once a minute.
_ASKS_TIME: Final = 12
_LOG_KEPT: Final = timedelta(days=7)

# ruff: noqa: S608 - the statements below are put together from names of ours
_PRUNE: Final = f"DELETE FROM {SCHEMA}.{QUEUE_LOG} WHERE created < now() - $1::interval"
_THERE: Final = f"SELECT dedupe_key FROM {SCHEMA}.{QUEUE} WHERE dedupe_key = ANY($1)"


class Bell:
    """Rings a moment after it is pulled, and no more often than fifty times a second."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._waiting = False

    def pull(self) -> None:
        """Ring soon."""
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(_RING.total_seconds(), self._now)

    def _now(self) -> None:
        self._waiting = False
        self._ring()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSide:
    """What the fleet asks of the engine and its store.

    due: what the rows say is due; asked at each start, and once a minute by one daemon for all. tidy: takes away what
    members that are gone left; once a minute as well. ring: called soon after anybody has moved something. distrust:
    has the API asked for what was sent, as commits were lost; raises StoreUnreachable, StoreLost. schema: the newest
    migration that this version knows.
    """

    due: Callable[[], Awaitable[Iterable[tuple[UnitKind, BatchId, int]]]]
    tidy: Callable[[], Awaitable[object]]
    ring: Callable[[], None]
    distrust: Callable[[], Awaitable[object]]
    schema: int


class Chores:
    """The chores of the daemon *member*."""

    def __init__(
        self, member: Member, clock: FleetClock, engine: EngineSide, logins: SharedLogins | None = None
    ) -> None:
        self._logins = logins
        self._hearing: set[asyncio.Task[None]] = set()
        self._member = member
        self._clock = clock
        self._engine = engine
        self._bell = Bell(engine.ring)
        self._seen = SeenEvents(engine.schema)
        self._worked_at = clock.elapsed()  # it joins at once, or the database is away

    @property
    def trouble(self) -> str | None:
        """Why no units are taken, for a person; None if they are."""
        silence = self._clock.elapsed() - self._worked_at
        return f"the queue has not been worked on for {humanize.span(silence)}" if silence > BACK_WITHIN else None

    async def begin(self, pool: Pool, spell: FleetSession) -> None:
        """Before the first unit of *spell*: is the store what it was, what time is it, what is due."""
        await self._check(pool)
        await self._clock.ask(pool)
        await self._member.beat(pool, spell.id)
        await self._enqueue_missing(pool, spell)
        await self._refresh(pool)

        async def sweep() -> None:
            with suppress(StoreUnreachable, *AWAY):  # the next minute's will do
                await self._sweep(pool, spell)

        spell.every_minute("sweep", sweep)
        await spell.listen(partial(self._heard, pool))
        self._bell.pull()  # for what was told while nobody listened
        self._worked_at = self._clock.elapsed()

    async def _check(self, pool: Pool) -> None:
        """As `SeenEvents.check`; the next start asks the API, though nothing else of the server be changed."""
        try:
            await self._seen.check(pool)
        except StoreLost:
            await self._engine.distrust()
            raise

    def _heard(self, pool: Pool, told: str) -> None:
        if told == LOGINS:
            hearing = asyncio.create_task(self._refresh(pool))
            self._hearing.add(hearing)
            hearing.add_done_callback(self._hearing.discard)
            return
        self._seen.heard(told)
        self._bell.pull()

    async def _refresh(self, pool: Pool) -> None:
        """Hear which logins were ended elsewhere; with every beat, too: a notification may be lost."""
        if self._logins is not None:
            with suppress(*AWAY):
                await self._logins.refresh(pool)

    async def beat(self, pool: Pool, spell: FleetSession) -> None:
        """Show every five seconds that we live, and look at the store, until *spell* is over.

        Raises StoreLost; a newer version is made way for.
        """
        beats = 0
        while not await happens(spell.over, membership.BEAT):
            beats += 1
            with suppress(StoreUnreachable, *AWAY):  # the queue's own questions say when it is time for another spell
                await self._beat_once(pool, spell, asks_time=beats % _ASKS_TIME == 0)

    async def _beat_once(self, pool: Pool, spell: FleetSession, *, asks_time: bool) -> None:
        try:
            await self._check(pool)
        except (StoreLost, StoreUnreachable):
            raise
        except StoreError as exc:
            spell.end_for(exc)
        await self._member.beat(pool, spell.id)
        await self._refresh(pool)
        self._worked_at = self._clock.elapsed()
        if asks_time:
            await self._clock.ask(pool)

    async def leave(self, pool: Pool) -> None:
        """Say that we are gone, if the database hears it."""
        with suppress(*AWAY):
            await self._member.leave(pool)

    async def _sweep(self, pool: Pool, spell: FleetSession) -> None:
        lost = await self._enqueue_missing(pool, spell)
        if lost:
            log.warning("units.swept", count=len(lost), first=lost[0])
        await pool.execute(_PRUNE, _LOG_KEPT)
        await membership.bury(pool)
        await self._engine.tidy()

    async def _enqueue_missing(self, pool: Pool, spell: FleetSession) -> Sequence[str]:
        """Enqueue every stage and every due batch that has no unit; the names of those batches."""
        wanted = {key_of(UnitKind.STAGE, name): (stage_entrypoint(name), name, STAGE_PRIORITY) for name in spell.stages}
        for kind, batch, priority in await self._engine.due():
            wanted[key_of(kind, batch)] = (kind, str(batch), priority)
        there = {row[0] for row in await pool.fetch(_THERE, list(wanted))}
        for key in (missing := sorted(wanted.keys() - there)):  # one by one: two sweeps never wait for each other
            entrypoint, what, priority = wanted[key]
            await spell.queries.enqueue(entrypoint, what.encode(), priority, dedupe_key=key, on_conflict="skip")
        return [key for key in missing if not key.startswith(UnitKind.STAGE)]
