"""The store's hot path beside its floor: the same decoding, then bare `executemany` into tables without any guard.

Usage: python benchmarks/bench_store.py [--requests 50000] [--rounds 3]

The floor writes the same columns in the same chunks under the same `synchronous=FULL`, but has no index, trigger,
foreign key or CHECK, keeps params uncompressed, asks nothing before it writes, and settles nothing afterwards. Both
take turns, so that they see the same machine; the medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.domain.answers import Counts, Meta, RemoteBatch, RemoteStatus
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.model import Batch, NewJob, ResultRow, Settled
from orchestrator.domain.output_lines import output_lines
from orchestrator.domain.packing import Caps, pack
from orchestrator.domain.params import Rules
from orchestrator.domain.result_lines import ResultLine, decode_lines
from orchestrator.inputs import JsonLinesSource, open_source
from orchestrator.ports.source import InputLine
from orchestrator.store.opening import connect_writer
from orchestrator.store.ownership import Lock
from orchestrator.store.store import Reads, Store

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WORDS = ("the", "product", "arrived", "late", "and", "broken", "but", "service", "was", "quick", "cheap", "again")
CHUNK = 2000
BARE = """
CREATE TABLE request (id INTEGER PRIMARY KEY, custom_id TEXT, line INTEGER, params_bytes INTEGER, state TEXT,
                      attempts INTEGER, input_tokens INTEGER, output_tokens INTEGER, params BLOB) STRICT;
CREATE TABLE result (id INTEGER PRIMARY KEY, request_id INTEGER, body BLOB) STRICT;
"""


@dataclass
class Times:
    """Seconds of each part, one entry per round."""

    intake: list[float] = field(default_factory=list)
    collect: list[float] = field(default_factory=list)
    export: list[float] = field(default_factory=list)


def main() -> None:
    """Print rates, ratios, and store bytes per input byte."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        plain = make_input(work / "plain.jsonl", options.requests, prefix="")
        answers = list(make_results(options.requests))
        print(f"{options.requests} requests, {plain.stat().st_size / 1e6:.0f} MB in, results in a random order")
        ours, floor = Times(), Times()
        for turn in range(options.rounds):
            asyncio.run(run_ours(work / f"ours{turn}.db", plain, answers, ours))
            asyncio.run(run_floor(work / f"floor{turn}.db", plain, answers, floor))
        for name in ("intake", "collect", "export"):
            show(name, options.requests, getattr(ours, name), getattr(floor, name))
        shared = make_input(
            work / "shared.jsonl", 3000, prefix="".join(random.Random(2).choices("abcdefgh ", k=40_000))
        )
        for label, source in (("plain text", plain), ("shared 40 kB prefix", shared)):
            stored = asyncio.run(stored_bytes(work / f"{source.stem}.db", source))
            print(f"store bytes / input bytes, {label}: {stored / source.stat().st_size:.3f}")


def show(name: str, count: int, ours: Sequence[float], floor: Sequence[float]) -> None:
    """One line of the report."""
    a, b = statistics.median(ours), statistics.median(floor)
    label = {"collect": "collect + settle"}.get(name, name)
    print(f"{label:17} {count / a:10,.0f}/s   floor {count / b:10,.0f}/s   {a / b:.2f} x floor")


def make_input(path: Path, count: int, *, prefix: str) -> Path:
    """Requests of about 1.2 kB each, plus *prefix* as a system prompt."""
    chance = random.Random(1)
    with path.open("w") as out:
        for number in range(1, count + 1):
            text = " ".join(chance.choices(WORDS, k=190))
            params: dict[str, object] = {"model": "claude-haiku-4-5", "max_tokens": 64}
            if prefix:
                params["system"] = prefix
            params["messages"] = [{"role": "user", "content": text}]
            out.write(json.dumps({"custom_id": f"review-{number}", "params": params}) + "\n")
    return path


def make_results(count: int) -> Iterator[bytes]:
    """The result file of one batch, shuffled, in pieces of CHUNK lines; 2 % of the requests expired."""
    chance = random.Random(3)
    numbers = list(range(1, count + 1))
    chance.shuffle(numbers)
    for start in range(0, count, CHUNK):
        yield b"".join(_result_line(number, chance) for number in numbers[start : start + CHUNK])


def _result_line(number: int, chance: random.Random) -> bytes:
    result: dict[str, object] = {"type": "expired"}
    if number % 50:
        content = [{"type": "text", "text": " ".join(chance.choices(WORDS, k=120))}]
        usage = {"input_tokens": 250, "output_tokens": 130}
        message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": content, "usage": usage}
        result = {"type": "succeeded", "message": message}
    return json.dumps({"custom_id": f"{'a' * 20}-{number}", "result": result}).encode() + b"\n"


def lines_of(source: Path) -> JsonLinesSource:
    """The program's own reader."""
    return open_source(str(source), rules=Rules(api_version="2023-06-01"), max_line_bytes=1_000_000)


async def timed(into: list[float], work: Callable[[], Awaitable[None]]) -> None:
    """Run *work* and note its wall time."""
    start = time.perf_counter()
    await work()
    into.append(time.perf_counter() - start)


async def run_ours(path: Path, source: Path, answers: Sequence[bytes], times: Times) -> None:
    """The store's own facets, as the engine calls them."""
    store = await Store.open(path, lock=Lock.take(path), now=NOW, sandbox=False)
    jobs: list[JobId] = []

    async def take_in() -> None:
        jobs.append(await intake(store, source))

    try:
        await timed(times.intake, take_in)
        batch = await ended_batch(store, jobs[0])
        await timed(times.collect, lambda: collect(store, batch, answers))
        await timed(times.export, lambda: export(store, jobs[0], path.with_suffix(".out")))
    finally:
        await store.aclose()


async def intake(store: Store, source: Path) -> JobId:
    """Read *source* into a new job."""
    new = NewJob(name="bench", source=str(source), api_version="2023-06-01", betas=())
    job = await store.intake.begin(new, "bench-1", NOW)
    reading = lines_of(source)
    async for chunk in reading.chunks():
        await store.intake.add(job.id, [line for line in chunk if isinstance(line, InputLine)], NOW)
    await store.intake.finish(job.id, reading.content_hash, reading.size_bytes, NOW)
    return job.id


async def ended_batch(store: Store, job: JobId) -> Batch:
    """All of *job* in one batch that the API says has ended."""
    caps = Caps(requests=100_000, size_bytes=256_000_000)
    found = await store.plan.queued(job, 100_000, lambda rows: pack(rows, caps))
    await store.plan.plan(await store.control.get(job), found, Nonce("a" * 20), NOW)
    (planned,) = await store.submit.sendable(1)
    sent = await store.submit.intend(planned, None, Meta(date=NOW), NOW)
    assert sent is not None
    expired = planned.count // 50
    counts = Counts(succeeded=planned.count - expired, expired=expired)
    remote = RemoteBatch(
        id="msgbatch_1", status=RemoteStatus.ENDED, counts=counts, created_at=NOW, expires_at=NOW, ended_at=NOW
    )
    await store.submit.accept(sent, remote, Meta(date=NOW), NOW)
    (watched,) = await store.poll.watched()
    await store.poll.ended(watched, remote, NOW)
    (batch,) = await store.collect.to_collect(NOW, 1)
    return batch


async def collect(store: Store, batch: Batch, answers: Sequence[bytes]) -> None:
    """Store every line, check that all came, settle."""
    for piece in answers:
        await store.collect.store_lines(batch, [settled(line) for line in decoded(piece)], NOW)
    progress = await store.collect.progress(batch)
    assert progress.seen == batch.count
    await store.collect.collected(batch, NOW)
    (done,) = await store.settle.to_settle()
    while await store.settle.settle(done, 1, NOW) is not None:
        pass
    await store.settle.finish_jobs(NOW)


def decoded(piece: bytes) -> list[ResultLine]:
    """The program's own decoder."""
    return [line for line in decode_lines(piece) if isinstance(line, ResultLine)]


def settled(line: ResultLine) -> Settled:
    """A line as the collect stage hands it over."""
    number = int(line.wire_id.rpartition("-")[2])
    outcome = "succeeded" if line.kind == "succeeded" else "again"
    return Settled(number, line.kind, outcome, line.result, None, None, None, line.input_tokens, line.output_tokens)


async def export(store: Store, job: JobId, target: Path) -> None:
    """Write the output file, page by page."""
    above = 0
    with target.open("wb") as out:
        while rows := await store.read_bulk(page(job, above)):
            above = rows[-1].number
            out.write(output_lines((row.custom_id, row.body if row.body is not None else b"{}") for row in rows))


def page(job: JobId, above: int) -> Callable[[Reads], list[ResultRow]]:
    """The next thousand results."""
    return lambda reads: reads.results(job, above=above, limit=1000)


async def run_floor(path: Path, source: Path, answers: Sequence[bytes], times: Times) -> None:
    """The same work with nothing between the decoder and SQLite."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = connect_writer(path)
    connection.executescript(BARE)
    try:
        await timed(times.intake, lambda: floor_intake(connection, source))
        await timed(times.collect, lambda: floor_collect(connection, answers))
        await timed(times.export, lambda: floor_export(connection, path.with_suffix(".out")))
    finally:
        connection.close()


async def floor_intake(connection: sqlite3.Connection, source: Path) -> None:
    """Decode and insert."""
    sql = "INSERT INTO request (id, custom_id, line, params_bytes, state, params) VALUES (?, ?, ?, ?, 'queued', ?)"
    async for chunk in lines_of(source).chunks():
        lines = [line for line in chunk if isinstance(line, InputLine)]
        rows = [(line.line, line.custom_id, line.line, len(line.params), line.params) for line in lines]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(sql, rows)
        connection.execute("COMMIT")


async def floor_collect(connection: sqlite3.Connection, answers: Sequence[bytes]) -> None:
    """Decode, insert and update."""
    update = "UPDATE request SET state = ?, attempts = 1, input_tokens = ?, output_tokens = ? WHERE id = ?"
    for piece in answers:
        lines = [settled(line) for line in decoded(piece)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO result (request_id, body) VALUES (?, ?)", [(line.number, line.body) for line in lines]
        )
        connection.executemany(
            update, [(line.outcome, line.input_tokens, line.output_tokens, line.number) for line in lines]
        )
        connection.execute("COMMIT")


async def floor_export(connection: sqlite3.Connection, target: Path) -> None:
    """Sort, join, write."""
    sql = "SELECT custom_id, body FROM request JOIN result ON result.request_id = request.id ORDER BY request.id"
    connection.execute("CREATE INDEX found ON result (request_id)")
    cursor = connection.execute(sql)
    with target.open("wb") as out:
        while rows := cursor.fetchmany(1000):
            out.write(output_lines(rows))


async def stored_bytes(path: Path, source: Path) -> int:
    """How large the file is after the intake of *source*, checkpointed."""
    store = await Store.open(path, lock=Lock.take(path), now=NOW, sandbox=False)
    try:
        await intake(store, source)
    finally:
        await store.aclose()
    return os.stat(path).st_size  # noqa: PTH116 - one call between runs; nothing else runs in this loop


if __name__ == "__main__":
    main()
