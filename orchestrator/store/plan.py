"""Facet of the stage plan: queued requests, the load of the API's queue, and new batches, each in one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from typing_extensions import override

from orchestrator.domain.ids import BatchId, JobId, Nonce, number_of, request_id
from orchestrator.domain.model import JobRow
from orchestrator.domain.packing import Pack
from orchestrator.ports.store import Plannable, PlanStore, QueueLoad
from orchestrator.store import facet, history, sql_rows, sql_text
from orchestrator.store.identity import sign

SQL: Final = sql_text.load("plan")
T = TypeVar("T")


class SqlitePlanStore(facet.Facet, PlanStore):
    """A batch, its members and its job's counts change in one transaction."""

    @override
    @facet.snapshot
    def queue_load(self, c: sqlite3.Connection) -> QueueLoad:
        batches, requests, waiting = c.execute(SQL["load"]).fetchone()
        return QueueLoad(batches=batches, requests=requests, waiting_batches=waiting)

    @override
    @facet.snapshot
    def plannable(self, c: sqlite3.Connection, *, limit: int, skip: int = 0) -> list[Plannable]:
        values = {"limit": limit, "skip": skip}
        rows = sql_rows.dict_rows(c.execute(SQL["plannable"], values))
        return [Plannable(job=sql_rows.to_job(row), in_flight=row["in_flight"]) for row in rows]

    @override
    @facet.snapshot
    def queued(
        self, c: sqlite3.Connection, job: JobId, limit: int, take: Callable[[Iterator[tuple[int, int]]], T]
    ) -> T:
        values = {"job_id": job, "limit": limit}
        return take((number_of(key), size) for key, size in c.execute(SQL["queued"], values))

    @override
    @facet.snapshot
    def nonce(self, c: sqlite3.Connection, job: JobId, chance: Nonce) -> Nonce:
        return sign(chance, job, c)

    @override
    async def plan(self, job: JobRow, pack: Pack, nonce: Nonce, now: datetime) -> BatchId | None:
        def step(c: sqlite3.Connection) -> BatchId:
            if c.execute(SQL["job_is_running"], {"id": job.id}).fetchone() is None:
                raise _Moved
            return add_batch(c, job, pack, nonce, now)

        try:
            return await self._db.write(step)
        except _Moved:
            return None

    @override
    @facet.transaction
    def fail_queued(
        self, c: sqlite3.Connection, job: JobId, number: int, error: tuple[str, str], body: bytes, now: datetime
    ) -> bool:
        key = request_id(job, number)
        if c.execute(SQL["is_queued"], {"id": key}).fetchone() is None:
            return False
        values = {"id": key, **sql_rows.failure(*error), "result_id": sql_rows.store_result(key, body, c)}
        return sql_rows.moved(c, SQL["fail_queued"], values)

    @override
    @facet.snapshot
    def size_jitter(self, c: sqlite3.Connection) -> int:
        value: int = c.execute(SQL["size_jitter"]).fetchone()[0]
        return value


class _Moved(Exception):
    """A row had changed its state since it was read."""


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
    c: sqlite3.Connection, job: JobRow, pack: Pack, nonce: Nonce, now: datetime, parent: tuple[int, int] | None = None
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
    }
    batch = BatchId(c.execute(SQL["add_batch"], values).fetchone()[0])
    taken = 0
    for first, last in members:
        span = {"batch_id": batch, "low": request_id(job.id, first), "high": request_id(job.id, last)}
        taken += c.execute(SQL["take"], span).rowcount
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


def count_taken(job: JobId, count: int, c: sqlite3.Connection) -> None:
    """Count requests that were moved `queued → batched` by one statement."""
    c.execute(SQL["count_taken"], {"id": job, "count": count})
