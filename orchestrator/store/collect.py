"""Facets of the stages collect and settle: stores each result line once, then decides the requests without success."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, assert_never

from typing_extensions import override

from orchestrator.domain import result_outcome
from orchestrator.domain.error_text import cause_of
from orchestrator.domain.ids import JobId, RequestId, number_of, request_id
from orchestrator.domain.model import BatchRow, JobRow, JudgedLine
from orchestrator.domain.states import JobState
from orchestrator.ports.store import CollectStore, DownloadProgress, SettleStore
from orchestrator.store import facet, history, sql_rows, sql_text, submit
from orchestrator.store.custom_ids import find_many

SQL: Final = sql_text.load("collect")
_SETTLE_SLICE: Final = 5000


class SqliteCollectStore(facet.Facet, CollectStore):
    """Stores a chunk of results in one transaction, whole or not at all."""

    @override
    @facet.snapshot
    def to_collect(self, c: sqlite3.Connection, now: datetime, limit: int) -> list[BatchRow]:
        values = {"now": sql_rows.to_text(now), "limit": limit}
        return sql_rows.to_batches(c.execute(SQL["to_collect"], values))

    @override
    @facet.snapshot
    def numbers(self, c: sqlite3.Connection, job: JobId, custom_ids: Sequence[str]) -> dict[str, int]:
        found = find_many(job, custom_ids, c)
        return {custom_id: number_of(request) for custom_id, request in found.items()}

    @override
    async def store_lines(self, batch: BatchRow, lines: Sequence[JudgedLine], now: datetime) -> int:
        by_key = {request_id(batch.job_id, line.number): line for line in reversed(lines)}  # the first of two wins
        try:
            return await self._db.write(partial(_store_lines, batch, by_key, now))
        except _SettledAlready:
            return await self._db.write(partial(_store_still_pending, batch, by_key, now))

    @override
    @facet.snapshot
    def progress(self, c: sqlite3.Connection, batch: BatchRow) -> DownloadProgress:
        by_kind = {str(kind): int(n) for kind, n in c.execute(SQL["attempt_counts"], {"id": batch.id})}
        by_kind["succeeded"] = c.execute(SQL["succeeded_count"], {"id": batch.id}).fetchone()[0]
        return DownloadProgress(count=batch.count, by_kind=by_kind)

    @override
    @facet.transaction
    def again(
        self, c: sqlite3.Connection, batch: BatchRow, due: datetime, date: datetime | None, *, full: bool
    ) -> bool:
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
    def collected(self, c: sqlite3.Connection, batch: BatchRow, now: datetime) -> bool:
        return _collected(batch, "all results are stored", now, c)

    @override
    @facet.transaction
    def give_up(
        self, c: sqlite3.Connection, batch: BatchRow, error: tuple[str, str], body: bytes, now: datetime
    ) -> int:
        keys = [row[0] for row in c.execute(SQL["unseen"], {"id": batch.id})]
        if not _collected(batch, f"{len(keys)} results never came", now, c):
            return 0
        _fail([(key, *error, None, body) for key in keys], c)
        return len(keys)


class SqliteSettleStore(facet.Facet, SettleStore):
    """Decides requests slice by slice, each slice one transaction."""

    @override
    @facet.snapshot
    def to_settle(self, c: sqlite3.Connection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_settle"]))

    @override
    @facet.snapshot
    def outcomes(self, c: sqlite3.Connection, batch: BatchRow) -> dict[result_outcome.Outcome, int]:
        return {
            result_outcome.Outcome(outcome): count for outcome, count in c.execute(SQL["outcomes"], {"id": batch.id})
        }

    @override
    @facet.transaction
    def settle(
        self, c: sqlite3.Connection, batch: BatchRow, max_attempts: int, now: datetime
    ) -> dict[result_outcome.Settlement, int] | None:
        rows = sql_rows.dict_rows(c.execute(SQL["undecided"], {"id": batch.id, "limit": _SETTLE_SLICE}))
        if not rows:
            values = {"id": batch.id, "fence": batch.fence, "now": sql_rows.to_text(now)}
            submit.move(batch, SQL["settle"], values, "settled", None, now, c)
            return None
        state = JobState(c.execute(SQL["job_state"], {"id": batch.job_id}).fetchone()[0])
        counts: dict[result_outcome.Settlement, int] = {}
        for row in rows:
            settlement = result_outcome.settlement_of(
                result_outcome.Outcome(row["outcome"]),
                row["attempts"],
                max_attempts,
                is_canceling=state is JobState.CANCELING,
                is_asked=batch.cancel_asked_at is not None,
            )
            _apply(settlement, row, c)
            counts[settlement] = counts.get(settlement, 0) + 1
        return counts

    @override
    @facet.transaction
    def finish_jobs(self, c: sqlite3.Connection, now: datetime) -> list[JobRow]:
        jobs = [sql_rows.to_job(row) for row in sql_rows.dict_rows(c.execute(SQL["done_jobs"]))]
        for job in jobs:
            new = JobState.CANCELED if job.state is JobState.CANCELING else JobState.FINISHED
            values = {"id": job.id, "fence": job.fence, "old": job.state, "new": new, "now": sql_rows.to_text(now)}
            if sql_rows.moved(c, SQL["finish_job"], values):
                history.record(c, now, "job.moved", job=job.id, old=job.state, new=new)
        return jobs

    @override
    @facet.snapshot
    def to_delete(self, c: sqlite3.Connection, limit: int) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_delete"], {"limit": limit}))

    @override
    @facet.transaction
    def deleted(self, c: sqlite3.Connection, batch: BatchRow, now: datetime) -> None:
        if sql_rows.moved(c, SQL["deleted"], {"id": batch.id, "now": sql_rows.to_text(now)}):
            history.record(c, now, "batch.deleted", job=batch.job_id, batch=batch.id)


class _SettledAlready(Exception):
    """Rolls back a chunk in which some requests do not wait for a line any more: a repeated download."""


def _store_lines(batch: BatchRow, lines: Mapping[RequestId, JudgedLine], now: datetime, c: sqlite3.Connection) -> int:
    """Store *lines* (by request key), which must all be waited for, or raise `_SettledAlready`.

    No savepoint: SQLite 3.40 would walk its whole in-memory journal after every row (measured: 14 us of a row's 20).
    """
    # In the order of the requests: neighbours share a page.
    succeeded = sorted(key for key, line in lines.items() if line.outcome is result_outcome.Outcome.SUCCEEDED)
    others = [key for key, line in lines.items() if line.outcome is not result_outcome.Outcome.SUCCEEDED]
    if _succeed(batch, succeeded, lines, c) != len(succeeded) or len(_waiting(batch, others, c)) != len(others):
        raise _SettledAlready
    _store_attempts(batch, [(key, lines[key]) for key in others], now, c)
    failed = [key for key in others if lines[key].outcome is result_outcome.Outcome.FAILED]
    _fail([(key, *_error(lines[key]), lines[key].api_request_id, lines[key].body) for key in failed], c)
    return len(lines)


def _store_still_pending(
    batch: BatchRow, lines: Mapping[RequestId, JudgedLine], now: datetime, c: sqlite3.Connection
) -> int:
    """As `_store_lines`, but skips lines whose requests are settled or decided already."""
    return _store_lines(batch, {key: lines[key] for key in _waiting(batch, list(lines), c)}, now, c)


def _waiting(batch: BatchRow, keys: Sequence[RequestId], c: sqlite3.Connection) -> list[RequestId]:
    """Those of *keys* that have no result of this batch yet, in order."""
    if not keys:
        return []
    values = {"keys": json.dumps(sorted(keys)), "batch_id": batch.id}
    return [row[0] for row in c.execute(SQL["waiting"], values)]


def _succeed(
    batch: BatchRow, keys: Sequence[RequestId], lines: Mapping[RequestId, JudgedLine], c: sqlite3.Connection
) -> int:
    """Settle *keys* with their answers; how many of them still waited. If not all did, the caller must roll back."""
    if not keys:
        return 0
    moved_rows = 0
    for stop, members in _by_stop(keys, lines, c).items():
        rows = [
            (key, (line := lines[key]).input_tokens, line.output_tokens, line.cache_read_tokens,
             line.cache_write_5m_tokens, line.cache_write_1h_tokens, line.body)
            for key in members
        ]  # fmt: skip
        first, last = sql_rows.store_results(rows, c)
        values = {"first": first, "last": last, "batch_id": batch.id, "stop": stop}
        count = c.execute(SQL["succeed"], values).rowcount
        if stop is not None and count:
            c.execute(SQL["count_stopped"], {"id": batch.job_id, "stop": stop, "count": count})
        moved_rows += count
    c.execute(SQL["count_succeeded"], {"id": batch.job_id, "count": moved_rows})
    return moved_rows


def _by_stop(
    keys: Sequence[RequestId], lines: Mapping[RequestId, JudgedLine], c: sqlite3.Connection
) -> dict[int | None, list[RequestId]]:
    """*keys*, in order, by the number of their stop reason: as a rule there is one, and a few that are rare."""
    numbers: dict[str | None, int | None] = dict(c.execute(SQL["stop_names"]))
    for name in sorted({line.stop_reason for line in lines.values() if line.stop_reason is not None} - numbers.keys()):
        is_new = len(numbers) < result_outcome.MOST_STOP_NAMES
        numbers[name] = (
            c.execute(SQL["add_stop_name"], {"name": name}).fetchone()[0]
            if is_new
            else numbers[result_outcome.OTHER_STOP]
        )
    numbers[None] = None
    found: dict[int | None, list[RequestId]] = {}
    for key in keys:
        found.setdefault(numbers[lines[key].stop_reason], []).append(key)
    return found


def _fail(rows: Iterable[tuple[int, str, str, str | None, bytes]], c: sqlite3.Connection) -> None:
    """Settle requests as failed: (key, error type, message, the API's request id, result body)."""
    for key, kind, message, api_request_id, body in rows:
        c.execute(
            SQL["fail"], (kind, message, cause_of(message), api_request_id, sql_rows.store_result(key, body, c), key)
        )


def _store_attempts(
    batch: BatchRow, others: Iterable[tuple[RequestId, JudgedLine]], now: datetime, c: sqlite3.Connection
) -> None:
    at = sql_rows.to_text(now)
    rows = [
        (batch.id, key, line.kind, line.outcome, line.error_type, line.error_message, line.api_request_id, at,
         None if line.outcome is result_outcome.Outcome.FAILED else line.body)
        for key, line in others
    ]  # fmt: skip
    c.executemany(SQL["add_attempt"], rows)


def _error(line: JudgedLine) -> tuple[str, str]:
    """What a failed request shows: the API's own words, or the result type where it gave none."""
    kind = line.error_type if line.error_type is not None else line.kind
    return kind, line.error_message if line.error_message is not None else kind


def _collected(batch: BatchRow, why: str, now: datetime, c: sqlite3.Connection) -> bool:
    if not sql_rows.moved(c, SQL["collected"], {"id": batch.id, "fence": batch.fence}):
        return False
    history.record(c, now, "batch.collected", job=batch.job_id, batch=batch.id, why=why)
    return True


def _apply(settlement: result_outcome.Settlement, row: dict[str, Any], c: sqlite3.Connection) -> None:
    """Give the request of *row*, an undecided attempt, its last word, or queue it again."""
    key, burnt = row["request_id"], int(row["outcome"] == result_outcome.Outcome.AGAIN)
    error = (row["error_type"] if row["error_type"] is not None else row["kind"], row["error_message"])
    match settlement:
        case (
            result_outcome.Settlement.AGAIN
            | result_outcome.Settlement.CREDIT
            | result_outcome.Settlement.REQUEUE_CANCELED_ELSEWHERE
        ):
            c.execute(SQL["requeue"], (burnt, *error, row["api_request_id"], key))
        case result_outcome.Settlement.REQUEUE_CANCELED_BY_US:
            c.execute(SQL["requeue"], (0, None, None, None, key))
        case result_outcome.Settlement.CANCELED_WITH_JOB:
            c.execute(SQL["cancel"] if burnt else SQL["cancel_free"], (key,))
        case result_outcome.Settlement.FAILED:
            message = error[1] if error[1] is not None else f"{error[0]} in {row['attempts'] + 1} attempts"
            _fail([(key, error[0], message, row["api_request_id"], row["body"])], c)
        case _:
            assert_never(settlement)
