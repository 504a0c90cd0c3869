"""The event log, and samples of the load of all jobs together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain.ids import MAX_INTEGER, BatchId, JobId
from orchestrator.domain.model import Event
from orchestrator.domain.queries import Leap, Sample
from orchestrator.domain.states import BatchState
from orchestrator.ports import caller
from orchestrator.ports.dispatch import UnitKind
from orchestrator.ports.job_store import SampleStore
from orchestrator.ports.reads import HistoryReads
from orchestrator.store import facet, sql_rows, sql_text
from orchestrator.store.deliveries import enqueue_notices
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("history")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = "9999"
#: States of a batch in which somebody has something to do with it.
_UNITS: Final[Mapping[str, UnitKind]] = MappingProxyType(
    {BatchState.PLANNED: UnitKind.SUBMIT, BatchState.ENDED: UnitKind.COLLECT}
)


def record(  # noqa: PLR0913 - the columns of the event log, all but two optional
    c: SqlConnection,
    now: datetime,
    kind: str,
    *,
    job: int | None = None,
    batch: int | None = None,
    old: str | None = None,
    new: str | None = None,
    why: str | None = None,
) -> None:
    """Append to the event log, in the transaction of the change it records, with who asked for it.

    *why* is cut at 2,000 characters.

    The only writer of `event`: so the notices that an event asks for are enqueued here, with it, and the unit of work
    that a batch becomes.
    """
    c.assert_in_turn()  # else numbers could be committed out of their order, and a reader would miss one
    text = None if why is None else why[:2000]
    values = (sql_rows.to_text(now), job, batch, kind, old, new, text, caller.current_name())
    event = c.execute(SQL["record"], values).fetchone()[0]
    enqueue_notices(c, event, kind, new, job, batch, sql_rows.to_text(now))
    if batch is not None and (unit := _UNITS.get(new or "")) is not None:
        c.due(unit, BatchId(batch), c.execute(SQL["priority"], (job,)).fetchone()[0])


class HistoryReader(facet.SnapshotReads, HistoryReads):
    """The event log, and samples."""

    @override
    def events(self, job: JobId | None, *, after: int = 0, limit: int = 1000) -> list[Event]:
        query = SQL["all_events"] if job is None else SQL["events"]
        return self._events(query, {"id": job, "after": after, "limit": limit})

    @override
    def newest_events(self, job: JobId | None, *, limit: int, before: int | None = None) -> list[Event]:
        query = SQL["newest_of_all"] if job is None else SQL["newest_events"]
        return self._events(query, {"id": job, "before": MAX_INTEGER if before is None else before, "limit": limit})

    @override
    def last_event(self) -> int:
        number: int = self._c.execute(SQL["last_event"]).fetchone()[0]
        return number

    @override
    def samples(self, *, since: datetime, step: timedelta) -> list[Sample]:
        found: list[Sample] = []
        values = {"since": sql_rows.to_text(since), "before": _LATEST}
        while rows := sql_rows.dict_rows(self._c.execute(SQL["last_sample"], values)):
            found.append(_sample(rows[0]))
            values["before"] = sql_rows.to_text(found[-1].at - (found[-1].at - _EPOCH) % step)
        return found[::-1]

    @override
    def sample_at(self, at: datetime) -> Sample | None:
        rows = sql_rows.dict_rows(self._c.execute(SQL["sample_at"], {"at": sql_rows.to_text(at)}))
        return _sample(rows[0]) if rows else None

    @override
    def unwatched(self, *, since: datetime) -> list[Leap]:
        rows = sql_rows.dict_rows(self._c.execute(SQL["unwatched"], {"since": sql_rows.to_text(since)}))
        return [Leap(**{**row, "at": sql_rows.from_text(row["at"])}) for row in rows]

    @override
    def batch_histories(self, batches: Sequence[BatchId]) -> dict[BatchId, list[tuple[datetime, BatchState]]]:
        found: dict[BatchId, list[tuple[datetime, BatchState]]] = {}
        for batch, at, state in self._c.execute(SQL["histories"], {"ids": json.dumps(batches)}):
            found.setdefault(BatchId(batch), []).append((sql_rows.from_text(at), BatchState(state)))
        return found

    def _events(self, query: str, values: dict[str, Any]) -> list[Event]:
        return [sql_rows.to_event(row) for row in sql_rows.dict_rows(self._c.execute(query, values))]


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(**{**row, "at": sql_rows.from_text(row["at"]), "watched": bool(row["watched"])})


class SqlSampleStore(facet.Facet, SampleStore):
    """Rows of `sample`; nothing is written while nothing changes."""

    @override
    async def take(self, now: datetime, *, keep_from: datetime, watched: bool) -> bool:
        load_now = await self._db.read(_changed)
        if load_now is not None:
            await self._db.write(partial(_add, (sql_rows.to_text(now), *load_now, int(watched)), keep_from))
        return load_now is not None


def _changed(c: SqlConnection) -> tuple[int, ...] | None:
    """How busy all jobs are; None: as at the last sample. Read first: a quiet daemon writes nothing."""
    load_now: tuple[int, ...] = c.execute(SQL["busy"]).fetchone()
    return None if load_now == c.execute(SQL["last"]).fetchone() else load_now


def _add(row: tuple[str | int, ...], keep_from: datetime, c: SqlConnection) -> None:
    c.execute(SQL["forget_old"], {"before": sql_rows.to_text(keep_from)})
    c.execute(SQL["add"], row)
