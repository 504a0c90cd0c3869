"""The API's answers as bytes and headers, read strictly into the domain's values.

Shapes: Message Batches API reference. Times come as `…Z` and as `…+00:00` (both seen on the wire). A field that is
missing, of another type, or a status that nobody knows makes the whole answer unreadable: never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Final, Literal

import msgspec

from orchestrator.domain.answers import BatchPage, Counts, Meta, RemoteBatch, RemoteStatus

_MESSAGE_MAX: Final = 2000
_SNIPPET_MAX: Final = 120
_SECONDS: Final = re.compile(r"\d{1,12}(\.\d{1,9})?")

#: What arithmetic on times can bear, with room on both sides.
_YEARS: Final = range(2000, 9000)
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Id = Annotated[str, msgspec.Meta(pattern=r"^msgbatch_[!-~]+$", max_length=256)]
#: A batch has at most 100,000 requests; ten times that is no count of one.
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Unreadable(ValueError):
    """An answer that is not what the API documents; the message says where."""


class _Counts(msgspec.Struct):
    processing: _Count
    succeeded: _Count
    errored: _Count
    canceled: _Count
    expired: _Count


class _Batch(msgspec.Struct):
    id: _Id
    type: Literal["message_batch"]
    processing_status: RemoteStatus
    request_counts: _Counts
    created_at: _Time
    expires_at: _Time
    ended_at: _Time | None = None
    archived_at: _Time | None = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool
    last_id: str | None = None


class _Deleted(msgspec.Struct):
    id: str
    type: Literal["message_batch_deleted"]


class _ErrorDetails(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str
    message: str
    details: msgspec.Raw = msgspec.Raw(b"null")


class _ErrorBody(msgspec.Struct):
    type: Literal["error"]
    error: _Error


_batch: Final = msgspec.json.Decoder(_Batch)
_page: Final = msgspec.json.Decoder(_Page)
_deleted: Final = msgspec.json.Decoder(_Deleted)
_error: Final = msgspec.json.Decoder(_ErrorBody)
_details: Final = msgspec.json.Decoder(_ErrorDetails)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What an answer that is not a plain yes says. *api_error*: it was the API's own error object."""

    message: str
    error_code: str | None
    api_error: bool


def read_batch(body: bytes) -> RemoteBatch:
    """The batch in *body*. Raises Unreadable."""
    try:
        return _remote(_batch.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Unreadable(str(exc)) from exc


def read_page(body: bytes, meta: Meta) -> BatchPage:
    """The page of the list in *body*. Raises Unreadable."""
    try:
        page = _page.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Unreadable(str(exc)) from exc
    batches = tuple(_remote(batch) for batch in page.data)
    return BatchPage(batches=batches, has_more=page.has_more, last_id=page.last_id, meta=meta)


def read_deleted(body: bytes) -> str:
    """The id of the batch that *body* says is deleted. Raises Unreadable."""
    try:
        return _deleted.decode(body).id
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Unreadable(str(exc)) from exc


def _remote(batch: _Batch) -> RemoteBatch:
    counts = batch.request_counts
    return RemoteBatch(
        id=batch.id,
        status=batch.processing_status,
        counts=Counts(
            processing=counts.processing,
            succeeded=counts.succeeded,
            errored=counts.errored,
            canceled=counts.canceled,
            expired=counts.expired,
        ),
        created_at=_instant(batch.created_at),
        expires_at=_instant(batch.expires_at),
        ended_at=None if batch.ended_at is None else _instant(batch.ended_at),
        archived_at=None if batch.archived_at is None else _instant(batch.archived_at),
    )


def _instant(at: datetime) -> datetime:
    """*at* in UTC. A time outside of these years is no time: such as Go's zero, the year 1. Raises Unreadable."""
    if at.year not in _YEARS:
        raise Unreadable(f"{at.isoformat()} is no time of a batch")
    return at.astimezone(UTC)


def read_trouble(body: bytes, headers: Mapping[str, str]) -> Trouble:
    """What *body* says, whatever it is: the API's error object, or a stranger's page in a few words."""
    try:
        error = _error.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Trouble(message=_stranger(body, headers), error_code=None, api_error=False)
    return Trouble(message=error.message[:_MESSAGE_MAX], error_code=_error_code(error.details), api_error=True)


def _error_code(details: msgspec.Raw) -> str | None:
    try:
        return _details.decode(details).error_code
    except msgspec.DecodeError:
        return None


def _stranger(body: bytes, headers: Mapping[str, str]) -> str:
    kind = headers.get("content-type", "no content type")
    text = " ".join(body[: 8 * _SNIPPET_MAX].decode("utf-8", "replace").split())
    printable = "".join(c for c in text if c.isprintable())[:_SNIPPET_MAX]
    return f"not an answer of the API ({kind}, {len(body)} bytes): {printable}" if printable else f"no words ({kind})"


def read_meta(headers: Mapping[str, str]) -> Meta:
    """What the headers say; whatever is missing or garbled is None."""
    return Meta(
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
