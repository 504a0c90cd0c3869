"""Converts rows to values and back, and the writes that facets share. A value is always read whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from orchestrator.domain import model
from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.error_text import cause_of
from orchestrator.domain.ids import BatchId, JobId, Nonce
from orchestrator.domain.pilot import PilotState
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.doubts import Stray
from orchestrator.store import sql_text
from orchestrator.store.sql_connection import Rows, SqlConnection


def to_text(at: datetime) -> str:
    """`2026-11-23T06:18:52.000000Z`; *at* must be aware."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_text_or_none(at: datetime | None) -> str | None:
    """`to_text`, for a column that may be empty."""
    return None if at is None else to_text(at)


def day_of(at: datetime) -> str:
    """The day in UTC: what money is filed under."""
    return to_text(at)[:10]


def from_text(text: str) -> datetime:
    """The instant that `to_text` wrote."""
    return datetime.fromisoformat(text)


def from_text_or_none(text: str | None) -> datetime | None:
    """`from_text`, for a column that may be empty."""
    return None if text is None else datetime.fromisoformat(text)


SQL: Final = sql_text.load("rows")
T = TypeVar("T")

_BATCH_TIMES: Final = (
    "cursor_created_at",
    "cursor_date",
    "sent_at",
    "doubt_since",
    "doubt_date",
    "doubt_until",
    "closed_date",
    "created_at",
    "expires_at",
    "cancel_asked_at",
    "ended_at",
    "first_download_date",
    "download_due_at",
    "settled_at",
    "deleted_at",
)


def dict_rows(cursor: Rows) -> list[dict[str, Any]]:
    """Every row of *cursor* as column → value."""
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def split_list(text: str) -> tuple[str, ...]:
    """Betas and tags as they are stored: in order, with commas between them."""
    return tuple(text.split(",")) if text else ()


def join_list(texts: Collection[str]) -> str:
    """How betas and tags are stored; none of them has a comma."""
    return ",".join(sorted(texts))


_COUNTS: Final = ("twins", "twins_waiting", "twins_succeeded", "trial", "submitted_by")


def to_job(row: dict[str, Any]) -> model.JobRow:
    """A `SELECT * FROM job` row."""
    return model.JobRow(
        id=JobId(row["id"]),
        public_id=row["public_id"],
        name=row["name"],
        state=JobState(row["state"]),
        reason_code=row["reason_code"],
        reason=row["reason"],
        source=row["source"],
        content_hash=row["content_hash"],
        source_bytes=row["source_bytes"],
        key=row["key"],
        api_version=row["api_version"],
        version_reason=row["version_reason"],
        betas=split_list(row["betas"]),
        priority=row["priority"],
        tags=split_list(row["tags"]),
        cache=CacheUse(row["cache"]),
        schema=row["answer_schema"],
        retry_invalid=row["retry_invalid"],
        still_open=bool(row["still_open"]),
        added_at=from_text(row["added_at"]),
        resumes=row["resumes"],
        created_at=from_text(row["created_at"]),
        finished_at=from_text_or_none(row["finished_at"]),
        fence=row["fence"],
        resubmitted=row["resubmitted"],
        purged_at=from_text_or_none(row["purged_at"]),
        purged_by=row["purged_by"],
        cap_nanos=row["cap_nanos"],
        per_request_nanos=row["per_request_nanos"],
        pilot=None if row["pilot"] is None else PilotState(row["pilot"]),
        dedupe=bool(row["dedupe"]),
        **{name: row[name] for name in _COUNTS},
        requests=model.RequestCounts(
            total=row["total"],
            queued=row["queued"],
            batched=row["batched"],
            succeeded=row["succeeded"],
            failed=row["failed"],
            canceled=row["canceled"],
        ),
    )


def to_batch(row: dict[str, Any]) -> model.BatchRow:
    """A `SELECT * FROM batch` row."""
    times: dict[str, Any] = {name: from_text_or_none(row[name]) for name in _BATCH_TIMES}
    ended = row["api_succeeded"] is not None
    counts = ApiCounts(
        succeeded=row["api_succeeded"] if ended else 0,
        errored=row["api_errored"] if ended else 0,
        canceled=row["api_canceled"] if ended else 0,
        expired=row["api_expired"] if ended else 0,
    )
    plain = ("count", "size_bytes", "digest", "api_version", "resumes", "depth", "cuts", "refusal", "cursor_id")
    more = ("organization", "workspace", "doubt_looks", "remote_id", "downloads", "download_tries", "fence")
    money = ("worst_nanos", "reserved_nanos")
    return model.BatchRow(
        id=BatchId(row["id"]),
        job_id=JobId(row["job_id"]),
        nonce=Nonce(row["nonce"]),
        state=BatchState(row["state"]),
        betas=split_list(row["betas"]),
        planned_at=from_text(row["planned_at"]),
        parent_id=None if row["parent_id"] is None else BatchId(row["parent_id"]),
        api_counts=counts if ended else None,
        collected=bool(row["collected"]),
        adopted=bool(row["adopted"]),
        partial=bool(row["partial"]),
        **{name: row[name] for name in (*plain, *more, *money)},
        **times,
    )


def to_jobs(cursor: Rows) -> list[model.JobRow]:
    """Every row of a `SELECT * FROM job`."""
    return [to_job(row) for row in dict_rows(cursor)]


def to_batches(cursor: Rows) -> list[model.BatchRow]:
    """Every row of a `SELECT * FROM batch`."""
    return [to_batch(row) for row in dict_rows(cursor)]


def to_gate(row: dict[str, Any]) -> model.Gate:
    """A `SELECT * FROM gate` row."""
    return model.Gate(
        name=row["name"],
        set_at=from_text(row["set_at"]),
        until=from_text(row["until"]),
        tries=row["tries"],
        why=row["why"],
    )


def to_remote(row: dict[str, Any]) -> model.Candidate:
    """A `SELECT * FROM remote` row."""
    return model.Candidate(
        remote_id=row["remote_id"],
        count=row["count"],
        created_at=from_text(row["created_at"]),
        verdict=row["verdict"],
        batch_id=None if row["batch_id"] is None else BatchId(row["batch_id"]),
        unreadable_since=from_text_or_none(row["unreadable_since"]),
    )


def to_stray(row: dict[str, Any]) -> Stray:
    """A `SELECT * FROM stray` row that has a job."""
    return Stray(
        remote_id=row["remote_id"],
        nonce=Nonce(row["nonce"]),
        count=row["count"],
        created_at=from_text(row["created_at"]),
        expires_at=from_text(row["expires_at"]),
        job_id=JobId(row["job_id"]),
        numbers=row["numbers"],
        up_to=row["up_to"],
    )


def to_event(row: dict[str, Any]) -> model.Event:
    """A `SELECT * FROM event` row."""
    return model.Event(
        id=row["id"],
        at=from_text(row["at"]),
        job_id=None if row["job_id"] is None else JobId(row["job_id"]),
        batch_id=None if row["batch_id"] is None else BatchId(row["batch_id"]),
        kind=row["kind"],
        old=row["old"],
        new=row["new"],
        why=row["why"],
        actor=row["actor"],
    )


def failure(error_type: str, message: str) -> dict[str, str]:
    """The columns that say why a request failed."""
    return {"error_type": error_type, "error_message": message, "cause": cause_of(message)}


def moved(connection: SqlConnection, sql: str, values: dict[str, Any]) -> bool:
    """Run a guarded UPDATE. False: another transaction moved the row, so the caller must stop."""
    return connection.execute(sql, values).rowcount == 1


_Number = int | None


class NewResults(NamedTuple):
    """Results before they have numbers, by columns: there are thousands, and their sums are asked for as well.

    keys: of their requests. prices: the numbers of their prices. nanos: their costs.
    """

    keys: Sequence[int]
    input: Sequence[_Number]
    output: Sequence[_Number]
    read: Sequence[_Number]
    write_5m: Sequence[_Number]
    write_1h: Sequence[_Number]
    bodies: Sequence[bytes]
    prices: Sequence[_Number]
    nanos: Sequence[_Number]


#: One result with web searches, and what other models have on top (`ledger.columns`).
FullResult = tuple[int, _Number, _Number, _Number, _Number, _Number, bytes, _Number, _Number, _Number, str | None]


#: As many as a writer may be given numbers for at once.
RESULTS_AT_ONCE: Final = 16_384


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """*items* in runs of *size*; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def store_results(new: NewResults, c: SqlConnection, full: Sequence[FullResult] = ()) -> tuple[int, int]:
    """Store at most RESULTS_AT_ONCE *new* ones and, after them, *full* ones. Returns the first and the last number.

    The requests' rows must show these numbers in the same transaction. Two statements: a column that is nearly always
    empty costs as much as another.
    """
    first: int = c.execute(SQL["next_result"]).fetchone()[0]
    then = first + len(new.keys)
    c.insert_rows(SQL["add_result"], list(zip(range(first, then), *new, strict=True)))
    if full:
        c.insert_rows(SQL["add_full_result"], [(number, *row) for number, row in enumerate(full, then)])
    return first, then + len(full) - 1


def failed_results(keys: Sequence[int], bodies: Sequence[bytes]) -> NewResults:
    """Results of requests that failed: what their answers cost lies with their attempts."""
    none = [None] * len(keys)
    return NewResults(keys, none, none, none, none, none, bodies, none, none)


def store_result(key: int, body: bytes, c: SqlConnection) -> int:
    """Store the result of one request that failed; its number."""
    return store_results(failed_results([key], [body]), c)[0]
