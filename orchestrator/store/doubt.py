"""Store facets of doubt: POSTs without a clear answer, the remote batches they may have made, and the late sweep."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import Nonce
from orchestrator.domain.model import BatchRow, Candidate
from orchestrator.store.connection import Database
from orchestrator.store.rows import dict_rows, moved, record, to_batch, to_remote, to_text
from orchestrator.store.sql_text import load
from orchestrator.store.submit import move

SQL: Final = load("doubt")


class SqliteDoubtStore:
    """See `ports.doubts.DoubtStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def in_doubt(self) -> list[BatchRow]:
        """Batches whose POST got no clear answer."""
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL["in_doubt"])))
        return [to_batch(row) for row in rows]

    async def restart_waits(self, now: datetime) -> int:
        """At the start: a wait by our own clock begins again; what the API's Date proved stays."""
        return await self._db.write(lambda c: c.execute(SQL["restart_wait"], {"now": to_text(now)}).rowcount)

    async def note_date(self, batches: Iterable[BatchRow], date: datetime) -> None:
        """Commit the API's first Date after discovery, so that a crash loop does not start the wait again."""
        rows = [{"id": batch.id, "date": to_text(date)} for batch in batches]
        await self._db.write(lambda c: c.executemany(SQL["note_date"], rows).rowcount)

    async def end_wait(self, batch: BatchRow, until: datetime) -> bool:
        """The wait is over: only what the API created up to *until* (its Date) can be this batch."""
        values = {"id": batch.id, "fence": batch.fence, "until": to_text(until)}
        return await self._db.write(lambda c: moved(c, SQL["end_wait"], values))

    async def looked(self, batch: BatchRow, *, found: bool) -> bool:
        """One whole look at the list is done; `found`: some candidate is not proven foreign."""
        values = {"id": batch.id, "fence": batch.fence, "found": found}
        return await self._db.write(lambda c: moved(c, SQL["looked"], values))

    async def void(self, batch: BatchRow, date: datetime, why: str, now: datetime) -> bool:
        """It never appeared: its requests are queued again, with no attempt burnt."""
        return await self._db.write(partial(_void, batch, date, why, now))

    async def claim(self, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        """*remote* is proven to be *batch*: it is in progress."""
        return await self._db.write(partial(_claim, batch, remote, now))


class SqliteEvidenceStore:
    """See `ports.doubts.EvidenceStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def unclaimed(self, remotes: Sequence[RemoteBatch]) -> list[RemoteBatch]:
        """Of *remotes*, those that are not ours already and not proven foreign."""
        return await self._db.read(partial(_unclaimed, remotes))

    async def add_candidates(self, batch: BatchRow, remotes: Sequence[RemoteBatch]) -> None:
        """Remember which remote batches may be *batch*: one that vanishes from the list is still waited for."""
        await self._db.write(partial(_add_candidates, batch, remotes))

    async def candidates(self, batch: BatchRow) -> list[Candidate]:
        """Every remote batch that was ever a candidate for *batch*, with its verdict."""
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL["candidates"], {"batch_id": batch.id})))
        return [to_remote(row) for row in rows]

    async def judge(self, remote_id: str, verdict: str, owner: BatchRow | None) -> bool:
        """Store a verdict: 'foreign', 'unprovable', or 'ours' with its owner. A proof is final."""
        values = {"remote_id": remote_id, "verdict": verdict, "batch_id": None if owner is None else owner.id}
        return await self._db.write(lambda c: moved(c, SQL["judge"], values))

    async def readable(self, remote_id: str, *, unreadable_at: datetime | None) -> None:
        """Note since when (API's Date) a candidate cannot be read, or that it can be (None)."""
        if unreadable_at is None:
            await self._db.write(lambda c: c.execute(SQL["readable"], {"remote_id": remote_id}).rowcount)
            return
        values = {"remote_id": remote_id, "date": to_text(unreadable_at)}
        await self._db.write(lambda c: c.execute(SQL["unreadable"], values).rowcount)

    async def by_nonce(self, nonce: Nonce) -> BatchRow | None:
        """Our batch with this nonce, or None: the nonce proves whose a remote batch is."""
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL["by_nonce"], {"nonce": nonce})))
        return to_batch(rows[0]) if rows else None


class SqliteSweepStore:
    """See `ports.doubts.SweepStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def to_sweep(self) -> list[BatchRow]:
        """Void and abandoned batches that are still looked for."""
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL["to_sweep"])))
        return [to_batch(row) for row in rows]

    async def swept(self, batch: BatchRow) -> None:
        """Its time is over."""
        await self._db.write(lambda c: c.execute(SQL["swept"], {"id": batch.id}).rowcount)

    async def see(self, remotes: Sequence[RemoteBatch]) -> None:
        """Remember remote batches that are watched."""
        await self._db.write(partial(_see, remotes))

    async def duplicate(self, batch: BatchRow, remote_id: str, now: datetime) -> bool:
        """A batch that was closed turned out to exist: count it, once, and log it."""
        return await self._db.write(partial(_duplicate, batch, remote_id, now))

    async def keep_duplicate_results(self, remote_id: str, rows: Sequence[tuple[int, bytes]]) -> None:
        """Keep results of such a batch: (number, result)."""
        values = [{"remote_id": remote_id, "number": number, "body": body} for number, body in rows]
        await self._db.write(lambda c: c.executemany(SQL["keep_spare"], values).rowcount)


def _void(batch: BatchRow, date: datetime, why: str, now: datetime, c: sqlite3.Connection) -> bool:
    values = {"id": batch.id, "fence": batch.fence, "date": to_text(date)}
    if not move(batch, SQL["void"], values, "void", why, now, c):
        return False
    c.execute(SQL["release"], {"id": batch.id})
    return True


def _claim(batch: BatchRow, remote: RemoteBatch, now: datetime, c: sqlite3.Connection) -> bool:
    values = {
        "id": batch.id,
        "fence": batch.fence,
        "remote_id": remote.id,
        "created_at": to_text(remote.created_at),
        "expires_at": to_text(remote.expires_at),
    }
    if not move(batch, SQL["claim"], values, "in_progress", f"proven by its results: {remote.id}", now, c):
        return False
    _see([remote], c)
    c.execute(SQL["judge"], {"remote_id": remote.id, "verdict": "ours", "batch_id": batch.id})
    return True


def _ids(remotes: Sequence[RemoteBatch]) -> str:
    return json.dumps([remote.id for remote in remotes])


def _unclaimed(remotes: Sequence[RemoteBatch], c: sqlite3.Connection) -> list[RemoteBatch]:
    values = {"remote_ids": _ids(remotes)}
    taken = {row[0] for row in c.execute(SQL["known"], values)}
    taken |= {
        row["remote_id"]
        for row in dict_rows(c.execute(SQL["remotes"], values))
        if row["verdict"] in ("ours", "foreign")
    }
    return [remote for remote in remotes if remote.id not in taken]


def _see(remotes: Sequence[RemoteBatch], c: sqlite3.Connection) -> None:
    rows = [{"remote_id": r.id, "count": r.counts.total, "created_at": to_text(r.created_at)} for r in remotes]
    c.executemany(SQL["seen"], rows)


def _add_candidates(batch: BatchRow, remotes: Sequence[RemoteBatch], c: sqlite3.Connection) -> None:
    _see(remotes, c)
    c.executemany(SQL["candidate"], [{"batch_id": batch.id, "remote_id": remote.id} for remote in remotes])


def _duplicate(batch: BatchRow, remote_id: str, now: datetime, c: sqlite3.Connection) -> bool:
    if not moved(c, SQL["judge"], {"remote_id": remote_id, "verdict": "ours", "batch_id": batch.id}):
        return False
    c.execute(SQL["count_duplicate"])
    why = f"{remote_id} exists although the batch was {batch.state}: its requests may be paid for twice"
    record(c, now, "batch.duplicate", job=batch.job_id, batch=batch.id, why=why)
    return True
