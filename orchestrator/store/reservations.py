"""What is reserved for batches, and how costs come out of it: in every scope at once, within steps of other facets.

Rows are written in one order, batch, job, then the books of all jobs, so that no two steps wait in a circle. While the
answers of a batch are taken in, which other daemons do for other batches at the same time, the books are not written:
what they lack is kept with the batch until it is settled, and whoever reads a book adds it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from orchestrator.domain.budgets import Book, books_of, days_of
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.store import sql_rows, sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("reservations")
_NOTHING_LATER: Final = {"unbooked_spent": 0, "unbooked_taken": 0}


class OverCap(Exception):
    """Rolls back a step that would reserve more than a cap allows."""


class _Reservation(NamedTuple):
    """What a batch has reserved, and in which books.

    is_taken_in: its answers are, or will be soon. is_over: nothing new of it can be billed any more.
    """

    nanos: int
    books: Sequence[Book]
    worst: int | None
    is_taken_in: bool
    is_over: bool


def reserve(batch: BatchId, job: JobId, c: SqlConnection) -> None:
    """Reserve what *batch*, whose intent was just stored, can cost at most. Raises OverCap."""
    held = _reservation(batch, c)
    if not held.worst:
        return
    c.execute(SQL["hold"], {"id": batch, "nanos": held.worst})
    if not c.execute(SQL["reserve_in_job"], {"id": job, "nanos": held.worst}).rowcount:
        raise OverCap
    for book in held.books:
        values = {"scope": book.scope, "key": book.key, "nanos": held.worst}
        c.execute(SQL["open_book"], {"scope": book.scope, "key": book.key})
        if not c.execute(SQL["reserve_in_book"], values).rowcount:
            raise OverCap


def reserve_late(batch: BatchId, job: JobId, nanos: int, c: SqlConnection) -> None:
    """Reserve *nanos* for a batch that was sent before any cap was set: whatever the caps, it can cost that."""
    _hold(batch, job, nanos, _reservation(batch, c).books, c)


def rebook(batch: BatchId, before: Sequence[Book], c: SqlConnection) -> None:
    """The API says when *batch* was created: what was reserved in the books *before* belongs to that day."""
    held = _reservation(batch, c)
    changes: dict[Book, list[int]] = defaultdict(lambda: [0, 0])
    for book in before:
        changes[book][1] -= held.nanos
    for book in held.books:
        changes[book][1] += held.nanos
    _write(changes, c)


def books(batch: BatchId, c: SqlConnection) -> Sequence[Book]:
    """Where the reservation of *batch* is kept."""
    return _reservation(batch, c).books


def spend(batch: BatchId, job: JobId, day: str, nanos: int, c: SqlConnection) -> None:
    """Answers of *batch* cost *nanos*, which comes out of its reservation: the sum of both stays as it is.

    Below 0: that is not known any more, and reserved again.
    """
    held, where = _reservation(batch, c), books_of((day,))
    taken = min(nanos, held.nanos) if held.nanos else 0
    is_later = held.is_taken_in and held.books == where
    if is_later or taken:
        later = {"unbooked_spent": nanos, "unbooked_taken": taken} if is_later else _NOTHING_LATER
        c.execute(SQL["spend_of_batch"], {"id": batch, "taken": taken, **later})
    if taken:
        c.execute(SQL["hold_in_job"], {"id": job, "nanos": -taken})
    if not is_later:
        _book(where, nanos, held.books, taken, c)


def _book(where: Iterable[Book], nanos: int, held: Iterable[Book], taken: int, c: SqlConnection) -> None:
    """Write *nanos* that were spent into the books *where*, and *taken* of them out of what is reserved in *held*."""
    changes: dict[Book, list[int]] = defaultdict(lambda: [0, 0])
    for book in where:
        changes[book][0] += nanos
    for book in held:
        changes[book][1] -= taken
    _write(changes, c)


def settle(batch: BatchId, job: JobId, c: SqlConnection) -> None:
    """*batch* is settled: book what it was billed, and free what is left of its reservation."""
    nanos, taken = c.execute(SQL["unbooked"], {"id": batch}).fetchone()
    if nanos or taken:
        c.execute(SQL["booked_all"], {"id": batch})
        where = _reservation(batch, c).books
        _book(where, nanos, where, taken, c)
    free_if_known(batch, job, c)


def free(batch: BatchId, job: JobId, c: SqlConnection) -> None:
    """Nothing of *batch* can be billed any more: free what it has reserved."""
    held = _reservation(batch, c)
    _hold(batch, job, -held.nanos, held.books, c)


def lock(batch: BatchId, c: SqlConnection) -> None:
    """Have no other step change what is reserved for *batch* until this one is over."""
    c.execute(SQL["lock"], {"id": batch})


def hold_only(batch: BatchId, job: JobId, nanos: int, c: SqlConnection) -> None:
    """All answers of *batch* are stored: free what is reserved beyond *nanos*."""
    lock(batch, c)
    held = _reservation(batch, c)
    if held.is_taken_in and held.nanos > nanos:
        _hold(batch, job, nanos - held.nanos, held.books, c)


def free_if_known(batch: BatchId, job: JobId, c: SqlConnection) -> None:
    """Free what *batch* has reserved, if it is over, and the cost of every answer is known."""
    held = _reservation(batch, c)
    if held.nanos and held.is_over and not c.execute(SQL["unpriced"], {"id": batch}).fetchone()[0]:
        _hold(batch, job, -held.nanos, held.books, c)


def _hold(batch: BatchId, job: JobId, nanos: int, where: Iterable[Book], c: SqlConnection) -> None:
    if not nanos:
        return
    c.execute(SQL["hold"], {"id": batch, "nanos": nanos})
    c.execute(SQL["hold_in_job"], {"id": job, "nanos": nanos})
    _write({book: [0, nanos] for book in where}, c)


def _reservation(batch: BatchId, c: SqlConnection) -> _Reservation:
    nanos, created_at, sent_at, worst, taken_in, is_over = c.execute(SQL["reservation"], {"id": batch}).fetchone()
    days = _days(created_at, sent_at)
    return _Reservation(nanos, books_of(days) if days else (), worst, bool(taken_in), bool(is_over))


def _days(created_at: str | None, sent_at: str | None) -> Sequence[str]:
    if created_at is not None:
        return (sql_rows.day_of(sql_rows.from_text(created_at)),)
    return () if sent_at is None else days_of(sql_rows.from_text(sent_at))


def _write(changes: dict[Book, list[int]], c: SqlConnection) -> None:
    for book in sorted(changes):
        spent, reserved = changes[book]
        if not (spent or reserved):
            continue
        values = {"scope": book.scope, "key": book.key}
        change = {**values, "spent": spent, "reserved": reserved}
        if not c.execute(SQL["change_book"], change).rowcount:
            c.execute(SQL["open_book"], values)
            c.execute(SQL["change_book"], change)
