"""One spell of work with the queue: a pool, PgQueuer's two managers over it, and the units that came from them.

A spell ends with its daemon, or when the database fails a question of the queue. Then the stages that were held are
given back, and no new unit is taken; a batch that is being sent or downloaded goes on, and its heart beats as soon as
the database is back. The next spell need not wait for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

from pgqueuer.domain.errors import FailingListenerError
from pgqueuer.domain.models import Job, Schedule
from pgqueuer.domain.types import QueueManagerId
from pgqueuer.errors import RetryRequested
from pgqueuer.qm import QueueManager
from pgqueuer.sm import SchedulerManager

from orchestrator.domain import errors, humanize
from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fenced_queue import FencedQueries, WatchedDriver, names
from orchestrator.fleet.queue_pool import (
    AWAY,
    MOVES,
    QUEUE,
    QUEUE_LOG,
    SCHEMA,
    Pool,
    key_of,
    stage_entrypoint,
    words_of,
)
from orchestrator.observability.logs import get_logger
from orchestrator.ports.dispatch import Claim, UnitKind, Units

log = get_logger(__name__)

#: What a batch that is being sent gets to end, when its daemon does.
GRACE: Final = timedelta(seconds=30)
#: After a unit failed: from one look to the next, longer each time.
_FAILED: Final = timedelta(seconds=1)
_FAILED_LONGEST: Final = timedelta(minutes=1)
#: How soon PgQueuer looks again while every place of a kind is taken; it would ten times a second.
_LOOKS_AGAIN: Final = timedelta(milliseconds=250)
_IS_OURS: Final = f"SELECT queue_manager_id = $2 AND status = 'picked' FROM {SCHEMA}.{QUEUE} WHERE id = $1"  # noqa: S608 - names of ours
#: Handed out again without having been given back: the log has both times one below the other.
_WAS_HELD: Final = (
    f"SELECT status = 'picked' FROM {SCHEMA}.{QUEUE_LOG} WHERE job_id = $1 ORDER BY id DESC OFFSET 1 LIMIT 1"  # noqa: S608 - as above
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLimits:
    """What every daemon of a fleet must have alike: PgQueuer takes the highest.

    heartbeat: a daemon that is silent for so long has lost its units.
    """

    max_uploads: int
    max_downloads: int
    heartbeat: timedelta

    @property
    def quarter(self) -> timedelta:
        """How often to look whether a unit is still another's, or still ours."""
        return self.heartbeat / 4


@dataclass(slots=True)
class Working:
    """What this process works on, over all its spells: a hint.

    failures: in a row, by unit. taken_over: how many units came here because their holder was silent. fatal: ends the
    daemon. away_since: when the database failed first, by a monotonic clock; None: it answers.
    """

    busy: set[str] = field(default_factory=set)
    taken_over: int = 0
    fatal: errors.OrchestratorError | None = None
    failures: dict[str, int] = field(default_factory=dict)
    away_since: float | None = None

    def miss_database(self, why: str | None) -> None:
        """The database does not answer; the log has one line of it a minute (`FLOODABLE`)."""
        log.warning("fleet.database_away", why=why)
        if self.away_since is None:
            self.away_since = time.monotonic()

    def find_database(self) -> None:
        """The database answers, again perhaps."""
        if self.away_since is not None:
            away = timedelta(seconds=time.monotonic() - self.away_since)
            log.warning("fleet.database_back", after=humanize.span(away))
        self.away_since = None

    def pause_after_failure(self, unit: str) -> timedelta:
        """How long to leave *unit*, which has failed once more."""
        count = self.failures[unit] = self.failures.get(unit, 0) + 1
        return min(_FAILED * (1 << min(count - 1, 10)), _FAILED_LONGEST)


class FleetSession:
    """Takes units from the queue through *pool*, and gives them to *units*, until *over*.

    leaving: the daemon ends. over: set as soon as another spell may begin: no new unit is taken then.
    """

    def __init__(
        self,
        pool: Pool,
        units: Units,
        limits: FleetLimits,
        working: Working,
        *,
        leaving: asyncio.Event,
        over: asyncio.Event,
    ) -> None:
        self.id = QueueManagerId(uuid4())
        self.over = over
        self._has_failed = False
        self._pool, self._units, self._limits, self._working, self._leaving = pool, units, limits, working, leaving
        self._driver = WatchedDriver(pool, self._fail)
        self.queries = FencedQueries(self._driver, self.id)
        self._queue = QueueManager(self.queries, names().channel)
        self._queue.queue_manager_id = self.id
        self._queue.min_dequeue_poll_interval = _LOOKS_AGAIN
        self._schedules = SchedulerManager(self.queries)
        self._queue.shutdown = self._schedules.shutdown = over
        self._register()

    @property
    def stages(self) -> Sequence[str]:
        """The stages that somebody must hold."""
        return self._units.stages

    def _register(self) -> None:
        """One entrypoint a stage, so that nobody is handed a stage that it does not have."""
        for stage in self._units.stages:
            self._queue.entrypoint(stage_entrypoint(stage), accepts_context=False)(partial(self._hold, stage))
        places = {UnitKind.SUBMIT: self._limits.max_uploads, UnitKind.COLLECT: self._limits.max_downloads}
        for kind, most in places.items():
            self._queue.entrypoint(kind, concurrency_limit=most, accepts_context=False)(partial(self._look, kind))

    def every_minute(self, name: str, act: Callable[[], Awaitable[None]]) -> None:
        """Have *act* called once a minute by one daemon of the fleet; before `run`."""

        async def scheduled(_schedule: Schedule) -> None:
            await act()

        self._schedules.schedule(name, "* * * * *", accepts_context=False)(scheduled)

    async def listen(self, ring: Callable[[str], None]) -> None:
        """Call *ring* with what each notification of a move says; before `run`.

        The queue's own channel is listened to as well: PgQueuer's first probe of it would else come too early, be lost,
        and end the spell ten seconds later.
        """
        await self._driver.add_listener(MOVES, lambda payload: ring(str(payload)))
        await self._driver.add_listener(self._queue.channel, lambda _: None)

    async def run(self, *more: Coroutine[Any, Any, None]) -> None:
        """Work until `over`, and until every unit has ended. *more* runs beside it, and ends with `over`.

        Raises what is no trouble of the database.
        """
        beat = self._limits.heartbeat
        queue = self._queue.run(
            batch_size=1,
            dequeue_timeout=beat * 0.4,
            heartbeat_timeout=beat,
            shutdown_on_listener_failure=True,
            log_aggregation_interval=timedelta(0),
        )
        async with asyncio.TaskGroup() as group:
            for work in (queue, self._schedules.run(), *more):
                group.create_task(self._watched(work))
            group.create_task(self._end_with_daemon())

    async def _end_with_daemon(self) -> None:
        stopping = asyncio.ensure_future(self._leaving.wait())
        ending = asyncio.ensure_future(self.over.wait())
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self.over.set()

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """*work*, which may end the spell by an error of the database."""
        try:
            await work
        except (*AWAY, FailingListenerError) as exc:
            self._fail(exc)
        finally:
            self.over.set()

    def _fail(self, exc: Exception) -> None:
        if not self._has_failed and not self._leaving.is_set():
            self._working.miss_database(words_of(exc))
        self._has_failed = True
        self.over.set()

    def end_for(self, exc: errors.OrchestratorError) -> None:
        """End the daemon with *exc*, as it ends when it is stopped."""
        self._working.fatal = exc
        self._leaving.set()

    async def _hold(self, stage: str, job: Job) -> None:
        """Hold *stage* as long as the row is ours; then hand it on, if it still is."""
        log.info("stage.held", stage=stage)
        claim = Claim(is_ours=partial(self._is_ours, job), every=self._limits.quarter)

        async def holding() -> None:
            await self._units.hold(stage, claim, self.over)

        pause = await self._tried(job, key_of(UnitKind.STAGE, stage), holding)
        log.info("stage.left", stage=stage)
        raise RetryRequested(pause or timedelta(0))

    async def _look(self, kind: UnitKind, job: Job) -> None:
        """Look at a batch; the unit is over when nothing more is due."""
        batch = BatchId(int(job.payload or b""))
        pause = await self._tried(job, key_of(kind, batch), lambda: self._cut_off(kind, self._units.look(kind, batch)))
        if pause is not None:
            raise RetryRequested(pause)

    async def _tried(self, job: Job, unit: str, work: Callable[[], Awaitable[timedelta | None]]) -> timedelta | None:
        """When to hand *unit* out again, after *work*; whatever becomes of it, no exception comes out."""
        if unit in self._working.busy:  # an earlier spell still has it
            return self._limits.quarter
        self._working.busy.add(unit)
        try:
            await self._count_taken_over(job, unit)
            again = await work()
        except errors.StoreLost as exc:
            self.end_for(exc)
            return timedelta(0)
        except Exception as exc:  # noqa: BLE001 - PgQueuer deletes a unit that fails
            return self._after(unit, exc)
        finally:
            self._working.busy.discard(unit)
        self._working.failures.pop(unit, None)
        return again

    async def _count_taken_over(self, job: Job, unit: str) -> None:
        if await self._pool.fetchval(_WAS_HELD, job.id):
            self._working.taken_over += 1
            log.warning("unit.taken_over", unit=unit)

    def _after(self, unit: str, exc: Exception) -> timedelta:
        """*exc* ended a look at *unit*: told, where it is not that the database is away, which others tell."""
        pause = self._working.pause_after_failure(unit)
        if not isinstance(exc, (*AWAY, errors.StoreUnreachable)):
            log.error("unit.failed", unit=unit, why=words_of(exc), again_s=pause.total_seconds())
        return pause

    async def _cut_off(self, kind: UnitKind, look: Coroutine[Any, Any, timedelta | None]) -> timedelta | None:
        """*look*, which is broken off when the daemon ends: a download at once, what is being sent after its grace."""
        looking, leaving = asyncio.ensure_future(look), asyncio.ensure_future(self._patience(kind))
        try:
            await asyncio.wait({looking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return looking.result() if looking.done() else timedelta(0)
        finally:
            for task in (looking, leaving):
                task.cancel()
            await asyncio.gather(looking, leaving, return_exceptions=True)

    async def _patience(self, kind: UnitKind) -> None:
        await self._leaving.wait()
        if kind is UnitKind.SUBMIT:
            await asyncio.sleep(GRACE.total_seconds())

    async def _is_ours(self, job: Job) -> bool:
        return await self._pool.fetchval(_IS_OURS, job.id, self.id) is True


async def happens(event: asyncio.Event, within: timedelta) -> bool:
    """True as soon as *event* is set; False after *within*."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within.total_seconds())
    return event.is_set()
