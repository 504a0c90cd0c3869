"""A step takes as many statements for a thousand rows as for thirty: on a server each one is a round trip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from store.store_world import (
    BODY,
    NOW,
    batch_of,
    ended,
    finish,
    lines,
    new_job,
    open_store,
    running_job,
    settle_all,
    submitting,
    won,
)
from store.test_store_ledger import NAMELESS, paid
from typing_extensions import override

from orchestrator.domain.billing import Payment, Tokens
from orchestrator.domain.ids import BatchId, request_id
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.domain.result_outcome import Outcome
from orchestrator.ports.dispatch import UnitKind
from orchestrator.ports.job_store import DuplicatesCursor
from orchestrator.ports.store import Store
from orchestrator.store.database import Database, Step
from orchestrator.store.sql_connection import Rows, SqlConnection, Values
from orchestrator.store.sql_store import SqlStore

T = TypeVar("T")
FEW, MANY = 30, 900


class RecordingConnection(SqlConnection):
    """Writes down every statement that a step asks for; a row by itself is one."""

    def __init__(self, inner: SqlConnection, seen: list[str]) -> None:
        self._inner = inner
        self._seen = seen

    @override
    def execute(self, sql: str, values: Values = (), /) -> Rows:
        self._seen.append(sql)
        return self._inner.execute(sql, values)

    @override
    def executemany(self, sql: str, rows: Iterable[Values], /) -> Rows:
        listed = list(rows)
        self._seen += [sql] * len(listed)
        return self._inner.executemany(sql, listed)

    @override
    def insert_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> None:
        self._seen.append(sql)
        self._inner.insert_rows(sql, rows)

    @override
    def update_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> int:
        self._seen.append(sql)
        return self._inner.update_rows(sql, rows)

    @override
    def stream(self, sql: str, values: Values = (), /) -> Rows:
        self._seen.append(sql)
        return self._inner.stream(sql, values)

    @override
    def due(self, kind: UnitKind, batch: BatchId, priority: int, /) -> None:
        self._inner.due(kind, batch, priority)

    @override
    def assert_in_turn(self) -> None:
        self._inner.assert_in_turn()


class RecordingDatabase(Database):
    """Runs the steps of a store that is open, and keeps their statements in `seen`."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.seen: list[str] = []

    def _recorded(self, step: Step[T]) -> Step[T]:
        return lambda c: step(RecordingConnection(c, self.seen))

    @override
    async def write(self, step: Step[T]) -> T:
        return await self._inner.write(self._recorded(step))

    @override
    async def write_free(self, step: Step[T]) -> T:
        return await self._inner.write_free(self._recorded(step))

    @override
    async def read(self, step: Step[T]) -> T:
        return await self._inner.read(self._recorded(step))

    @override
    async def read_bulk(self, step: Step[T]) -> T:
        return await self._inner.read_bulk(self._recorded(step))

    @override
    async def look(self, step: Step[T]) -> T:
        return await self._inner.look(self._recorded(step))

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


class Counted(SqlStore):
    """A store whose statements are counted; of the same database as another one."""

    def __init__(self, store: Store) -> None:
        self._recording = RecordingDatabase(store._database)  # type: ignore[attr-defined]  # every store of a test has it
        super().__init__(self._recording, None)

    async def cost(self, step: Awaitable[object]) -> int:
        """How many statements *step* takes."""
        self._recording.seen.clear()
        await step
        return len(self._recording.seen)

    @property
    @override
    def lost(self) -> str | None:
        return None

    @override
    async def check_files(self) -> None:
        """Whose file it is looks."""

    @override
    async def aclose(self) -> None:
        """Who opened it closes it."""


@asynccontextmanager
async def counted(path: Path) -> AsyncIterator[Counted]:
    """A new store whose statements are counted."""
    async with open_store(path) as store:
        yield Counted(store)


def failing(number: int, outcome: Outcome) -> JudgedLine:
    """A line that brings an error with a message of its own."""
    message = f"message {number} is {chr(97 + number % 26) * 8}"
    return JudgedLine(number, "errored", outcome, BODY, error_type="api_error", error_message=message)


def mixed(count: int) -> list[JudgedLine]:
    """A third of each: a success, an error for good, one that is tried again."""
    kinds = (won, lambda number: failing(number, Outcome.FAILED), lambda number: failing(number, Outcome.AGAIN))
    return [kinds[number % 3](number) for number in range(1, count + 1)]


async def add(store: Counted, count: int) -> int:
    job = await store.ingest.begin(new_job(), "id", NOW)
    return await store.cost(store.ingest.add(job.id, lines(f"r{n}" for n in range(count)), NOW))


async def extend(store: Counted, count: int) -> int:
    job = await running_job(store, 2, still_open=True)
    return await store.cost(store.ingest.extend(job.id, lines(f"x{n}" for n in range(count)), NOW))


async def repeated(store: Counted, count: int) -> int:
    count = min(count, 400)  # so many are told at once
    job = await store.ingest.begin(new_job(), "id", NOW)
    await store.ingest.add(job.id, lines(f"r{n // 2}" for n in range(2 * count)), NOW)
    return await store.cost(store.ingest.repeated(job.id, DuplicatesCursor(), leave_out=False))


async def params(store: Counted, count: int) -> int:
    sent = await submitting(store, (await running_job(store, count)).id)
    return await store.cost(store.params.slice(sent.id, 0, 10_000_000))


async def scattered(store: Counted, count: int) -> int:
    """Every other request is settled, so what is planned next has as many runs as requests."""
    job = await running_job(store, 2 * count)
    batch = await ended(store, job.id, 2 * count)
    every_other = [won(n) if n % 2 else failing(n, Outcome.AGAIN) for n in range(1, 2 * count + 1)]
    await store.collect.store_lines(batch, every_other, NOW)
    await store.collect.collected(batch, NOW)
    await settle_all(store, await batch_of(store, batch.id))
    return await store.cost(submitting(store, job.id, count, "b"))


async def stored(store: Counted, count: int) -> int:
    batch = await ended(store, (await running_job(store, count)).id)
    return await store.cost(store.collect.store_lines(batch, mixed(count), NOW))


async def stored_again(store: Counted, count: int) -> int:
    batch = await ended(store, (await running_job(store, count)).id)
    await store.collect.store_lines(batch, mixed(count), NOW)
    return await store.cost(store.collect.store_lines(batch, mixed(count), NOW))


async def given_up(store: Counted, count: int) -> int:
    batch = await ended(store, (await running_job(store, count)).id)
    return await store.cost(store.collect.give_up(batch, ("lost", "no line came"), BODY, NOW))


async def repriced(store: Counted, count: int) -> int:
    job = await running_job(store, count)
    unknown, known = Payment(NAMELESS, None, None), Payment(NAMELESS, Tokens(1), 1)
    batch = await ended(store, job.id)
    await store.collect.store_lines(batch, [paid(number, unknown) for number in range(1, count + 1)], NOW)
    found = await store.reprice.unpriced(job.id, request_id(job.id, 0), count)
    assert len(found) == count
    return await store.cost(store.reprice.priced(job.id, [(each, known) for each in found], NOW))


async def collected_batch(store: Counted, count: int) -> BatchRow:
    """All that can be tried again, is."""
    batch = await ended(store, (await running_job(store, count)).id)
    await store.collect.store_lines(batch, [failing(n, Outcome.AGAIN) for n in range(1, count + 1)], NOW)
    await store.collect.collected(batch, NOW)
    return await batch_of(store, batch.id)


async def settled(store: Counted, count: int) -> int:
    batch = await collected_batch(store, count)
    return await store.cost(store.settle.settle(batch, 1, NOW))


async def queued_again(store: Counted, count: int) -> int:
    batch = await collected_batch(store, count)
    return await store.cost(store.settle.settle(batch, 3, NOW))


async def canceled(store: Counted, count: int) -> int:
    job = await running_job(store, count)
    await store.commands.cancel(job.id, NOW)
    return await store.cost(store.commands.cancel_queued(job.id))


async def retried(store: Counted, count: int) -> int:
    batch = await collected_batch(store, count)
    await settle_all(store, batch, 1)
    return await store.cost(store.retries.retry(batch.job_id, (), NOW))


async def concluded(store: Counted, count: int) -> int:
    job = await store.ingest.begin(new_job(), "id", NOW)
    await store.ingest.add(job.id, lines(f"r{n}" for n in range(count)), NOW)
    return await store.cost(finish(store, job.id))


@pytest.mark.parametrize(
    "step",
    [add, extend, repeated, params, scattered, stored, stored_again, given_up, settled, queued_again, canceled,
     retried, concluded, repriced],
)  # fmt: skip
def test_statements_do_not_grow_with_the_rows(tmp_path: Path, step: Callable[[Counted, int], Awaitable[int]]) -> None:
    """And they are few."""

    async def cost(count: int) -> int:
        async with counted(tmp_path / f"{count}.db") as store:
            return await step(store, count)

    few, many = asyncio.run(cost(FEW)), asyncio.run(cost(MANY))
    assert many == few <= 25
