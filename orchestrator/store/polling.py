"""Store facets of the poll stage, of the gates that keep waiting polite, and of what needs a person's attention."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import BatchRow, Gate
from orchestrator.store.connection import Database
from orchestrator.store.rows import dict_rows, record, to_batch, to_gate, to_text
from orchestrator.store.sql_text import load
from orchestrator.store.submit import move

SQL: Final = load("polling")


class SqlitePollStore:
    """See `ports.store.PollStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def watched(self) -> list[BatchRow]:
        """Batches the API works on, newest first."""
        return await self._batches("watched")

    async def is_watching(self) -> bool:
        """Whether there is any such batch."""
        return await self._db.read(lambda c: c.execute(SQL["is_watching"]).fetchone() is not None)

    async def to_cancel(self) -> list[BatchRow]:
        """Batches of canceled jobs that the API has not been asked to cancel yet."""
        return await self._batches("to_cancel")

    async def uncollected(self) -> list[BatchRow]:
        """Ended batches whose results are not all stored."""
        return await self._batches("uncollected")

    async def asked_to_cancel(self, batch: BatchRow, now: datetime) -> bool:
        """The API was asked, by us."""
        values = {"id": batch.id, "fence": batch.fence, "now": to_text(now)}
        return await self._db.write(partial(move, batch, SQL["asked_to_cancel"], values, "canceling", "asked", now))

    async def seen_canceling(self, batch: BatchRow, now: datetime) -> bool:
        """The API says it is canceling the batch, and not because we asked."""
        values = {"id": batch.id, "fence": batch.fence}
        why = "canceled outside of this program"
        return await self._db.write(partial(move, batch, SQL["seen_canceling"], values, "canceling", why, now))

    async def ended(self, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        """The API stopped: its results can be collected. The counts are the API's last word."""
        counts = remote.counts
        ended_at = remote.ended_at if remote.ended_at is not None else remote.created_at
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "ended_at": to_text(ended_at),
            "succeeded": counts.succeeded,
            "errored": counts.errored,
            "canceled": counts.canceled,
            "expired": counts.expired,
        }
        return await self._db.write(partial(move, batch, SQL["ended"], values, "ended", None, now))

    async def _batches(self, query: str) -> list[BatchRow]:
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL[query])))
        return [to_batch(row) for row in rows]


class SqliteGateStore:
    """See `ports.store.GateStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, name: str) -> Gate | None:
        """The gate, if it is shut or was shut without a success since."""
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL["gate"], {"name": name})))
        return to_gate(rows[0]) if rows else None

    async def among(self, names: Sequence[str]) -> list[Gate]:
        """Those of *names* that are shut, or were shut without a success since."""
        values = {"names": json.dumps(list(names))}
        return [to_gate(row) for row in await self._db.read(lambda c: dict_rows(c.execute(SQL["gates_among"], values)))]

    async def shut(self, name: str, until: datetime, why: str, now: datetime) -> None:
        """No call of this kind before *until*; counts the refusals in a row."""
        values = {"name": name, "now": to_text(now), "until": to_text(until), "why": why[:500]}
        await self._db.write(lambda c: c.execute(SQL["shut"], values).rowcount)

    async def open(self, name: str) -> None:
        """A call worked."""
        await self._db.write(lambda c: c.execute(SQL["open"], {"name": name}).rowcount)


class SqliteAttentionStore:
    """See `ports.store.AttentionStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def attend(self, job: JobId, kind: str, batch: BatchId | None, message: str, now: datetime) -> None:
        """Show *message* with the job until `unattend`; the first time it is also an event."""
        key = _key(job, kind, batch)

        def step(c: Any) -> None:  # noqa: ANN401 - a sqlite3.Connection; the module stays free of the import
            if c.execute(SQL["attended"], key).fetchone() is None:
                record(c, now, f"attention.{kind}", job=job, batch=batch, why=message)
            c.execute(SQL["attend"], {**key, "message": message, "now": to_text(now)})

        await self._db.write(step)

    async def unattend(self, job: JobId, kind: str, batch: BatchId | None) -> None:
        """The cause is gone."""
        await self._db.write(lambda c: c.execute(SQL["unattend"], _key(job, kind, batch)).rowcount)


def _key(job: JobId, kind: str, batch: BatchId | None) -> dict[str, Any]:
    return {"job_id": job, "kind": kind, "batch_id": 0 if batch is None else batch}
