"""The queue on the store's own connection: its tables, made and brought up to date, and a unit that becomes due.

All of it is a part of the store's transaction, or under the lock of its migrations.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.db import AsyncpgDriver, SyncPsycopgDriver
from pgqueuer.queries import Queries, SyncQueries
from typing_extensions import override

from orchestrator.domain.ids import BatchId
from orchestrator.fleet.fenced_queue import names
from orchestrator.fleet.queue_pool import key_of
from orchestrator.ports.dispatch import UnitKind

if TYPE_CHECKING:
    import psycopg


T = TypeVar("T")


class _StoreConnection(AsyncpgDriver):
    """PgQueuer's driver over the store's connection: nothing in it ever waits for another task."""

    def __init__(self, connection: psycopg.Connection) -> None:
        super().__init__(connection)  # which it only keeps
        self._store = connection

    @override
    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return SyncPsycopgDriver(self._store).fetch(query, *args)

    @override
    async def execute(self, query: str, *args: object) -> str:
        if args:
            await self.fetch(query, *args)
        else:
            self._store.execute(query.encode())  # bytes: no value stands in it, so nothing is looked for
        return ""


def upgrade_queue(connection: psycopg.Connection) -> None:
    """Make the queue's tables, or bring them up to this version's; nothing where they are.

    *connection* is in `autocommit`; who calls holds the lock of the store's own migrations.
    """
    _at_once(_queries(connection).apply_upgrade())


def plan_upgrade(connection: psycopg.Connection) -> Sequence[str]:
    """What `upgrade_queue` would run; empty: the tables are the wanted ones."""
    return _at_once(_queries(connection).plan_upgrade()).statements


def _queries(connection: psycopg.Connection) -> Queries:
    return Queries(_StoreConnection(connection), qbe=QueryBuilderEnvironment(names()))


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of *work*, which never waits: so no loop is needed, and none is in the way."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("PgQueuer waited for something that is not the database")


def enqueue_due(connection: psycopg.Connection, kind: UnitKind, batch: BatchId, priority: int) -> None:
    """Enqueue the unit *kind* of *batch* on *connection*, which is in `autocommit` and inside a BEGIN of its own.

    After a ROLLBACK there is none, after a COMMIT there is one; while one waits or is worked on there is no second.

    priority: the job's; larger goes first.
    """
    queries = SyncQueries(SyncPsycopgDriver(connection), qbq=_builder())
    queries.enqueue(kind, str(batch).encode(), priority, dedupe_key=key_of(kind, batch), on_conflict="skip")


@cache
def _builder() -> QueryQueueBuilder:
    return QueryQueueBuilder(names())
