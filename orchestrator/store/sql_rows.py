"""Converts rows to values and back, and the writes that facets share. A value is always read whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.domain import model
from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.error_text import cause_of
from orchestrator.domain.ids import BatchId, JobId, Nonce
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.doubts import Stray
from orchestrator.store import sql_text


def to_text(at: datetime) -> str:
    """`2026-11-23T06:18:52.000000Z`; *at* must be aware."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_text_or_none(at: datetime | None) -> str | None:
    """`to_text`, for a column that may be empty."""
    return None if at is None else to_text(at)


def from_text(text: str) -> datetime:
    """The instant that `to_text` wrote."""
    return datetime.fromisoformat(text)


def from_text_or_none(text: str | None) -> datetime | None:
    """`from_text`, for a column that may be empty."""
    return None if text is None else datetime.fromisoformat(text)


SQL: Final = sql_text.load("rows")

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


def dict_rows(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """Every row of *cursor* as column → value."""
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def split_list(text: str) -> tuple[str, ...]:
    """Betas and tags as they are stored: in order, with commas between them."""
    return tuple(text.split(",")) if text else ()


def join_list(texts: Collection[str]) -> str:
    """How betas and tags are stored; none of them has a comma."""
    return ",".join(sorted(texts))


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
        betas=split_list(row["betas"]),
        priority=row["priority"],
        tags=split_list(row["tags"]),
        still_open=bool(row["still_open"]),
        added_at=from_text(row["added_at"]),
        resumes=row["resumes"],
        created_at=from_text(row["created_at"]),
        finished_at=from_text_or_none(row["finished_at"]),
        fence=row["fence"],
        resubmitted=row["resubmitted"],
        purged_at=from_text_or_none(row["purged_at"]),
        purged_by=row["purged_by"],
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
        **{name: row[name] for name in (*plain, *more)},
        **times,
    )


def to_jobs(cursor: sqlite3.Cursor) -> list[model.JobRow]:
    """Every row of a `SELECT * FROM job`."""
    return [to_job(row) for row in dict_rows(cursor)]


def to_batches(cursor: sqlite3.Cursor) -> list[model.BatchRow]:
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
    )


def failure(error_type: str, message: str) -> dict[str, str]:
    """The columns that say why a request failed."""
    return {"error_type": error_type, "error_message": message, "cause": cause_of(message)}


def moved(connection: sqlite3.Connection, sql: str, values: dict[str, Any]) -> bool:
    """Run a guarded UPDATE. False: another transaction moved the row, so the caller must stop."""
    return connection.execute(sql, values).rowcount == 1


#: A result before it has a number: the request's key; tokens of input, output, cache read, cache write 5m and 1h; body.
NewResult = tuple[int, int | None, int | None, int | None, int | None, int | None, bytes]


def store_results(rows: Iterable[NewResult], c: sqlite3.Connection) -> tuple[int, int]:
    """Store *rows*. Returns the first and the last number.

    The requests' rows must show these numbers in the same transaction.
    """
    first: int = c.execute(SQL["next_result"]).fetchone()[0]
    numbered = [(number, *row) for number, row in enumerate(rows, first)]
    sql_text.insert_rows(c, SQL["add_result"], numbered)
    return first, first + len(numbered) - 1


def store_result(key: int, body: bytes, c: sqlite3.Connection) -> int:
    """Store one result; its number."""
    return store_results([(key, None, None, None, None, None, body)], c)[0]
