"""The seam to SQLite: a step is whole or not at all, whoever is cancelled, whatever the disk does."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import random
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from store.small_db import PAIRS, count, database, make, write_pair

from orchestrator.domain.errors import StoreError
from orchestrator.store.connect import connect_reader, connect_writer
from orchestrator.store.connection import Thread, in_transaction
from orchestrator.store.sql_connection import SqlConnection

pytestmark = pytest.mark.sqlite


def halves(path: Path) -> list[int]:
    """Steps that are stored in part."""
    with closing(sqlite3.connect(path)) as c:
        return [row[0] for row in c.execute("SELECT step FROM pair GROUP BY step HAVING count(*) <> ?", (PAIRS,))]


async def cancel_at_random(
    write: Callable[[int], Coroutine[Any, Any, object]], count: int, chance: random.Random
) -> int:
    """Start *count* writes, cancel two of three at a random moment; how many were cancelled."""
    cancelled = 0
    for step in range(count):
        task = asyncio.create_task(write(step))
        if chance.random() < 2 / 3:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            task.cancel()
        with suppress(LookupError, sqlite3.Error, StoreError):
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
    return cancelled


def run_watched(main: Coroutine[Any, Any, None]) -> list[str]:
    """Run *main*; the complaints of its loop (exceptions that nobody asked for)."""
    complaints: list[str] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["message"]))
        await main
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(watched())
    return complaints


@pytest.mark.parametrize("inline", [False, True])
def test_random_cancellations_leave_no_half_step_and_no_open_transaction(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    inline: bool,
) -> None:
    """Reliability E1: 2,000 writes, most cancelled at a random moment, and no exception is left forgotten."""
    path = tmp_path / "store.db"
    cancelled = 0

    async def main() -> None:
        nonlocal cancelled
        async with database(path, inline=inline) as db:

            async def write(step: int) -> object:
                return await db.write(partial(write_pair, step))

            cancelled = await cancel_at_random(write, 2000, random.Random(7))
            assert await db.write(lambda _: True), "a transaction left open would refuse this one"

    with caplog.at_level(logging.WARNING):
        assert run_watched(main()) == []
    assert not caplog.records
    assert cancelled > 500
    assert halves(path) == []


def test_a_write_that_was_asked_for_is_not_stopped_by_a_cancel(tmp_path: Path) -> None:
    """Style guide, "Async": the outcome of a cancelled write is read from the row; here it is there."""

    async def main() -> None:
        async with database(tmp_path / "store.db") as db:
            task = asyncio.create_task(db.write(partial(write_pair, 1)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await db.write(partial(write_pair, 2))
            assert await db.read(count) == 2 * PAIRS

    asyncio.run(main())


def test_a_step_owns_the_write_lock_before_it_reads(tmp_path: Path) -> None:
    """Reliability E2: a transaction that begins by reading meets BUSY_SNAPSHOT at its first write, after no wait."""
    make(tmp_path / "store.db")
    with closing(connect_writer(tmp_path / "store.db")) as c, closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("PRAGMA busy_timeout = 0").fetchall()

        def step(_c: SqlConnection) -> None:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")

        in_transaction(step, c)


def test_the_same_cancellations_break_a_naive_use_of_aiosqlite(tmp_path: Path) -> None:
    """The control: without the seam the test above finds open transactions or half steps, so it can fail."""
    path = tmp_path / "naive.db"
    make(path)
    left_open = 0

    async def main() -> None:
        nonlocal left_open
        async with aiosqlite.connect(path, isolation_level=None) as db:

            async def naive(step: int) -> None:
                nonlocal left_open
                left_open += db.in_transaction
                if db.in_transaction:
                    await db.commit()
                await db.execute("BEGIN IMMEDIATE")
                try:
                    for _ in range(PAIRS):
                        await db.execute("INSERT INTO pair (step) VALUES (?)", (step,))
                    await db.commit()
                except Exception:
                    await db.rollback()
                    raise

            chance = random.Random(7)
            for step in range(200):
                task = asyncio.create_task(naive(step))
                await asyncio.sleep(chance.random() / 1000)
                task.cancel()
                with suppress(asyncio.CancelledError, sqlite3.Error):
                    await task
            if db.in_transaction:
                await db.rollback()

    asyncio.run(main())
    assert left_open > 0 or halves(path)


def test_the_executor_of_aiosqlite_is_as_this_program_knows_it() -> None:
    """The seam uses one private method. If this fails, aiosqlite changed it: read store/connection.py first."""
    executor = inspect.signature(aiosqlite.Connection._execute)
    assert list(executor.parameters) == ["self", "fn", "args", "kwargs"], "aiosqlite.Connection._execute has changed"
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute), "it must queue the function whole"
    assert isinstance(inspect.getattr_static(aiosqlite.Connection, "_conn"), property), "`_conn` is the connection"
    made = inspect.signature(aiosqlite.Connection.__init__)
    assert list(made.parameters)[:3] == ["self", "connector", "iter_chunk_size"], "the constructor takes a connector"


def test_a_connection_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    """It would report its end to a loop that is closed by then, as a traceback."""
    before = threading.enumerate()

    async def start() -> None:
        with pytest.raises(StoreError):
            await Thread.start(partial(connect_writer, tmp_path / "missing" / "store.db"))
        assert threading.enumerate() == before

    for _ in range(100):
        asyncio.run(start())


def test_the_settings_of_both_kinds_of_connection(tmp_path: Path) -> None:
    """Reliability T62: power loss is survived only with FULL (2) in WAL mode, checked where it runs."""
    names = (
        "journal_mode",
        "synchronous",
        "foreign_keys",
        "trusted_schema",
        "cell_size_check",
        "mmap_size",
        "query_only",
    )

    def asked(c: sqlite3.Connection) -> list[Any]:
        return [c.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    async def main() -> None:
        async with database(tmp_path / "store.db") as db:
            assert await db._writer.run(asked) == ["wal", 2, 1, 0, 1, 0, 0]
            for reader in (db._reader, db._bulk):
                got = await reader.run(asked)
                assert (got[0], got[3], got[5], got[6]) == ("wal", 0, 0, 1)
            assert await db._writer.run(lambda c: c.isolation_level) is None
            assert await db._writer.run(lambda c: c.execute("PRAGMA busy_timeout").fetchone()[0]) == 5000

    asyncio.run(main())


def test_readers_see_only_what_is_committed_and_write_nothing(tmp_path: Path) -> None:
    """Faces read at any time: never half a step, and never a write by mistake."""

    async def main() -> None:
        async with database(tmp_path / "store.db") as db:
            seen: list[int] = []

            def slow(c: SqlConnection) -> None:
                write_pair(1, c)
                with closing(connect_reader(tmp_path / "store.db")) as other:
                    seen.append(count(other))

            await db.write(slow)
            assert seen == [0]
            assert await db.read(count) == PAIRS
            for read in (db.read, db.read_bulk):
                with pytest.raises(StoreError):
                    await read(partial(write_pair, 2))
            assert await db.read(count) == PAIRS

    asyncio.run(main())


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, asyncio.CancelledError])
def test_whatever_a_step_raises_it_is_rolled_back(tmp_path: Path, error: type[BaseException]) -> None:
    """`except Exception` would miss two of these and leave the transaction open."""
    make(tmp_path / "store.db")

    def step(c: SqlConnection) -> None:
        write_pair(1, c)
        raise error

    with closing(connect_writer(tmp_path / "store.db")) as c:
        with pytest.raises(error):
            in_transaction(step, c)
        assert not c.in_transaction
        assert count(c) == 0


def test_both_runners_give_the_same(tmp_path: Path) -> None:
    """The simulator runs the same functions on its own thread: same rows, same errors."""

    async def main(path: Path, *, inline: bool) -> list[object]:
        said: list[object] = []
        async with database(path, inline=inline) as db:
            for step in range(30):
                try:
                    said.append(await db.write(partial(write_pair, step)))
                except LookupError as exc:
                    said.append(repr(exc))
            said.append(await db.read(count))
            said.append(await db.read_bulk(lambda c: c.execute("SELECT * FROM pair ORDER BY id").fetchall()))
        return said

    threaded = asyncio.run(main(tmp_path / "a.db", inline=False))
    assert threaded == asyncio.run(main(tmp_path / "b.db", inline=True))


def test_a_log_that_an_outside_reader_made_long_is_shortened_afterwards(tmp_path: Path) -> None:
    """L10. A snapshot that stays open keeps the log from being written back; once it is gone the space comes back."""
    path = tmp_path / "store.db"
    make(path)
    log = path.with_name("store.db-wal")
    with closing(connect_writer(path)) as c:
        c.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")

        def more(c: SqlConnection) -> None:
            c.execute("INSERT OR REPLACE INTO bulk VALUES (1, randomblob(8000000))")

        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM pair").fetchall()
            for _ in range(7):
                in_transaction(more, c)
            assert log.stat().st_size > 50_000_000
        for _ in range(3):
            in_transaction(partial(write_pair, 1), c)
        assert log.stat().st_size <= 32 * 1024 * 1024
