"""Whether a store's files are still where they were opened: deleted or replaced under us, what we commit is lost.

Looks at names only (`stat`), never opens a file: closing it would drop SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import StoreError, StoreLost
from orchestrator.store.opening import speaking_our_errors
from orchestrator.store.ownership import beside, sync

#: The file and its log are the store; the index of the log is how other processes read it.
_FILES: Final = ("", "-wal", "-shm")


class Place:
    """The files of one open store, as they were when it was opened. `trouble`: why it is lost; None while it is not."""

    def __init__(self, database: Path) -> None:
        self._database = database.resolve()
        self._files = {name: _identity(beside(database, name)) for name in _FILES}
        self._size_bytes = 0
        self.trouble: StoreLost | None = None

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise StoreLost if a file is not there any more; the first time, what is committed is copied aside before.

        connection: one of the store's own, on its thread.
        """
        if self.trouble is None and (gone := self._missing()) is not None:
            self.trouble = StoreLost(f"{gone} was removed or replaced while it was in use")
            self.trouble = _lost(gone, self._database, self._copy_aside(connection))
        if self.trouble is not None:
            raise self.trouble

    def _missing(self) -> Path | None:
        for name, identity in self._files.items():
            path = beside(self._database, name)
            if identity != _identity(path):
                return path
        return self._database if self._shrank() else None

    def _shrank(self) -> bool:
        """An open store never becomes smaller: somebody cut it, or wrote another file over it."""
        try:
            size_bytes = self._database.stat().st_size
        except OSError:
            return True
        shrank = size_bytes < self._size_bytes
        self._size_bytes = max(size_bytes, self._size_bytes)
        return shrank

    def _copy_aside(self, connection: sqlite3.Connection) -> Path | str:
        """The file that holds all that is committed; or why there is none."""
        target = _free_name(self._database)
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            with speaking_our_errors(), closing(sqlite3.connect(target, isolation_level=None)) as copy:
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            sync(target)
            sync(target.parent)
        except OSError as exc:
            return f"{target} cannot be written: {exc.strerror}"
        except StoreError as exc:
            target.unlink(missing_ok=True)
            return f"{target} cannot be written: {exc.message}"
        return target


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _free_name(database: Path) -> Path:
    for number in range(1, 1000):
        name = database.with_name(f"{database.name}.rescued-{number}")
        if not os.path.lexists(name):
            return name
    return database.with_name(f"{database.name}.rescued-{os.getpid()}")


def _lost(gone: Path, database: Path, copy: Path | str) -> StoreLost:
    happened = f"{gone} was removed or replaced while it was in use"
    if isinstance(copy, str):
        return StoreLost(
            happened,
            cause=f"nothing more was sent; what was stored could not be copied: {copy}",
            hint=f"restore a backup of {database}: what was sent since is looked up at the API",
        )
    return StoreLost(
        happened,
        cause=f"nothing more was sent; all that was stored is in {copy}",
        hint=f"put it back (mv {copy} {database}; no {database.name}-wal may lie beside it), then start again",
    )
