"""Facets of reconciliation: the search for batches that a store lacks after it was restored from a copy.

Strays are remote batches with a nonce of this store that no batch of it has.
"""

from __future__ import annotations

import json
from array import array
from datetime import datetime
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import limits
from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import JobId, Nonce, RequestId, is_signed, job_identity, number_of, request_id
from orchestrator.domain.model import BatchRow, JobRow
from orchestrator.domain.packing import Pack
from orchestrator.domain.states import JobState
from orchestrator.ports.doubts import ReconcileStore, Reconciliation, Stray, StrayOutcome, StrayStore
from orchestrator.store import facet, history, job_control, retrying, sql_rows, sql_text, submit
from orchestrator.store.identity import Standing, begin_search, secret_of
from orchestrator.store.plan import add_batch
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("reconciliation")
_SENT_SINCE: Final = "its requests were sent after this copy of the store was made"


class SqlReconcileStore(facet.Facet, ReconcileStore):
    """Rows of `reconciliation`, at most one of them open."""

    @override
    @facet.snapshot
    def open(self, c: SqlConnection) -> Reconciliation | None:
        return _open(c)

    @override
    @facet.transaction
    def begin(self, c: SqlConnection, now: datetime) -> None:
        begin_search(Standing.BEHIND, 0, now, c)

    @override
    @facet.snapshot
    def pending(self, c: SqlConnection) -> tuple[Reconciliation | None, list[Stray]]:
        return _open(c), [sql_rows.to_stray(row) for row in sql_rows.dict_rows(c.execute(SQL["waiting"]))]

    @override
    @facet.transaction
    def note_date(self, c: SqlConnection, date: datetime) -> None:
        c.execute(SQL["note_date"], {"date": sql_rows.to_text(date)})

    @override
    @facet.transaction
    def end_wait(self, c: SqlConnection, until: datetime) -> None:
        c.execute(SQL["end_wait"], {"until": sql_rows.to_text(until)})

    @override
    @facet.transaction
    def looked(self, c: SqlConnection, *, is_open: bool) -> None:
        c.execute(SQL["looked"], {"open": int(is_open)})

    @override
    @facet.transaction
    def close(self, c: SqlConnection, now: datetime) -> bool:
        if not sql_rows.moved(c, SQL["close"], {"now": sql_rows.to_text(now)}):
            return False
        history.record(c, now, "store.reconciled", why="the API was asked for all that this copy could lack")
        return True

    @override
    @facet.snapshot
    def unfinished(self, c: SqlConnection) -> list[JobId]:
        return [JobId(row[0]) for row in c.execute(SQL["unfinished"])]

    @override
    @facet.snapshot
    def jobs_with_attention(self, c: SqlConnection, kind: str) -> list[JobId]:
        return [JobId(row[0]) for row in c.execute(SQL["told"], {"kind": kind})]


def _open(c: SqlConnection) -> Reconciliation | None:
    rows = sql_rows.dict_rows(c.execute(SQL["open"]))
    if not rows:
        return None
    row = rows[0]
    account = c.execute(SQL["account"]).fetchone()
    organization, workspace = (None, None) if account is None else account
    return Reconciliation(
        cause=row["cause"],
        missing=row["missing"],
        since=sql_rows.from_text_or_none(row["since"]),
        wait_since=sql_rows.from_text(row["wait_since"]),
        first_date=sql_rows.from_text_or_none(row["first_date"]),
        until=sql_rows.from_text_or_none(row["until"]),
        looks=row["looks"],
        organization=organization,
        workspace=workspace,
    )


class SqlStrayStore(facet.Facet, StrayStore):
    """Rows of `stray`, and batches that are made of them."""

    @override
    @facet.snapshot
    def owner(self, c: SqlConnection, nonce: Nonce) -> JobId | None:
        secret = secret_of(c)
        for row in sql_rows.dict_rows(c.execute(SQL["jobs"])):
            identity = job_identity(
                public_id=row["public_id"],
                content_hash=row["content_hash"],
                api_version=row["api_version"],
                betas=sql_rows.split_list(row["betas"]),
                earlier=row["earlier"],
            )
            if is_signed(nonce, secret, identity):
                return JobId(row["id"])
        return None

    @override
    @facet.transaction
    def keep(
        self, c: SqlConnection, remote: RemoteBatch, nonce: Nonce, job: JobId | None, numbers: array[int] | None
    ) -> None:
        values = {
            "remote_id": remote.id,
            "nonce": nonce,
            "count": remote.counts.total,
            "created_at": sql_rows.to_text(remote.created_at),
            "expires_at": sql_rows.to_text(remote.expires_at),
            "job_id": job,
            "numbers": None if numbers is None else numbers.tobytes(),
            "up_to": None if job is None else _up_to(job, c),
        }
        c.execute(SQL["keep"], values)

    @override
    @facet.transaction
    def absorb(self, c: SqlConnection, stray: Stray, now: datetime) -> StrayOutcome:
        if stray.numbers is None or c.execute(SQL["is_waiting"], {"remote_id": stray.remote_id}).fetchone() is None:
            return StrayOutcome.WAITS
        members = _members(stray, c)
        if any(row["batch_state"] not in (None, "planned") for row in members):
            return StrayOutcome.WAITS
        free = [row for row in members if row["state"] != "succeeded" and row["twin_of"] is None]
        if not free:
            c.execute(SQL["drop"], {"remote_id": stray.remote_id})
            return StrayOutcome.DROPPED
        job = sql_rows.to_job(sql_rows.dict_rows(c.execute(submit.SQL["get_job"], {"id": stray.job_id}))[0])
        _free_planned({row["batch_id"] for row in free if row["batch_id"] is not None}, now, c)
        _retry(job, [row for row in free if row["state"] in ("failed", "canceled")], now, c)
        batch = _as_batch(stray, job, free, now, c)
        c.execute(SQL["taken_in"], {"remote_id": stray.remote_id, "batch_id": batch.id})
        if len(free) < stray.count:
            c.execute(SQL["mark_partial"], {"id": batch.id})
        return StrayOutcome.TAKEN

    @override
    @facet.transaction
    def claim_planned(self, c: SqlConnection, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        values = {"created_at": sql_rows.to_text(remote.created_at), "expires_at": sql_rows.to_text(remote.expires_at)}
        return _claim(batch, remote.id, values, now, c)


def _up_to(job: JobId, c: SqlConnection) -> int | None:
    """The number above which what *job* has here may not be what the remote batch has."""
    found = c.execute(SQL["open_jobs"]).fetchone()
    number: int | None = None if found is None else json.loads(found[0]).get(str(job))
    return number


def _members(stray: Stray, c: SqlConnection) -> list[dict[str, Any]]:
    """The rows of its requests, without numbers that the job does not have."""
    numbers = array("I", stray.numbers or b"")
    most = stray.up_to
    keys = [request_id(stray.job_id, number) for number in numbers if most is None or number <= most]
    return sql_rows.dict_rows(c.execute(SQL["members"], {"keys": json.dumps(keys)}))


def _free_planned(batches: set[int], now: datetime, c: SqlConnection) -> None:
    for key in sorted(batches):
        for row in sql_rows.dict_rows(c.execute(SQL["planned"], {"id": key})):
            if submit.abandon_batch(sql_rows.to_batch(row), _SENT_SINCE, now, c):
                c.execute(submit.SQL["release"], {"id": key})


def _retry(job: JobRow, rows: list[dict[str, Any]], now: datetime, c: SqlConnection) -> None:
    if not rows:
        return
    if job_control.reopen(job.id, c):
        history.record(c, now, "job.moved", job=job.id, old=job.state, new=JobState.RUNNING, why=_SENT_SINCE)
    retrying.queue_again(job.id, [retrying.Settled(row["id"], row["result_id"], row["state"]) for row in rows], now, c)


def _as_batch(stray: Stray, job: JobRow, free: list[dict[str, Any]], now: datetime, c: SqlConnection) -> BatchRow:
    numbers = array("I", (number_of(RequestId(row["id"])) for row in free))
    items = sum(limits.item_bytes(row["params_bytes"], number) for row, number in zip(free, numbers, strict=True))
    pack = Pack(numbers=numbers, size_bytes=limits.body_bytes(items, len(numbers)), full=True)
    batch = sql_rows.to_batch(
        sql_rows.dict_rows(c.execute(SQL["planned"], {"id": add_batch(c, job, pack, stray.nonce, now)}))[0]
    )
    values = {"created_at": sql_rows.to_text(stray.created_at), "expires_at": sql_rows.to_text(stray.expires_at)}
    _claim(batch, stray.remote_id, values, now, c)
    return batch


def _claim(batch: BatchRow, remote_id: str, times: dict[str, str], now: datetime, c: SqlConnection) -> bool:
    values = {"id": batch.id, "fence": batch.fence, "remote_id": remote_id, "now": sql_rows.to_text(now), **times}
    if not sql_rows.moved(c, SQL["intended"], values):
        return False
    return submit.move(batch, SQL["proven"], values, "in_progress", f"{_SENT_SINCE}: {remote_id}", now, c)
