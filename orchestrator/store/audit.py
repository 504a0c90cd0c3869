"""Looks for what contradicts itself in a store: for `db check`, on any database. Reads all of it, which takes long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.budgets import Book, Scope, books_of
from orchestrator.store import reservations, source_rows, sql_text
from orchestrator.store.payload import Block, Changes
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("checks")


def contradictions(c: SqlConnection) -> Iterator[str]:
    """What is wrong, for people, in one snapshot. Damage of the database itself is not looked for."""
    for (job,) in c.execute(SQL["miscounted"]):
        yield f"job {job}: its counts are not those of its requests"
    for (job,) in c.execute(SQL["misstopped"]):
        yield f"job {job}: its counts of stop reasons are not those of its requests"
    for (job,) in c.execute(SQL["mistwinned"]):
        yield f"job {job}: its twins are not counted as they are, or one has not ended as its original did"
    for (job,) in c.execute(SQL["unknown"]):
        yield f"job {job}: not every request can be found by its custom_id"
    unanswered = c.execute(SQL["unanswered"]).fetchone()[0]
    if unanswered:
        yield f"{unanswered} requests have no result although they should"
    yield from misbilled(c)
    for (job,) in c.execute(SQL["left_over"]):
        yield f"job {job}: it was purged, and not all of it is gone"
    for (job,) in c.execute(SQL["mischanged"]):
        yield f"job {job}: a change of its params is not there, or is another job's or a twin's"
    yield from _payload(c)
    yield from source_rows.contradictions(c)


def misbilled(c: SqlConnection) -> Iterator[str]:
    """Where what answers cost, the ledger, and what a job has spent are not the same."""
    for (job,) in c.execute(SQL["misentered"]):
        yield f"job {job}: its ledger is not what its answers cost"
    for (job,) in c.execute(SQL["misspent"]):
        yield f"job {job}: what it has spent is not the sum of its ledger"
    for (job,) in c.execute(SQL["misspread"]):
        yield f"job {job}: its ledger's squares are not those of its answers"
    for (job,) in c.execute(SQL["misreserved"]):
        yield f"job {job}: what it has reserved is not the sum of its batches"
    for book, (found, wanted) in sorted(_misbooked(c).items()):
        yield f"the {book.scope} {book.key}: {found} are spent and reserved, but its batches have {wanted}"


def _misbooked(c: SqlConnection) -> dict[Book, tuple[list[int], list[int]]]:
    """Books of all jobs together that are not the sums of their batches: what is there, and what should be."""
    wanted: dict[Book, list[int]] = defaultdict(lambda: [0, 0])
    for day, nanos in c.execute(SQL["spent_by_day"]):
        for book in books_of((day,)):
            wanted[book][0] += int(nanos)
    for batch, nanos in c.execute(SQL["reserving"]).fetchall():
        for book in reservations.books(batch, c):
            wanted[book][1] += nanos
    found: dict[Book, list[int]] = defaultdict(lambda: [0, 0])
    found.update({Book(Scope(scope), key): [spent, held] for scope, key, spent, held in c.execute(SQL["booked"])})
    for day, spent, taken in c.execute(SQL["unbooked"]):
        for book in books_of((day,)):
            found[book][0] += int(spent)
            found[book][1] -= int(taken)
    return {book: (found[book], wanted[book]) for book in {*found, *wanted} if found[book] != wanted[book]}


def _payload(c: SqlConnection) -> Iterator[str]:
    """Every request's params, unpacked: each block carries a checksum."""
    seen, changes = 0, Changes(c)
    for first, count, data in c.stream(SQL["blocks"]):
        members = c.execute(SQL["requests_from"], (first, first + count - 1)).fetchall()
        try:
            block = Block(first, count, data)
            for key, size_bytes, change in members:
                changes.params(block, key, size_bytes, change)
        except errors.StoreError as exc:
            yield f"the payload of the requests from {first & 0xFFFFFFFF} of job {first >> 32}: {exc.cause}"
        seen += len(members)
    missing = c.execute(SQL["requests"]).fetchone()[0] - seen
    if missing:
        yield f"{missing} requests have no payload"
