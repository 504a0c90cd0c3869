"""Gives free pages of the file back to the disk: what a purge deletes leaves its space inside, for what comes next.

SQLite's own VACUUM, in place: one transaction, so a kill leaves the old state or the new one, and the file stays the
same file (its lock, and whoever remembers it, go by that).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import MAKE_SPACE, StoreFull
from orchestrator.domain.humanize import size
from orchestrator.store.opening import connect_onlooker, connect_writer, speaking_our_errors
from orchestrator.store.queries import load

SQL: Final = load("compact")
#: Where SQLite makes its temporary files; it asks each time. Source: sqlite.org/tempfiles.html, §5.
_TEMPORARY: Final = "SQLITE_TMPDIR"
_COUNTS: Final = ("page_size", "page_count", "freelist_count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes: what the file holds, what of it is free inside, and what is free on its disk."""

    used_bytes: int
    free_bytes: int
    disk_bytes: int

    @property
    def needed_bytes(self) -> int:
        """What compacting takes for a while: a copy of what is used, and the same in the log."""
        return 2 * self.used_bytes


def room_of(path: Path) -> Room:
    """How much room there is in the store at *path* and beside it. An engine may run. Raises StoreError."""
    with closing(connect_onlooker(path)) as c, speaking_our_errors(c):
        page, pages, free = (int(c.execute(f"PRAGMA {name}").fetchone()[0]) for name in _COUNTS)
    disk = shutil.disk_usage(path.resolve().parent).free
    return Room(used_bytes=(pages - free) * page, free_bytes=free * page, disk_bytes=disk)


def compact(path: Path) -> None:
    """Give what is free inside the store at *path* back to the disk. The caller holds its lock. Raises StoreError.

    Where another program reads the old state meanwhile, the file shrinks with the next write after that.
    """
    room = room_of(path)
    if room.disk_bytes < room.needed_bytes:
        needs = f"it needs {size(room.needed_bytes)} beside the store for a while, and {size(room.disk_bytes)} are free"
        raise StoreFull("there is too little space to compact the store", cause=needs, hint=MAKE_SPACE)
    folder = path.resolve().parent
    with _temporary_files_in(folder), closing(connect_writer(path)) as connection, speaking_our_errors(connection):
        vacuum(connection)


def vacuum(connection: sqlite3.Connection) -> None:
    """Write the file anew without its free pages, and the log back into it."""
    connection.execute("PRAGMA temp_store = FILE")  # else the copy is made in memory
    connection.execute(SQL["vacuum"])
    connection.execute("PRAGMA busy_timeout = 0").fetchall()  # who reads the old state is not waited for
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """The system's folder for them may be a small one, in memory."""
    before = os.environ.get(_TEMPORARY)
    os.environ[_TEMPORARY] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TEMPORARY]
        else:
            os.environ[_TEMPORARY] = before
