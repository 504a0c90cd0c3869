"""One side of the part `hot_path`, once, in a process of its own; prints the seconds of each step as JSON.

Usage: python -m benchmarks.hot_path_side ours|floor|sdk|file|server INPUT.jsonl ANSWERS.jsonl FOLDER

`file` and `server` time more steps of the store, in SQLite and in the database that BENCHMARK_DB names.

The floor writes the same columns in the same chunks under the same `synchronous=FULL`, but has no index, trigger,
foreign key or CHECK, keeps params uncompressed, asks nothing before it writes, and settles nothing afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import store_calls
from orchestrator.domain.result_lines import output_line
from orchestrator.ports.streams import InputLine
from orchestrator.store.connect import connect_writer
from orchestrator.store.sql_store import SqlStore

_CHUNK: Final = 2000
_LOOKS: Final = 100
_BARE: Final = """
CREATE TABLE request (id INTEGER PRIMARY KEY, custom_id TEXT, line INTEGER, params_bytes INTEGER, state TEXT,
                      attempts INTEGER, input_tokens INTEGER, output_tokens INTEGER, params BLOB) STRICT;
CREATE TABLE result (id INTEGER PRIMARY KEY, request_id INTEGER, body BLOB) STRICT;
"""

Times = dict[str, float]


@contextmanager
def _timed(times: Times, name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start


def pieces_of(answers: Path, count: int = _CHUNK) -> list[bytes]:
    """The result file in pieces of *count* lines."""
    with answers.open("rb") as lines:
        return [b"".join(some) for some in iter(lambda: list(itertools.islice(lines, count)), [])]


async def ours(source: Path, answers: Path, folder: Path) -> Times:
    """The store's own facets, as the engine calls them."""
    times: Times = {}
    pieces = pieces_of(answers)
    async with store_calls.opened(folder / "ours.db") as store:
        with _timed(times, "intake"):
            job = await store_calls.intake(store, source)
        batch = await store_calls.ended_batch(store, job)
        with _timed(times, "collect"):
            await store_calls.collect(store, batch, pieces)
        with _timed(times, "export"):
            await store_calls.export(store, job, folder / "ours.jsonl")
    return times


async def file(source: Path, answers: Path, folder: Path) -> Times:
    """Each step of the store in a file."""
    async with store_calls.opened(folder / "ours.db") as store:
        return await _steps(store, source, answers, folder)


async def server(source: Path, answers: Path, folder: Path) -> Times:
    """Each step of the store on a server."""
    async with store_calls.opened_on(os.environ["BENCHMARK_DB"]) as store:
        return await _steps(store, source, answers, folder)


async def _steps(store: SqlStore, source: Path, answers: Path, folder: Path) -> Times:
    times: Times = {}
    pieces = pieces_of(answers)
    with _timed(times, "intake"):
        job = await store_calls.intake(store, source)
    with _timed(times, "plan"):
        sent = await store_calls.sent_batch(store, job)
    with _timed(times, "body"):
        async for _ in store_calls.body_of(store, sent).chunks():
            pass
    batch = await store_calls.end_batch(store, sent)
    with _timed(times, "collect"):
        await store_calls.store_lines(store, batch, pieces)
    with _timed(times, "settle"):
        await store_calls.settle(store)
    with _timed(times, "export"):
        await store_calls.export(store, job, folder / "ours.jsonl")
    with _timed(times, "status"):
        for _ in range(_LOOKS):
            await store.read(lambda reads: reads.status(reads.get(job)))
    return times


async def floor(source: Path, answers: Path, folder: Path) -> Times:
    """The same work with nothing between the decoder and SQLite."""
    times: Times = {}
    pieces = pieces_of(answers)
    path = folder / "floor.db"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = connect_writer(path)
    try:
        connection.executescript(_BARE)
        with _timed(times, "intake"):
            await _floor_intake(connection, source)
        with _timed(times, "collect"):
            _floor_collect(connection, pieces)
        with _timed(times, "export"):
            _floor_export(connection, folder / "floor.jsonl")
    finally:
        connection.close()
    return times


async def _floor_intake(connection: sqlite3.Connection, source: Path) -> None:
    """Decode and insert."""
    sql = "INSERT INTO request (id, custom_id, line, params_bytes, state, params) VALUES (?, ?, ?, ?, 'queued', ?)"
    async for chunk in store_calls.lines_of(source).chunks():
        lines = [line for line in chunk if isinstance(line, InputLine)]
        rows = [(line.line, line.custom_id, line.line, len(line.params), line.params) for line in lines]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(sql, rows)
        connection.execute("COMMIT")


def _floor_collect(connection: sqlite3.Connection, pieces: list[bytes]) -> None:
    """Decode, insert and update."""
    insert = "INSERT INTO result (request_id, body) VALUES (?, ?)"
    update = "UPDATE request SET state = ?, attempts = 1, input_tokens = ?, output_tokens = ? WHERE id = ?"
    for piece in pieces:
        lines = [store_calls.settled(line) for line in store_calls.decoded(piece)]
        rows = [(line.outcome, line.input_tokens, line.output_tokens, line.number) for line in lines]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, [(line.number, line.body) for line in lines])
        connection.executemany(update, rows)
        connection.execute("COMMIT")


def _floor_export(connection: sqlite3.Connection, target: Path) -> None:
    """Sort, join, write."""
    connection.execute("CREATE INDEX found ON result (request_id)")
    sql = "SELECT custom_id, body FROM request JOIN result ON result.request_id = request.id ORDER BY request.id"
    cursor = connection.execute(sql)
    with target.open("wb") as out:
        while rows := cursor.fetchmany(1000):
            out.write(b"".join([output_line(*row) for row in rows]))


async def sdk(_source: Path, answers: Path, _folder: Path) -> Times:
    """The SDK's own decoder over the same lines, out of memory: `results`, and nothing done with them."""
    import anthropic
    import httpx2

    lines = b"".join(pieces_of(answers))
    ended = {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "ended",
        "results_url": "http://local.invalid/results",
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        results = request.url.path == "/results"
        return httpx2.Response(200, content=lines) if results else httpx2.Response(200, json=ended)

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = anthropic.Anthropic(api_key="benchmark", base_url="http://local.invalid", http_client=transport)
    times: Times = {}
    with _timed(times, "collect"):
        seen = sum(1 for _ in client.messages.batches.results("msgbatch_1"))
    assert seen == lines.count(b"\n"), "results are missing"
    return times


if __name__ == "__main__":
    side = {"ours": ours, "floor": floor, "sdk": sdk, "file": file, "server": server}[sys.argv[1]]
    print(json.dumps(asyncio.run(side(*map(Path, sys.argv[2:5])))))
