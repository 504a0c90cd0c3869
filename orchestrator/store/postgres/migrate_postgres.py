"""Creates and upgrades the schema on a PostgreSQL server: numbered migrations, forward only, each with a checksum.

Daemons start while others run: each migration is one transaction under a lock that the whole fleet shares, and for some
seconds the previous version works on the schema of the next one. A newer or foreign schema is refused and not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import psycopg

from orchestrator.domain import errors
from orchestrator.ports.server_facts import OLDEST_SERVER
from orchestrator.store import migrate
from orchestrator.store.sql_connection import SqlConnection
from orchestrator.store.sql_rows import to_text

#: The number of the newest migration that this program ships for a server; a constant, as SQLite's is.
SERVER_SCHEMA_VERSION: Final = 23
#: The advisory lock of who migrates; "ORCM" in ASCII.
MIGRATION_LOCK: Final = 0x4F52434D
#: READ COMMITTED: a snapshot would be from before the wait for the lock. A migration takes as long as it takes, but a
#: process that was stopped in one must not hold up the fleet.
_BEGIN: Final = f"""
SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
SET LOCAL search_path = orchestrator;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = '60s';
SELECT pg_advisory_xact_lock({MIGRATION_LOCK});
"""
_STANDING: Final = """
SELECT to_regclass('orchestrator.schema_migration') IS NOT NULL,
       (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('orchestrator')),
       to_regnamespace('orchestrator') IS NOT NULL, current_setting('server_encoding')
"""
_MAKE_HISTORY: Final = """
CREATE TABLE orchestrator.schema_migration (
  version    bigint PRIMARY KEY,
  name       text   NOT NULL,
  checksum   text   NOT NULL,
  applied_at text   NOT NULL
)
"""
_HISTORY: Final = "SELECT version, checksum FROM orchestrator.schema_migration ORDER BY version"
_APPLIED: Final = "INSERT INTO orchestrator.schema_migration VALUES (%s, %s, %s, %s)"
_VERSION: Final = "SELECT max(version) FROM orchestrator.schema_migration"
_SANDBOX: Final = "SELECT sandbox FROM orchestrator.meta"
_INTRODUCE: Final = (
    "INSERT INTO orchestrator.meta (id, lineage, created_at, sandbox, spread) VALUES (1, %s, %s, %s, %s)"
)
_PLACE: Final = "INSERT INTO orchestrator.cluster SELECT 1, here.* FROM orchestrator.cluster_now AS here"

Raw = psycopg.Connection[Any]


def prepare_server(
    connection: Raw,
    where: str,
    *,
    now: datetime,
    sandbox: bool,
    also: Callable[[Raw], None] | None = None,
    migrations: Sequence[migrate.Migration] | None = None,
) -> None:
    """Make the database a store of the newest schema: new, as it is, or upgraded; others may do the same meanwhile.

    connection: in autocommit. where: the database, for people. also: what else must be there, made under the same lock
    at each start. Raises StoreError (newer schema, foreign tables, changed migration, old server); psycopg's own pass.
    """
    wanted = migrate.shipped_migrations("postgres") if migrations is None else list(migrations)
    _check_server(connection, where)
    while not _is_whole(connection, wanted, where, now, sandbox=sandbox):
        pass
    with _alone(connection):
        if not _is_introduced(connection, where, sandbox=sandbox):
            connection.execute(_INTRODUCE, migrate.new_identity(now, sandbox=sandbox))
            connection.execute(_PLACE)
        if also is not None:
            also(connection)


@contextmanager
def blank_schema(connection: Raw, where: str, now: datetime, *, again: bool = False) -> Iterator[None]:
    """One transaction: the newest schema, where none is, and then the block, which says who the store is.

    again: take away one that is there. Raises GuardRefused if one is there, StoreError as `prepare_server` does.
    """
    _check_server(connection, where)
    with _alone(connection):
        if again:
            connection.execute("DROP SCHEMA orchestrator CASCADE")
        if _history(connection, where):
            raise errors.GuardRefused(
                f"there is a store in {where}", hint="nothing was changed; name an empty database"
            )
        for migration in migrate.shipped_migrations("postgres"):
            _apply(connection, migration, now)
        yield
        connection.execute(_PLACE)


def version_of(connection: SqlConnection | Raw) -> int:
    """The newest migration that the database has: a daemon that knows less hands everything on and ends."""
    ((found,),) = connection.execute(_VERSION).fetchall()
    return int(found)


def check_version(connection: SqlConnection | Raw, where: str) -> None:
    """Raise StoreError if a newer program has taken the database over."""
    version = version_of(connection)
    if version > SERVER_SCHEMA_VERSION:
        raise migrate.newer_schema(where, version, SERVER_SCHEMA_VERSION)


@contextmanager
def _alone(connection: Raw) -> Iterator[None]:
    """One transaction, with nobody else in one of these."""
    with connection.transaction():
        connection.execute(_BEGIN)
        yield


def _is_whole(
    connection: Raw, wanted: Sequence[migrate.Migration], where: str, now: datetime, *, sandbox: bool
) -> bool:
    """Apply the next migration, if one is missing: one at a time, as another daemon may have applied it meanwhile."""
    with _alone(connection):
        done = _history(connection, where)
        migrate.check_history(done, wanted, where)
        if done:
            _is_introduced(connection, where, sandbox=sandbox)
        missing = wanted[len(done) :]
        if missing:
            _apply(connection, missing[0], now)
        return not missing


def _history(connection: Raw, where: str) -> list[tuple[int, str]]:
    """(version, checksum) of every migration that the database has; none where it is new, with a schema to fill."""
    ((is_ours, tables, has_schema, encoding),) = connection.execute(_STANDING).fetchall()
    if is_ours:
        return connection.execute(_HISTORY).fetchall()
    if tables:
        raise errors.StoreError(
            f"the schema 'orchestrator' of {where} is not a store of this program", hint="choose another database"
        )
    if encoding != "UTF8":
        raise errors.StoreError(
            f"{where} cannot hold every text (its encoding is {encoding})",
            hint="make it with: createdb --encoding UTF8 --template template0",
        )
    if not has_schema:  # who may not make it can be given one
        connection.execute("CREATE SCHEMA orchestrator")
    connection.execute(_MAKE_HISTORY)
    return []


def _apply(connection: Raw, migration: migrate.Migration, now: datetime) -> None:
    connection.execute(migration.sql.encode())
    connection.execute(_APPLIED, (migration.version, migration.name, migration.checksum, to_text(now)))


def _is_introduced(connection: Raw, where: str, *, sandbox: bool) -> bool:
    """Whether the store says who it is. Raises StoreError if its work is of the other kind."""
    found = connection.execute(_SANDBOX).fetchone()
    if found is not None:
        migrate.check_kind(where, is_sandbox=bool(found[0]), sandbox=sandbox)
    return found is not None


def _check_server(connection: Raw, where: str) -> None:
    major = connection.info.server_version // 10_000
    if major < OLDEST_SERVER:
        raise errors.StoreError(f"{where}: PostgreSQL {major} is too old", hint=f"{OLDEST_SERVER} or newer is needed")
