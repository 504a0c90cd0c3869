"""The schema on a PostgreSQL server: made once however many start, upgraded under everybody, never guessed at."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import psycopg
import pytest
from store.store_world import NOW
from support.postgres import PostgresServer
from support.tools import needed_tool

from orchestrator.domain.errors import StoreError
from orchestrator.store.migrate import Migration, shipped_migrations
from orchestrator.store.postgres.migrate_postgres import (
    SERVER_SCHEMA_VERSION,
    check_version,
    prepare_server,
    version_of,
)

pytestmark = pytest.mark.postgres

Raw = psycopg.Connection[Any]
SHIPPED = shipped_migrations("postgres")
NEXT = Migration(version=SHIPPED[-1].version + 1, name="next", sql="CREATE TABLE more (a bigint NOT NULL);")
BROKEN = Migration(
    version=NEXT.version, name="broken", sql="CREATE TABLE more (a bigint); CREATE TABLE job (a bigint);"
)
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'orchestrator'::regnamespace AND relkind = 'r' ORDER BY 1"


@pytest.fixture
def url(new_database: Callable[..., str]) -> str:
    """An empty database."""
    return new_database()


@pytest.fixture
def connection(url: str) -> Iterator[Raw]:
    with psycopg.connect(url, autocommit=True) as opened:
        yield opened


def prepare(connection: Raw, *, sandbox: bool = False, **more: Any) -> None:
    prepare_server(connection, "the database", now=NOW, sandbox=sandbox, **more)


def state_of(connection: Raw) -> list[Any]:
    """What a start may change: tables, migrations, who the store is."""
    queries = (TABLES, "SELECT * FROM orchestrator.schema_migration", "SELECT * FROM orchestrator.meta")
    return [connection.execute(sql.encode()).fetchall() for sql in queries]


def test_an_empty_database_becomes_a_store_and_stays_it(connection: Raw) -> None:
    """Who it is, and where it lies, is written once; what else must be there is asked for at each start."""
    asked: list[Raw] = []
    prepare(connection, also=asked.append)
    first = state_of(connection)
    assert version_of(connection) == SERVER_SCHEMA_VERSION == SHIPPED[-1].version
    here = "SELECT system_identifier, timeline FROM orchestrator."
    assert (
        connection.execute(f"{here}cluster".encode()).fetchall()
        == connection.execute(f"{here}cluster_now".encode()).fetchall()
    )
    prepare(connection, also=asked.append)
    assert state_of(connection) == first
    assert asked == [connection, connection]


def test_daemons_that_start_at_once_make_one_store(url: str) -> None:
    """Every one comes up, one after the other: what else is made is made by one at a time."""
    together, inside = Barrier(4), list[int]()

    def also(_: Raw) -> None:
        assert not inside
        inside.append(1)
        inside.pop()

    def start(connection: Raw) -> None:
        together.wait()
        prepare(connection, also=also)

    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        opened = [stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(4)]
        list(pool.map(start, opened))
        assert opened[0].execute(b"SELECT count(*) FROM orchestrator.meta").fetchone() == (1,)


def test_an_older_store_is_upgraded_and_the_daemons_of_before_are_told(connection: Raw) -> None:
    """A rolling upgrade: the new version brings the store forward, the old one hands all on and ends (exit 8)."""
    prepare(connection)
    check_version(connection, "the database")
    prepare(connection, migrations=[*SHIPPED, NEXT])
    assert version_of(connection) == NEXT.version
    assert connection.execute(b"SELECT count(*) FROM orchestrator.more").fetchone() == (0,)
    with pytest.raises(StoreError, match="newer version of this program") as running:
        check_version(connection, "the database")
    with pytest.raises(StoreError, match="newer version of this program") as started:
        prepare(connection)
    assert running.value.exit_code == started.value.exit_code == 8


def test_a_migration_on_the_server_is_whole_or_not_there(connection: Raw) -> None:
    """One transaction: the older program goes on with the schema that it had."""
    prepare(connection)
    before = state_of(connection)
    for _ in range(2):
        with pytest.raises(psycopg.errors.DuplicateTable):
            prepare(connection, migrations=[*SHIPPED, BROKEN])
        assert state_of(connection) == before
    with psycopg.connect(connection.info.dsn, autocommit=True) as other:
        prepare(other)


def foreign(connection: Raw) -> None:
    """Some other program's tables under our name."""
    connection.execute(b"CREATE SCHEMA orchestrator; CREATE TABLE orchestrator.note (a text)")


def rewritten(connection: Raw) -> None:
    """A store whose migration is not the one that we ship."""
    prepare(connection)
    connection.execute(b"UPDATE orchestrator.schema_migration SET checksum = 'x'")


def sandboxed(connection: Raw) -> None:
    """A store with the sandbox's work."""
    prepare(connection, sandbox=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [(foreign, "not a store of this program"), (rewritten, "another form of migration 1"), (sandboxed, "sandbox work")],
)
def test_a_database_that_is_not_ours_is_refused_and_not_touched(
    connection: Raw, make: Callable[[Raw], None], words: str
) -> None:
    """Promise 1: nothing of anybody's is changed on a guess, not even by an upgrade."""
    make(connection)
    before = connection.execute(TABLES).fetchall()
    with pytest.raises(StoreError, match=words):
        prepare(connection, migrations=[*SHIPPED, NEXT])
    assert connection.execute(TABLES).fetchall() == before


def test_a_database_that_cannot_hold_every_text_is_refused(connection: Raw, postgres_server: PostgresServer) -> None:
    """A custom id in another alphabet would be refused in the middle of an import."""
    name = f"{connection.info.dbname}_latin"
    postgres_server.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = postgres_server.url_of(name)
    try:
        with (
            psycopg.connect(url, autocommit=True) as other,
            pytest.raises(StoreError, match=r"cannot hold every text \(its encoding is LATIN1\)"),
        ):
            prepare(other)
    finally:
        postgres_server.drop(url)


def test_a_user_that_owns_its_schema_needs_no_other_right(connection: Raw) -> None:
    """A database's administrator may make the schema, and let the program make nothing else."""
    user = f"user_of_{connection.info.dbname}"
    connection.execute(f"CREATE ROLE {user} LOGIN; CREATE SCHEMA orchestrator AUTHORIZATION {user}".encode())
    try:
        connection.execute(f"SET ROLE {user}".encode())
        prepare(connection)
        prepare(connection, migrations=[*SHIPPED, NEXT])
    finally:
        connection.execute(f"RESET ROLE; DROP SCHEMA orchestrator CASCADE; DROP ROLE {user}".encode())


def dump_of(url: str) -> list[str]:
    """What pg_dump says, without the keys that it draws anew each time."""
    order = [needed_tool("pg_dump", package="postgresql-client"), url]
    said = subprocess.run(order, capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if not re.match(r"\\(un)?restrict ", line)]


def test_a_dump_of_the_store_is_a_store(connection: Raw, url: str, new_database: Callable[..., str]) -> None:
    """Promise 1: what pg_dump makes is a backup, with every rule of the schema."""
    prepare(connection)
    other = new_database()
    order = [needed_tool("psql", package="postgresql-client"), "-qv", "ON_ERROR_STOP=1", "-o", os.devnull, other]
    subprocess.run(order, input="\n".join(dump_of(url)), text=True, check=True)
    assert dump_of(other) == dump_of(url)
    with psycopg.connect(other, autocommit=True) as restored:
        prepare(restored)
        with pytest.raises(psycopg.errors.IntegrityError, match="never deleted"):
            restored.execute(b"DELETE FROM orchestrator.meta")
