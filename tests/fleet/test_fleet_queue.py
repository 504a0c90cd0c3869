"""The queue that a fleet shares: only a unit's holder touches it, and it becomes due with the rows that make it so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import uuid4

import pytest
from fleet.fleet_world import connected
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from pgqueuer.core.buffers import HeartbeatBuffer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.domain.models import Job
from pgqueuer.domain.types import JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries

from orchestrator.domain.errors import StoreError
from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fenced_queue import FencedQueries, FencedQueue, names
from orchestrator.fleet.queue_pool import FleetDatabase, Pool, understood
from orchestrator.fleet.queue_schema import enqueue_due, plan_upgrade, upgrade_queue
from orchestrator.ports.dispatch import UnitKind

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

BEAT = timedelta(milliseconds=100)


class Holder:
    """One daemon, as the queue sees it."""

    def __init__(self, queries: Queries, me: QueueManagerId) -> None:
        self.queries = queries
        self.me = me

    async def take(self) -> Job | None:
        """The next unit, also one whose holder was silent for `BEAT`."""
        kinds = {QueueEntrypoint(UnitKind.SUBMIT): EntrypointExecutionParameter(concurrency_limit=0)}
        taken = await self.queries.dequeue(1, kinds, self.me, None, BEAT)
        return taken[0] if taken else None

    async def take_soon(self) -> Job:
        """The next unit, as soon as its holder has been silent for long enough."""
        async with asyncio.timeout(30):
            while (job := await self.take()) is None:  # noqa: ASYNC110 - the database is asked
                await asyncio.sleep(0.01)
        return job


def fenced(pool: Pool) -> Holder:
    me = QueueManagerId(uuid4())
    return Holder(FencedQueries(AsyncpgPoolDriver(pool), me), me)


def unfenced(pool: Pool) -> Holder:
    """PgQueuer as it comes."""
    return Holder(Queries(AsyncpgPoolDriver(pool), qbq=QueryQueueBuilder(names())), QueueManagerId(uuid4()))


async def row(pool: Pool) -> tuple[object, ...] | None:
    """What the queue says of the one unit: state, holder, last heartbeat."""
    found = await pool.fetchrow("SELECT status, queue_manager_id, heartbeat FROM pgqueuer")
    return None if found is None else tuple(found)


async def woken(url: str, holder: Callable[[Pool], Holder], act: Callable[[Holder, Job], object]) -> bool:
    """A holder stands still, another takes its unit, it wakes and does *act*. True if the other is undisturbed."""
    with connected(url) as c:
        enqueue_due(c, UnitKind.SUBMIT, BatchId(1), 50)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(FleetDatabase(url=url).pool("test"))
        first, second = holder(pool), holder(pool)
        job = await first.take_soon()
        await second.take_soon()
        before = await row(pool)
        done = act(first, job)
        assert asyncio.iscoroutine(done)
        await done
        return await row(pool) == before


ACTS: dict[str, Callable[[Holder, Job], object]] = {
    "heartbeat": lambda holder, job: holder.queries.update_heartbeat([job.id]),
    "retry": lambda holder, job: holder.queries.retry_job(job, timedelta(0), None),
    "done": lambda holder, job: holder.queries.log_jobs([(job, "successful", None)]),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))
async def test_a_holder_that_wakes_late_does_not_disturb_the_new_one(
    url: str, act: Callable[[Holder, Job], object]
) -> None:
    """Promise 2: what was taken over is its new holder's, whatever the old one still says of it."""
    assert await woken(url, fenced, act)


@pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))
async def test_without_the_fence_it_would(url: str, act: Callable[[Holder, Job], object]) -> None:
    """Each of the three statements needs its fence: PgQueuer's own take the unit from its holder."""
    assert not await woken(url, unfenced, act)


@pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))
async def test_a_holder_can_do_what_the_fence_keeps_others_from(url: str, act: Callable[[Holder, Job], object]) -> None:
    """A fence that nobody passes would be one, too."""
    with connected(url) as c:
        enqueue_due(c, UnitKind.SUBMIT, BatchId(1), 50)
    async with FleetDatabase(url=url).pool("test") as pool:
        holder = fenced(pool)
        job = await holder.take_soon()
        before = await row(pool)
        done = act(holder, job)
        assert asyncio.iscoroutine(done)
        await done
        assert await row(pool) != before


async def test_a_unit_that_failed_is_never_deleted(url: str) -> None:
    """PgQueuer forgets a job that fails; a batch would wait for the sweep, or, without one, for ever."""
    with connected(url) as c:
        enqueue_due(c, UnitKind.SUBMIT, BatchId(1), 50)
    async with FleetDatabase(url=url).pool("test") as pool:
        holder = fenced(pool)
        job = await holder.take_soon()
        await holder.queries.log_jobs([(job, "exception", None), (job, "canceled", None)])
        assert (await holder.take_soon()).id == job.id


def test_another_version_of_the_queue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that reads otherwise is not fenced by guessing: the daemon does not start."""
    changed = "UPDATE pgqueuer SET heartbeat = NOW() WHERE id IN (SELECT unnest($1::bigint[]))"
    monkeypatch.setattr(QueryQueueBuilder, "build_update_heartbeat_query", lambda _self: changed)
    with pytest.raises(StoreError, match="this version of PgQueuer"):
        FencedQueue(names(), me=QueueManagerId(uuid4()))


async def test_a_flush_that_fails_while_the_database_restarts_is_no_error(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One quiet line, without a traceback; only what does not succeed in half a minute is an error."""
    now = [0.0]
    caplog.set_level(logging.INFO)
    async with (
        FleetDatabase(url="postgresql://nobody@127.0.0.1:9/nowhere").pool("test") as away,
        FleetDatabase(url=url).pool("test") as there,
    ):
        queries = FencedQueries(AsyncpgPoolDriver(away), QueueManagerId(uuid4()), lambda: now[0])
        buffer = HeartbeatBuffer(max_size=1, repository=queries)
        for at, pool in ((0.0, away), (29.0, away), (30.0, away), (31.0, there), (32.0, away)):
            now[0], queries.driver = at, AsyncpgPoolDriver(pool)
            buffer.events.put_nowait(JobId(1))
            await buffer.flush()
    told = [record for record in caplog.records if record.name == "pgqueuer"]
    assert [record.levelname for record in told] == ["INFO", "INFO", "ERROR", "INFO"]
    assert all(record.exc_info is None for record in told)
    assert all("Flush failed" in record.getMessage() for record in told)
    assert all("ConnectionRefusedError: " in record.getMessage() for record in told)


def test_the_environment_names_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself PgQueuer reads such common variables as CHANNEL and FUNCTION."""
    before = names().model_dump()
    for name in (*before, *(f"pgqueuer_{field}" for field in before), "pgqueuer_schema"):
        monkeypatch.setenv(name.upper(), "volatile" if "durability" in name else "elsewhere")
    monkeypatch.delenv("WIDEN_ID")
    monkeypatch.delenv("PGQUEUER_WIDEN_ID")
    assert names().model_dump() == before


def test_a_unit_is_due_only_if_its_transaction_is_committed(url: str) -> None:
    """Promise 1: nothing is due that was not stored, and what was stored is due."""
    with connected(url) as c, connected(url) as other:
        c.execute("BEGIN")
        enqueue_due(c, UnitKind.SUBMIT, BatchId(7), 50)
        c.execute("ROLLBACK")
        assert other.execute("SELECT count(*) FROM pgqueuer").fetchone() == (0,)
        c.execute("BEGIN")
        enqueue_due(c, UnitKind.SUBMIT, BatchId(7), 50)
        assert other.execute("SELECT count(*) FROM pgqueuer").fetchone() == (0,)
        c.execute("COMMIT")
        seen = other.execute("SELECT entrypoint, dedupe_key, payload, priority FROM pgqueuer").fetchall()
        assert seen == [("submit", "submit:7", b"7", 50)]


def test_a_unit_that_waits_already_is_not_enqueued_twice(url: str) -> None:
    """Otherwise two daemons would send one batch at once, and all but one meet the fence."""
    with connected(url) as c:
        for _ in range(2):
            enqueue_due(c, UnitKind.SUBMIT, BatchId(7), 50)
        enqueue_due(c, UnitKind.COLLECT, BatchId(7), 50)
        keys = c.execute("SELECT dedupe_key FROM pgqueuer ORDER BY id").fetchall()
        assert keys == [("submit:7",), ("collect:7",)]


def test_the_tables_are_made_once_and_mended(url: str) -> None:
    """Under the lock of the store's migrations: on its own connection, in its transaction."""
    with connected(url) as c:
        assert plan_upgrade(c) == ()
        c.execute("DROP INDEX pgqueuer_picked_slot_idx")
        assert plan_upgrade(c) != ()
        c.execute("BEGIN")
        upgrade_queue(c)
        c.execute("COMMIT")
        assert plan_upgrade(c) == ()


def test_words_of_libpq_are_no_settings_of_the_server() -> None:
    """The driver would send what it does not know to the server, which refuses it."""
    kept = "postgresql://me@a:1,b:2/db?target_session_attrs=read-write&sslmode=require"
    assert understood(f"{kept}&keepalives=1&connect_timeout=3&tcp_user_timeout=9") == kept
    assert understood("postgresql:///db?hostaddr=10.0.0.5") == "postgresql:///db?host=10.0.0.5", "never another server"
