"""The calls into the store that the harness makes past the commands: the one file to mend when a facet changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from orchestrator.domain.api_answers import ApiCounts, RemoteBatch, RemoteStatus, ResponseMeta
from orchestrator.domain.billing import Rates
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.domain.packing import Caps, pack
from orchestrator.domain.params import ParamRules
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.result_lines import ResultLine, decode_split, settled_lines
from orchestrator.domain.result_outcome import Outcome, stop_name
from orchestrator.engine.context import Imports
from orchestrator.engine.ingest import Ingestor
from orchestrator.engine.pricing import Pricing
from orchestrator.engine.request_body import BatchBody, TailFence
from orchestrator.inputs import JsonLinesSource, open_source
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.reads import Reads
from orchestrator.ports.runtime import Price, PricesAtHand
from orchestrator.ports.store import Window
from orchestrator.store.ownership import Lock
from orchestrator.store.sql_store import SqlStore
from orchestrator.store.sqlite_store import SqliteStore
from orchestrator.system_clock import SystemClock, SystemEntropy

NOW: Final = datetime(2026, 11, 23, tzinfo=UTC)
_HAIKU: Final = Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000)


class _OnePrice(PricesAtHand):
    """Every answer is of one model."""

    def price(self, model: str, day: date) -> Price | None:
        return Price(model=model, day=day, rates=_HAIKU, source="the benchmark")


_PRICING: Final = Pricing(_OnePrice(), NOW)
#: Every wire id of the batch made here starts with it.
NONCE: Final = "a" * 20


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqlStore]:
    """A store in a file, owned by this process."""
    store = await SqliteStore.open(path, lock=Lock.take(path), now=NOW, sandbox=False)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def opened_on(url: str) -> AsyncIterator[SqlStore]:
    """A new store in a database on a PostgreSQL server; its schema must not be there, and is taken away again."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA orchestrator")  # fails where a store is
        try:
            async with joined_on(url) as store:
                yield store
        finally:
            connection.execute("DROP SCHEMA orchestrator CASCADE")


@asynccontextmanager
async def joined_on(url: str) -> AsyncIterator[SqlStore]:
    """The store that lies in a database on a PostgreSQL server, beside others who use it."""
    from orchestrator.store.postgres.link import PostgresAddress
    from orchestrator.store.postgres.postgres_store import PostgresStore

    store = await PostgresStore.open(PostgresAddress.of(url), now=NOW, sandbox=False)
    try:
        yield store
    finally:
        await store.aclose()


def lines_of(source: Path) -> JsonLinesSource:
    """The program's own reader."""
    return open_source(str(source), rules=ParamRules(api_version="2023-06-01"), max_line_bytes=1_000_000)


async def intake(store: SqlStore, source: Path, terms: IngestOptions | None = None, *, dedupe: bool = False) -> JobId:
    """Read *source* into a new job, as the engine does. Without other *terms* no job may have the same content."""
    new = NewJob(name="bench", source=str(source), api_version="2023-06-01", betas=(), dedupe=dedupe)
    intake = Ingestor(store.ingest, SystemClock(), SystemEntropy(), Imports())
    taken = await intake.ingest(lines_of(source), new, terms or IngestOptions())
    assert taken.job is not None, taken.problems
    return taken.job.id


async def sent_batch(store: SqlStore, job: JobId, nonce: str = NONCE) -> BatchRow:
    """All of *job* in one batch whose intent to send is stored."""
    caps = Caps(requests=100_000, size_bytes=256_000_000)
    found = await store.plan.queued(job, 100_000, lambda rows: pack(rows, caps))
    await store.plan.plan(
        await store.commands.get(job), found, Nonce(nonce), Window(batches=1, requests=len(found.numbers)), NOW
    )
    (planned,) = await store.submit.sendable(1)
    sent = await store.submit.intend(planned, None, ResponseMeta(date=NOW), NOW)
    assert sent is not None, "the batch moved under us"
    return sent


async def ended_batch(store: SqlStore, job: JobId) -> BatchRow:
    """All of *job* in one batch that the API says has ended; every fiftieth request has expired."""
    return await end_batch(store, await sent_batch(store, job))


async def end_batch(store: SqlStore, sent: BatchRow) -> BatchRow:
    """The API took the batch, and has ended it."""
    expired = sent.count // 50
    return await end_batch_with(store, sent, ApiCounts(succeeded=sent.count - expired, expired=expired))


async def end_batch_with(store: SqlStore, sent: BatchRow, counts: ApiCounts) -> BatchRow:
    """The API took the batch, and has ended it with *counts*; no other one is at the API."""
    remote = RemoteBatch(
        id=f"msgbatch_{sent.nonce}",
        status=RemoteStatus.ENDED,
        counts=counts,
        created_at=NOW,
        expires_at=NOW,
        ended_at=NOW,
    )
    await store.submit.accept(sent, remote, ResponseMeta(date=NOW), NOW)
    (watched,) = await store.poll.watched()
    await store.poll.ended(watched, remote, NOW)
    batch = await store.submit.find(sent.id)
    assert batch is not None, "the batch is gone"
    return batch


async def collect(store: SqlStore, batch: BatchRow, pieces: Iterable[bytes]) -> None:
    """`store_lines` and `settle`."""
    await store_lines(store, batch, pieces)
    await settle(store)


async def store_lines(store: SqlStore, batch: BatchRow, pieces: Iterable[bytes]) -> None:
    """Store every line, and check that all came."""
    for piece in pieces:
        await store.collect.store_lines(batch, [settled(line) for line in decoded(piece)], NOW)
    progress = await store.collect.progress(batch)
    assert progress.seen == batch.count, "results are missing"
    await store.collect.collected(batch, NOW)


async def settle(store: SqlStore) -> None:
    """Decide what did not succeed, and end the job."""
    (done,) = await store.settle.to_settle()
    while await store.settle.settle(done, 1, NOW) is not None:
        pass
    await store.settle.finish_jobs(NOW)


def decoded(piece: bytes) -> list[ResultLine]:
    """The program's own decoder."""
    return [line for line in decode_split((piece).split(b"\n")) if isinstance(line, ResultLine)]


def settled(line: ResultLine) -> JudgedLine:
    """A line as the collect stage hands it over."""
    number = int(line.wire_id.rpartition("-")[2])
    outcome = Outcome.SUCCEEDED if line.kind == "succeeded" else Outcome.AGAIN
    tariff, nanos = _PRICING.price(line) if line.kind == "succeeded" else (None, 0)
    return JudgedLine(
        number,
        line.kind,
        outcome,
        line.result,
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cache_read_tokens=line.cache_read_tokens,
        cache_write_5m_tokens=line.cache_write_5m_tokens,
        cache_write_1h_tokens=line.cache_write_1h_tokens,
        stop_reason=stop_name(line.stop_reason),
        tariff=tariff,
        nanos=nanos,
    )


async def export(store: SqlStore, job: JobId, target: Path) -> None:
    """Write the output file in the order of the input, page by page."""
    above = 0
    with target.open("wb") as out:
        while rows := await store.read_bulk(_page(job, above)):
            above = rows[-1].number
            out.write(settled_lines(rows))


def _page(job: JobId, above: int) -> Callable[[Reads], list[ResultRow]]:
    return lambda reads: reads.results(job, above=above, limit=1000)


def body_of(store: SqlStore, batch: BatchRow) -> BatchBody:
    """The bytes of its create, out of the store."""
    return BatchBody(store.params, batch, TailFence(store.submit, SystemClock()).pass_by)
