"""Facets of doubt: batches whose POST got no clear answer, evidence about remote batches, and the late sweep."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from typing_extensions import override

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import Nonce
from orchestrator.domain.model import BatchRow, Candidate
from orchestrator.ports.doubts import DoubtStore, EvidenceStore, SweepStore
from orchestrator.store import facet, history, sql_rows, sql_text, submit

SQL: Final = sql_text.load("doubt")


class SqliteDoubtStore(facet.Facet, DoubtStore):
    """Steps of batches in doubt."""

    @override
    @facet.snapshot
    def in_doubt(self, c: sqlite3.Connection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["in_doubt"]))

    @override
    @facet.transaction
    def restart_waits(self, c: sqlite3.Connection, now: datetime) -> int:
        return c.execute(SQL["restart_wait"], {"now": sql_rows.to_text(now)}).rowcount

    @override
    @facet.transaction
    def note_date(self, c: sqlite3.Connection, batches: Iterable[BatchRow], date: datetime) -> None:
        rows = [{"id": batch.id, "date": sql_rows.to_text(date)} for batch in batches]
        c.executemany(SQL["note_date"], rows)

    @override
    @facet.transaction
    def end_wait(self, c: sqlite3.Connection, batch: BatchRow, until: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "until": sql_rows.to_text(until)}
        return sql_rows.moved(c, SQL["end_wait"], values)

    @override
    @facet.transaction
    def looked(self, c: sqlite3.Connection, batch: BatchRow, *, found: bool) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "found": found}
        return sql_rows.moved(c, SQL["looked"], values)

    @override
    @facet.transaction
    def void(self, c: sqlite3.Connection, batch: BatchRow, date: datetime, why: str, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "date": sql_rows.to_text(date)}
        if not submit.move(batch, SQL["void"], values, "void", why, now, c):
            return False
        c.execute(SQL["release"], {"id": batch.id})
        return True

    @override
    @facet.transaction
    def claim(self, c: sqlite3.Connection, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "remote_id": remote.id,
            "created_at": sql_rows.to_text(remote.created_at),
            "expires_at": sql_rows.to_text(remote.expires_at),
        }
        if not submit.move(batch, SQL["claim"], values, "in_progress", f"proven by its results: {remote.id}", now, c):
            return False
        _see([remote], c)
        c.execute(SQL["judge"], {"remote_id": remote.id, "verdict": "ours", "batch_id": batch.id})
        return True


class SqliteEvidenceStore(facet.Facet, EvidenceStore):
    """Rows of `remote` and `candidate`; the schema makes a proof final."""

    @override
    @facet.snapshot
    def unclaimed(self, c: sqlite3.Connection, remotes: Sequence[RemoteBatch]) -> list[RemoteBatch]:
        values = {"remote_ids": json.dumps([remote.id for remote in remotes])}
        taken = {row[0] for row in c.execute(SQL["known"], values)}
        taken |= {
            row["remote_id"]
            for row in sql_rows.dict_rows(c.execute(SQL["remotes"], values))
            if row["verdict"] in ("ours", "foreign")
        }
        return [remote for remote in remotes if remote.id not in taken]

    @override
    @facet.transaction
    def add_candidates(self, c: sqlite3.Connection, batch: BatchRow, remotes: Sequence[RemoteBatch]) -> None:
        _see(remotes, c)
        c.executemany(SQL["candidate"], [{"batch_id": batch.id, "remote_id": remote.id} for remote in remotes])

    @override
    @facet.snapshot
    def candidates(self, c: sqlite3.Connection, batch: BatchRow) -> list[Candidate]:
        rows = sql_rows.dict_rows(c.execute(SQL["candidates"], {"batch_id": batch.id}))
        return [sql_rows.to_remote(row) for row in rows]

    @override
    @facet.transaction
    def judge(self, c: sqlite3.Connection, remote_id: str, verdict: str) -> bool:
        values = {"remote_id": remote_id, "verdict": verdict, "batch_id": None}
        return sql_rows.moved(c, SQL["judge"], values)

    @override
    @facet.transaction
    def readable(self, c: sqlite3.Connection, remote_id: str, *, unreadable_at: datetime | None) -> None:
        if unreadable_at is None:
            c.execute(SQL["readable"], {"remote_id": remote_id})
        else:
            c.execute(SQL["unreadable"], {"remote_id": remote_id, "date": sql_rows.to_text(unreadable_at)})

    @override
    @facet.snapshot
    def by_nonce(self, c: sqlite3.Connection, nonce: Nonce) -> BatchRow | None:
        rows = sql_rows.dict_rows(c.execute(SQL["by_nonce"], {"nonce": nonce}))
        return sql_rows.to_batch(rows[0]) if rows else None


class SqliteSweepStore(facet.Facet, SweepStore):
    """Batches that were given up, and what came of them at the API all the same (`spare`)."""

    @override
    @facet.snapshot
    def to_sweep(self, c: sqlite3.Connection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_sweep"]))

    @override
    @facet.transaction
    def swept(self, c: sqlite3.Connection, batch: BatchRow) -> None:
        c.execute(SQL["swept"], {"id": batch.id})

    @override
    @facet.transaction
    def see(self, c: sqlite3.Connection, remotes: Sequence[RemoteBatch]) -> None:
        _see(remotes, c)

    @override
    @facet.transaction
    def duplicate(self, c: sqlite3.Connection, batch: BatchRow, remote_id: str, now: datetime) -> bool:
        if not sql_rows.moved(c, SQL["judge"], {"remote_id": remote_id, "verdict": "ours", "batch_id": batch.id}):
            return False
        c.execute(SQL["count_duplicate"])
        why = f"{remote_id} exists although the batch was {batch.state}: its requests may be paid for twice"
        history.record(c, now, "batch.duplicate", job=batch.job_id, batch=batch.id, why=why)
        return True

    @override
    @facet.transaction
    def keep_duplicate_results(self, c: sqlite3.Connection, remote_id: str, rows: Sequence[tuple[int, bytes]]) -> None:
        values = [{"remote_id": remote_id, "number": number, "body": body} for number, body in rows]
        c.executemany(SQL["keep_spare"], values)


def _see(remotes: Sequence[RemoteBatch], c: sqlite3.Connection) -> None:
    rows = [{"remote_id": r.id, "count": r.counts.total, "created_at": sql_rows.to_text(r.created_at)} for r in remotes]
    c.executemany(SQL["seen"], rows)
