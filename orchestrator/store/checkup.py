"""What `doctor` asks of the store's file itself: which SQLite reads it, which schema it has, whether it is sound."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.store.identity import Standing, read_meta, standing
from orchestrator.store.mark import MARKED_SINCE, read_mark
from orchestrator.store.migrate import shipped_migrations
from orchestrator.store.opening import connect_onlooker, speaking_our_errors
from orchestrator.store.queries import load

SQL: Final = load("search")


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
    connection = connect_onlooker(path)
    try:
        with speaking_our_errors():
            sqlite = sqlite3.sqlite_version
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            stands = standing(read_meta(connection), read_mark(path)) if schema >= MARKED_SINCE else None
            searches = stands is not None and connection.execute(SQL["open"]).fetchone() is not None
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
