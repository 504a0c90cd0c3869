"""A small database in WAL mode behind the program's own connections, for tests of the seam alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from support.inline import Inline

from orchestrator.store.connect import connect_writer
from orchestrator.store.connection import SqliteDatabase, Thread
from orchestrator.store.sql_connection import SqlConnection

PAIRS = 3  #: rows that one step writes: a step that is cut leaves a number that this does not divide


def make(path: Path) -> None:
    """A small database in WAL mode."""
    path.touch(0o600)
    with closing(connect_writer(path)) as c:
        c.execute("CREATE TABLE pair (id INTEGER PRIMARY KEY, step INTEGER NOT NULL) STRICT")


@asynccontextmanager
async def database(path: Path, *, inline: bool = False) -> AsyncIterator[SqliteDatabase]:
    """The program's own connections on it."""
    make(path)
    opened = await SqliteDatabase.start(path, Inline.start if inline else Thread.start)
    try:
        yield opened
    finally:
        await opened.aclose()


def write_pair(step: int, c: SqlConnection) -> int:
    """One step of PAIRS rows; every tenth fails in its middle."""
    for row in range(PAIRS):
        c.execute("INSERT INTO pair (step) VALUES (?)", (step,))
        if step % 10 == 9 and row == 1:
            raise LookupError(step)
    return step


def count(c: SqlConnection) -> int:
    """Rows stored."""
    value: int = c.execute("SELECT count(*) FROM pair").fetchone()[0]
    return value
