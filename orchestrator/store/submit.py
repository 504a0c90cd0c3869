"""Facets of the stage submit: intent, accepted, refused, in doubt; bisection of a refused batch; params of a batch."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import limits
from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.ids import BatchId, JobId, Nonce, RequestId, number_of, request_id
from orchestrator.domain.model import BatchRow
from orchestrator.domain.packing import Pack
from orchestrator.ports.store import BisectStore, ParamsStore, SubmitStore
from orchestrator.store import facet, history, sql_rows, sql_text
from orchestrator.store.connection import Database
from orchestrator.store.mark import Mark
from orchestrator.store.payload import Block
from orchestrator.store.plan import add_batch

SQL: Final = sql_text.load("submit")
IDENTITY_SQL: Final = sql_text.load("identity")
_SLICE_REQUESTS: Final = 4096
#: Why the planned batches of a canceled job are dropped.
CANCELED: Final = "its job was canceled"


class SqliteSubmitStore(facet.Facet, SubmitStore):
    """Steps of one batch; an intent to POST is also counted in the mark beside the store."""

    def __init__(self, database: Database, mark: Mark) -> None:
        super().__init__(database)
        self._mark = mark

    @override
    @facet.snapshot
    def sendable(self, c: sqlite3.Connection, limit: int) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["sendable"], {"limit": limit}))

    @override
    async def intend(
        self, batch: BatchRow, cursor: RemoteBatch | None, meta: ResponseMeta, now: datetime
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
        }

        def step(c: sqlite3.Connection) -> tuple[BatchRow, int] | None:
            if not move(batch, SQL["intend"], values, "submitting", None, now, c):
                return None
            intents: int = c.execute(IDENTITY_SQL["intended"]).fetchone()[0]
            self._mark.refuse_older(intents)
            return sql_rows.to_batches(c.execute(SQL["get_batch"], {"id": batch.id}))[0], intents

        intended = await self._db.write(step)
        if intended is None:
            return None
        sending, intents = intended
        # A copy of the store from before is then seen to lack it.
        await self._db.reach(self._mark, intents)
        return sending

    @override
    @facet.transaction
    def accept(
        self, c: sqlite3.Connection, batch: BatchRow, remote: RemoteBatch, meta: ResponseMeta, now: datetime
    ) -> bool:
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "remote_id": remote.id,
            "created_at": sql_rows.to_text(remote.created_at),
            "expires_at": sql_rows.to_text(remote.expires_at),
            "organization": meta.organization,
            "workspace": meta.workspace,
        }
        return move(batch, SQL["accept"], values, "in_progress", remote.id, now, c)

    @override
    @facet.transaction
    def give_back(self, c: sqlite3.Connection, batch: BatchRow, why: str, now: datetime, *, cut: bool) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "cut": cut}
        return _back_to_planned(batch, SQL["give_back"], values, why, now, c)

    @override
    @facet.transaction
    def doubt(self, c: sqlite3.Connection, batch: BatchRow, why: str, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "now": sql_rows.to_text(now)}
        return move(batch, SQL["doubt"], values, "in_doubt", why, now, c)

    @override
    @facet.snapshot
    def stranded(self, c: sqlite3.Connection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["stranded"]))


class SqliteBisectStore(facet.Facet, BisectStore):
    """A refused batch is given up, and what follows of it is planned, in one transaction."""

    @override
    @facet.transaction
    def abandon(
        self,
        c: sqlite3.Connection,
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
            members = c.execute(SQL["members"], {"id": batch.id}).fetchall()
            key = members[index][0]
            values = {**sql_rows.failure(error_type, message), "result_id": sql_rows.store_result(key, body, c)}
            c.execute(SQL["fail_member"], {"id": key, "batch_id": batch.id, **values})
        c.execute(SQL["release"], {"id": batch.id})
        return True

    @override
    @facet.transaction
    def halve(
        self, c: sqlite3.Connection, batch: BatchRow, nonces: tuple[Nonce, Nonce], why: str, now: datetime
    ) -> bool:
        members = c.execute(SQL["members"], {"id": batch.id}).fetchall()
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
    def park(self, c: sqlite3.Connection, batch: BatchRow, words: str, now: datetime) -> bool:
        values = {"id": batch.id, "fence": batch.fence, "refusal": words}
        return _back_to_planned(batch, SQL["park"], values, words, now, c)

    @override
    @facet.snapshot
    def parked(self, c: sqlite3.Connection) -> list[tuple[BatchRow, BatchRow | None]]:
        pairs: list[tuple[BatchRow, BatchRow | None]] = []
        for row in sql_rows.dict_rows(c.execute(SQL["parked"])):
            batch = sql_rows.to_batch(row)
            siblings = sql_rows.dict_rows(c.execute(SQL["siblings"], {"parent_id": batch.parent_id, "id": batch.id}))
            pairs.append((batch, sql_rows.to_batch(siblings[0]) if siblings else None))
        return pairs


class SqliteParamsStore(facet.Facet, ParamsStore):
    """Opens blocks of payload; reads on the connection that delays no stage."""

    @override
    @facet.bulk_snapshot
    def slice(self, c: sqlite3.Connection, batch: BatchId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        job_id = c.execute(SQL["job_of_batch"], {"id": batch}).fetchone()[0]
        values = {"id": batch, "above": request_id(job_id, above), "limit": _SLICE_REQUESTS}
        taken: list[tuple[int, bytes]] = []
        size = 0
        block: Block | None = None
        for key, params_bytes in c.execute(SQL["next_members"], values):
            if block is None or not block.holds(key):
                if size >= limit_bytes:  # only here: a block is opened once, not once per slice
                    break
                block = Block.of(key, c.execute(SQL["block_of"], {"id": key}).fetchone())
            taken.append((number_of(key), block.params(key, params_bytes)))
            size += params_bytes
        return taken


def move(  # noqa: PLR0913, PLR0917 - one guarded step: who, how, where to, why, when
    batch: BatchRow, sql: str, values: dict[str, Any], new: str, why: str | None, now: datetime, c: sqlite3.Connection
) -> bool:
    """Change the state of a batch, guarded, and record the event. False: another transaction moved it."""
    if c.execute(sql, values).rowcount != 1:
        return False
    history.record(c, now, "batch.moved", job=batch.job_id, batch=batch.id, old=batch.state, new=new, why=why)
    return True


def abandon_batch(batch: BatchRow, why: str, now: datetime, c: sqlite3.Connection, refusal: str | None = None) -> bool:
    """Give up a batch; its requests are the caller's to move, in the same transaction."""
    values = {"id": batch.id, "fence": batch.fence, "closed_date": None, "refusal": refusal}
    return move(batch, SQL["abandon"], values, "abandoned", why, now, c)


def drop(query: str, job: JobId, why: str, now: datetime, c: sqlite3.Connection) -> None:
    """Abandon the planned batches that *query* gives for *job*; their requests are queued again."""
    for row in sql_rows.dict_rows(c.execute(query, {"id": job})):
        batch = sql_rows.to_batch(row)
        if abandon_batch(batch, why, now, c):
            c.execute(SQL["release"], {"id": batch.id})


def _back_to_planned(
    batch: BatchRow, sql: str, values: dict[str, Any], why: str, now: datetime, c: sqlite3.Connection
) -> bool:
    """A guarded step to `planned`; if the job was canceled while the POST was under way, the batch is dropped."""
    if not move(batch, sql, values, "planned", why, now, c):
        return False
    drop(SQL["left_planned"], batch.job_id, CANCELED, now, c)
    return True


def _pack_of(members: Sequence[tuple[int, int]]) -> Pack:
    numbers = array("I", (number_of(RequestId(key)) for key, _ in members))
    items = sum(limits.item_bytes(size, number) for (_, size), number in zip(members, numbers, strict=True))
    return Pack(numbers=numbers, size_bytes=limits.body_bytes(items, len(numbers)), full=True)
