"""Reads a whole store and says what in it does not fit together: for a person who wants to know, `db check`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.domain.errors import StoreError
from orchestrator.store.opening import connect_onlooker, speaking_our_errors
from orchestrator.store.payload import Block
from orchestrator.store.queries import load

SQL: Final = load("audit")


def audit(path: Path) -> list[str]:
    """What is wrong with the store at *path*, in one snapshot of it; empty if nothing is. An engine may run meanwhile.

    Takes as long as reading and unpacking all of it. Raises StoreError where it cannot be read at all.
    """
    connection = connect_onlooker(path)
    try:
        with speaking_our_errors():
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
