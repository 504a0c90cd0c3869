"""Where the store of a proof lies, for whoever looks at it beside the program: a file, or a database on a server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from support.postgres import PostgresServer
from support.stores import RawServer
from typing_extensions import override


class Looker(Protocol):
    """A connection that only reads."""

    def execute(self, sql: str, values: Any = (), /) -> Any:
        """The rows of a query that both kinds of databases take."""

    def close(self) -> None:
        """Give it back."""


class Shelf(Protocol):
    """A place of one store."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What the program must be told, as environment settings, to find it."""

    @property
    def has_store(self) -> bool:
        """Whether the tables are there."""

    def connect(self) -> Looker:
        """A connection of one's own, which sees each commit."""

    def check(self) -> str:
        """What the database finds wrong with its own pages; empty: nothing."""

    def holding(self, secret: str) -> list[str]:
        """The files, or tables, that hold *secret*."""

    @property
    def log_bytes(self) -> int:
        """How long the database's log is, where it is the store's own."""


@contextmanager
def looking(shelf: Shelf) -> Iterator[Looker]:
    """A connection for as long as the block lasts."""
    looker = shelf.connect()
    try:
        yield looker
    finally:
        looker.close()


class FileShelf(Shelf):
    """The store in the file *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    @override
    def settings(self) -> Mapping[str, str]:
        return {"DATABASE__PATH": str(self._path)}

    @property
    @override
    def has_store(self) -> bool:
        if not self._path.exists() or self._path.stat().st_size == 0:
            return False
        with looking(self) as store:
            found: tuple[int] = store.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'batch'").fetchone()
        return found != (0,)

    @override
    def connect(self) -> Looker:
        return sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)

    @override
    def check(self) -> str:
        with looking(self) as store:
            found = store.execute("PRAGMA quick_check").fetchall()
        return "" if found == [("ok",)] else str(found)

    @override
    def holding(self, secret: str) -> list[str]:
        files = sorted(self._path.parent.glob(f"{self._path.name}*"))
        return [file.name for file in files if file.is_file() and secret.encode() in file.read_bytes()]

    @property
    @override
    def log_bytes(self) -> int:
        log = self._path.with_name(f"{self._path.name}-wal")
        return log.stat().st_size if log.exists() else 0


class ServerShelf(Shelf):
    """The store in the database at *url*."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    @override
    def settings(self) -> Mapping[str, str]:
        return {"DATABASE__URL": self._url}

    @property
    @override
    def has_store(self) -> bool:
        with looking(self) as store:
            found: tuple[bool] = store.execute("SELECT to_regclass('orchestrator.meta') IS NOT NULL").fetchone()
        return found[0]

    @override
    def connect(self) -> Looker:
        return RawServer(self._url)

    @override
    def check(self) -> str:
        """The server's own business."""
        return ""

    @override
    def holding(self, secret: str) -> list[str]:
        """As text, or in bytes, which are shown as hexadecimal digits."""
        with closing(RawServer(self._url)) as store:
            found = {row.split(maxsplit=1)[0] for row in store.iterdump() if _holds(row, secret)}
        return sorted(found)

    @property
    @override
    def log_bytes(self) -> int:
        """The server's own business."""
        return 0


def _holds(row: str, secret: str) -> bool:
    return secret in row or secret.encode().hex() in row


@contextmanager
def shelf_in(folder: Path, server: PostgresServer | None) -> Iterator[Shelf]:
    """A place for a new store: in *folder*, or on *server*, in a database that is dropped after the block."""
    if server is None:
        yield FileShelf(folder / "store" / "store.db")
        return
    url = server.new_database()
    try:
        yield ServerShelf(url)
    finally:
        server.drop(url)
