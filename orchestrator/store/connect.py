"""Opens SQLite connections, and translates SQLite's exceptions. Needs no event loop: `status` starts here.

Only SQLite opens these files: opening them ourselves would drop its locks when we close them (POSIX; measured). SQLite
does not say why it cannot write a file, so its folder and its disk are checked here.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

from orchestrator.domain import errors
from orchestrator.domain.ids import BatchId
from orchestrator.ports.dispatch import UnitKind
from orchestrator.store.sql_connection import Values

#: The log's index is made when the store is opened; that there is no room for it has an error of its own.
_FULL: Final = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
#: May mean a quota that is used up, or a folder or disk that takes no new file.
_UNCLEAR: Final = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
_UNTOUCHED: Final = "mode=ro&immutable=1"
#: SQLite opens the file, and its log, when it is first asked for something.
_FIRST_LOOK: Final = "PRAGMA user_version"
_WRITABLE: Final = (
    "make the folder writable; or, while nothing runs on it, copy the file and its -wal to a folder that is, and name "
    "the copy with --db"
)
_DAMAGED_HINT: Final = "restore a backup of the database file; a -wal beside it may be of another file"
_BUSY_MS: Final = 5000
#: How long the log may become before it is written back: a page that many transactions dirty is written once.
_LOG_BYTES: Final = 32 * 1024 * 1024
#: What an outside reader makes it grow to is given back once that reader is gone.
_KEPT_LOG: Final = f"PRAGMA journal_size_limit = {_LOG_BYTES}"
_WRITER_PRAGMAS: Final = (
    # Only a new file takes it. Rows of 1 kB and pages that are rewritten as results arrive: settling takes 14 % less
    # CPU than with 4 KiB, export 20 %, and the file is 9 % smaller (100,000 results, measured).
    "PRAGMA page_size = 16384",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -8192",
    "PRAGMA temp_store = MEMORY",
    _KEPT_LOG,
)
_READER_PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA mmap_size = 0",
    "PRAGMA cache_size = -2048",
)

#: Measured for requests: 4.1 us of CPU a row by `executemany`, 2.5 in twenties, 2.2 in hundreds, 2.1 in 500s. And after
#: each statement another thread may take the interpreter: beside a busy one 3.5 us a row in hundreds, 1.7 in 500s.
_ROWS: Final = 500
#: What is left is updated in pieces of so many rows; failures, measured: 10.4 us a row one by one, 4.0 so, 3.5 in 500s.
_FEWER_ROWS: Final = (_ROWS, 20, 1)


class SqliteConnection(sqlite3.Connection):
    """A connection for the store's steps, see `SqlConnection`. Only one process writes a file, so there is no turn."""

    def insert_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> None:
        """What SQLite and Python do once per statement is shared by hundreds of rows."""
        whole = len(rows) - len(rows) % _ROWS
        many = _repeated(sql, _ROWS)
        for start in range(0, whole, _ROWS):
            self.execute(many, tuple(chain.from_iterable(rows[start : start + _ROWS])))
        self.executemany(sql, rows[whole:])

    def update_rows(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> int:
        """As `insert_rows`."""
        written = start = 0
        for size in _FEWER_ROWS:
            while len(rows) - start >= size:
                values = tuple(chain.from_iterable(rows[start : start + size]))
                written += self.execute(_repeated(sql, size), values).rowcount
                start += size
        return written

    def stream(self, sql: str, values: Values = (), /) -> sqlite3.Cursor:
        """Rows are read as they are asked for in any case."""
        return self.execute(sql, values)

    def due(self, kind: UnitKind, batch: BatchId, priority: int, /) -> None:
        """Nobody need be told: the engine of this process looks by itself."""

    def assert_in_turn(self) -> None:
        """It is: BEGIN IMMEDIATE."""


@cache
def _repeated(sql: str, times: int) -> str:
    """The same statement for so many rows."""
    head, values, rest = sql.rpartition("VALUES (")
    row, end, tail = rest.partition(")")
    return head + values + f"{row}{end}, (" * (times - 1) + row + end + tail


def refuse_what_is_no_file(path: Path) -> None:
    """Raise UsageError for a folder, a device or a pipe: no store is there, and none could be made."""
    if path.is_dir():
        raise errors.UsageError(
            f"the store {path} is a folder", hint="name a file in it, such as --db FOLDER/orchestrator.db"
        )
    if path.exists() and not path.is_file():
        raise errors.UsageError(f"the store {path} is not a file", hint="choose another path with --db")


def connect_writer(path: Path) -> SqliteConnection:
    """The read-write connection; there is one per store, held by the owner of the lock file."""
    with translating_errors(path):
        connection = _open(path, "mode=rw", _WRITER_PRAGMAS)
    page = connection.execute("PRAGMA page_size").fetchone()[0]  # an older store keeps its own
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // int(page)}").fetchall()
    return connection


def connect_reader(path: Path, *, untouched: bool = False) -> SqliteConnection:
    """A read-only connection; works at any time, whoever owns the store.

    untouched: not even a -shm file is made; only for a file that nobody has open and that has no -wal.
    """
    with translating_errors(path):
        return _open(path, _UNTOUCHED if untouched else "mode=ro", _READER_PRAGMAS)


def connect_onlooker(path: Path) -> SqliteConnection:
    """A read-only connection that also works where nothing can be written, which reading with a WAL needs.

    On a full or read-only disk, or in a folder without write permission, SQLite cannot make the log's index. Where no
    log holds work the file alone is the whole store, nobody is writing to it, and it is read as it is.
    Raises StoreError, StoreFull.
    """
    with translating_errors(path):
        try:
            return _open(path, "mode=ro", (*_READER_PRAGMAS, _FIRST_LOOK))
        except sqlite3.OperationalError as exc:
            if has_log(path) or not _name_of(exc).startswith(_FULL + _UNCLEAR):
                raise
        return _open(path, _UNTOUCHED, _READER_PRAGMAS)


def connect_in_memory() -> SqliteConnection:
    """As a writer's, to a database that no file has and that ends with it."""
    return _open_address("file::memory:", _WRITER_PRAGMAS)


def _open(path: Path, how: str, pragmas: tuple[str, ...]) -> SqliteConnection:
    return _open_address(f"{path.absolute().as_uri()}?{how}", pragmas)


def _open_address(address: str, pragmas: tuple[str, ...]) -> SqliteConnection:
    connection = sqlite3.connect(
        address,
        uri=True,
        isolation_level=None,
        timeout=_BUSY_MS / 1000,
        check_same_thread=False,
        factory=SqliteConnection,
    )
    try:
        for pragma in pragmas:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


class translating_errors:  # noqa: N801 - reads as a phrase in `with translating_errors():`
    """Turns sqlite3's exceptions into ours; a constraint that fires or a misuse is a bug and passes as it is.

    where: the store's file, or a connection to it, if known: SQLite does not tell a full disk from other errors.
    """

    def __init__(self, where: Path | sqlite3.Connection | None = None) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        """Translate what was raised, if it was SQLite's."""
        bugs = (sqlite3.IntegrityError, sqlite3.ProgrammingError)
        if isinstance(exc, sqlite3.DatabaseError) and not isinstance(exc, bugs):
            raise translated(exc, _path_of(self._where)) from exc


def translated(exc: sqlite3.DatabaseError, path: Path | None = None) -> errors.OrchestratorError:
    """The error that a person can act on. path: the store's file, if it is known."""
    name = _name_of(exc)
    around = _trouble_around(name, str(exc), path)
    if around is not None:
        return around
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return errors.StoreError(
            "the store is locked by another program", cause=str(exc), hint="close whatever has the database file open"
        )
    if name.startswith("SQLITE_NOTADB"):
        return errors.StoreError(
            "the file is not a store of this program",
            cause=str(exc),
            hint="choose another path with --db; if this one was a store, it is damaged: restore a backup",
        )
    if name.startswith("SQLITE_CORRUPT"):
        return errors.StoreError(
            "the store is damaged",
            cause=str(exc),
            hint=_DAMAGED_HINT,
        )
    if name.startswith("SQLITE_CANTOPEN"):
        return errors.StoreError(
            "the store cannot be opened", cause=str(exc), hint="check the path and its permissions"
        )
    return errors.StoreError(
        "the store failed", cause=f"{name}: {exc}", hint="check the disk; see `orchestrator doctor`"
    )


def _trouble_around(name: str, told: str, path: Path | None) -> errors.OrchestratorError | None:
    """Errors whose cause lies outside of the file: no space, no memory, no permission."""
    asked = path if name.startswith(_UNCLEAR) else None
    if name.startswith(_FULL) or (asked is not None and is_full(asked.resolve().parent)):
        cause = "there is no room for the index of its log" if name.startswith("SQLITE_IOERR_SHM") else told
        return errors.StoreFull("the disk that holds the store is full", cause=cause, hint=errors.MAKE_SPACE)
    if name == "SQLITE_IOERR_NOMEM":
        return errors.OutOfMemory(cause=told)
    if asked is not None and (why := unwritable(asked)) is not None:
        return errors.StoreError("the store cannot be opened", cause=why, hint=_WRITABLE)
    return None


def _name_of(exc: sqlite3.Error) -> str:
    return getattr(exc, "sqlite_errorname", "") or ""


def _path_of(where: Path | sqlite3.Connection | None) -> Path | None:
    if not isinstance(where, sqlite3.Connection):
        return where
    try:
        return Path(where.execute("PRAGMA database_list").fetchone()[2])
    except sqlite3.Error:
        return None


#: As much as SQLite needs for the smallest file it makes: the index of a log.
_LITTLE_BYTES: Final = 32 * 1024


def has_log(path: Path) -> bool:
    """True if a log with work in it lies beside the store at *path*; else the file alone is the whole store."""
    real = path.resolve()
    log = real.with_name(f"{real.name}-wal")
    return log.exists() and log.stat().st_size > 0


def is_full(folder: Path) -> bool:
    """True if not even a little can be written in *folder*: its disk is full, or a quota is used up."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_LITTLE_BYTES))
    except OSError as exc:
        return errors.is_no_space(exc)
    return False


def unwritable(path: Path) -> str | None:
    """Why nothing can be written at *path*, for people; None if it can."""
    folder = path.resolve().parent
    if not _may(folder, os.W_OK | os.X_OK):
        return f"nothing can be written in {folder}"
    if path.exists() and not _may(path, os.W_OK):
        return f"{path} is read-only"
    return None


def _may(path: Path, mode: int) -> bool:
    """With the effective user id, where the system can check that."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
