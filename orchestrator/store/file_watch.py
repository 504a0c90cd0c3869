"""Detects that an open store's files were deleted, replaced or overwritten: what is committed afterwards would be lost.

Looks at names only (`stat`), never opens a file: closing it would drop SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from orchestrator.domain import errors
from orchestrator.store import connect, ownership, sql_text

SQL: Final = sql_text.load("identity")
_WHAT: Final = ("meta", "newest")
#: The file and its log are the store; the index of the log is how other processes read it.
_FILES: Final = ("", "-wal", "-shm")


class FileWatch:
    """The files of one open store, as they were when it was opened. `trouble`: why it is lost; None while it is not."""

    def __init__(self, database: Path) -> None:
        self._database = database.resolve()
        # The names are found once: every write looks at them.
        self._files = {path: _identity(path) for path in (ownership.beside(self._database, name) for name in _FILES)}
        self._written = _content(self._database)
        self.trouble: errors.StoreLost | None = None

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise StoreLost if a file is not there any more; the first time, what is committed is copied aside before.

        connection: one of the store's own, on its thread.
        """
        if self.trouble is None and (gone := self._missing()) is not None:
            _ = connection.total_changes  # raises on a closed connection: it took its log away itself
            happened = f"{gone} was removed or replaced while it was in use"
            self.trouble = errors.StoreLost(happened)  # while it is copied, others hear that it is lost
            self.trouble = self._lost(happened, connection)
        elif self.trouble is None and self._written != (now := _content(self._database)):
            self._written = now
            if not _is_what_it_was(connection, self._database):
                self.trouble = _written_over(self._database)
        if self.trouble is not None:
            raise self.trouble

    def wrote(self) -> None:
        """To be called after a commit: it may have checkpointed the log into the file."""
        self._written = _content(self._database)

    def _lost(self, happened: str, connection: sqlite3.Connection) -> errors.StoreLost:
        moved_to = _where_it_is(self._files[self._database])
        if (
            moved_to is not None
            and moved_to.parent != self._database.parent
            and ownership.beside(moved_to, "-wal").exists()
        ):
            return errors.StoreLost(
                f"{self._database} was moved while it was in use",
                cause=f"nothing more was sent; the store is {moved_to}",
                hint=f"move its folder back, or use it where it is: --db {moved_to}",
            )
        return _lost(happened, self._database, self._copy_aside(connection))

    def _missing(self) -> Path | None:
        return next((path for path, identity in self._files.items() if identity != _identity(path)), None)

    def _copy_aside(self, connection: sqlite3.Connection) -> Path | str:
        """The file that holds all that is committed; or why there is none."""
        target = _free_name(self._database)
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            with connect.translating_errors(), closing(sqlite3.connect(target, isolation_level=None)) as copy:
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            ownership.sync(target)
            ownership.sync(target.parent)
        except OSError as exc:
            return f"{target} cannot be written: {exc.strerror}"
        except errors.StoreError as exc:
            target.unlink(missing_ok=True)
            return f"{target} cannot be written: {exc.message}"
        except BaseException:
            target.unlink(missing_ok=True)
            raise
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


def _content(path: Path) -> tuple[int, int] | None:
    """Size and mtime: they change when somebody writes into the file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _is_what_it_was(connection: sqlite3.Connection, database: Path) -> bool:
    """Whether the file still has the store's content: another program may only have checkpointed its log."""
    try:
        with closing(connect.connect_reader(database)) as fresh:
            sound = fresh.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            return sound and all(
                fresh.execute(SQL[q]).fetchone() == connection.execute(SQL[q]).fetchone() for q in _WHAT
            )
    except (sqlite3.DatabaseError, errors.StoreError):
        return False


def _where_it_is(identity: tuple[int, int] | None) -> Path | None:
    """The current name of our open file with this identity; None: it was deleted."""
    for fd in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            if _identity(fd) == identity:
                name = fd.readlink()
                return name if _identity(name) == identity else None
    return None


def _written_over(database: Path) -> errors.StoreLost:
    return errors.StoreLost(
        f"{database} was written over while it was in use",
        cause="nothing more was sent; what it holds now may be a mixture",
        hint="put a whole backup in its place, without a -wal beside it, and start again: what was sent is looked up",
    )


def _lost(happened: str, database: Path, copy: Path | str) -> errors.StoreLost:
    if isinstance(copy, str):
        return errors.StoreLost(
            happened,
            cause=f"nothing more was sent; what was stored could not be copied: {copy}",
            hint=f"restore a backup of {database}: what was sent since is looked up at the API",
        )
    return errors.StoreLost(
        happened,
        cause=f"nothing more was sent; all that was stored is in {copy}",
        hint=f"put it back (mv {copy} {database}; no {database.name}-wal may lie beside it), then start again",
    )
