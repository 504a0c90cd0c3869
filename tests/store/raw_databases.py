"""Both databases behind the store's back, for looking and for breaking rules on purpose: one text for either."""

# ruff: noqa: S608 - names of tables and columns, read from the schema
from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
from store.store_world import NOW, raw

from orchestrator.store.postgres.migrate_postgres import prepare_server

#: What a database raises that refuses a row.
REFUSALS: Final = (sqlite3.IntegrityError, psycopg.IntegrityError)
#: Options of a connection that is not the program's.
PATH: Final = "-c search_path=orchestrator -c jit=off"
_TABLES: Final = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"


class RawDatabase(Protocol):
    """A connection where every statement is a transaction. SQL is what both read, with `?` and `:name` for values."""

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Any: ...

    def columns(self, table: str) -> list[str]:
        """Columns of *table* that may be written, in order."""
        ...

    def checks(self, table: str, column: str) -> str:
        """The CHECK of *column* that lists what may stand in it."""
        ...


class RawFile:
    """The store in a file."""

    def __init__(self, path: Path) -> None:
        self.connection = raw(path)

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Any:
        return self.connection.execute(sql, values)

    def columns(self, table: str) -> list[str]:
        return [row[1] for row in self.connection.execute(f"PRAGMA table_info({table})")]

    def checks(self, table: str, column: str) -> str:
        sql = self.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        found = re.search(rf"CHECK \({column} IN \(([^)]*)\)\)", sql)
        assert found is not None
        return found[1]


class RawServer:
    """The store on a server. `connection` is psycopg's, for what is its own."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Any:
        text = re.sub(r"x'(\w*)'", r"'\\x\1'::bytea", sql.replace("%", "%%"))
        text = re.sub(r"(?<!:):(\w+)", r"%(\1)s", text).replace("?", "%s")
        return self.connection.execute(text.encode(), values or None)

    def columns(self, table: str) -> list[str]:
        sql = """SELECT column_name FROM information_schema.columns
                  WHERE table_schema = 'orchestrator' AND table_name = ? AND is_generated = 'NEVER'
                  ORDER BY ordinal_position"""
        return [row[0] for row in self.execute(sql, (table,))]

    def checks(self, table: str, column: str) -> str:
        sql = """SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c
                   JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
                  WHERE c.conrelid = CAST(? AS regclass) AND attname = ? AND contype = 'c'"""
        (found,) = (row[0] for row in self.execute(sql, (table, column)) if "ANY (ARRAY[" in row[0])
        return re.sub(r"'::text", "'", str(found))


@contextmanager
def open_file(path: Path) -> Iterator[RawFile]:
    """The file at *path*."""
    opened = RawFile(path)
    with closing(opened.connection):
        yield opened


@contextmanager
def open_server(url: str, source: Path | None = None) -> Iterator[RawServer]:
    """A new store in the empty database at *url*; with *source*, it has that file's rows."""
    with psycopg.connect(url, autocommit=True, options=PATH) as connection:
        prepare_server(connection, "the database", now=NOW, sandbox=False)
        if source is not None:
            _copy(source, connection)
        yield RawServer(connection)


def _copy(source: Path, connection: psycopg.Connection[Any]) -> None:
    """Put the file's rows in place of the server's, unjudged: what they refer to comes after some of them."""
    connection.execute(b"SET session_replication_role = replica")
    with open_file(source) as file:
        for (table,) in file.execute(_TABLES).fetchall():
            if table != "schema_migration":
                connection.execute(f"DELETE FROM {table}".encode())
                _copy_table(file, table, connection)
    connection.execute(b"RESET session_replication_role")


def _copy_table(file: RawFile, table: str, connection: psycopg.Connection[Any]) -> None:
    names = file.columns(table)
    insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
    rows = file.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
    with connection.cursor() as cursor:
        cursor.executemany(insert.encode(), rows)
    identity = (
        connection.execute(b"SELECT pg_get_serial_sequence(%s, 'id')", (table,)).fetchall() if "id" in names else []
    )
    if identity and identity[0][0] is not None:
        connection.execute(f"SELECT setval('{identity[0][0]}', max(id)) FROM {table}".encode())
