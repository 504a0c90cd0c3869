"""PgQueuer's statements, with the fence that they lack.

PgQueuer 1.6 beats the heart of a job, acknowledges it and puts it off by the job's id alone. A daemon that stood still,
was given up and wakes would so beat, delete or hand on what another one holds meanwhile. Here each of the three touches
a row only while it is the caller's own. The texts are those of 1.6.0; others are refused, and not guessed at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import asyncpg  # type: ignore[import-untyped]  # it has no types of its own
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import JOB_STATUS, Channel, JobId, QueueManagerId
from pgqueuer.ports.driver import Driver, NotifyCallback
from pgqueuer.queries import Queries
from typing_extensions import override

from orchestrator.domain.errors import StoreError
from orchestrator.fleet.queue_pool import AWAY, BACK_WITHIN, QUEUE, QUEUE_LOG, SCHEMA, Pool, words_of
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

#: How often a unit is offered back to a database that does not answer, and how long from one try to the next. After
#: that its heart stops with this process's interest in it, and whoever finds it takes it.
_TRIES: Final = 20
_PAUSE_S: Final = 0.5


def names() -> DBSettings:
    """PgQueuer's names, each one given: by itself it takes them from variables as common as `CHANNEL`."""
    return DBSettings(
        prefix="",
        db_schema=SCHEMA,
        channel=Channel("orchestrator_queue"),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table=QUEUE,
        queue_table_log=QUEUE_LOG,
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=True,
    )


@dataclass
class FencedQueue(QueryQueueBuilder):
    """Builds the statements of the queue for the holder *me*."""

    settings: DBSettings = field(default_factory=names)
    me: QueueManagerId = field(kw_only=True)

    def __post_init__(self) -> None:
        """Raises StoreError unless PgQueuer's three statements are the ones that were read."""
        self.build_update_heartbeat_query()
        self.build_retry_job_query()
        self.build_log_job_query()

    @override
    def build_update_heartbeat_query(self) -> str:
        return self._only_mine(super().build_update_heartbeat_query(), "WHERE id = ANY($1::bigint[])")

    @override
    def build_retry_job_query(self) -> str:
        return self._only_mine(super().build_retry_job_query(), "WHERE id = $1::bigint")

    @override
    def build_log_job_query(self) -> str:
        whose = "WHERE id = ANY(SELECT js.id FROM job_status js WHERE js.status {} 'failed')"
        return self._only_mine(super().build_log_job_query(), whose.format("!="), whose.format("="))

    def _only_mine(self, sql: str, *places: str) -> str:
        """*sql* with the fence behind each of *places*, which stands in it exactly once, and all conditions are."""
        if any(sql.count(place) != 1 for place in places) or sql.count("WHERE id =") != len(places):
            raise StoreError(
                "this version of PgQueuer is not one that the fleet was written for",
                cause="a statement that must be fenced reads otherwise",
                hint="install the one that this release names: pip install 'batch-orchestrator[postgres]'",
            )
        for place in places:
            sql = sql.replace(place, f"{place} AND queue_manager_id = '{self.me}'")
        return sql


class FencedQueries(Queries):
    """PgQueuer's statements over *driver*, fenced for the holder *me*.

    What cannot be given back because the database is away is never deleted: its heart stops, and another one takes it.
    now: a monotonic clock, in seconds.
    """

    def __init__(self, driver: Driver, me: QueueManagerId, now: Callable[[], float] = time.monotonic) -> None:
        settings = names()
        self._now = now
        self._failing_since: float | None = None
        super().__init__(
            driver,
            qbe=QueryBuilderEnvironment(settings),
            qbq=FencedQueue(settings, me=me),
            qbs=QuerySchedulerBuilder(settings),
        )

    @override
    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Take the units off the queue that ended well. PgQueuer deletes the others, too: ours are never given up."""
        done = [each for each in job_status if each[1] == "successful"]
        if done:
            with self._flushed():
                await super().log_jobs(done)

    @override
    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        with self._flushed():
            await super().update_heartbeat(job_ids)

    @contextmanager
    def _flushed(self) -> Iterator[None]:
        """What PgQueuer flushes, and repeats if it fails: raises FlushDelayed, until it has failed for too long."""
        try:
            yield
        except AWAY as exc:
            since = self._failing_since = self._now() if self._failing_since is None else self._failing_since
            if self._now() - since < BACK_WITHIN.total_seconds():
                raise FlushDelayed(words_of(exc)) from None
            raise
        self._failing_since = None

    @override
    async def retry_job(self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        """Give *job* back, to be handed out after *delay*; without a traceback, of which the log would keep one a look.

        Tried for ten seconds where the database does not answer.
        """
        for left in reversed(range(_TRIES)):
            try:
                return await super().retry_job(job, delay, None)
            except AWAY as exc:
                if not left:
                    raise
                log.debug("unit.kept", unit=job.entrypoint, why=type(exc).__name__)
            await asyncio.sleep(_PAUSE_S)
        return None


class WatchedDriver(AsyncpgPoolDriver):
    """PgQueuer's driver, which tells *failed* that the database failed a question of the queue.

    PgQueuer's own loop ends then, but not before its last unit has; until that it would take no new one.
    """

    def __init__(self, pool: Pool, failed: Callable[[Exception], None]) -> None:
        super().__init__(pool)
        self._failed = failed

    @override
    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """As PgQueuer's; when the connection that listens breaks, *failed* is told at once: nobody would ask it."""
        is_first = self._listener_connection is None
        await super().add_listener(channel, callback)
        if is_first and self._listener_connection is not None:
            self._listener_connection.add_termination_listener(self._deaf)

    def _deaf(self, _connection: object) -> None:
        self._failed(ConnectionError("the connection that listens was closed"))

    @override
    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        try:
            return await super().fetch(query, *args)
        except asyncpg.DeadlockDetectedError:  # one dequeue was in another's way: PgQueuer knows it, and asks again
            raise
        except AWAY as exc:
            self._failed(exc)
            raise


class FlushDelayed(ConnectionError):
    """The database does not take what PgQueuer flushes, and will flush again: it may be no more than a restart."""


class _OneLine(logging.Filter):
    """Takes the tracebacks off what PgQueuer says of a database that is away: the spell is told of once.

    A flush that is only delayed is no error of PgQueuer's either.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if isinstance(exc, FlushDelayed):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        if isinstance(exc, AWAY):
            with suppress(TypeError, IndexError):
                record.msg = f"{record.getMessage()}: {words_of(exc)}"
                record.args, record.exc_info = (), None
        return True


logging.getLogger("pgqueuer").addFilter(_OneLine())
