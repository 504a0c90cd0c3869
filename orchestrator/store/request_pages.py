"""Lists of a job's requests: a page between two numbers, in input order or from the end.

It costs what it shows, not what the job holds: requests of one state are reached by an index of their own, or through
the batches that they can be in, whose rows are merged in the order of their numbers. Those whose custom ids begin in
some way are looked up among the ids; where very many do, and more is asked of them, the list of the rest is read for
them.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, Final

from orchestrator.domain import queries, result_outcome
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RequestId, number_of, request_id
from orchestrator.domain.states import RequestState
from orchestrator.store import custom_ids, sql_text
from orchestrator.store.sql_connection import Rows, SqlConnection

SQL: Final = sql_text.load("request_pages")
#: Looked up, not called: an enum's constructor is what takes longest in reading a row.
STATES: Final = {state.value: state for state in RequestState}
#: So many requests with ids that begin alike are looked at one by one: some 10 ms.
_LOOKED_AT: Final = 5_000
#: The same list from its end.
_BACKWARDS: Final = {
    "page": "last",
    "page_queued": "last_queued",
    "page_canceled": "last_canceled",
    "page_failed": "last_failed",
    "page_stopped": "last_stopped",
    "page_of_batch": "last_of_batch",
    "page_of_ids": "last_of_ids",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOfRequests:
    """At most *limit* requests between two numbers, both left out. backwards: the last of them, the last first."""

    job: JobId
    limit: int
    above: int = 0
    below: int = MAX_NUMBER + 1
    is_backwards: bool = False

    def read(self, filters: Collection[queries.RequestFilter], c: SqlConnection) -> list[queries.RequestRow]:
        """Those that match one of *filters*."""
        answers = [answer for where in filters for answer in self._answers(where, c)]
        try:
            rows = (row for row, _ in groupby(heapq.merge(*answers, reverse=self.is_backwards)))
            return [_row(row) for row in islice(rows, self.limit)]
        finally:
            for answer in answers:
                answer.close()

    def _answers(self, where: queries.RequestFilter, c: SqlConnection) -> Iterator[Rows]:
        """Answers of the `page…` queries, at most *limit* rows each, in their order: merged they are the page."""
        values = self._values(where)
        if where.state is not None and not c.execute(SQL["count_in"], values).fetchone()[0]:
            return
        if where.stop_reason is not None:
            found = c.execute(SQL["stop_of"], {"id": self.job, "stop_reason": where.stop_reason}).fetchone()
            if found is None:
                return
            values["stop"] = found[0]
        if where.id_prefix is not None:
            values["low"], values["high"] = custom_ids.between(where.id_prefix)
            alike, is_whole = self._begin_alike(where, values, c)
            if is_whole:
                yield from self._of_ids(alike, where, values, c)
                return
            values |= {"below": alike[0] + 1} if self.is_backwards else {"above": alike[0] - 1}
        if where.batch is not None:
            yield self._ask("page_of_batch", values, c)
        elif where.stop_reason is not None:
            yield from self._stopped(where, values, c)
        else:
            yield from self._in_state(where, values, c)

    def _values(self, where: queries.RequestFilter) -> dict[str, Any]:
        return {
            "id": self.job,
            "above": request_id(self.job, min(self.above, MAX_NUMBER)),
            "below": request_id(self.job, 0) + min(self.below, MAX_NUMBER + 1),
            "state": where.state,
            "batch_id": where.batch,
            "error_type": where.error_type,
            "error_message": where.error_message,
            "cause": where.cause,
            "stop": None,
            "low": None,
            "high": None,
            "limit": self.limit,
        }

    def _ask(self, query: str, values: dict[str, Any], c: SqlConnection) -> Rows:
        return c.execute(SQL[_BACKWARDS[query] if self.is_backwards else query], values)

    def _begin_alike(
        self, where: queries.RequestFilter, values: dict[str, Any], c: SqlConnection
    ) -> tuple[list[RequestId], bool]:
        """Requests whose ids begin as is wanted; False: there are too many more to look at each of them."""
        is_all = replace(where, id_prefix=None) == queries.ALL_REQUESTS
        most = self.limit if is_all else _LOOKED_AT + 1
        found = custom_ids.find_between({**values, "limit": most}, c, is_backwards=self.is_backwards)
        return found, is_all or len(found) < most

    def _of_ids(
        self, ids: list[RequestId], where: queries.RequestFilter, values: dict[str, Any], c: SqlConnection
    ) -> Iterator[Rows]:
        state = where.state
        if where.batch is None and where.stop_reason is not None:
            if _cannot_be_stopped(where):
                return
            state = RequestState.SUCCEEDED
        elif where.batch is None and _is_of_failures(where):
            state = RequestState.FAILED
        yield self._ask("page_of_ids", {**values, "ids": json.dumps(ids), "state": state}, c)

    def _stopped(self, where: queries.RequestFilter, values: dict[str, Any], c: SqlConnection) -> Iterator[Rows]:
        if _cannot_be_stopped(where):
            return
        if where.stop_reason not in result_outcome.USUAL_STOPS:
            yield self._ask("page_stopped", values, c)
            return
        values = {**values, "state": RequestState.SUCCEEDED}
        for (batch,) in c.execute(SQL["batches_of"], values).fetchall():
            yield self._ask("page_of_batch", {**values, "batch_id": batch}, c)

    def _in_state(self, where: queries.RequestFilter, values: dict[str, Any], c: SqlConnection) -> Iterator[Rows]:
        match RequestState.FAILED if _is_of_failures(where) else where.state:
            case None:
                yield self._ask("page", values, c)
            case RequestState.QUEUED:
                yield self._ask("page_queued", values, c)
            case RequestState.CANCELED:
                yield self._ask("page_canceled", values, c)
            case RequestState.FAILED:
                types = c.execute(SQL["error_types"], values).fetchall()
                for kind in [kind for (kind,) in types if where.error_type in (None, kind)]:
                    yield self._ask("page_failed", {**values, "error_type": kind}, c)
            case RequestState.BATCHED | RequestState.SUCCEEDED:
                for (batch,) in c.execute(SQL["batches_of"], values).fetchall():
                    yield self._ask("page_of_batch", {**values, "batch_id": batch}, c)


def _cannot_be_stopped(where: queries.RequestFilter) -> bool:
    """Only what succeeded has a stop reason, and no error."""
    return where.state not in (None, RequestState.SUCCEEDED) or (where.error_type, where.error_message) != (None, None)


def _is_of_failures(where: queries.RequestFilter) -> bool:
    """Whether it says no state, but what only a failure has."""
    return where.state is None and (where.error_type, where.error_message, where.cause) != (None, None, None)


def _row(row: tuple[Any, ...]) -> queries.RequestRow:
    key, custom_id, line, state, attempts, error_type, error_message, stop_reason, batch_id, params_bytes = row
    return queries.RequestRow(
        number=number_of(key),
        custom_id=custom_id,
        line=line,
        state=STATES[state],
        attempts=attempts,
        error_type=error_type,
        error_message=error_message,
        stop_reason=stop_reason,
        batch_id=None if batch_id is None else BatchId(batch_id),
        params_bytes=params_bytes,
    )
