"""Store facet of the submit stage: intent, clear yes, clear no, doubt; and narrowing a refused batch down."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.ids import BatchId, JobId, Nonce, RequestId, number_of, request_id
from orchestrator.domain.limits import body_bytes, item_bytes
from orchestrator.domain.model import BatchRow
from orchestrator.domain.packing import Pack
from orchestrator.store.connection import Database
from orchestrator.store.mark import Mark
from orchestrator.store.payload import Block
from orchestrator.store.plan import add_batch
from orchestrator.store.rows import (
    dict_rows,
    failure,
    moved,
    record,
    store_result,
    to_batch,
    to_job,
    to_text,
    to_text_or_none,
)
from orchestrator.store.sql_text import load

SQL: Final = load("submit")
IDENTITY_SQL: Final = load("identity")
_SLICE_REQUESTS: Final = 4096
#: Why the planned batches of a canceled job are dropped.
CANCELED: Final = "its job was canceled"


class SqliteSubmitStore:
    """See `ports.store.SubmitStore`."""

    def __init__(self, database: Database, mark: Mark) -> None:
        self._db = database
        self._mark = mark

    async def sendable(self, limit: int) -> list[BatchRow]:
        """Planned batches of running jobs, the most urgent first."""
        return await self._batches("sendable", {"limit": limit})

    async def intend(
        self, batch: BatchRow, cursor: RemoteBatch | None, meta: ResponseMeta, now: datetime
    ) -> BatchRow | None:
        """Commit the intent to POST: afterwards only a clear answer or doubt can follow. None: it moved meanwhile.

        The mark beside the store is made to know of it: a copy of before it will be seen to lack it.
        """
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "now": to_text(now),
            "cursor_id": None if cursor is None else cursor.id,
            "cursor_created_at": None if cursor is None else to_text(cursor.created_at),
            "cursor_date": to_text_or_none(meta.date),
            "organization": meta.organization,
            "workspace": meta.workspace,
        }
        intended = await self._db.write(partial(_intend, batch, values, self._mark, now))
        if intended is None:
            return None
        sending, intents = intended
        await self._db.reach(self._mark, intents)
        return sending

    async def accept(self, batch: BatchRow, remote: RemoteBatch, meta: ResponseMeta, now: datetime) -> bool:
        """A clear yes: the batch is in progress. False: it moved meanwhile, or the id is another batch's."""
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "remote_id": remote.id,
            "created_at": to_text(remote.created_at),
            "expires_at": to_text(remote.expires_at),
            "organization": meta.organization,
            "workspace": meta.workspace,
        }
        return await self._move(batch, "accept", values, "in_progress", remote.id, now)

    async def give_back(self, batch: BatchRow, why: str, now: datetime, *, cut: bool) -> bool:
        """A clear no: it waits to be sent again, under its nonce. `cut`: the connection broke inside the body."""
        values = {"id": batch.id, "fence": batch.fence, "cut": cut}
        return await self._db.write(partial(_back_to_planned, batch, SQL["give_back"], values, why, now))

    async def doubt(self, batch: BatchRow, why: str, now: datetime) -> bool:
        """No clear answer: the batch may or may not exist."""
        values = {"id": batch.id, "fence": batch.fence, "now": to_text(now)}
        return await self._move(batch, "doubt", values, "in_doubt", why, now)

    async def stranded(self) -> list[BatchRow]:
        """Batches in `submitting`; at the start all of them, later those whose task was cancelled."""
        return await self._batches("stranded", {})

    async def _batches(self, query: str, values: dict[str, Any]) -> list[BatchRow]:
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL[query], values)))
        return [to_batch(row) for row in rows]

    async def _move(
        self, batch: BatchRow, query: str, values: dict[str, Any], new: str, why: str, now: datetime
    ) -> bool:
        return await self._db.write(partial(move, batch, SQL[query], values, new, why, now))


class SqliteBisectStore:
    """See `ports.store.BisectStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def abandon(
        self, batch: BatchRow, why: str, now: datetime, *, failed: tuple[int, str, str, bytes] | None = None
    ) -> bool:
        """Never sent: its requests are queued again, but the one in *failed*, which is settled.

        failed: (place in the batch from 0, error type, message, result body).
        """
        return await self._db.write(partial(_abandon, batch, why, failed, now))

    async def halve(self, batch: BatchRow, nonces: tuple[Nonce, Nonce], why: str, now: datetime) -> bool:
        """Abandon *batch* and plan its two halves. It has at least two requests."""
        return await self._db.write(partial(_halve, batch, nonces, why, now))

    async def park(self, batch: BatchRow, words: str, now: datetime) -> bool:
        """Keep the unnamed refusal of a half until its sibling's word is known."""
        values = {"id": batch.id, "fence": batch.fence, "refusal": words}
        return await self._db.write(partial(_back_to_planned, batch, SQL["park"], values, words, now))

    async def parked(self) -> list[tuple[BatchRow, BatchRow | None]]:
        """Parked halves, each with its sibling."""
        return await self._db.read(_parked)


class SqliteParamsStore:
    """See `ports.store.ParamsStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def slice(self, batch: BatchId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        """(number, params) of the members with a number above *above*, in order; ends with a block of payload.

        Empty at the end; else at least *limit_bytes* of params, if there are as many, and at most a block more.
        """
        return await self._db.read_bulk(partial(_slice, batch, above, limit_bytes))


def move(  # noqa: PLR0913, PLR0917 - one guarded step: who, how, where to, why, when
    batch: BatchRow, sql: str, values: dict[str, Any], new: str, why: str | None, now: datetime, c: sqlite3.Connection
) -> bool:
    """A guarded step of one batch and its event, inside a transaction; False: somebody else moved it."""
    if not moved(c, sql, values):
        return False
    record(c, now, "batch.moved", job=batch.job_id, batch=batch.id, old=batch.state, new=new, why=why)
    return True


def _intend(
    batch: BatchRow, values: dict[str, Any], mark: Mark, now: datetime, c: sqlite3.Connection
) -> tuple[BatchRow, int] | None:
    if not move(batch, SQL["intend"], values, "submitting", None, now, c):
        return None
    intents: int = c.execute(IDENTITY_SQL["intended"]).fetchone()[0]
    mark.refuse_older(intents)
    return to_batch(dict_rows(c.execute(SQL["get_batch"], {"id": batch.id}))[0]), intents


def close(batch: BatchRow, why: str, now: datetime, c: sqlite3.Connection, refusal: str | None = None) -> bool:
    """Abandon a batch; its requests are the caller's to move, in the same transaction."""
    values = {"id": batch.id, "fence": batch.fence, "closed_date": None, "refusal": refusal}
    return move(batch, SQL["abandon"], values, "abandoned", why, now, c)


def drop(query: str, job: JobId, why: str, now: datetime, c: sqlite3.Connection) -> None:
    """Abandon the planned batches that *query* gives for *job*; their requests are queued again."""
    for row in dict_rows(c.execute(query, {"id": job})):
        batch = to_batch(row)
        if close(batch, why, now, c):
            c.execute(SQL["release"], {"id": batch.id})


def _back_to_planned(
    batch: BatchRow, sql: str, values: dict[str, Any], why: str, now: datetime, c: sqlite3.Connection
) -> bool:
    """A guarded step to `planned`; if the job was canceled while the POST was under way, the batch is dropped."""
    if not move(batch, sql, values, "planned", why, now, c):
        return False
    drop(SQL["left_planned"], batch.job_id, CANCELED, now, c)
    return True


def _abandon(
    batch: BatchRow, why: str, failed: tuple[int, str, str, bytes] | None, now: datetime, c: sqlite3.Connection
) -> bool:
    if not close(batch, why, now, c):
        return False
    if failed is not None:
        index, error_type, message, body = failed
        members = c.execute(SQL["members"], {"id": batch.id}).fetchall()
        key = members[index][0]
        values = {**failure(error_type, message), "result_id": store_result(key, body, c)}
        c.execute(SQL["fail_member"], {"id": key, "batch_id": batch.id, **values})
    c.execute(SQL["release"], {"id": batch.id})
    return True


def _halve(batch: BatchRow, nonces: tuple[Nonce, Nonce], why: str, now: datetime, c: sqlite3.Connection) -> bool:
    members = c.execute(SQL["members"], {"id": batch.id}).fetchall()
    if not close(batch, why, now, c):
        return False
    c.execute(SQL["release"], {"id": batch.id})
    job = to_job(dict_rows(c.execute(SQL["get_job"], {"id": batch.job_id}))[0])
    middle = len(members) // 2
    for nonce, half in zip(nonces, (members[:middle], members[middle:]), strict=True):
        add_batch(c, job, _pack_of(half), nonce, now, parent=(batch.id, batch.depth + 1))
    drop(SQL["left_planned"], batch.job_id, CANCELED, now, c)
    return True


def _pack_of(members: Sequence[tuple[int, int]]) -> Pack:
    numbers = array("I", (number_of(RequestId(key)) for key, _ in members))
    items = sum(item_bytes(size, number) for (_, size), number in zip(members, numbers, strict=True))
    return Pack(numbers=numbers, size_bytes=body_bytes(items, len(numbers)), full=True)


def _parked(c: sqlite3.Connection) -> list[tuple[BatchRow, BatchRow | None]]:
    pairs: list[tuple[BatchRow, BatchRow | None]] = []
    for row in dict_rows(c.execute(SQL["parked"])):
        batch = to_batch(row)
        siblings = dict_rows(c.execute(SQL["siblings"], {"parent_id": batch.parent_id, "id": batch.id}))
        pairs.append((batch, to_batch(siblings[0]) if siblings else None))
    return pairs


def _slice(batch: BatchId, above: int, limit_bytes: int, c: sqlite3.Connection) -> list[tuple[int, bytes]]:
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
