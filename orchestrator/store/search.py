"""Store facet of the search for what a store lacks, after it was put back from a copy."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import Reconciliation, Stray
from orchestrator.store.connection import Database
from orchestrator.store.queries import load
from orchestrator.store.rows import moved, named, record, to_stray
from orchestrator.store.times import from_text, from_text_or_none, to_text

SQL: Final = load("search")
STRAYS_SQL: Final = load("strays")


class SqliteSearch:
    """See `ports.doubts.ReconcileStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def open(self) -> Reconciliation | None:
        """The search that is not over; None: the store lacks nothing."""
        return await self._db.read(_open)

    async def pending(self) -> tuple[Reconciliation | None, list[Stray]]:
        """The same, and the strays of jobs that may still need them, the oldest first."""
        return await self._db.read(_pending)

    async def restart_wait(self, now: datetime) -> None:
        """At the start: a wait by our own clock begins again; what the API's Date proved stays."""
        if await self.open() is not None:
            await self._db.write(lambda c: moved(c, SQL["restart_wait"], {"now": to_text(now)}))

    async def note_date(self, date: datetime) -> None:
        """Commit the API's first Date, so that a crash loop does not start the wait again."""
        await self._db.write(lambda c: moved(c, SQL["note_date"], {"date": to_text(date)}))

    async def end_wait(self, until: datetime) -> None:
        """The wait is over: only what the API created up to *until* (its Date) can be missing here."""
        await self._db.write(lambda c: moved(c, SQL["end_wait"], {"until": to_text(until)}))

    async def looked(self, *, is_open: bool) -> None:
        """One whole look is done; *is_open*: something that it showed cannot be told yet."""
        await self._db.write(lambda c: moved(c, SQL["looked"], {"open": is_open}))

    async def close(self, now: datetime) -> bool:
        """Nothing is missing any more: the store plans and sends again."""
        return await self._db.write(partial(_close, now))

    async def unfinished(self) -> list[JobId]:
        """Jobs that wait for it."""
        return await self._db.read(lambda c: [JobId(row[0]) for row in c.execute(SQL["unfinished"])])

    async def jobs_with_attention(self, kind: str) -> list[JobId]:
        """Jobs that show attention of *kind*."""
        return await self._db.read(lambda c: [JobId(row[0]) for row in c.execute(SQL["told"], {"kind": kind})])


def _open(c: sqlite3.Connection) -> Reconciliation | None:
    rows = named(c.execute(SQL["open"]))
    if not rows:
        return None
    row = rows[0]
    account = c.execute(SQL["account"]).fetchone()
    organization, workspace = (None, None) if account is None else account
    return Reconciliation(
        cause=row["cause"],
        missing=row["missing"],
        since=from_text_or_none(row["since"]),
        wait_since=from_text(row["wait_since"]),
        first_date=from_text_or_none(row["first_date"]),
        until=from_text_or_none(row["until"]),
        looks=row["looks"],
        organization=organization,
        workspace=workspace,
    )


def _pending(c: sqlite3.Connection) -> tuple[Reconciliation | None, list[Stray]]:
    return _open(c), [to_stray(row) for row in named(c.execute(STRAYS_SQL["waiting"]))]


def _close(now: datetime, c: sqlite3.Connection) -> bool:
    if not moved(c, SQL["close"], {"now": to_text(now)}):
        return False
    record(c, now, "store.reconciled", why="the API was asked for all that this copy could lack")
    return True
