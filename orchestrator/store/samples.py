"""Store facet of the samples: how busy all jobs together were, kept for a while."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.store.connection import Database
from orchestrator.store.queries import load
from orchestrator.store.times import to_text

SQL: Final = load("samples")


class SqliteSamples:
    """See `ports.job_store.SampleStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def take(self, now: datetime, *, keep_from: datetime, watched: bool) -> bool:
        """Write down how busy all jobs are; False: just as at the last time. Older ones than *keep_from* go."""
        busy = await self._db.read(_changed)
        if busy is not None:
            await self._db.write(partial(_add, (to_text(now), *busy, int(watched)), keep_from))
        return busy is not None


def _changed(c: sqlite3.Connection) -> tuple[int, ...] | None:
    """How busy all jobs are; None: as at the last sample. Read first: a quiet daemon writes nothing."""
    busy: tuple[int, ...] = c.execute(SQL["busy"]).fetchone()
    return None if busy == c.execute(SQL["last"]).fetchone() else busy


def _add(row: tuple[str | int, ...], keep_from: datetime, c: sqlite3.Connection) -> None:
    c.execute(SQL["forget_old"], {"before": to_text(keep_from)})
    c.execute(SQL["add"], row)
