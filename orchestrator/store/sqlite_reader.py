"""Opens the file of a store for one command that only reads, whoever owns it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from orchestrator.domain import errors
from orchestrator.store import connect
from orchestrator.store.mark import no_store
from orchestrator.store.migrate import APPLICATION_ID, SCHEMA_VERSION, newer_schema
from orchestrator.store.moved import refuse_moved
from orchestrator.store.read import SqlReads


class StoreReader(SqlReads):
    """A read-only connection of its own, for one command: `with StoreReader.open(path) as reads: …`."""

    def __init__(self, connection: connect.SqliteConnection) -> None:
        super().__init__(connection)
        self._file = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store at *path*. Raises NoSuchThing if there is none, StoreError; GuardRefused if it was moved."""
        if not path.exists():
            raise no_store(path)
        connect.refuse_what_is_no_file(path)
        connection = connect.connect_onlooker(path)
        try:
            with connect.translating_errors():
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
            if application != APPLICATION_ID:
                raise errors.StoreError(f"{path} is not a store of this program", hint="choose another path with --db")
            if version > SCHEMA_VERSION:
                raise newer_schema(path, version)
            if version < SCHEMA_VERSION:
                raise errors.StoreError(
                    f"{path} was written by an earlier version of this program (schema {version})",
                    hint="stop an engine of that version, then `orchestrator db migrate`; a copy is left beside it",
                )
            refuse_moved(connection, path)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def __enter__(self) -> Self:
        """One snapshot for the whole block."""
        with connect.translating_errors():
            self._file.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._file.close()
