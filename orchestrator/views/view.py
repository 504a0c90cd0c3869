"""The base of all views, and how times are written.

A view is one JSON object of the REST API and of `--json`, declared once as a msgspec.Struct and used three times: `of`
builds it from domain values to be encoded; its schema is a component of the OpenAPI document, named without "View"; a
client decodes it and converts it back with a `to_…` method. Fields are encoded in the order of their declaration.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, overload

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
#: RFC 3339 in UTC, to the millisecond: `2026-11-23T06:18:52.123Z`.
Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
#: JSON that is passed on byte for byte.
RawObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
RawOrNull = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["object", "null"]})]
_NULL: Final = b"null"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object of the API. Decoding ignores unknown keys: a newer server may send more."""

    def fields(self) -> dict[str, Any]:
        """Keys and values, to merge with others; without what is not there."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not msgspec.UNSET}


@overload
def time_text(at: datetime) -> Timestamp: ...
@overload
def time_text(at: datetime | None) -> Timestamp | None: ...
def time_text(at: datetime | None) -> Timestamp | None:
    """Format *at*, which must be aware; None stays None."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@overload
def parse_time(text: Timestamp) -> datetime: ...
@overload
def parse_time(text: Timestamp | None) -> datetime | None: ...
def parse_time(text: Timestamp | None) -> datetime | None:
    """Parse the output of `time_text`. Raises ValueError, also for a time without a zone."""
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at


def raw_or_null(text: bytes | None) -> msgspec.Raw:
    """*text*, which is JSON, as it is; null for None."""
    return msgspec.Raw(_NULL if text is None else text)


def bytes_or_none(raw: msgspec.Raw) -> bytes | None:
    """The bytes of *raw*; None for null."""
    text = bytes(raw)
    return None if text == _NULL else text


def bytes_if_set(raw: msgspec.Raw | msgspec.UnsetType) -> bytes | None:
    """The bytes of *raw*; None for null, and where there is nothing."""
    return None if raw is msgspec.UNSET else bytes_or_none(raw)
