"""The one seam to aiosqlite: every read and write is a function of a `sqlite3.Connection`, run whole on its thread.

Why: cancelling an `await` inside an aiosqlite transaction leaves the transaction open, and the next caller's commit
stores half a step (measured: 34 of 400 random cancels). Here a transaction is one function; the caller's
cancellation never reaches it. After a cancelled write the outcome is unknown: read the row.

This file is the only user of aiosqlite's executor `Connection._execute` (pinned in pyproject.toml, tested).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import aiosqlite

from orchestrator.store.connect import connect_reader, connect_writer, translating_errors
from orchestrator.store.file_watch import FileWatch
from orchestrator.store.mark import Mark

T = TypeVar("T")
Step = Callable[[sqlite3.Connection], T]


def in_transaction(step: Step[T], connection: sqlite3.Connection, *, files: FileWatch | None = None) -> T:
    """Run *step* under BEGIN IMMEDIATE; commit, or roll back whatever happens.

    Nothing is begun where the file is not at its place any more (and it is copied aside: not inside a transaction).
    """
    if files is not None:
        files.check(connection)
    with translating_errors(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = step(connection)
            connection.execute("COMMIT")
            if files is not None:
                files.wrote()
        except BaseException:
            if connection.in_transaction:  # SQLITE_FULL rolls back by itself
                connection.execute("ROLLBACK")
            raise
    return result


def in_snapshot(step: Step[T], connection: sqlite3.Connection) -> T:
    """Run *step* inside one read transaction: everything it reads is one committed state."""
    with translating_errors(connection):
        connection.execute("BEGIN")
        try:
            return step(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


class Worker(Protocol):
    """Where the steps of one connection run, one at a time, each whole."""

    async def run(self, step: Step[T]) -> T:
        """Run *step* whole. Cancelling the caller does not stop it."""
        ...

    async def aclose(self) -> None:
        """Close the connection, after whatever is queued."""
        ...


#: Opens a connection by the given function and gives the worker that runs its steps.
Start = Callable[[Callable[[], sqlite3.Connection]], Awaitable[Worker]]


class Thread:
    """A connection on a thread of its own (aiosqlite's)."""

    def __init__(self, aio: aiosqlite.Connection) -> None:
        self._aio = aio

    @classmethod
    async def start(cls, connector: Callable[[], sqlite3.Connection]) -> Thread:
        """Open the connection on its own thread."""
        return cls(await aiosqlite.Connection(connector, iter_chunk_size=64))

    async def run(self, step: Step[T]) -> T:
        """Run *step* whole, on the thread. Cancelling the caller does not stop it."""
        execute: Callable[..., Awaitable[T]] = self._aio._execute  # noqa: SLF001 - the seam, see above
        task = asyncio.ensure_future(execute(step, self._aio._conn))  # noqa: SLF001
        task.add_done_callback(_seen)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Close the connection and end the thread, after whatever is queued."""
        await self._aio.close()


def _seen(task: asyncio.Future[T]) -> None:
    """Retrieve the exception: a cancelled caller never does, and asyncio would log it as never retrieved."""
    if not task.cancelled():
        task.exception()


class Database:
    """One store file: one writing connection and three reading ones, so that a long read delays no short one.

    reader: for the stages. bulk: for payloads and results. looks: for the faces.
    """

    def __init__(self, files: FileWatch, writer: Worker, reader: Worker, bulk: Worker, looks: Worker) -> None:
        self.files = files
        self._writer, self._reader, self._bulk, self._looks = writer, reader, bulk, looks

    @classmethod
    async def start(cls, path: Path, start: Start = Thread.start) -> Database:
        """Open the connections; the file must exist, migrated, and its lock be held."""
        opened: list[Worker] = []
        try:
            for connect in (connect_writer, connect_reader, connect_reader, connect_reader):
                opened.append(await start(partial(connect, path)))  # noqa: PERF401 - closed in `except` below
        except BaseException:
            for connection in opened:
                await connection.aclose()
            raise
        return cls(FileWatch(path), *opened)

    async def write(self, step: Step[T]) -> T:
        """Run *step* as one durable transaction: when this returns, it survives a power cut.

        Raises StoreLost, and changes nothing, where the file is not at its place any more.
        """
        return await self._writer.run(partial(in_transaction, step, files=self.files))

    async def check_files(self) -> None:
        """Raise StoreLost if the file was removed or replaced; what is committed is copied aside before."""
        await self._writer.run(self.files.check)

    async def reach(self, mark: Mark, intents: int) -> None:
        """Make it durable in the mark that *intents* were committed; on the writer's thread, in order."""
        await self._writer.run(lambda _connection: mark.reach(intents))

    async def read(self, step: Step[T]) -> T:
        """Run *step* on one committed snapshot."""
        return await self._reader.run(partial(in_snapshot, step))

    async def read_bulk(self, step: Step[T]) -> T:
        """As `read`, for payloads and results."""
        return await self._bulk.run(partial(in_snapshot, step))

    async def look(self, step: Step[T]) -> T:
        """As `read`, for the faces."""
        return await self._looks.run(partial(in_snapshot, step))

    async def aclose(self) -> None:
        """Close every connection even if one fails; the writer last, which checkpoints."""
        async with AsyncExitStack() as closing:
            for connection in (self._writer, self._reader, self._bulk, self._looks):
                closing.push_async_callback(connection.aclose)
