"""Whether a store is sound: a quick look for `doctor`, and a reading of all of it for `db check`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import StoreError
from orchestrator.store.connect import connect_onlooker, translating_errors
from orchestrator.store.identity import Standing, read_meta, standing
from orchestrator.store.mark import MARKED_SINCE, read_mark
from orchestrator.store.migrate import shipped_migrations
from orchestrator.store.payload import Block
from orchestrator.store.sql_text import load

SQL: Final = load("checks")
SEARCH_SQL: Final = load("reconciliation")


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
        with translating_errors():
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
    connection = connect_onlooker(path)
    try:
        with translating_errors():
            connection.execute("BEGIN")
            return list(_findings(connection))
    finally:
        connection.close()


def _findings(c: sqlite3.Connection) -> Iterator[str]:
    damage = [row[0] for row in c.execute(SQL["damage"])]
    if damage != ["ok"]:
        yield from (f"SQLite finds damage: {words}" for words in damage)
        return  # the rest would stumble over it
    for table, count in c.execute(SQL["orphans"]):
        yield f"{count} rows of {table} refer to nothing"
    for (job,) in c.execute(SQL["miscounted"]):
        yield f"job {job}: its counts are not those of its requests"
    for (job,) in c.execute(SQL["misstopped"]):
        yield f"job {job}: its counts of stop reasons are not those of its requests"
    for (job,) in c.execute(SQL["unknown"]):
        yield f"job {job}: not every request can be found by its custom_id"
    unanswered = c.execute(SQL["unanswered"]).fetchone()[0]
    if unanswered:
        yield f"{unanswered} requests have no result although they should"
    for (job,) in c.execute(SQL["left_over"]):
        yield f"job {job}: it was purged, and not all of it is gone"
    yield from _payload(c)


def _payload(c: sqlite3.Connection) -> Iterator[str]:
    """Every request's params, unpacked: each block carries a checksum."""
    seen = 0
    for first, count, data in c.execute(SQL["blocks"]):
        members = c.execute(SQL["requests_from"], (first, first + count - 1)).fetchall()
        try:
            block = Block(first, count, data)
            for key, size_bytes in members:
                block.params(key, size_bytes)
        except StoreError as exc:
            yield f"the payload of the requests from {first & 0xFFFFFFFF} of job {first >> 32}: {exc.cause}"
        seen += len(members)
    missing = c.execute(SQL["requests"]).fetchone()[0] - seen
    if missing:
        yield f"{missing} requests have no payload"
