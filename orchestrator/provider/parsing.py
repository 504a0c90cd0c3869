"""The API's answers as bytes and headers, read strictly into the domain's values.

Shapes: Message Batches API reference. Times come as `…Z` and as `…+00:00` (both seen on the wire). A field that is
missing, of another type, or a status that nobody knows makes a batch unreadable: never guessed. Pages of the list are
read in `wire_list`, refusals in `wire_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Final, Literal

import msgspec

from orchestrator.domain.api_answers import ApiCounts, RemoteBatch, RemoteStatus, ResponseMeta
from orchestrator.domain.json_text import UNREADABLE

_SECONDS: Final = re.compile(r"\d{1,12}(\.\d{1,9})?")

#: What arithmetic on times can bear, with room on both sides.
_YEARS: Final = range(2000, 9000)
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Id = Annotated[str, msgspec.Meta(pattern=r"^msgbatch_[!-~]+$", max_length=256)]
#: A batch has at most 100,000 requests; ten times that is no count of one.
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Unreadable(ValueError):
    """An answer that is not what the API documents; the message says where."""


class CountsObject(msgspec.Struct):
    """`request_counts` as the API shows it."""

    processing: _Count
    succeeded: _Count
    errored: _Count
    canceled: _Count
    expired: _Count

    @property
    def total(self) -> int:
        """The size of the batch."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class _Batch(msgspec.Struct):
    id: _Id
    type: Literal["message_batch"]
    processing_status: RemoteStatus
    request_counts: CountsObject
    created_at: Instant
    expires_at: Instant
    ended_at: Instant | None = None
    archived_at: Instant | None = None


class _Deleted(msgspec.Struct):
    id: str
    type: Literal["message_batch_deleted"]


_batch: Final = msgspec.json.Decoder(_Batch)
_deleted: Final = msgspec.json.Decoder(_Deleted)


def read_batch(body: bytes | msgspec.Raw) -> RemoteBatch:
    """The batch in *body*. Raises Unreadable."""
    try:
        return _remote(_batch.decode(body))
    except UNREADABLE as exc:
        raise Unreadable(str(exc)) from exc


def read_deleted(body: bytes) -> str:
    """The id of the batch that *body* says is deleted. Raises Unreadable."""
    try:
        return _deleted.decode(body).id
    except UNREADABLE as exc:
        raise Unreadable(str(exc)) from exc


def _remote(batch: _Batch) -> RemoteBatch:
    counts = batch.request_counts
    return RemoteBatch(
        id=batch.id,
        status=batch.processing_status,
        counts=ApiCounts(
            processing=counts.processing,
            succeeded=counts.succeeded,
            errored=counts.errored,
            canceled=counts.canceled,
            expired=counts.expired,
        ),
        created_at=instant(batch.created_at),
        expires_at=instant(batch.expires_at),
        ended_at=None if batch.ended_at is None else instant(batch.ended_at),
        archived_at=None if batch.archived_at is None else instant(batch.archived_at),
    )


def instant(at: datetime) -> datetime:
    """*at* in UTC. A time outside of these years is no time: such as Go's zero, the year 1. Raises Unreadable."""
    if at.year not in _YEARS:
        raise Unreadable(f"{at.isoformat()} is no time of a batch")
    return at.astimezone(UTC)


def read_meta(headers: Mapping[str, str]) -> ResponseMeta:
    """What the headers say; whatever is missing or garbled is None."""
    return ResponseMeta(
        date=_http_date(headers.get("date")),
        request_id=headers.get("request-id"),
        organization=headers.get("anthropic-organization-id"),
        workspace=headers.get("anthropic-workspace-id"),
    )


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the API says: `retry-after-ms`, or `retry-after` in seconds or as a date.

    A date counts from the answer's own `Date`: our clock has no say. Negative or garbled: None.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _SECONDS.fullmatch(milliseconds) is not None:
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value) is not None:
        return float(value)
    until, now = _http_date(value), _http_date(headers.get("date"))
    if until is None or now is None or until < now:
        return None
    return (until - now).total_seconds()


def _http_date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(value)
        return None if date.tzinfo is None or date.year not in _YEARS else date.astimezone(UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
