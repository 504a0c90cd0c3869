"""Reads of caps, and of what is taken of each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from orchestrator.domain.budgets import Book, Limit, Scope, books_of, days_of
from orchestrator.domain.ids import JobId
from orchestrator.store import sql_rows, sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("budgets")


def job_limit(job: JobId, c: SqlConnection) -> Iterator[Limit]:
    """The cap of a job, if it has one."""
    row = c.execute(SQL["job_limit"], {"id": job}).fetchone()
    if row is not None:
        cap, spent, reserved, planned = map(int, row)
        held = c.execute(SQL["held_of_job"], {"id": job}).fetchone() if reserved else (0, 0)
        yield _limit(Book(Scope.JOB, ""), cap, (spent, reserved), planned, held)


def api_time(now: datetime, c: SqlConnection) -> datetime:
    """*now* by the API's clock, as far as the store knows it: the sandbox's time runs ahead of ours."""
    newest = sql_rows.from_text_or_none(c.execute(SQL["newest"]).fetchone()[0])
    return now if newest is None else max(now, newest)


def shared_limits(now: datetime, c: SqlConnection) -> Iterator[Limit]:
    """The budgets of all jobs together, for every day on which a batch of *now* may be created."""
    caps = {Scope(scope): cap for scope, cap in c.execute(SQL["budgets"])}
    if not caps:
        return
    planned = int(c.execute(SQL["planned"]).fetchone()[0])
    for book in books_of(days_of(now)):
        if book.scope in caps:
            spent, reserved = map(int, c.execute(SQL["book"], {"scope": book.scope, "key": book.key}).fetchone())
            held = c.execute(SQL["held_of_book"], {"key": book.key}).fetchone() if reserved else (0, 0)
            yield _limit(book, caps[book.scope], (spent, reserved), planned, held)


def _limit(book: Book, cap: int, taken: tuple[int, int], planned: int, held: tuple[int, int]) -> Limit:
    """taken: what is spent and reserved; held: of that, for what may turn up yet, and for answers of unknown cost."""
    (spent, reserved), (late, unknown) = taken, map(int, held)
    return Limit(
        scope=book.scope,
        key=book.key,
        cap=cap,
        spent=spent,
        reserved=reserved,
        planned=planned,
        late=late,
        unknown=unknown,
    )
