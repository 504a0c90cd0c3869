"""Facets of the stage poll, of gates (back-off before the next API call), and of attention items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import BatchRow, Gate
from orchestrator.ports.store import AttentionStore, GateStore, PollStore
from orchestrator.store import facet, history, sql_rows, sql_text, submit
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("polling")


class SqlPollStore(facet.Facet, PollStore):
    """Steps of batches that the API has."""

    @override
    @facet.snapshot
    def watched(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["watched"]))

    @override
    @facet.snapshot
    def is_watching(self, c: SqlConnection) -> bool:
        return c.execute(SQL["is_watching"]).fetchone() is not None

    @override
    @facet.snapshot
    def to_cancel(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_cancel"]))

    @override
    @facet.snapshot
    def uncollected(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["uncollected"]))

    @override
    @facet.transaction
    def asked_to_cancel(self, c: SqlConnection, batch: BatchRow, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "now": sql_rows.to_text(now)}
        return submit.move(batch, SQL["asked_to_cancel"], values, "canceling", "asked", now, c)

    @override
    @facet.transaction
    def seen_canceling(self, c: SqlConnection, batch: BatchRow, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence}
        why = "canceled outside of this program"
        return submit.move(batch, SQL["seen_canceling"], values, "canceling", why, now, c)

    @override
    @facet.transaction
    def ended(self, c: SqlConnection, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        counts = remote.counts
        ended_at = remote.ended_at if remote.ended_at is not None else remote.created_at
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "ended_at": sql_rows.to_text(ended_at),
            "succeeded": counts.succeeded,
            "errored": counts.errored,
            "canceled": counts.canceled,
            "expired": counts.expired,
        }
        return submit.move(batch, SQL["ended"], values, "ended", None, now, c)


class SqlGateStore(facet.Facet, GateStore):
    """Rows of `gate`: one for each kind of call that has to wait."""

    @override
    @facet.snapshot
    def get(self, c: SqlConnection, name: str) -> Gate | None:
        rows = sql_rows.dict_rows(c.execute(SQL["gate"], {"name": name}))
        return sql_rows.to_gate(rows[0]) if rows else None

    @override
    @facet.snapshot
    def among(self, c: SqlConnection, names: Sequence[str]) -> list[Gate]:
        values = {"names": json.dumps(list(names))}
        return [sql_rows.to_gate(row) for row in sql_rows.dict_rows(c.execute(SQL["gates_among"], values))]

    @override
    @facet.transaction
    def shut(self, c: SqlConnection, name: str, until: datetime, why: str, now: datetime) -> None:
        values = {"name": name, "now": sql_rows.to_text(now), "until": sql_rows.to_text(until), "why": why[:500]}
        c.execute(SQL["shut"], values)

    @override
    @facet.transaction
    def open(self, c: SqlConnection, name: str, set_at: datetime | None = None) -> None:
        c.execute(SQL["open"], {"name": name, "set_at": sql_rows.to_text_or_none(set_at)})


class SqlAttentionStore(facet.Facet, AttentionStore):
    """Rows of `attention`: they go when their cause is gone."""

    @override
    @facet.transaction
    def attend(
        self, c: SqlConnection, job: JobId, kind: str, batch: BatchId | None, message: str, now: datetime
    ) -> None:
        if attend(job, kind, batch, message, now, c):
            history.record(c, now, f"attention.{kind}", job=job, batch=batch, why=message)

    @override
    @facet.transaction
    def unattend(self, c: SqlConnection, job: JobId, kind: str, batch: BatchId | None) -> None:
        c.execute(SQL["unattend"], _key(job, kind, batch))


def attend(job: JobId, kind: str, batch: BatchId | None, message: str, now: datetime, c: SqlConnection) -> bool:
    """Show *message* with the job. True: it is new, and the caller's to record."""
    key = _key(job, kind, batch)
    is_new = c.execute(SQL["attended"], key).fetchone() is None
    c.execute(SQL["attend"], {**key, "message": message, "now": sql_rows.to_text(now)})
    return is_new


def _key(job: JobId, kind: str, batch: BatchId | None) -> dict[str, Any]:
    return {"job_id": job, "kind": kind, "batch_id": 0 if batch is None else batch}
