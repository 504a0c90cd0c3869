"""The one seam to aiosqlite: every read and write is a function of a connection, run whole on its thread.

Why: cancelling an `await` inside an aiosqlite transaction leaves the transaction open, and the next caller's commit
stores half a step (measured: 34 of 400 random cancels). Here a transaction is one function; the caller's
cancellation never reaches it. After a cancelled write the outcome is unknown: read the row.

This file is the only user of aiosqlite's executor `Connection._execute`, and of its thread (pinned in pyproject.toml,
tested).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiosqlite
from typing_extensions import override

from orchestrator.store.connect import SqliteConnection, connect_reader, connect_writer, translating_errors
from orchestrator.store.database import Database, IntentWitness, Start, Step, Worker, in_context
from orchestrator.store.file_watch import FileWatch
from orchestrator.store.mark import Mark

T = TypeVar("T")
FileStep = Callable[[SqliteConnection], T]


def in_transaction(step: FileStep[T], connection: SqliteConnection, *, files: FileWatch | None = None) -> T:
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


def in_snapshot(step: FileStep[T], connection: SqliteConnection) -> T:
    """Run *step* inside one read transaction: everything it reads is one committed state."""
    with translating_errors(connection):
        connection.execute("BEGIN")
        try:
            return step(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


class Thread:
    """A connection on a thread of its own (aiosqlite's)."""

    def __init__(self, aio: aiosqlite.Connection) -> None:
        self._aio = aio

    @classmethod
    async def start(cls, connector: Callable[[], SqliteConnection]) -> Thread:
        """Open the connection on its own thread, which has ended if that fails.

        aiosqlite tells its thread to end and does not wait for it: it would report that to a loop that may be closed.
        """
        aio = aiosqlite.Connection(connector, iter_chunk_size=64)
        try:
            return cls(await aio)
        except BaseException:
            aio._thread.join()  # noqa: SLF001 - the seam, see above
            raise

    async def run(self, step: FileStep[T]) -> T:
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


class SqliteDatabase(Database):
    """One store file: one writing connection and three reading ones, so that a long read delays no short one.

    reader: for the stages. bulk: for payloads and results. looks: for the faces.
    """

    def __init__(self, files: FileWatch, *workers: Worker[SqliteConnection]) -> None:
        self.files = files
        self._writer, self._reader, self._bulk, self._looks = workers

    @classmethod
    async def start(cls, path: Path, start: Start[SqliteConnection] = Thread.start) -> SqliteDatabase:
        """Open the connections; the file must exist, migrated, and its lock be held."""
        opened: list[Worker[SqliteConnection]] = []
        try:
            for connect in (connect_writer, connect_reader, connect_reader, connect_reader):
                opened.append(await start(partial(connect, path)))  # noqa: PERF401 - closed in `except` below
        except BaseException:
            for connection in opened:
                await connection.aclose()
            raise
        return cls(FileWatch(path), *opened)

    @override
    async def write(self, step: Step[T]) -> T:
        """Raises StoreLost, and changes nothing, where the file is not at its place any more."""
        return await self._writer.run(partial(in_transaction, in_context(step), files=self.files))

    @override
    async def write_free(self, step: Step[T]) -> T:
        return await self.write(step)

    async def check_files(self) -> None:
        """Raise StoreLost if the file was removed or replaced; what is committed is copied aside before."""
        await self._writer.run(self.files.check)

    async def reach(self, mark: Mark, intents: int) -> None:
        """See `Mark.reach`; on the writer's thread, in order."""
        await self._writer.run(lambda _connection: mark.reach(intents))

    @override
    async def read(self, step: Step[T]) -> T:
        return await self._reader.run(partial(in_snapshot, in_context(step)))

    @override
    async def read_bulk(self, step: Step[T]) -> T:
        return await self._bulk.run(partial(in_snapshot, in_context(step)))

    @override
    async def look(self, step: Step[T]) -> T:
        return await self._looks.run(partial(in_snapshot, in_context(step)))

    @override
    async def aclose(self) -> None:
        """Close every connection even if one fails; the writer last, which checkpoints."""
        async with AsyncExitStack() as closing:
            for connection in (self._writer, self._reader, self._bulk, self._looks):
                closing.push_async_callback(connection.aclose)


class MarkedIntents(IntentWitness):
    """Intents are counted in the mark beside the file; a copy of the file from before one is then seen to lack it."""

    def __init__(self, database: SqliteDatabase, mark: Mark) -> None:
        self._database = database
        self._mark = mark

    @override
    def refuse_older(self, intents: int) -> None:
        self._mark.refuse_older(intents)

    @override
    async def reach(self, intents: int) -> None:
        await self._database.reach(self._mark, intents)
