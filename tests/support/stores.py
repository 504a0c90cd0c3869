"""Which database the stores of a test lie in: a file each, or a database each on the server for tests.

A test names a store by a path. On PostgreSQL the path stands for a database that is made when it is first asked for, of
a template that has the schema; so the next process that opens the same path finds the same store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import psycopg

from orchestrator.store.connection import Thread
from orchestrator.store.database import Start
from orchestrator.store.identity import Trust
from orchestrator.store.ownership import Lock
from orchestrator.store.postgres.link import PostgresAddress, PostgresConnection, Role
from orchestrator.store.postgres.migrate_postgres import prepare_server
from orchestrator.store.postgres.postgres_store import PostgresStore
from orchestrator.store.sqlite_store import SqliteStore
from support.postgres import PostgresServer


@dataclass(slots=True)
class Databases:
    """The databases of one test. server: None: SQLite's files."""

    server: PostgresServer | None = None
    urls: dict[Path, str] = field(default_factory=dict)

    def url_of(self, path: Path) -> str:
        """The database that *path* stands for."""
        assert self.server is not None
        place = path.resolve()
        if place not in self.urls:
            self.urls[place] = self.server.new_database(self.server.template("store", make_schema))
        return self.urls[place]

    def drop(self) -> None:
        """Take them away."""
        for url in self.urls.values():
            assert self.server is not None
            self.server.drop(url)


_TABLES: Final = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace('orchestrator') ORDER BY 1
"""
#: Of the test that runs now.
_DATABASES: list[Databases] = [Databases()]


def use(databases: Databases) -> None:
    """From now on stores lie in these."""
    _DATABASES[0] = databases


def are_files() -> bool:
    """Whether the stores of this test are SQLite's."""
    return _DATABASES[0].server is None


def url_of(path: Path) -> str:
    """The URL of the database that *path* stands for."""
    return _DATABASES[0].url_of(path)


def make_schema(url: str) -> None:
    """Fill an empty database, but leave open who the store is: that is said when it is first opened."""
    with psycopg.connect(url, autocommit=True) as connection:
        prepare_server(connection, "the template", now=datetime(2026, 1, 1, tzinfo=UTC), sandbox=False)
        connection.execute("SET session_replication_role = replica")  # the schema refuses it
        connection.execute("DELETE FROM orchestrator.meta")
        connection.execute("DELETE FROM orchestrator.cluster")


def introduce(url: str, secret: str, now: datetime) -> None:
    """Say who the store at *url* is, with a secret that the caller knows."""
    with psycopg.connect(url, autocommit=True) as connection:
        prepare_server(connection, "the store", now=now, sandbox=False)
        connection.execute("UPDATE orchestrator.meta SET secret = %s", (secret,))


async def open_store(
    path: Path, *, now: datetime, sandbox: bool, start: Start[Any] | None = None, trust: Trust = Trust.OWN
) -> SqliteStore:
    """The store that *path* stands for; `aclose` gives it back. start: where its steps run, as a rule on threads.

    Whatever it is, it has what tests use of SQLite's: facets, `path`, `_database`.
    """
    if not are_files():
        server = PostgresAddress.of(url_of(path))
        adopt = trust is Trust.ADOPTED
        store: Any = await PostgresStore.open(server, now=now, sandbox=sandbox, adopt=adopt, start=start)
        store.path = path
        return cast("SqliteStore", store)
    lock = Lock.take(path, patience_s=0)
    try:
        return await SqliteStore.open(
            path, lock=lock, now=now, sandbox=sandbox, start=Thread.start if start is None else start, trust=trust
        )
    except BaseException:
        lock.release()
        raise


class RawServer:
    """A connection of a test's own to a database on the server, that speaks and refuses as SQLite's does."""

    def __init__(self, url: str) -> None:
        self._c = PostgresConnection(PostgresAddress.of(url).connect(Role.LOOKS), None)

    def execute(self, sql: str, values: Any = ()) -> Any:
        """Run one statement, in a transaction of its own."""
        try:
            return self._c.execute(sql, values)
        except psycopg.IntegrityError as exc:
            raise sqlite3.IntegrityError(str(exc)) from exc

    def stream(self, sql: str, values: Any = ()) -> Any:
        """As `execute`: outside of a transaction nothing is held open."""
        return self.execute(sql, values)

    def iterdump(self) -> Iterator[str]:
        """Every row, as text, table by table."""
        for (table,) in self.execute(_TABLES).fetchall():
            rows = self.execute(f"SELECT CAST(to_json(t) AS text) FROM {table} AS t ORDER BY 1").fetchall()  # noqa: S608
            yield from (f"{table} {row}" for (row,) in rows)

    def close(self) -> None:
        """Give it back."""
        self._c.close()
