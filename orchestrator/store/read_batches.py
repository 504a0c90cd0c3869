"""Reads of batches: lists, single batches, and remote batches that may be ours."""

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

from typing_extensions import override

from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.ids import MAX_INTEGER, BatchId, JobId, RemoteId
from orchestrator.domain.model import Batch, BatchRow, Candidate
from orchestrator.domain.states import BatchState
from orchestrator.ports.reads import BatchReads
from orchestrator.store.facet import SnapshotReads
from orchestrator.store.rows import dict_rows, from_text, to_batch, to_remote
from orchestrator.store.sql_text import load

SQL: Final = load("batches")


class BatchReader(SnapshotReads, BatchReads):
    """Batches, and the remote ones that may be ours."""

    @override
    def batches(self, job: JobId) -> list[Batch]:
        return [to_batch(row) for row in dict_rows(self._c.execute(SQL["batches"], {"id": job}))]

    @override
    def batches_page(
        self,
        *,
        limit: int,
        before: BatchId | None = None,
        states: frozenset[BatchState] = frozenset(),
        job: JobId | None = None,
    ) -> list[BatchRow]:
        values = {"before": MAX_INTEGER if before is None else before, "job": job}
        with closing(_newest(values, states, self._c)) as rows:
            return [to_batch(row) for row in islice(rows, limit)]

    @override
    def batch(self, ref: str) -> Batch:
        rows = dict_rows(self._c.execute(SQL["batch_by_remote"], {"remote_id": ref}))
        if not rows and ref.isascii() and ref.isdigit() and len(ref) < len(str(MAX_INTEGER)):
            rows = dict_rows(self._c.execute(SQL["batch"], {"id": int(ref)}))
        if not rows:
            raise NoSuchThing(f"no batch {ref!r}", hint="orchestrator batches ls shows every batch")
        return to_batch(rows[0])

    @override
    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, Batch]:
        rows = dict_rows(self._c.execute(SQL["batches_by_remote"], {"remote_ids": json.dumps(list(remote_ids))}))
        return {RemoteId(row["remote_id"]): to_batch(row) for row in rows}

    @override
    def candidates(self, batch: BatchId) -> list[Candidate]:
        return [to_remote(row) for row in dict_rows(self._c.execute(SQL["candidates"], {"id": batch}))]

    @override
    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        return [(from_text(a), from_text(b)) for a, b in self._c.execute(SQL["ended_spans"], {"id": job})]


def _newest(
    values: dict[str, Any], states: frozenset[BatchState], c: sqlite3.Connection
) -> Generator[dict[str, Any], None, None]:
    """Rows, newest first. Each state is one range of an index: the ranges are merged, read only as far as needed."""
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
