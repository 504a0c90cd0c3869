"""Facets of the stage submit: intent, accepted, refused, in doubt; bisection of a refused batch; params of a batch."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import limits
from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.cache_marker import MARKER_BYTES
from orchestrator.domain.ids import BatchId, JobId, Nonce, RequestId, number_of
from orchestrator.domain.model import BatchRow
from orchestrator.domain.packing import Pack
from orchestrator.ports.dispatch import UnitKind
from orchestrator.ports.store import BisectStore, ParamsStore, SubmitStore
from orchestrator.store import facet, history, prefixes, reservations, sql_rows, sql_text
from orchestrator.store.database import Database, IntentWitness
from orchestrator.store.payload import Block, Changes
from orchestrator.store.plan import add_batch
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("submit")
IDENTITY_SQL: Final = sql_text.load("identity")
_NO_LIMIT: Final = 1 << 31
#: Why the planned batches of a canceled job are dropped.
CANCELED: Final = "its job was canceled"


class SqlSubmitStore(facet.Facet, SubmitStore):
    """Steps of one batch. witness: counts the intents to POST outside of the database, where that can be put back."""

    def __init__(self, database: Database, witness: IntentWitness | None) -> None:
        super().__init__(database)
        self._witness = witness

    @override
    @facet.snapshot
    def sendable(self, c: SqlConnection, limit: int) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["sendable"], {"limit": limit}))

    @override
    @facet.snapshot
    def find(self, c: SqlConnection, batch: BatchId) -> BatchRow | None:
        return next(iter(sql_rows.to_batches(c.execute(SQL["get_batch"], {"id": batch}))), None)

    @override
    @facet.snapshot
    def is_sendable(self, c: SqlConnection, batch: BatchRow) -> bool:
        return c.execute(SQL["is_sendable"], {"id": batch.id}).fetchone() is not None

    @override
    async def intend(
        self,
        batch: BatchRow,
        cursor: RemoteBatch | None,
        meta: ResponseMeta,
        now: datetime,
        most: int | None = None,
    ) -> BatchRow | None:
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "now": sql_rows.to_text(now),
            "cursor_id": None if cursor is None else cursor.id,
            "cursor_created_at": None if cursor is None else sql_rows.to_text(cursor.created_at),
            "cursor_date": sql_rows.to_text_or_none(meta.date),
            "organization": meta.organization,
            "workspace": meta.workspace,
            "most": _NO_LIMIT if most is None else most,
        }

        def step(c: SqlConnection) -> tuple[BatchRow, int] | None:
            if not move(batch, SQL["intend"], values, "submitting", None, now, c):
                return None
            reservations.reserve(batch.id, batch.job_id, c)
            intents: int = c.execute(IDENTITY_SQL["intended"]).fetchone()[0]
            if self._witness is not None:
                self._witness.refuse_older(intents)
            return sql_rows.to_batches(c.execute(SQL["get_batch"], {"id": batch.id}))[0], intents

        try:
            intended = await self._db.write(step)
        except reservations.OverCap:
            await self._db.write(partial(_plan_smaller, batch, now))
            return None
        if intended is None:
            return None
        sending, intents = intended
        if self._witness is not None:
            await self._witness.reach(intents)
        return sending

    @override
    @facet.transaction
    def accept(self, c: SqlConnection, batch: BatchRow, remote: RemoteBatch, meta: ResponseMeta, now: datetime) -> bool:
        values = {**found_as(batch, remote), "organization": meta.organization, "workspace": meta.workspace}
        books = reservations.books(batch.id, c)
        if not move(batch, SQL["accept"], values, "in_progress", remote.id, now, c):
            return False
        reservations.rebook(batch.id, books, c)
        return True

    @override
    @facet.transaction
    def give_back(self, c: SqlConnection, batch: BatchRow, why: str, now: datetime, *, cut: bool) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "cut": int(cut)}
        return _back_to_planned(batch, SQL["give_back"], values, why, now, c)

    @override
    @facet.snapshot
    def is_sending(self, c: SqlConnection, batch: BatchRow) -> bool:
        return c.execute(SQL["is_sending"], {"id": batch.id, "fence": batch.fence}).fetchone() is not None

    @override
    @facet.transaction
    def doubt(self, c: SqlConnection, batch: BatchRow, why: str, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "now": sql_rows.to_text(now)}
        return move(batch, SQL["doubt"], values, "in_doubt", why, now, c)

    @override
    @facet.snapshot
    def stranded(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["stranded"]))

    @override
    @facet.snapshot
    def due(self, c: SqlConnection) -> list[tuple[UnitKind, BatchId, int]]:
        return [(UnitKind(kind), BatchId(batch), priority) for kind, batch, priority in c.execute(SQL["due"])]


class SqlBisectStore(facet.Facet, BisectStore):
    """A refused batch is given up, and what follows of it is planned, in one transaction."""

    @override
    @facet.transaction
    def abandon(
        self,
        c: SqlConnection,
        batch: BatchRow,
        why: str,
        now: datetime,
        *,
        failed: tuple[int, str, str, bytes] | None = None,
    ) -> bool:
        if not abandon_batch(batch, why, now, c):
            return False
        if failed is not None:
            index, error_type, message, body = failed
            members = c.execute(SQL["members"], {"id": batch.id, "marker": MARKER_BYTES}).fetchall()
            key = members[index][0]
            values = {**sql_rows.failure(error_type, message), "result_id": sql_rows.store_result(key, body, c)}
            c.execute(SQL["fail_member"], {"id": key, "batch_id": batch.id, **values})
        c.execute(SQL["release"], {"id": batch.id})
        return True

    @override
    @facet.transaction
    def halve(self, c: SqlConnection, batch: BatchRow, nonces: tuple[Nonce, Nonce], why: str, now: datetime) -> bool:
        members = c.execute(SQL["members"], {"id": batch.id, "marker": MARKER_BYTES}).fetchall()
        if not abandon_batch(batch, why, now, c):
            return False
        c.execute(SQL["release"], {"id": batch.id})
        job = sql_rows.to_job(sql_rows.dict_rows(c.execute(SQL["get_job"], {"id": batch.job_id}))[0])
        middle = len(members) // 2
        for nonce, half in zip(nonces, (members[:middle], members[middle:]), strict=True):
            add_batch(c, job, _pack_of(half), nonce, now, parent=(batch.id, batch.depth + 1))
        drop(SQL["left_planned"], batch.job_id, CANCELED, now, c)
        return True

    @override
    @facet.transaction
    def park(self, c: SqlConnection, batch: BatchRow, words: str, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "refusal": words}
        return _back_to_planned(batch, SQL["park"], values, words, now, c)

    @override
    @facet.snapshot
    def parked(self, c: SqlConnection) -> list[tuple[BatchRow, BatchRow | None]]:
        pairs: list[tuple[BatchRow, BatchRow | None]] = []
        for row in sql_rows.dict_rows(c.execute(SQL["parked"])):
            batch = sql_rows.to_batch(row)
            siblings = sql_rows.dict_rows(c.execute(SQL["siblings"], {"parent_id": batch.parent_id, "id": batch.id}))
            pairs.append((batch, sql_rows.to_batch(siblings[0]) if siblings else None))
        return pairs


class SqlParamsStore(facet.Facet, ParamsStore):
    """Opens blocks of payload; reads on the connection that delays no stage."""

    @override
    @facet.bulk_snapshot
    def slice(self, c: SqlConnection, batch: BatchId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        taken: list[tuple[RequestId, bytes]] = []
        changes, size = Changes(c), 0
        while size < limit_bytes:
            rows = sorted(c.execute(SQL["next_block"], {"id": batch, "above": above}))
            if not rows:
                break
            found = None if rows[0][0] else rows.pop(0)[1:]
            block = Block.of(rows[0][0], found)
            for key, params_bytes, change, _ in rows:
                taken.append((key, changes.params(block, key, params_bytes, change)))
                size += params_bytes
            above = number_of(taken[-1][0])
        return [(number_of(key), params) for key, params in prefixes.as_sent(taken, c)]


def move(  # noqa: PLR0913, PLR0917 - one guarded step: who, how, where to, why, when
    batch: BatchRow, sql: str, values: dict[str, Any], new: str, why: str | None, now: datetime, c: SqlConnection
) -> bool:
    """Change the state of a batch, guarded, and record the event. False: another transaction moved it."""
    if c.execute(sql, values).rowcount != 1:
        return False
    history.record(c, now, "batch.moved", job=batch.job_id, batch=batch.id, old=batch.state, new=new, why=why)
    return True


def found_as(batch: BatchRow, remote: RemoteBatch) -> dict[str, Any]:
    """What a guarded step says that makes *remote* the batch's own."""
    return {
        "id": batch.id,
        "fence": batch.fence,
        "remote_id": remote.id,
        "created_at": sql_rows.to_text(remote.created_at),
        "expires_at": sql_rows.to_text(remote.expires_at),
    }


def abandon_batch(batch: BatchRow, why: str, now: datetime, c: SqlConnection, refusal: str | None = None) -> bool:
    """Give up a batch; its requests are the caller's to move, in the same transaction."""
    values = {"id": batch.id, "fence": batch.fence, "closed_date": None, "refusal": refusal}
    if not move(batch, SQL["abandon"], values, "abandoned", why, now, c):
        return False
    reservations.free(batch.id, batch.job_id, c)
    return True


def drop(query: str, job: JobId, why: str, now: datetime, c: SqlConnection) -> None:
    """Abandon the planned batches that *query* gives for *job*; their requests are queued again."""
    for row in sql_rows.dict_rows(c.execute(query, {"id": job})):
        batch = sql_rows.to_batch(row)
        if abandon_batch(batch, why, now, c):
            c.execute(SQL["release"], {"id": batch.id})


def _back_to_planned(
    batch: BatchRow, sql: str, values: dict[str, Any], why: str, now: datetime, c: SqlConnection
) -> bool:
    """A guarded step to `planned`; if the job was canceled while the POST was under way, the batch is dropped."""
    if not move(batch, sql, values, "planned", why, now, c):
        return False
    reservations.free(batch.id, batch.job_id, c)
    drop(SQL["left_planned"], batch.job_id, CANCELED, now, c)
    return True


def _plan_smaller(batch: BatchRow, now: datetime, c: SqlConnection) -> None:
    """Give up a planned batch that does not fit under a cap any more: its requests are planned by what is left."""
    if abandon_batch(batch, "it does not fit under a cap any more", now, c):
        c.execute(SQL["release"], {"id": batch.id})


def _pack_of(members: Sequence[tuple[int, int]]) -> Pack:
    numbers = array("I", (number_of(RequestId(key)) for key, _ in members))
    items = sum(limits.item_bytes(size, number) for (_, size), number in zip(members, numbers, strict=True))
    return Pack(numbers=numbers, size_bytes=limits.body_bytes(items, len(numbers)), full=True)
