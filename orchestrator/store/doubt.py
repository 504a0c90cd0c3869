"""Facets of doubt: batches whose POST got no clear answer, evidence about remote batches, and the late sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from typing_extensions import override

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.billing import Kind
from orchestrator.domain.ids import BatchId, Nonce
from orchestrator.domain.model import BatchRow, Candidate
from orchestrator.domain.states import BatchState
from orchestrator.ports.doubts import DoubtStore, DuplicateResult, EvidenceStore, SweepStore
from orchestrator.store import facet, history, ledger, reservations, sql_rows, sql_text, submit
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("doubt")


class SqlDoubtStore(facet.Facet, DoubtStore):
    """Steps of batches in doubt."""

    @override
    @facet.snapshot
    def in_doubt(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["in_doubt"]))

    @override
    @facet.transaction
    def note_date(self, c: SqlConnection, batches: Iterable[BatchRow], date: datetime) -> None:
        rows = [{"id": batch.id, "date": sql_rows.to_text(date)} for batch in batches]
        c.executemany(SQL["note_date"], rows)

    @override
    @facet.transaction
    def end_wait(self, c: SqlConnection, batch: BatchRow, until: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "until": sql_rows.to_text(until)}
        return sql_rows.moved(c, SQL["end_wait"], values)

    @override
    @facet.transaction
    def looked(self, c: SqlConnection, batch: BatchRow, *, found: bool) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "found": int(found)}
        return sql_rows.moved(c, SQL["looked"], values)

    @override
    @facet.transaction
    def void(self, c: SqlConnection, batch: BatchRow, date: datetime, why: str, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "date": sql_rows.to_text(date)}
        if not submit.move(batch, SQL["void"], values, "void", why, now, c):
            return False
        c.execute(SQL["release"], {"id": batch.id})
        return True

    @override
    @facet.transaction
    def claim(self, c: SqlConnection, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        return _claim(batch, remote, "proven by its results", now, c)

    @override
    @facet.transaction
    def claim_late(self, c: SqlConnection, batch: BatchRow, remote: RemoteBatch, now: datetime) -> BatchRow:
        row = _batch_now(batch.id, c)
        if row.state is BatchState.IN_DOUBT:
            _claim(row, remote, "proven by the API's answer, which came late", now, c)
        return _batch_now(batch.id, c)


class SqlEvidenceStore(facet.Facet, EvidenceStore):
    """Rows of `remote` and `candidate`; the schema makes a proof final."""

    @override
    @facet.snapshot
    def unclaimed(self, c: SqlConnection, remotes: Sequence[RemoteBatch]) -> list[RemoteBatch]:
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
    def add_candidates(self, c: SqlConnection, batch: BatchRow, remotes: Sequence[RemoteBatch]) -> None:
        _see(remotes, c)
        c.executemany(SQL["candidate"], [{"batch_id": batch.id, "remote_id": remote.id} for remote in remotes])

    @override
    @facet.snapshot
    def candidates(self, c: SqlConnection, batch: BatchRow) -> list[Candidate]:
        rows = sql_rows.dict_rows(c.execute(SQL["candidates"], {"batch_id": batch.id}))
        return [sql_rows.to_remote(row) for row in rows]

    @override
    @facet.transaction
    def judge(self, c: SqlConnection, remote_id: str, verdict: str) -> bool:
        values = {"remote_id": remote_id, "verdict": verdict, "batch_id": None}
        return sql_rows.moved(c, SQL["judge"], values)

    @override
    @facet.transaction
    def readable(self, c: SqlConnection, remote_id: str, *, unreadable_at: datetime | None) -> None:
        if unreadable_at is None:
            c.execute(SQL["readable"], {"remote_id": remote_id})
        else:
            c.execute(SQL["unreadable"], {"remote_id": remote_id, "date": sql_rows.to_text(unreadable_at)})

    @override
    @facet.snapshot
    def by_nonce(self, c: SqlConnection, nonce: Nonce) -> BatchRow | None:
        rows = sql_rows.dict_rows(c.execute(SQL["by_nonce"], {"nonce": nonce}))
        return sql_rows.to_batch(rows[0]) if rows else None


class SqlSweepStore(facet.Facet, SweepStore):
    """Batches that were given up, and what came of them at the API all the same (`spare`)."""

    @override
    @facet.snapshot
    def to_sweep(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_sweep"]))

    @override
    @facet.transaction
    def swept(self, c: SqlConnection, batch: BatchRow) -> None:
        c.execute(SQL["swept"], {"id": batch.id})
        reservations.free_if_known(batch.id, batch.job_id, c)

    @override
    @facet.transaction
    def see(self, c: SqlConnection, remotes: Sequence[RemoteBatch]) -> None:
        _see(remotes, c)

    @override
    @facet.transaction
    def duplicate(self, c: SqlConnection, batch: BatchRow, remote_id: str, now: datetime) -> bool:
        if not sql_rows.moved(c, SQL["judge"], {"remote_id": remote_id, "verdict": "ours", "batch_id": batch.id}):
            return False
        _enter_missing(batch, remote_id, c)
        c.execute(SQL["count_duplicate"])
        why = f"{remote_id} exists although the batch was {batch.state}: its requests may be paid for twice"
        history.record(c, now, "batch.duplicate", job=batch.job_id, batch=batch.id, why=why)
        return True

    @override
    @facet.snapshot
    def unkept(self, c: SqlConnection) -> dict[str, BatchId]:
        return {remote_id: BatchId(batch) for remote_id, batch in c.execute(SQL["unkept"])}

    @override
    @facet.transaction
    def keep_duplicate_results(
        self, c: SqlConnection, batch: BatchId, remote_id: str, rows: Sequence[DuplicateResult]
    ) -> None:
        kept = {row[0] for row in c.execute(SQL["kept"], {"remote_id": remote_id})}
        new = {row.number: row for row in rows if row.number not in kept}
        if not new or not (found := c.execute(SQL["spare_of"], {"batch_id": batch, "remote_id": remote_id}).fetchone()):
            return
        job, day, is_told = found
        payments = [row.payment for row in new.values() if row.payment is not None]
        prices = ledger.price_ids(payments, c)
        account = ledger.Account(job, batch)
        if is_told:
            ledger.take_back_unknown(account, Kind.LATE, day, len(new), c)
        ledger.enter(account, Kind.LATE, payments, prices, c)
        values = [{"remote_id": remote_id, "number": row.number, "body": row.body} for row in new.values()]
        c.executemany(SQL["keep_spare"], values)


def _enter_missing(batch: BatchRow, remote_id: str, c: SqlConnection) -> None:
    """What is not kept of a duplicate may have been billed as well."""
    count, day = c.execute(SQL["missing"], {"remote_id": remote_id}).fetchone()
    ledger.enter_unknown(ledger.Account(batch.job_id, batch.id), Kind.LATE, day, max(count, 0), c)


def _claim(batch: BatchRow, remote: RemoteBatch, why: str, now: datetime, c: SqlConnection) -> bool:
    books = reservations.books(batch.id, c)
    if not submit.move(
        batch, SQL["claim"], submit.found_as(batch, remote), "in_progress", f"{why}: {remote.id}", now, c
    ):
        return False
    reservations.rebook(batch.id, books, c)
    _see([remote], c)
    c.execute(SQL["judge"], {"remote_id": remote.id, "verdict": "ours", "batch_id": batch.id})
    return True


def _batch_now(batch: BatchId, c: SqlConnection) -> BatchRow:
    return sql_rows.to_batches(c.execute(submit.SQL["get_batch"], {"id": batch}))[0]


def _see(remotes: Sequence[RemoteBatch], c: SqlConnection) -> None:
    rows = [{"remote_id": r.id, "count": r.counts.total, "created_at": sql_rows.to_text(r.created_at)} for r in remotes]
    c.executemany(SQL["seen"], rows)
