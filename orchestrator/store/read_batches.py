"""The reading side of batches: ours, in lists and one by one, and the remote ones that might be ours."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.ids import BatchId, JobId, RemoteId
from orchestrator.domain.model import Batch, BatchRow, Candidate
from orchestrator.domain.states import BatchState
from orchestrator.store.rows import dict_rows, from_text, to_batch, to_remote
from orchestrator.store.sql_text import load

SQL: Final = load("batches")
#: Above every row id.
_NEWEST: Final = (1 << 63) - 1


class BatchReader:
    """See `ports.reads.BatchReads`. Reads from *connection*, whatever snapshot it is in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._c = connection

    def batches(self, job: JobId) -> list[Batch]:
        """Every batch of the job, in the order they were planned."""
        return [to_batch(row) for row in dict_rows(self._c.execute(SQL["batches"], {"id": job}))]

    def batches_page(
        self,
        *,
        limit: int,
        before: BatchId | None = None,
        states: frozenset[BatchState] = frozenset(),
        job: JobId | None = None,
    ) -> list[BatchRow]:
        """The newest *limit* batches, older than *before* if given; in *states*, if any are given, and of *job*."""
        values = {"before": _NEWEST if before is None else before, "job": job}
        with closing(_newest(values, states, self._c)) as rows:
            return [to_batch(row) for row in islice(rows, limit)]

    def batch(self, ref: str) -> Batch:
        """A batch by its remote id or its own number. Raises NoSuchThing."""
        rows = dict_rows(self._c.execute(SQL["batch_by_remote"], {"remote_id": ref}))
        if not rows and ref.isascii() and ref.isdigit() and len(ref) < len(str(_NEWEST)):
            rows = dict_rows(self._c.execute(SQL["batch"], {"id": int(ref)}))
        if not rows:
            raise NoSuchThing(f"no batch {ref!r}", hint="orchestrator batches ls shows every batch")
        return to_batch(rows[0])

    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, Batch]:
        """Our batches among these remote ids."""
        rows = dict_rows(self._c.execute(SQL["batches_by_remote"], {"remote_ids": json.dumps(list(remote_ids))}))
        return {RemoteId(row["remote_id"]): to_batch(row) for row in rows}

    def candidates(self, batch: BatchId) -> list[Candidate]:
        """The remote batches that *batch*, which is or was in doubt, may be; in the order they were created."""
        return [to_remote(row) for row in dict_rows(self._c.execute(SQL["candidates"], {"id": batch}))]

    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        """(created, ended) of the job's last ended batches, by the API's clock."""
        return [(from_text(a), from_text(b)) for a, b in self._c.execute(SQL["ended_spans"], {"id": job})]


def _newest(
    values: dict[str, Any], states: frozenset[BatchState], c: sqlite3.Connection
) -> Generator[dict[str, Any], None, None]:
    """Rows, newest first. Each state has its place in an index: their rows are merged, and read as far as wanted."""
    if values["job"] is None and not states:
        cursors = [c.execute(SQL["newest"], values)]
    else:
        query = SQL["newest_in"] if values["job"] is None else SQL["newest_of_in"]
        cursors = [c.execute(query, {**values, "state": state}) for state in states or BatchState]
    columns = [column[0] for column in cursors[0].description]
    try:
        for row in heapq.merge(*cursors, key=itemgetter(0), reverse=True):
            yield dict(zip(columns, row, strict=True))
    finally:
        for cursor in cursors:
            cursor.close()
