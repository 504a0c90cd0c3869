"""Facet of the stage plan: queued requests, the load of the API's queue, and new batches, each in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Final, TypeVar

from typing_extensions import override

from orchestrator.domain import humanize
from orchestrator.domain.ids import BatchId, JobId, Nonce, number_of, request_id
from orchestrator.domain.model import JobRow
from orchestrator.domain.packing import Pack
from orchestrator.domain.pilot import PilotState
from orchestrator.domain.priming import CacheUse, PrefixTake
from orchestrator.ports.store import PlanLook, Plannable, PlanStore, QueueLoad, Window
from orchestrator.store import facet, history, prefixes, sql_rows, sql_text
from orchestrator.store.identity import sign
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("plan")
#: From so many on, runs are taken many at once; such a statement writes down first what it will take.
_MANY_RUNS: Final = 20
T = TypeVar("T")


class SqlPlanStore(facet.Facet, PlanStore):
    """A batch, its members and its job's counts change in one transaction."""

    @override
    @facet.snapshot
    def queue_load(self, c: SqlConnection) -> QueueLoad:
        return load_of(c)

    @override
    @facet.snapshot
    def look(self, c: SqlConnection, *, limit: int) -> PlanLook:
        return PlanLook(to_price=sql_rows.to_batches(c.execute(SQL["to_price"])), first=_plannable(limit, 0, c))

    @override
    @facet.snapshot
    def plannable(self, c: SqlConnection, *, limit: int, skip: int = 0) -> list[Plannable]:
        return _plannable(limit, skip, c)

    @override
    @facet.snapshot
    def queued(self, c: SqlConnection, job: JobId, limit: int, take: Callable[[Iterator[tuple[int, int]]], T]) -> T:
        values = {"job_id": job, "limit": limit}
        with closing(c.stream(SQL["queued"], values)) as rows:
            return take((number_of(key), size) for key, size in rows)

    @override
    @facet.snapshot
    def nonce(self, c: SqlConnection, job: JobId, chance: Nonce) -> Nonce:
        return sign(chance, job, c)

    @override
    async def plan(
        self,
        job: JobRow,
        pack: Pack,
        nonce: Nonce,
        window: Window,
        now: datetime,
        uses: Sequence[PrefixTake] = (),
    ) -> BatchId | None:
        def step(c: SqlConnection) -> BatchId:
            going = {"id": job.id, "pilot": job.pilot or PilotState.OVER}
            if c.execute(SQL["job_is_running"], going).fetchone() is None:
                raise _Moved
            load = load_of(c)  # asked here: another planner may have been faster
            if load.batches >= window.batches or load.requests + len(pack.numbers) > window.requests:
                raise _Moved
            batch = add_batch(c, job, pack, nonce, now)
            if job.cache is CacheUse.AUTO:
                prefixes.unmark(batch, uses, c)
            if not prefixes.use(job.id, batch, uses, c):
                raise _Moved
            _record_primers(job, batch, uses, now, c)
            return batch

        try:
            return await self._db.write(step)
        except _Moved:
            return None

    @override
    @facet.transaction
    def fail_queued(
        self, c: SqlConnection, job: JobId, number: int, error: tuple[str, str], body: bytes, now: datetime
    ) -> bool:
        key = request_id(job, number)
        if c.execute(SQL["is_queued"], {"id": key}).fetchone() is None:
            return False
        values = {"id": key, **sql_rows.failure(*error), "result_id": sql_rows.store_result(key, body, c)}
        return sql_rows.moved(c, SQL["fail_queued"], values)

    @override
    @facet.snapshot
    def size_jitter(self, c: SqlConnection) -> int:
        value: int = c.execute(SQL["size_jitter"]).fetchone()[0]
        return value


class _Moved(Exception):
    """A row had changed its state since it was read."""


def _plannable(limit: int, skip: int, c: SqlConnection) -> list[Plannable]:
    rows = sql_rows.dict_rows(c.execute(SQL["plannable"], {"limit": limit, "skip": skip}))
    return [Plannable(job=sql_rows.to_job(row), in_flight=row["in_flight"]) for row in rows]


def _record_primers(job: JobRow, batch: BatchId, uses: Sequence[PrefixTake], now: datetime, c: SqlConnection) -> None:
    ahead = sum(use.is_primer for use in uses)
    if ahead:
        why = f"{humanize.count(ahead, 'request')}, one of each marked prefix, ahead of the others"
        history.record(c, now, "cache.primed", job=job.id, batch=batch, why=why)


def load_of(c: SqlConnection) -> QueueLoad:
    """How much of the API's queue is taken, as *c* sees it."""
    batches, requests, waiting = c.execute(SQL["load"]).fetchone()
    return QueueLoad(batches=batches, requests=requests, waiting_batches=waiting)


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The ascending *numbers* as runs of neighbours (first, last): one statement moves a run."""
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def digest_of(members: Iterable[tuple[int, int]]) -> str:
    """A fingerprint of which requests (runs of numbers) a batch was planned with."""
    return hashlib.sha256(",".join(f"{first}-{last}" for first, last in members).encode()).hexdigest()


def add_batch(
    c: SqlConnection, job: JobRow, pack: Pack, nonce: Nonce, now: datetime, parent: tuple[int, int] | None = None
) -> BatchId:
    """Insert a planned batch and move its queued requests into it; raises if one is not queued any more.

    parent: (batch id, depth) of the batch that was halved into this one.
    """
    members = list(runs(pack.numbers))
    values = {
        "job_id": job.id,
        "nonce": nonce,
        "count": len(pack.numbers),
        "size_bytes": pack.size_bytes,
        "digest": digest_of(members),
        "api_version": job.api_version,
        "betas": sql_rows.join_list(job.betas),
        "now": sql_rows.to_text(now),
        "parent_id": None if parent is None else parent[0],
        "depth": 0 if parent is None else parent[1],
        "worst": pack.nanos,
    }
    batch = BatchId(c.execute(SQL["add_batch"], values).fetchone()[0])
    spans = [(batch, request_id(job.id, first), request_id(job.id, last)) for first, last in members]
    if len(spans) < _MANY_RUNS:
        taken = sum(c.execute(SQL["take"], span).rowcount for span in spans)
    else:
        taken = c.update_rows(SQL["take_many"], spans)
    if taken != len(pack.numbers):
        raise _Moved
    count_taken(job.id, taken, c)
    history.record(
        c,
        now,
        "batch.planned",
        job=job.id,
        batch=batch,
        new="planned",
        why=f"{taken} requests, {pack.size_bytes} bytes",
    )
    return batch


def count_taken(job: JobId, count: int, c: SqlConnection) -> None:
    """Count requests that were moved `queued → batched` by one statement."""
    c.execute(SQL["count_taken"], {"id": job, "count": count})
