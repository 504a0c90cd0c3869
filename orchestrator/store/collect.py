"""Facet of stage collect: stores each result line once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from typing_extensions import override

from orchestrator.domain import result_outcome
from orchestrator.domain.billing import Kind, Payment, Tariff
from orchestrator.domain.error_text import cause_of
from orchestrator.domain.ids import JobId, RequestId, number_of, request_ids
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.ports.results import CollectStore, DownloadProgress
from orchestrator.store import (
    facet,
    history,
    ledger,
    prefixes,
    sql_rows,
    sql_text,
)
from orchestrator.store.custom_ids import find_many
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("collect")
_SUCCEEDED: Final = result_outcome.Outcome.SUCCEEDED
#: Stands for the end of an answer that says none.
_NO_STOP: Final = -1


class SqlCollectStore(facet.Facet, CollectStore):
    """Stores a chunk of results in one transaction, whole or not at all."""

    @override
    @facet.snapshot
    def to_collect(self, c: SqlConnection, now: datetime, limit: int) -> list[BatchRow]:
        values = {"now": sql_rows.to_text(now), "limit": limit}
        return sql_rows.to_batches(c.execute(SQL["to_collect"], values))

    @override
    @facet.snapshot
    def numbers(self, c: SqlConnection, job: JobId, custom_ids: Sequence[str]) -> dict[str, int]:
        found = find_many(job, custom_ids, c)
        return {custom_id: number_of(request) for custom_id, request in found.items()}

    @override
    async def store_lines(self, batch: BatchRow, lines: Sequence[JudgedLine], now: datetime) -> int:
        backwards = lines[::-1]  # the first of two wins
        by_key = dict(zip(request_ids(batch.job_id, [line.number for line in backwards]), backwards, strict=True))
        try:
            return await self._db.write_free(partial(_store_lines, batch, by_key, now))
        except _SettledAlready:
            return await self._db.write_free(partial(_store_still_pending, batch, by_key, now))

    @override
    @facet.snapshot
    def progress(self, c: SqlConnection, batch: BatchRow) -> DownloadProgress:
        by_kind = {str(kind): int(n) for kind, n in c.execute(SQL["attempt_counts"], {"id": batch.id})}
        succeeded: int = c.execute(SQL["succeeded_count"], {"id": batch.id}).fetchone()[0]
        by_kind["succeeded"] = succeeded + by_kind.get("succeeded", 0)  # answers that are invalid, or were replaced
        return DownloadProgress(count=batch.count, by_kind=by_kind)

    @override
    @facet.transaction
    def again(self, c: SqlConnection, batch: BatchRow, due: datetime, date: datetime | None, *, full: bool) -> bool:
        values = {
            "id": batch.id,
            "fence": batch.fence,
            "due": sql_rows.to_text(due),
            "date": sql_rows.to_text_or_none(date),
            "full": int(full),
        }
        return sql_rows.moved(c, SQL["again"], values)

    @override
    @facet.transaction
    def collected(self, c: SqlConnection, batch: BatchRow, now: datetime) -> bool:
        if not sql_rows.moved(c, SQL["collected"], {"id": batch.id, "fence": batch.fence}):
            return False
        history.record(c, now, "batch.collected", job=batch.job_id, batch=batch.id, why="all results are stored")
        prefixes.stop_poor(batch.job_id, now, c)
        return True

    @override
    @facet.transaction
    def give_up(
        self,
        c: SqlConnection,
        batch: BatchRow,
        error: tuple[str, str],
        body: bytes,
        now: datetime,
        assumed_nanos: int | None = None,
    ) -> int:
        # Closed first: what is stored beside it, until then, is seen below.
        if not sql_rows.moved(c, SQL["collected"], {"id": batch.id, "fence": batch.fence}):
            return 0
        keys = [row[0] for row in c.execute(SQL["unseen"], {"id": batch.id})]
        day = sql_rows.day_of(now if batch.created_at is None else batch.created_at)
        account = ledger.Account(batch.job_id, batch.id)
        if assumed_nanos is None:
            ledger.enter_unknown(account, Kind.ASSUMED, day, len(keys), c)
        else:
            ledger.enter_assumed(account, day, len(keys), assumed_nanos, c)
        fail([(key, *error, None, body) for key in keys], c)
        why = f"{len(keys)} results never came"
        history.record(c, now, "batch.collected", job=batch.job_id, batch=batch.id, why=why)
        return len(keys)

    @override
    @facet.snapshot
    def unseen(self, c: SqlConnection, batch: BatchRow) -> list[int]:
        return [number_of(row[0]) for row in c.execute(SQL["unseen"], {"id": batch.id})]


class _SettledAlready(Exception):
    """Rolls back a chunk in which some requests do not wait for a line any more: a repeated download."""


def _store_lines(batch: BatchRow, lines: Mapping[RequestId, JudgedLine], now: datetime, c: SqlConnection) -> int:
    """Store *lines* (by request key), which must all be waited for, or raise `_SettledAlready`.

    Nothing is stored once the batch is collected. No savepoint: SQLite 3.40 would walk its whole in-memory journal
    after every row (measured: 14 us of a row's 20).
    """
    return _store(batch, lines, now, c) if _is_open(batch, c) else 0


def _is_open(batch: BatchRow, c: SqlConnection) -> bool:
    return c.execute(SQL["open_to_lines"], {"id": batch.id}).fetchone() is not None


def _store(batch: BatchRow, lines: Mapping[RequestId, JudgedLine], now: datetime, c: SqlConnection) -> int:
    # In the order of the requests: neighbours share a page.
    succeeded = sorted([key for key, line in lines.items() if line.outcome is _SUCCEEDED])
    others: list[RequestId] = []
    if len(succeeded) < len(lines):
        others = [key for key, line in lines.items() if line.outcome is not _SUCCEEDED]
    prices = ledger.price_ids_of(lines.values(), c)
    stored, count = _succeed(batch, succeeded, lines, prices, c)
    if count != len(succeeded) or len(_waiting(batch, others, c)) != len(others):
        raise _SettledAlready
    _store_attempts(batch, [(key, lines[key]) for key in others], prices, now, c)
    account = ledger.Account(batch.job_id, batch.id)
    odd = [payment for key in succeeded if (payment := lines[key].payment) is not None]
    ledger.enter(account, Kind.KEPT, odd, prices, c, stored)
    ledger.enter(account, Kind.RETRIED, _paid([lines[key] for key in others]), prices, c)
    failed = [key for key in others if lines[key].outcome is result_outcome.Outcome.FAILED]
    fail([(key, *_error(lines[key]), lines[key].api_request_id, lines[key].body) for key in failed], c)
    return len(lines)


def _paid(lines: Iterable[JudgedLine]) -> list[Payment]:
    return [payment for line in lines if (payment := ledger.payment_of(line)) is not None]


def _store_still_pending(
    batch: BatchRow, lines: Mapping[RequestId, JudgedLine], now: datetime, c: SqlConnection
) -> int:
    """As `_store_lines`, but skips lines whose requests are settled or decided already."""
    if not _is_open(batch, c):
        return 0
    return _store(batch, {key: lines[key] for key in _waiting(batch, list(lines), c)}, now, c)


def _waiting(batch: BatchRow, keys: Sequence[RequestId], c: SqlConnection) -> list[RequestId]:
    """Those of *keys* that have no result of this batch yet, in order."""
    if not keys:
        return []
    values = {"keys": json.dumps(sorted(keys)), "batch_id": batch.id}
    return [row[0] for row in c.execute(SQL["waiting"], values)]


def _succeed(
    batch: BatchRow,
    keys: Sequence[RequestId],
    lines: Mapping[RequestId, JudgedLine],
    prices: ledger.PriceIds,
    c: SqlConnection,
) -> tuple[list[sql_rows.NewResults], int]:
    """Settle *keys* with their answers: results whose counts say what they cost, and how many requests still waited.

    If not all did, the caller must roll back.
    """
    if not keys:
        return [], 0
    moved: dict[int, int] = {}
    stored: list[sql_rows.NewResults] = []
    numbers = dict[Tariff | None, int | None](prices.items())
    numbers[None] = None  # not billed
    for stop, members in _by_stop(keys, lines, c).items():
        plain = [key for key in members if lines[key].payment is None]
        odd = [] if len(plain) == len(members) else _odd_results(members, lines, prices)
        new = _plain_results(plain, [lines[key] for key in plain], numbers)
        first, last = sql_rows.store_results(new, c, odd)
        stored.append(new)
        values = {"first": first, "last": last, "batch_id": batch.id, "stop": stop}
        moved[_NO_STOP if stop is None else stop] = c.execute(SQL["succeed"], values).rowcount
    for stop, count in sorted(moved.items()):  # in one order everywhere: nobody waits in a circle
        if stop != _NO_STOP and count:
            c.execute(SQL["count_stopped"], {"id": batch.job_id, "stop": stop, "count": count})
    c.execute(SQL["count_succeeded"], {"id": batch.job_id, "count": sum(moved.values())})
    return stored, sum(moved.values())


def _plain_results(
    keys: Sequence[RequestId], lines: Sequence[JudgedLine], numbers: Mapping[Tariff | None, int | None]
) -> sql_rows.NewResults:
    return sql_rows.NewResults(
        keys,
        [line.input_tokens for line in lines],
        [line.output_tokens for line in lines],
        [line.cache_read_tokens for line in lines],
        [line.cache_write_5m_tokens for line in lines],
        [line.cache_write_1h_tokens for line in lines],
        [line.body for line in lines],
        [numbers[line.tariff] for line in lines],
        [line.nanos for line in lines],
    )


def _odd_results(
    keys: Iterable[RequestId], lines: Mapping[RequestId, JudgedLine], prices: ledger.PriceIds
) -> list[sql_rows.FullResult]:
    return [
        (key, line.input_tokens, line.output_tokens, line.cache_read_tokens, line.cache_write_5m_tokens,
         line.cache_write_1h_tokens, line.body, *ledger.columns(line.payment, prices))
        for key in keys if (line := lines[key]).payment is not None
    ]  # fmt: skip


def _by_stop(
    keys: Sequence[RequestId], lines: Mapping[RequestId, JudgedLine], c: SqlConnection
) -> dict[int | None, list[RequestId]]:
    """*keys*, in order, by the number of their stop reason: as a rule there is one, and a few that are rare."""
    numbers: dict[str | None, int | None] = _stop_numbers({lines[key].stop_reason for key in keys}, c)
    if len(numbers) == 1:
        return {number: list(keys) for number in numbers.values()}
    found: dict[int | None, list[RequestId]] = {}
    for key in keys:
        found.setdefault(numbers[lines[key].stop_reason], []).append(key)
    return found


def _stop_numbers(names: Collection[str | None], c: SqlConnection) -> dict[str | None, int | None]:
    """The number of each of *names*; there are only so many, and what comes after them is one."""
    known: dict[str | None, int | None] = dict(c.execute(SQL["stop_names"]).fetchall())
    for name in sorted({name for name in names if name is not None} - known.keys()):
        while name not in known and len(known) < result_outcome.MOST_STOP_NAMES:
            c.execute(SQL["add_stop_name"], {"name": name})
            known = dict(c.execute(SQL["stop_names"]).fetchall())
    other = known[result_outcome.OTHER_STOP]
    return {name: None if name is None else known.get(name, other) for name in names}


#: A request that failed: its key, error type, message, the API's id of the request, result body.
Failure = tuple[int, str, str, str | None, bytes]


def fail(rows: Sequence[Failure], c: SqlConnection) -> None:
    """Settle requests as failed."""
    for some in sql_rows.slices(rows, sql_rows.RESULTS_AT_ONCE):
        new = sql_rows.failed_results([key for key, *_ in some], [body for *_, body in some])
        first, _ = sql_rows.store_results(new, c)
        told = [
            (key, kind, message, cause_of(message), api_request_id, result)
            for result, (key, kind, message, api_request_id, _) in enumerate(some, first)
        ]
        c.update_rows(SQL["fail"], told)


def _store_attempts(
    batch: BatchRow,
    others: Iterable[tuple[RequestId, JudgedLine]],
    prices: ledger.PriceIds,
    now: datetime,
    c: SqlConnection,
) -> None:
    at = sql_rows.to_text(now)
    rows = [
        (batch.id, key, line.kind, line.outcome, line.error_type, line.error_message, line.api_request_id, at,
         None if line.outcome is result_outcome.Outcome.FAILED else line.body, line.input_tokens, line.output_tokens,
         line.cache_read_tokens, line.cache_write_5m_tokens, line.cache_write_1h_tokens,
         *ledger.columns(ledger.payment_of(line), prices))
        for key, line in others
    ]  # fmt: skip
    c.insert_rows(SQL["add_attempt"], rows)


def _error(line: JudgedLine) -> tuple[str, str]:
    """What a failed request shows: the API's own words, or the result type where it gave none."""
    kind = line.error_type if line.error_type is not None else line.kind
    return kind, line.error_message if line.error_message is not None else kind
