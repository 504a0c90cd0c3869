"""What the parts of the store are built on: a method is one step, whole, on the connection that fits it.

Light: a command that only reads loads neither asyncio nor aiosqlite.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestrator.store.database import Database
from orchestrator.store.sql_connection import SqlConnection

T = TypeVar("T")
P = ParamSpec("P")


class SnapshotReads:
    """Reads from *connection*, whatever snapshot that is in. The parts of `ports.reads.Reads` are built on it."""

    def __init__(self, connection: SqlConnection) -> None:
        self._c = connection


class Facet:
    """A part of the store that one consumer uses; its public methods are a port's. Most are one step each."""

    def __init__(self, database: Database) -> None:
        self._db = database


F = TypeVar("F", bound=Facet)
#: A facet's method as it is written, with the connection, and as it is called.
Written = Callable[Concatenate[F, SqlConnection, P], T]
Called = Callable[Concatenate[F, P], Coroutine[Any, Any, T]]


def transaction(step: Written[F, P, T]) -> Called[F, P, T]:
    """Make the method *step* run whole as one durable transaction, by `Database.write`."""

    @wraps(step)
    async def run(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.write(lambda c: step(self, c, *args, **kwargs))

    return run


def snapshot(step: Written[F, P, T]) -> Called[F, P, T]:
    """Make the method *step* read one committed snapshot, by `Database.read`."""

    @wraps(step)
    async def run(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.read(lambda c: step(self, c, *args, **kwargs))

    return run


def bulk_snapshot(step: Written[F, P, T]) -> Called[F, P, T]:
    """As `snapshot`, for payloads and results, by `Database.read_bulk`."""

    @wraps(step)
    async def run(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.read_bulk(lambda c: step(self, c, *args, **kwargs))

    return run
