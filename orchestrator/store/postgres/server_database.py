"""The open database on a PostgreSQL server: five connections on threads of their own, so that none delays another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Generic, TypeVar

from typing_extensions import override

from orchestrator.store.database import Closable, Database, Start, Step, Worker, in_context
from orchestrator.store.postgres.cluster import PlaceGuard
from orchestrator.store.postgres.link import Due, Link, Mode, PostgresAddress, Raw, Role, Waited

T = TypeVar("T")
C = TypeVar("C", bound=Closable)


class PlainThread(Worker[C], Generic[C]):
    """A connection on a thread of its own."""

    def __init__(self, thread: ThreadPoolExecutor, connection: C) -> None:
        self._thread = thread
        self._connection = connection

    @classmethod
    async def start(cls, connector: Callable[[], C]) -> PlainThread[C]:
        """Begin the thread; the connection is opened on it."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="postgres")
        return cls(thread, await asyncio.get_running_loop().run_in_executor(thread, connector))

    @override
    async def run(self, step: Callable[[C], T]) -> T:
        return await asyncio.shield(self._begin(partial(step, self._connection)))

    def _begin(self, call: Callable[[], T]) -> asyncio.Future[T]:
        task = asyncio.wrap_future(self._thread.submit(call))
        # A cancelled caller never retrieves the exception, and asyncio would log it as lost.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    @override
    async def aclose(self) -> None:
        await asyncio.shield(self._begin(self._connection.close))
        self._thread.shutdown(wait=False)


class PostgresDatabase(Database):
    """Steps on a server, which other daemons share. Raises StoreUnreachable while it does not answer."""

    def __init__(self, workers: Mapping[Role, Worker[Link]], guard: PlaceGuard) -> None:
        self._workers = workers
        self.guard = guard

    @classmethod
    async def start(
        cls,
        server: PostgresAddress,
        guard: PlaceGuard,
        due: Due | None = None,
        start: Start[Link] = PlainThread.start,
        waited: Waited | None = None,
    ) -> PostgresDatabase:
        """Ready to connect: a connection is opened by its first step."""
        return cls({role: await start(partial(Link, server, role, guard, due, waited)) for role in Role}, guard)

    async def prepare(self, how: Callable[[Raw], None]) -> None:
        """Have *how* make the schema, by the connection that will write."""
        await self._workers[Role.WRITER].run(lambda link: link.prepare(how))

    async def _run(self, role: Role, mode: Mode, step: Step[T]) -> T:
        return await self._workers[role].run(lambda link: link.run(step, mode))

    @override
    async def write(self, step: Step[T]) -> T:
        """In the turn of the whole fleet; READ COMMITTED, which is serial in the turn."""
        return await self._run(Role.WRITER, Mode.TURN, in_context(step))

    @override
    async def write_free(self, step: Step[T]) -> T:
        return await self._run(Role.FREE_WRITER, Mode.FREE, in_context(step))

    @override
    async def read(self, step: Step[T]) -> T:
        return await self._run(Role.READER, Mode.SNAPSHOT, in_context(step))

    @override
    async def read_bulk(self, step: Step[T]) -> T:
        return await self._run(Role.BULK, Mode.SNAPSHOT, in_context(step))

    @override
    async def look(self, step: Step[T]) -> T:
        return await self._run(Role.LOOKS, Mode.SNAPSHOT, in_context(step))

    @override
    async def aclose(self) -> None:
        async with AsyncExitStack() as closing:
            for worker in self._workers.values():
                closing.push_async_callback(worker.aclose)
