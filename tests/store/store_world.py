"""Helpers of the store's tests: a real store in a folder, and rows moved along the road by the facets alone."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec
from support import stores
from support.inline import Inline

from orchestrator.domain.api_answers import ApiCounts, RemoteBatch, RemoteStatus, ResponseMeta
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import BatchRow, JobRow, JudgedLine
from orchestrator.domain.packing import Caps, pack
from orchestrator.domain.result_outcome import Outcome
from orchestrator.ports.doubts import DuplicateResult
from orchestrator.ports.job_store import Content
from orchestrator.ports.store import Store, Window
from orchestrator.ports.streams import InputLine
from orchestrator.store import maintenance
from orchestrator.store.audit import contradictions
from orchestrator.store.connect import SqliteConnection
from orchestrator.store.identity import Trust
from orchestrator.store.sqlite_store import SqliteStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
META = ResponseMeta(date=NOW, organization="org-1", workspace="ws-1")
WIDE = Caps(requests=100_000, size_bytes=256_000_000)
ROOM = Window(batches=10_000, requests=100_000_000)
PARAMS = b'{"model":"m","max_tokens":1,"messages":[]}'
BODY = b'{"type":"succeeded","message":{}}'


@asynccontextmanager
async def open_store(path: Path, *, inline: bool = False, trust: Trust = Trust.OWN) -> AsyncIterator[SqliteStore]:
    """The store at *path*, open for the block; in the database of the test's kind."""
    store = await stores.open_store(path, now=NOW, sandbox=False, start=Inline.start if inline else None, trust=trust)
    try:
        yield store
    finally:
        await store.aclose()


def lines(ids: Iterable[str], *, first_line: int = 1, params: bytes = PARAMS) -> list[InputLine]:
    """One line for each of *ids*."""
    return [InputLine(number, custom_id, params) for number, custom_id in enumerate(ids, first_line)]


def row_of(custom_id: str) -> bytes:
    """The row that a request of `lines_of_table` was made of."""
    return b'{"id": "%b", "text": "\xc3\xa9"}' % custom_id.encode()


def lines_of_table(ids: Iterable[str], *, first_line: int = 1) -> list[InputLine]:
    """As `lines`, each with a row."""
    return [msgspec.structs.replace(line, row=row_of(line.custom_id)) for line in lines(ids, first_line=first_line)]


def new_job(name: str = "job", *, still_open: bool = False, priority: int = 10) -> NewJob:
    """What intake knows of a job."""
    return NewJob(
        name=name, source=f"/{name}", api_version="v1", betas=("b", "a"), still_open=still_open, priority=priority
    )


async def finish(store: Store, job: JobId, content_hash: str = "h", *, still_open: bool = False) -> JobRow:
    """The import is complete: the job runs, whatever others have the same content."""
    content = Content(hash=content_hash, size_bytes=10)
    new = new_job(still_open=still_open)
    return (await store.ingest.conclude(job, new, content, NOW, force_new=True))[1]


async def running_job(store: Store, count: int = 4, name: str = "job", **more: bool) -> JobRow:
    """A job of *count* requests r1…, taken in."""
    job = await store.ingest.begin(new_job(name, **more), f"{name}-id", NOW)
    if count:
        await store.ingest.add(job.id, lines(f"r{i}" for i in range(1, count + 1)), NOW)
    return await finish(store, job.id, f"hash of {name}")


async def planned(store: Store, job: JobId, limit: int = 1000, nonce: str = "a") -> BatchRow:
    """A planned batch of the next queued requests of *job*."""
    found = await store.plan.queued(job, limit, lambda rows: pack(rows, WIDE))
    made = await store.plan.plan(await store.commands.get(job), found, Nonce(nonce * 20), ROOM, NOW)
    assert made is not None
    return await batch_of(store, made)


async def submitting(store: Store, job: JobId, limit: int = 1000, nonce: str = "a") -> BatchRow:
    """A batch whose intent is stored."""
    sent = await store.submit.intend(await planned(store, job, limit, nonce), None, META, NOW)
    assert sent is not None
    return sent


async def in_progress(store: Store, job: JobId, limit: int = 1000, nonce: str = "a") -> BatchRow:
    """A batch that the API took."""
    sent = await submitting(store, job, limit, nonce)
    assert await store.submit.accept(sent, remote(nonce, sent.count), META, NOW)
    return await batch_of(store, sent.id)


async def ended(store: Store, job: JobId, limit: int = 1000, nonce: str = "a") -> BatchRow:
    """A batch whose results can be fetched."""
    watched = await in_progress(store, job, limit, nonce)
    assert await store.poll.ended(watched, remote(nonce, watched.count), NOW)
    return await batch_of(store, watched.id)


async def collected(
    store: Store, job: JobId, rows: Sequence[JudgedLine], nonce: str = "a", *, limit: int = 1000
) -> BatchRow:
    """A batch whose *rows* are stored."""
    batch = await ended(store, job, limit, nonce=nonce)
    await store.collect.store_lines(batch, rows, NOW)
    assert await store.collect.collected(batch, NOW)
    return await batch_of(store, batch.id)


async def settle_all(store: Store, batch: BatchRow, max_attempts: int = 3) -> None:
    """Settle until nothing is left."""
    while await store.settle.settle(batch, max_attempts, NOW) is not None:
        pass


async def batch_of(store: Store, batch: int) -> BatchRow:
    """The batch as it is now."""
    found = await store.read(lambda reads: reads.batch(str(batch)))
    assert isinstance(found, BatchRow)
    return found


def remote(nonce: str, count: int, *, created_at: datetime = NOW) -> RemoteBatch:
    """An ended batch of the API; every request succeeded."""
    return RemoteBatch(
        id=f"msgbatch_{nonce}",
        status=RemoteStatus.ENDED,
        counts=ApiCounts(succeeded=count),
        created_at=created_at,
        expires_at=created_at + timedelta(hours=24),
        ended_at=created_at + timedelta(hours=1),
    )


def won(number: int, body: bytes = BODY) -> JudgedLine:
    """A line that brings a success."""
    return JudgedLine(number, "succeeded", Outcome.SUCCEEDED, body, input_tokens=3, output_tokens=5)


def lost(number: int, outcome: Outcome = Outcome.AGAIN, kind: str = "expired") -> JudgedLine:
    """A line that brings none."""
    return JudgedLine(number, kind, outcome, b'{"type":"%b"}' % kind.encode(), api_request_id="req_1")


def duplicates(*numbers: int) -> list[DuplicateResult]:
    """Results of a batch that was given up, and existed; nobody knows what they cost."""
    return [DuplicateResult(number, BODY, None) for number in numbers]


def raw(path: Path) -> SqliteConnection:
    """A connection of the test's own, behind the store's back; for looking, and for breaking rules on purpose.

    To a database on a server it is no file's, but speaks as one.
    """
    if not stores.are_files():
        return cast("SqliteConnection", stores.RawServer(stores.url_of(path)))
    connection = sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


async def in_doubt(store: Store, job: JobId, limit: int = 1000, nonce: str = "a") -> BatchRow:
    """A batch without a clear answer."""
    sent = await submitting(store, job, limit, nonce)
    assert await store.submit.doubt(sent, "reset", NOW)
    return await batch_of(store, sent.id)


def dump(path: Path) -> list[str]:
    """Everything that is stored, as text."""
    with closing(raw(path)) as connection:
        return list(connection.iterdump())


def audit(path: Path) -> list[str]:
    """What is wrong with the store at *path*, all of which is read."""
    if stores.are_files():
        return maintenance.audit(path)
    with closing(stores.RawServer(stores.url_of(path))) as connection:
        return list(contradictions(cast("SqliteConnection", connection)))
