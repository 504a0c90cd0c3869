"""Care of a store: a quick look for `doctor`, a reading of all of it (`db check`), a copy, and compaction."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.humanize import size
from orchestrator.store import connect, ownership, sql_text
from orchestrator.store.audit import contradictions
from orchestrator.store.identity import Standing, read_meta, standing
from orchestrator.store.mark import MARKED_SINCE, read_mark
from orchestrator.store.migrate import shipped_migrations

SQL: Final = sql_text.load("maintenance")
CHECKS_SQL: Final = sql_text.load("checks")
SEARCH_SQL: Final = sql_text.load("reconciliation")
#: Where SQLite makes its temporary files; it asks each time. Source: sqlite.org/tempfiles.html, §5.
_TEMPORARY: Final = "SQLITE_TMPDIR"
_COUNTS: Final = ("page_size", "page_count", "freelist_count")
_MAKE_SPACE: Final = "make space, or choose another disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """schema: the version in the file; known: the newest that this program has. damage: what SQLite found, if any.

    standing: to the mark beside it; None where the schema is older than marks are. searching: the API has still to be
    asked what a copy that was put back lacks.
    """

    sqlite: tuple[int, ...]
    schema: int
    known: int
    damage: str | None
    standing: Standing | None
    searching: bool


def check_up(path: Path, *, thoroughly: bool) -> StoreFacts:
    """Look at the store at *path*, read-only. *thoroughly*: read all of it, which takes as long as a copy.

    Raises StoreError if it cannot even be opened.
    """
    connection = connect.connect_onlooker(path)
    try:
        with connect.translating_errors():
            sqlite = sqlite3.sqlite_version
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            stands = standing(read_meta(connection), read_mark(path)) if schema >= MARKED_SINCE else None
            searches = stands is not None and connection.execute(SEARCH_SQL["open"]).fetchone() is not None
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if thoroughly else "ok"
    finally:
        connection.close()
    return StoreFacts(
        sqlite=tuple(int(part) for part in sqlite.split(".")),
        schema=schema,
        known=shipped_migrations()[-1].version,
        damage=None if found == "ok" else found,
        standing=stands,
        searching=searches,
    )


def audit(path: Path) -> list[str]:
    """What is wrong with the store at *path*, in one snapshot of it; empty if nothing is. An engine may run meanwhile.

    Takes as long as reading and unpacking all of it. Raises StoreError where it cannot be read at all.
    """
    connection = connect.connect_onlooker(path)
    try:
        with connect.translating_errors():
            connection.execute("BEGIN")
            return list(_findings(connection))
    finally:
        connection.close()


def _findings(c: connect.SqliteConnection) -> Iterator[str]:
    damage = [row[0] for row in c.execute(CHECKS_SQL["damage"])]
    if damage != ["ok"]:
        yield from (f"SQLite finds damage: {words}" for words in damage)
        return  # the rest would stumble over it
    for table, count in c.execute(CHECKS_SQL["orphans"]):
        yield f"{count} rows of {table} refer to nothing"
    yield from contradictions(c)


def back_up(path: Path, target: Path) -> int:
    """Copy the store at *path*, as it is now, to *target*; its size in bytes. An engine may run meanwhile.

    In one step, inside one snapshot: a copy in several would start again at every write of the engine. The copy is made
    under another name (0600), read through, synced and renamed. Raises GuardRefused if *target* is there, OutputError.
    """
    if os.path.lexists(target):
        raise errors.GuardRefused(f"{target} is there already", hint="nothing was written; choose another name")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with closing(connect.connect_onlooker(path)) as source:
            _copy(source, draft)
        ownership.sync(draft)
        draft.rename(target)
        ownership.sync(target.parent)
    except errors.StoreFull as exc:
        raise errors.OutputError(f"cannot write {target}", cause=exc.cause, hint=_MAKE_SPACE) from exc
    except OSError as exc:
        hint = _MAKE_SPACE if errors.is_no_space(exc) else "choose another path"
        raise errors.OutputError(f"cannot write {target}", cause=exc.strerror, hint=hint) from exc
    finally:
        for leftover in ("", "-wal", "-shm", "-journal"):
            draft.with_name(draft.name + leftover).unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: sqlite3.Connection, draft: Path) -> None:
    """Raises StoreError where the copy does not hold what it should."""
    with connect.translating_errors(), closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        source.backup(copy)
        # A store that lies beside its log has two files; the copy is to be one.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise errors.StoreError(
            "the copy is damaged", cause=str(found), hint="look at the store: orchestrator db check"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceUsage:
    """Bytes: what the file holds, what of it is free inside, and what is free on its disk."""

    used_bytes: int
    free_bytes: int
    disk_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Temporary need of compacting: a copy of what is used, and the same in the log."""
        return 2 * self.used_bytes


def space_of(path: Path) -> SpaceUsage:
    """Used and free space of the store at *path*, and free space on its disk. An engine may run. Raises StoreError."""
    with closing(connect.connect_onlooker(path)) as c, connect.translating_errors(c):
        page, pages, free = (int(c.execute(f"PRAGMA {name}").fetchone()[0]) for name in _COUNTS)
    disk = shutil.disk_usage(path.resolve().parent).free
    return SpaceUsage(used_bytes=(pages - free) * page, free_bytes=free * page, disk_bytes=disk)


def compact(path: Path) -> None:
    """Give what is free inside the store at *path* back to the disk. The caller holds its lock. Raises StoreError."""
    room = space_of(path)
    if room.disk_bytes < room.needed_bytes:
        needs = f"it needs {size(room.needed_bytes)} beside the store for a while, and {size(room.disk_bytes)} are free"
        raise errors.StoreFull("there is too little space to compact the store", cause=needs, hint=errors.MAKE_SPACE)
    folder = path.resolve().parent
    with (
        _temporary_files_in(folder),
        closing(connect.connect_writer(path)) as connection,
        connect.translating_errors(connection),
    ):
        vacuum(connection)  # while another program reads the old state, the file shrinks with the next write


def vacuum(connection: sqlite3.Connection) -> None:
    """Write the file anew without its free pages, and the log back into it."""
    connection.execute("PRAGMA temp_store = FILE")  # else the copy is made in memory
    connection.execute(SQL["vacuum"])
    connection.execute("PRAGMA busy_timeout = 0").fetchall()  # who reads the old state is not waited for
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """The system's temporary folder may be small, in memory."""
    before = os.environ.get(_TEMPORARY)
    os.environ[_TEMPORARY] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TEMPORARY]
        else:
            os.environ[_TEMPORARY] = before
