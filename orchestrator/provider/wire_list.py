"""A page of the list: an entry that cannot be read costs only itself, whatever is in it.

The page's own fields are read strictly: without them a walk does not know whether it is over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final, TypeVar

import msgspec

from orchestrator.domain.api_answers import NAMELESS, BatchPage, MalformedEntry, RemoteBatch, ResponseMeta
from orchestrator.domain.json_text import UNREADABLE, ItemScanner
from orchestrator.provider.parsing import CountsObject, Instant, Unreadable, instant, read_batch

T = TypeVar("T")

_DATA: Final = re.compile(rb'"data"\s*:\s*\[')
_BETWEEN: Final = b" \t\r\n,"
#: What can stand in the path of a call.
_AnyId = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$", max_length=256)]


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool
    last_id: str | None = None


_page: Final = msgspec.json.Decoder(_Page)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_id: Final = msgspec.json.Decoder(_AnyId)
_counts: Final = msgspec.json.Decoder(CountsObject)
_time: Final = msgspec.json.Decoder(Instant)


def read_page(body: bytes, meta: ResponseMeta) -> BatchPage:
    """The page of the list in *body*. Raises Unreadable where the page itself cannot be read."""
    try:
        page = _page.decode(body)
        entries = [bytes(entry) for entry in page.data]
    except UNREADABLE as exc:
        page, entries = _cut(body, exc)
    read = [_entry(entry) for entry in entries]
    ids = [entry.id for entry in read if entry.id is not None]
    return BatchPage(
        batches=tuple(entry for entry in read if isinstance(entry, RemoteBatch)),
        malformed=tuple(entry for entry in read if isinstance(entry, MalformedEntry)),
        has_more=page.has_more,
        last_id=ids[-1] if ids else page.last_id,
        meta=meta,
    )


def _cut(body: bytes, cause: Exception) -> tuple[_Page, list[bytes]]:
    """The page and the bytes of its entries, where one of them is no JSON at all or is nested too deeply."""
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
    """The entries at the beginning of *data*, each with the place of its end."""
    start = 0
    for end in ItemScanner().ends(data):
        text = bytes(data[start:end]).lstrip(_BETWEEN)
        before = min((at for at in (text.find(b"{"), text.find(b"[")) if at >= 0), default=0)
        if before:  # what is no object has no end of its own
            yield text[:before], end
        yield text[before:], end
        start = end


def _entry(raw: bytes) -> RemoteBatch | MalformedEntry:
    try:
        return read_batch(raw)
    except Unreadable as exc:
        return _odd(raw, str(exc))


def _odd(raw: bytes, why: str) -> MalformedEntry:
    """What can be told of an entry that is not a batch: each field that is in order by itself counts."""
    fields = _decoded(_fields, raw)
    given = {} if fields is None else fields
    own = _decoded(_id, given.get("id"))
    counts = _decoded(_counts, given.get("request_counts"))
    created_at = _decoded(_time, given.get("created_at"))
    mark = own if own is not None else f"{NAMELESS}{hashlib.sha256(raw).hexdigest()[:16]}"
    total = None if counts is None else counts.total
    return MalformedEntry(mark=mark, id=own, total=total, created_at=_sane(created_at), why=why[:200])


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
