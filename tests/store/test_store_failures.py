"""What goes wrong under SQLite is said in words a person can act on, and the next step works."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from store.small_db import PAIRS, count, database, make, write_pair

from orchestrator.domain.errors import StoreError, StoreFull
from orchestrator.store.connect import SqliteConnection, connect_writer
from orchestrator.store.connection import in_transaction
from orchestrator.store.sql_connection import SqlConnection

pytestmark = pytest.mark.sqlite


@pytest.mark.parametrize("inline", [False, True])
def test_a_full_disk_is_said_and_work_goes_on_when_there_is_space(tmp_path: Path, inline: bool) -> None:
    """Promise 11: on the same connection, without a restart; what was acknowledged stays, and reading works."""

    async def main() -> None:
        async with database(tmp_path / "store.db", inline=inline) as db:
            await db.write(partial(write_pair, 1))
            size = await db._writer.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
            await db._writer.run(lambda c: c.execute(f"PRAGMA max_page_count = {size}").fetchall())
            with pytest.raises(StoreFull) as full:
                await db.write(many)
            assert full.value.exit_code == 8
            assert not await db._writer.run(lambda c: c.in_transaction)
            assert await db.read(count) == PAIRS
            await db._writer.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
            await db.write(many)
            assert await db.read(count) == PAIRS + 2000

    def many(c: SqlConnection) -> None:
        c.executemany("INSERT INTO pair (step) VALUES (?)", [(10**12 + i,) for i in range(2000)])

    asyncio.run(main())


class FailsAtCommit(SqliteConnection):
    """A connection whose COMMIT meets a disk that is full, as SQLite then behaves: rolled back, FULL raised."""

    fails = False

    def execute(self, sql: str, /, *more: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.fails:
            super().execute("ROLLBACK")
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        return super().execute(sql, *more)


def test_a_disk_that_fills_up_in_the_commit_itself(tmp_path: Path) -> None:
    """The write that fails may be the log's last: the step is gone whole, and the connection serves the next."""
    make(tmp_path / "store.db")
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None, factory=FailsAtCommit)) as c:
        c.fails = True
        with pytest.raises(StoreFull):
            in_transaction(partial(write_pair, 1), c)
        c.fails = False
        in_transaction(partial(write_pair, 2), c)
        assert count(c) == PAIRS


def test_a_store_locked_by_another_program_is_said(tmp_path: Path) -> None:
    """Exit 8 with a remedy; nothing is half done."""
    path = tmp_path / "store.db"
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, closing(connect_writer(path)) as c:
        other.execute("BEGIN IMMEDIATE")
        c.execute("PRAGMA busy_timeout = 20")
        with pytest.raises(StoreError, match="locked by another program"):
            in_transaction(partial(write_pair, 1), c)
        other.execute("ROLLBACK")
        in_transaction(partial(write_pair, 1), c)


def test_a_damaged_file_and_a_file_that_is_none_are_said(tmp_path: Path) -> None:
    """Exit 8; the words lead to a backup, not to a traceback."""
    path = tmp_path / "store.db"
    make(path)
    with closing(connect_writer(path)) as c:
        in_transaction(lambda c: c.executemany("INSERT INTO pair VALUES (?, 1)", [(i,) for i in range(5000)]), c)
        kept = 2 * c.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[kept:] = bytes(b ^ 0x5A for b in content[kept:])
    path.write_bytes(content)
    with closing(connect_writer(path)) as c, pytest.raises(StoreError, match="damaged"):
        in_transaction(count, c)
    path.write_bytes(random.Random(1).randbytes(9000))
    with pytest.raises(StoreError, match="damaged"):
        connect_writer(path)
    with pytest.raises(StoreError, match="cannot be opened"):
        connect_writer(tmp_path / "nowhere.db")


def test_a_bug_is_not_dressed_up_as_a_disk(tmp_path: Path) -> None:
    """A constraint that fires, or a closed connection, is ours to mend: no "check the disk"."""
    make(tmp_path / "store.db")
    c = connect_writer(tmp_path / "store.db")
    with pytest.raises(sqlite3.IntegrityError):
        in_transaction(lambda c: c.execute("INSERT INTO pair VALUES (1, NULL)"), c)
    c.close()
    with pytest.raises(sqlite3.ProgrammingError):
        in_transaction(count, c)
