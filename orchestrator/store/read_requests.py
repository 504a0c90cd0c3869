"""Reads inside a job: requests in lists (see `request_pages`) and one by one, failures, results."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, repeat
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import queries
from orchestrator.domain.errors import NoSuchThing, Purged
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RequestId, number_of, request_id
from orchestrator.domain.json_text import one_line
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice
from orchestrator.domain.result_lines import input_line
from orchestrator.domain.row_columns import RowColumn
from orchestrator.domain.states import RequestState
from orchestrator.ports.reads import RequestReads
from orchestrator.store import custom_ids, facet, source_rows, sql_rows, sql_text
from orchestrator.store.payload import Blocks, Changes
from orchestrator.store.request_pages import STATES, PageOfRequests
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("requests")
_OWN_IDS: Final = "the custom_id is the one of your input file"
#: A page of requests as lines is cut behind so many bytes of params.
_LINES_BYTES: Final = 4 << 20


class RequestReader(facet.SnapshotReads, RequestReads):
    """The requests of a job, what became of them, and why."""

    @override
    def requests(
        self, job: JobId, *, above: int = 0, limit: int, where: queries.RequestFilter = queries.ALL_REQUESTS
    ) -> list[queries.RequestRow]:
        return PageOfRequests(job=job, above=above, limit=limit).read((where,), self._c)

    @override
    def requests_before(
        self, job: JobId, *, below: int | None, limit: int, where: queries.RequestFilter = queries.ALL_REQUESTS
    ) -> list[queries.RequestRow]:
        end = MAX_NUMBER + 1 if below is None else below
        return PageOfRequests(job=job, below=end, limit=limit, is_backwards=True).read((where,), self._c)

    @override
    def chosen_requests(self, job: JobId, choice: RequestChoice, *, above: int, limit: int) -> list[queries.RequestRow]:
        return self.with_counts(job, PageOfRequests(job=job, above=above, limit=limit).read(choice.filters(), self._c))

    @override
    def with_counts(self, job: JobId, rows: Sequence[queries.RequestRow]) -> list[queries.RequestRow]:
        if self._purged(job) is not None:
            return list(rows)
        keys = {"ids": json.dumps([request_id(job, row.number) for row in rows])}
        tokens = {number_of(key): counts for key, *counts in self._c.execute(SQL["tokens_of"], keys)}
        costs = self.costs_of(job, [row.number for row in rows])
        return [
            replace(row, input_tokens=fresh, output_tokens=out, cost_nanos=costs.get(row.number))
            for row in rows
            for fresh, out in [tokens.get(row.number, (None, None))]
        ]

    @override
    def request_lines(
        self, job: JobId, choice: RequestChoice, *, after: str | None, limit: int, rows: bool = False
    ) -> list[queries.RequestLine]:
        self._refuse_purged(job, "requests")
        above = 0 if after is None else self._place_of(job, after)
        listed = PageOfRequests(job=job, above=above, limit=limit).read(choice.filters(), self._c)
        sizes = accumulate((row.params_bytes for row in listed), initial=0)
        page = [row for row, before in zip(listed, sizes, strict=False) if before < _LINES_BYTES]
        keys = [request_id(job, row.number) for row in page]
        made_of = source_rows.of_requests(keys, self._c) if rows else repeat(b"")
        found = zip(page, _params_of(keys, self._c), made_of, strict=False)
        return [
            queries.RequestLine(row.custom_id, input_line(row.custom_id, one_line(params), own) + b"\n")
            for row, params, own in found
        ]

    @override
    def bodies_of(self, job: JobId, rows: Sequence[queries.RequestRow], *, most: int) -> list[queries.RequestBodies]:
        if self._purged(job) is not None:
            return [queries.RequestBodies()] * len(rows)
        asked = sorted(request_id(job, row.number) for row in rows if row.params_bytes <= most)
        params = dict(zip(asked, _params_of(asked, self._c), strict=True))
        keys = [request_id(job, row.number) for row in rows]
        answers = dict(self._c.execute(SQL["answers_of"], {"ids": json.dumps(keys), "most": most}).fetchall())
        return [queries.RequestBodies(params=params.get(key), result=answers.get(key)) for key in keys]

    def _place_of(self, job: JobId, custom_id: str) -> int:
        key = custom_ids.find(job, custom_id, self._c)
        if key is None:
            raise NoSuchThing(f"no request {custom_id!r} to go on after", hint=_OWN_IDS)
        return number_of(key)

    @override
    def request(self, job: JobId, custom_id: str) -> queries.RequestDetails:
        key = custom_ids.find(job, custom_id, self._c)
        return self._view(key, f"no request {custom_id!r} in this job", _OWN_IDS)

    @override
    def request_at(self, job: JobId, number: int) -> queries.RequestDetails:
        key = request_id(job, number) if 0 < number <= MAX_NUMBER else None
        return self._view(key, f"no request {number} in this job", "requests are numbered from 1, in input order")

    @override
    def costs_of(self, job: JobId, numbers: Collection[int]) -> dict[int, int | None]:
        if self._purged(job) is not None:
            return {}
        values = {"ids": json.dumps([request_id(job, number) for number in numbers])}
        return {number_of(key): cost for key, cost in self._c.execute(SQL["costs_of"], values)}

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
        params, original, source_row = None, None, b""
        if self._purged(JobId(row["job_id"])) is None:
            block = Blocks(self._c).of(row["id"])
            change = row["sent_change"]
            if change is None:
                params = block.params(row["id"], row["params_bytes"])
            else:
                original = block.part(row["id"])
                params = Changes(self._c).applied(original, change)
            (source_row,) = source_rows.of_requests([row["id"]], self._c)
        found = _request(row, params, source_row or None, tuple(_trip(trip) for trip in failed_attempts))
        return found if original is None else replace(found, original_params=original)

    @override
    def results(
        self,
        job: JobId,
        *,
        above: int,
        limit: int,
        rows: bool = False,
        trial: bool = False,
        choice: RequestChoice = ALL_OF_A_JOB,
    ) -> list[queries.ResultRow]:
        self._refuse_purged(job)
        told = {"limit": limit, "every": int(not trial)}
        if choice == ALL_OF_A_JOB:
            span = {"above": request_id(job, above), "high": request_id(job, MAX_NUMBER)}
            return self._results("results", {**told, **span}, with_rows=rows)
        while listed := PageOfRequests(job=job, above=above, limit=limit).read(choice.filters(), self._c):
            keys = json.dumps([request_id(job, row.number) for row in listed])
            if found := self._results("results_of", {**told, "ids": keys}, with_rows=rows):
                return found
            above = listed[-1].number  # none of these is settled, and no results would be the end
        return []

    @override
    def row_columns(self, job: JobId) -> tuple[RowColumn, ...]:
        self._refuse_purged(job)
        return source_rows.columns_of(job, self._c)

    @override
    def request_costs(self, job: JobId, *, above: int, limit: int) -> list[queries.RequestCost]:
        self._refuse_purged(job)
        values = {"above": request_id(job, above), "high": request_id(job, MAX_NUMBER), "limit": limit}
        rows = self._c.execute(SQL["costs"], values)
        return [
            queries.RequestCost(number_of(key), custom_id, STATES[state], *rest)
            for key, custom_id, state, *rest in rows
        ]

    @override
    def settled_results(
        self, job: JobId, *, after: queries.SettledCursor, limit: int, rows: bool = False
    ) -> tuple[list[queries.ResultRow], queries.SettledCursor]:
        self._refuse_purged(job)
        found: list[queries.ResultRow] = []
        place = after
        for event, batch in self._settlings(job, after):
            if len(found) == limit:
                return found, place
            above = after.number if event == after.event else 0
            values = {"batch_id": batch, "above": request_id(job, above), "limit": limit - len(found)}
            some = self._results("results_of_batch", values, with_rows=rows)
            found += some
            place = queries.SettledCursor(event=event, number=some[-1].number if some else above)
        if len(found) == limit or not self._c.execute(SQL["is_over"], {"id": job}).fetchone()[0]:
            return found, place
        above = after.number if after.event is None else 0
        values = {"above": request_id(job, above), "high": request_id(job, MAX_NUMBER), "limit": limit - len(found)}
        if others := self._results("other_results", values, with_rows=rows):
            return found + others, queries.SettledCursor(event=None, number=others[-1].number)
        return found, place

    def _settlings(self, job: JobId, after: queries.SettledCursor) -> list[tuple[int, int]]:
        """(event, batch) of what settled, from the batch on that is being read."""
        if after.event is None:
            return []
        return self._c.execute(SQL["settlings"], {"id": job, "from": after.event}).fetchall()

    def _results(self, query: str, values: dict[str, Any], *, with_rows: bool) -> list[queries.ResultRow]:
        found = self._c.execute(SQL[query], values)
        if with_rows:
            return self._joined(found.fetchall())
        return [
            queries.ResultRow(number_of(key), custom_id, STATES[state], body, cost, b"", reused_from)
            for key, custom_id, state, body, cost, reused_from in found
        ]

    def _joined(self, found: list[Any]) -> list[queries.ResultRow]:
        """The results in *found*, each with the row that its request was made of."""
        rows = source_rows.of_requests([key for key, *_ in found], self._c)
        return [
            queries.ResultRow(number_of(key), custom_id, STATES[state], body, cost, row, reused_from)
            for (key, custom_id, state, body, cost, reused_from), row in zip(found, rows, strict=True)
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

    def _refuse_purged(self, job: JobId, what: str = "results") -> None:
        if (public_id := self._purged(job)) is not None:
            raise Purged(
                f"the {what} of job {public_id} were deleted",
                cause="it was purged; its counts, errors and history are still there",
                hint="submit the same input again: it becomes a new job",
            )


def _params_of(keys: Collection[RequestId], c: SqlConnection) -> Iterator[bytes]:
    """The params of each of *keys*, ascending, as they are sent."""
    blocks, changes = Blocks(c), Changes(c)
    sent = dict(c.execute(SQL["sent_changes"], {"ids": json.dumps(list(keys))}).fetchall())
    for key in keys:
        part = blocks.of(key).part(key)
        yield changes.applied(part, sent[key]) if key in sent else part


def _trip(row: dict[str, Any]) -> queries.Attempt:
    return queries.Attempt(
        batch_id=BatchId(row["batch_id"]),
        kind=row["kind"],
        error_type=row["error_type"],
        error_message=row["error_message"],
        api_request_id=row["api_request_id"],
        at=sql_rows.from_text(row["at"]),
        outcome=row["outcome"],
        cost_nanos=row["cost_nanos"],
    )


def _request(
    row: dict[str, Any], params: bytes | None, source_row: bytes | None, failed_attempts: tuple[queries.Attempt, ...]
) -> queries.RequestDetails:
    plain = (
        "custom_id",
        "line",
        "attempts",
        "error_type",
        "error_message",
        "api_request_id",
        "stop_reason",
        "reused_from",
    )
    return queries.RequestDetails(
        number=number_of(row["id"]),
        state=RequestState(row["state"]),
        batch_id=None if row["batch_id"] is None else BatchId(row["batch_id"]),
        params=params,
        row=source_row,
        result=row["body"],
        failed_attempts=failed_attempts,
        cost_nanos=row["cost_nanos"] if row["state"] in ("succeeded", "failed", "canceled") else None,
        **{name: row[name] for name in (*plain, *queries.TOKENS)},
    )
