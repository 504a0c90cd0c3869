"""Parses the API's responses, bytes and headers, into domain values.

Shapes: Message Batches API reference. Times come as `…Z` and as `…+00:00` (both seen on the wire). A batch with a
missing field, a field of another type or an unknown status is unreadable: nothing is guessed. An entry of the list that
cannot be read costs only itself; the page's own fields are read strictly, because without them a walk cannot tell
whether it is over. An error body is the API's own error object, a flattened form of it, or a stranger's page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from orchestrator.domain import api_answers
from orchestrator.domain.billing import MOST_TOKENS
from orchestrator.domain.error_text import error_fields
from orchestrator.domain.json_text import UNREADABLE, ItemScanner

_SECONDS: Final = re.compile(r"\d{1,12}(\.\d{1,9})?")
#: What arithmetic on times can bear, with room on both sides.
_YEARS: Final = range(2000, 9000)
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Id = Annotated[str, msgspec.Meta(pattern=r"^msgbatch_[!-~]+$", max_length=256)]
#: A batch has at most 100,000 requests; ten times that is no count of one.
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_MESSAGE_MAX: Final = 2000
_SNIPPET_MAX: Final = 120
T = TypeVar("T")
_DATA: Final = re.compile(rb'"data"\s*:\s*\[')
_BETWEEN: Final = b" \t\r\n,"
#: What can stand in the path of a call.
_AnyId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$", max_length=256)]


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
    processing_status: api_answers.RemoteStatus
    request_counts: CountsObject
    created_at: Instant
    expires_at: Instant
    ended_at: Instant | None = None
    archived_at: Instant | None = None


class _DeletedObject(msgspec.Struct):
    id: str
    type: Literal["message_batch_deleted"]


class _TokenCount(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class _Countable(msgspec.Struct, omit_defaults=True):
    """The fields of params that a call of `count_tokens` takes. Others are refused there ("Extra inputs")."""

    model: msgspec.Raw
    messages: msgspec.Raw
    system: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tools: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tool_choice: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    thinking: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output_config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    cache_control: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _ErrorDetails(msgspec.Struct):
    error_code: str | None = None


class _ErrorObject(msgspec.Struct):
    type: str
    message: str
    details: msgspec.Raw = msgspec.Raw(b"null")


class _ErrorBody(msgspec.Struct):
    type: Literal["error"]
    error: _ErrorObject


class _ListPage(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool
    last_id: str | None = None


_batch: Final = msgspec.json.Decoder(_Batch)
_deleted: Final = msgspec.json.Decoder(_DeletedObject)
_token_count: Final = msgspec.json.Decoder(_TokenCount)
_countable: Final = msgspec.json.Decoder(_Countable)
_error: Final = msgspec.json.Decoder(_ErrorBody)
_details: Final = msgspec.json.Decoder(_ErrorDetails)
_page: Final = msgspec.json.Decoder(_ListPage)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_id: Final = msgspec.json.Decoder(_AnyId)
_counts: Final = msgspec.json.Decoder(CountsObject)
_time: Final = msgspec.json.Decoder(Instant)


class Unreadable(ValueError):
    """A response that is not what the API documents; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSummary:
    """What a response other than a plain yes says. api_error: it was the API's own error object."""

    message: str
    error_code: str | None
    api_error: bool


def read_batch(body: bytes | msgspec.Raw) -> api_answers.RemoteBatch:
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


def countable(params: bytes) -> bytes:
    """The body of a call of `count_tokens` for the request in *params*, which intake has checked.

    Source: the API's reference of that call, SDK 2.12 `MessageCountTokensParams`.
    """
    return msgspec.json.encode(_countable.decode(params))


def read_token_count(body: bytes) -> int:
    """How many input tokens *body* says. Raises Unreadable."""
    try:
        return _token_count.decode(body).input_tokens
    except UNREADABLE as exc:
        raise Unreadable(str(exc)) from exc


def _remote(batch: _Batch) -> api_answers.RemoteBatch:
    counts = batch.request_counts
    return api_answers.RemoteBatch(
        id=batch.id,
        status=batch.processing_status,
        counts=api_answers.ApiCounts(
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
    """*at* in UTC. Raises Unreadable for a year out of range, such as Go's zero time, the year 1."""
    if at.year not in _YEARS:
        raise Unreadable(f"{at.isoformat()} is no time of a batch")
    return at.astimezone(UTC)


def read_meta(headers: Mapping[str, str]) -> api_answers.ResponseMeta:
    """What the headers say; what is missing or garbled is None."""
    return api_answers.ResponseMeta(
        date=_http_date(headers.get("date")),
        request_id=headers.get("request-id"),
        organization=headers.get("anthropic-organization-id"),
        workspace=headers.get("anthropic-workspace-id"),
    )


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the API says: `retry-after-ms`, or `retry-after` in seconds or as a date.

    A date counts from the response's own `Date`, never from our clock. Negative or garbled: None.
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


def read_error(body: bytes, headers: Mapping[str, str]) -> ErrorSummary:
    """What *body* says, whatever it is."""
    try:
        error = _error.decode(body).error
    except UNREADABLE:
        words = error_fields(body)
        message = words.message if words.message is not None else _stranger(body, headers)
        return ErrorSummary(message=message[:_MESSAGE_MAX], error_code=None, api_error=False)
    return ErrorSummary(message=error.message[:_MESSAGE_MAX], error_code=_error_code(error.details), api_error=True)


def _error_code(details: msgspec.Raw) -> str | None:
    try:
        return _details.decode(details).error_code
    except UNREADABLE:
        return None


def _stranger(body: bytes, headers: Mapping[str, str]) -> str:
    kind = headers.get("content-type", "no content type")
    text = " ".join(body[: 8 * _SNIPPET_MAX].decode("utf-8", "replace").split())
    printable = "".join(c for c in text if c.isprintable())[:_SNIPPET_MAX]
    return f"not an answer of the API ({kind}, {len(body)} bytes): {printable}" if printable else f"no words ({kind})"


def read_page(body: bytes, meta: api_answers.ResponseMeta) -> api_answers.BatchPage:
    """The page of the list in *body*. Raises Unreadable where the page itself cannot be read."""
    try:
        page = _page.decode(body)
        entries = [bytes(entry) for entry in page.data]
    except UNREADABLE as exc:
        page, entries = _cut(body, exc)
    read = [_entry(entry) for entry in entries]
    ids = [entry.id for entry in read if entry.id is not None]
    return api_answers.BatchPage(
        batches=tuple(entry for entry in read if isinstance(entry, api_answers.RemoteBatch)),
        malformed=tuple(entry for entry in read if isinstance(entry, api_answers.MalformedEntry)),
        has_more=page.has_more,
        last_id=ids[-1] if ids else page.last_id,
        meta=meta,
    )


def _cut(body: bytes, cause: Exception) -> tuple[_ListPage, list[bytes]]:
    """The page and the bytes of its entries, if one of them is no JSON at all or is nested too deeply."""
    found = _DATA.search(body)
    entries = [] if found is None else list(_entries(bytearray(body[found.end() :])))
    if found is None or not entries:
        raise Unreadable(str(cause)) from cause
    closing = body.find(b"]", found.end() + entries[-1][1])
    try:
        page = _page.decode(body[: found.end()] + body[closing if closing >= 0 else len(body) :])
    except UNREADABLE as exc:
        raise Unreadable(str(exc)) from exc
    return page, [entry for entry, _ in entries]


def _entries(data: bytearray) -> Iterator[tuple[bytes, int]]:
    """The entries at the beginning of *data*, each with the offset of its end."""
    start = 0
    for end in ItemScanner().ends(data):
        text = bytes(data[start:end]).lstrip(_BETWEEN)
        before = min((at for at in (text.find(b"{"), text.find(b"[")) if at >= 0), default=0)
        if before:  # what is no object has no end of its own
            yield text[:before], end
        yield text[before:], end
        start = end


def _entry(raw: bytes) -> api_answers.RemoteBatch | api_answers.MalformedEntry:
    try:
        return read_batch(raw)
    except Unreadable as exc:
        return _odd(raw, str(exc))


def _odd(raw: bytes, why: str) -> api_answers.MalformedEntry:
    """What can be told of an entry that is not a batch: each field that can be read by itself."""
    fields = _decoded(_fields, raw)
    given = {} if fields is None else fields
    own = _decoded(_id, given.get("id"))
    counts = _decoded(_counts, given.get("request_counts"))
    created_at = _decoded(_time, given.get("created_at"))
    mark = own if own is not None else f"{api_answers.NAMELESS}{hashlib.sha256(raw).hexdigest()[:16]}"
    total = None if counts is None else counts.total
    return api_answers.MalformedEntry(mark=mark, id=own, total=total, created_at=_sane(created_at), why=why[:200])


def _decoded(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw | None) -> T | None:
    try:
        return None if raw is None else decoder.decode(raw)
    except UNREADABLE:
        return None


def _sane(at: datetime | None) -> datetime | None:
    try:
        return None if at is None else instant(at)
    except Unreadable:
        return None
