"""Reads inside a job: requests in lists and one by one, failures, results.

A list is a page above a number. It costs what it shows, not what the job holds: requests of one state are reached by an
index of their own, or through the batches that they can be in, whose rows are merged in the order of their numbers.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import queries, result_outcome
from orchestrator.domain.errors import NoSuchThing, Purged
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RequestId, number_of, request_id
from orchestrator.domain.states import RequestState
from orchestrator.ports.reads import RequestReads
from orchestrator.store import custom_ids, facet, sql_rows, sql_text
from orchestrator.store.payload import Block

SQL: Final = sql_text.load("requests")
_SUBMIT_SQL: Final = sql_text.load("submit")
#: Looked up, not called: an enum's constructor is what takes longest in reading a result.
_STATES: Final = {state.value: state for state in RequestState}


class RequestReader(facet.SnapshotReads, RequestReads):
    """The requests of a job, what became of them, and why."""

    @override
    def requests(
        self, job: JobId, *, above: int = 0, limit: int, where: queries.RequestFilter = queries.ALL_REQUESTS
    ) -> list[queries.RequestRow]:
        with closing(_merged(job, above, where, self._c)) as rows:
            return [_row(row) for row in islice(rows, limit)]

    @override
    def request(self, job: JobId, custom_id: str) -> queries.RequestDetails:
        key = custom_ids.find(job, custom_id, self._c)
        return self._view(key, f"no request {custom_id!r} in this job", "the custom_id is the one of your input file")

    @override
    def request_at(self, job: JobId, number: int) -> queries.RequestDetails:
        key = request_id(job, number) if 0 < number <= MAX_NUMBER else None
        return self._view(key, f"no request {number} in this job", "requests are numbered from 1, in input order")

    @override
    def neighbours(self, job: JobId, number: int) -> tuple[int | None, int | None]:
        values = {"id": request_id(job, number), "low": request_id(job, 0), "high": request_id(job, MAX_NUMBER)}
        before, after = (self._c.execute(SQL[name], values).fetchone()[0] for name in ("before", "after"))
        return None if before is None else number_of(before), None if after is None else number_of(after)

    def _view(self, key: RequestId | None, missing: str, hint: str) -> queries.RequestDetails:
        rows = [] if key is None else sql_rows.dict_rows(self._c.execute(SQL["request"], {"id": key}))
        if not rows:
            raise NoSuchThing(missing, hint=hint)
        row = rows[0]
        failed_attempts = sql_rows.dict_rows(self._c.execute(SQL["trips"], {"request_id": row["id"]}))
        params = None
        if self._purged(JobId(row["job_id"])) is None:
            block = Block.of(row["id"], self._c.execute(_SUBMIT_SQL["block_of"], {"id": row["id"]}).fetchone())
            params = block.params(row["id"], row["params_bytes"])
        return _request(row, params, tuple(_trip(trip) for trip in failed_attempts))

    @override
    def results(self, job: JobId, *, above: int, limit: int) -> list[queries.ResultRow]:
        self._refuse_purged(job)
        values = {"above": request_id(job, above), "high": request_id(job, MAX_NUMBER), "limit": limit}
        return self._results("results", values)

    @override
    def settled_results(
        self, job: JobId, *, after: queries.SettledCursor, limit: int
    ) -> tuple[list[queries.ResultRow], queries.SettledCursor]:
        self._refuse_purged(job)
        found: list[queries.ResultRow] = []
        place = after
        for event, batch in self._settlings(job, after):
            if len(found) == limit:
                return found, place
            above = after.number if event == after.event else 0
            values = {"batch_id": batch, "above": request_id(job, above), "limit": limit - len(found)}
            rows = self._results("results_of_batch", values)
            found += rows
            place = queries.SettledCursor(event=event, number=rows[-1].number if rows else above)
        if len(found) == limit or not self._c.execute(SQL["is_over"], {"id": job}).fetchone()[0]:
            return found, place
        above = after.number if after.event is None else 0
        values = {"above": request_id(job, above), "high": request_id(job, MAX_NUMBER), "limit": limit - len(found)}
        if rows := self._results("other_results", values):
            return found + rows, queries.SettledCursor(event=None, number=rows[-1].number)
        return found, place

    def _settlings(self, job: JobId, after: queries.SettledCursor) -> list[tuple[int, int]]:
        """(event, batch) of what settled, from the batch on that is being read."""
        if after.event is None:
            return []
        return self._c.execute(SQL["settlings"], {"id": job, "from": after.event}).fetchall()

    def _results(self, query: str, values: dict[str, Any]) -> list[queries.ResultRow]:
        rows = self._c.execute(SQL[query], values)
        return [
            queries.ResultRow(number_of(key), custom_id, _STATES[state], body) for key, custom_id, state, body in rows
        ]

    @override
    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[queries.ErrorGroup]:
        rows = sql_rows.dict_rows(self._c.execute(SQL["errors"], {"id": job, "limit": groups}))
        return [self._group(job, row, examples) for row in rows]

    def _group(self, job: JobId, row: dict[str, Any], examples: int) -> queries.ErrorGroup:
        values = {"id": job, "error_type": row["error_type"], "cause": row["cause"], "limit": examples}
        found = self._c.execute(SQL["error_examples"], values).fetchall()
        message = self._c.execute(SQL["error_message"], {"id": row["first"]}).fetchone()[0]
        return queries.ErrorGroup(
            error_type=row["error_type"],
            cause="" if row["cause"] is None else row["cause"],
            error_message="" if message is None else message,
            count=row["count"],
            examples=tuple((custom_id, line) for custom_id, line in found),
        )

    @override
    def failed_of_type(self, job: JobId, error_type: str) -> int:
        count: int = self._c.execute(SQL["failed_of_type"], {"id": job, "error_type": error_type}).fetchone()[0]
        return count

    def _purged(self, job: JobId) -> str | None:
        """The public id of a job that was purged; None of one that was not."""
        row = self._c.execute(SQL["purged"], {"id": job}).fetchone()
        return None if row is None else str(row[0])

    def _refuse_purged(self, job: JobId) -> None:
        if (public_id := self._purged(job)) is not None:
            raise Purged(
                f"the results of job {public_id} were deleted",
                cause="it was purged; its counts, errors and history are still there",
                hint="submit the same input again: it becomes a new job",
            )


def _merged(
    job: JobId, above: int, where: queries.RequestFilter, c: sqlite3.Connection
) -> Generator[tuple[Any, ...], None, None]:
    """Rows of the `page…` queries in order of their ids; each cursor is read only as far as its rows are wanted."""
    cursors = list(_cursors(job, above, where, c))
    try:
        yield from heapq.merge(*cursors)
    finally:
        for cursor in cursors:
            cursor.close()


def _cursors(job: JobId, above: int, where: queries.RequestFilter, c: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    values = {
        "id": job,
        "above": request_id(job, above),
        "high": request_id(job, MAX_NUMBER),
        "state": where.state,
        "error_type": where.error_type,
        "error_message": where.error_message,
        "cause": where.cause,
        "stop": None,
    }
    if where.state is not None and not c.execute(SQL["count_in"], values).fetchone()[0]:
        return
    if where.stop_reason is not None:
        found = c.execute(SQL["stop_of"], {"id": job, "stop_reason": where.stop_reason}).fetchone()
        if found is None:
            return
        values["stop"] = found[0]
    if where.batch is not None:
        yield c.execute(SQL["page_of_batch"], {**values, "batch_id": where.batch})
    elif where.stop_reason is not None:
        yield from _stopped(where, values, c)
    else:
        yield from _in_state(where, values, c)


def _stopped(where: queries.RequestFilter, values: dict[str, Any], c: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """Only what succeeded has a stop reason, and no error."""
    if where.state not in (None, RequestState.SUCCEEDED) or (where.error_type, where.error_message) != (None, None):
        return
    if where.stop_reason not in result_outcome.USUAL_STOPS:
        yield c.execute(SQL["page_stopped"], values)
        return
    values = {**values, "state": RequestState.SUCCEEDED}
    for (batch,) in c.execute(SQL["batches_of"], values).fetchall():
        yield c.execute(SQL["page_of_batch"], {**values, "batch_id": batch})


def _in_state(where: queries.RequestFilter, values: dict[str, Any], c: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    match where.state:
        case None:
            yield c.execute(SQL["page"], values)
        case RequestState.QUEUED:
            yield c.execute(SQL["page_queued"], values)
        case RequestState.CANCELED:
            yield c.execute(SQL["page_canceled"], values)
        case RequestState.FAILED:
            types = c.execute(SQL["error_types"], values).fetchall()
            for kind in [kind for (kind,) in types if where.error_type in (None, kind)]:
                yield c.execute(SQL["page_failed"], {**values, "error_type": kind})
        case RequestState.BATCHED | RequestState.SUCCEEDED:
            for (batch,) in c.execute(SQL["batches_of"], values).fetchall():
                yield c.execute(SQL["page_of_batch"], {**values, "batch_id": batch})


def _row(row: tuple[Any, ...]) -> queries.RequestRow:
    key, custom_id, line, state, attempts, error_type, error_message, stop_reason, batch_id, params_bytes = row
    return queries.RequestRow(
        number=number_of(key),
        custom_id=custom_id,
        line=line,
        state=_STATES[state],
        attempts=attempts,
        error_type=error_type,
        error_message=error_message,
        stop_reason=stop_reason,
        batch_id=None if batch_id is None else BatchId(batch_id),
        params_bytes=params_bytes,
    )


def _trip(row: dict[str, Any]) -> queries.Attempt:
    return queries.Attempt(
        batch_id=BatchId(row["batch_id"]),
        kind=row["kind"],
        error_type=row["error_type"],
        error_message=row["error_message"],
        api_request_id=row["api_request_id"],
        at=sql_rows.from_text(row["at"]),
    )


def _request(
    row: dict[str, Any], params: bytes | None, failed_attempts: tuple[queries.Attempt, ...]
) -> queries.RequestDetails:
    plain = ("custom_id", "line", "attempts", "error_type", "error_message", "api_request_id", "stop_reason")
    return queries.RequestDetails(
        number=number_of(row["id"]),
        state=RequestState(row["state"]),
        batch_id=None if row["batch_id"] is None else BatchId(row["batch_id"]),
        params=params,
        result=row["body"],
        failed_attempts=failed_attempts,
        **{name: row[name] for name in (*plain, *queries.TOKENS)},
    )
