"""What every view stands on.

A view is a msgspec.Struct that is one object of the REST API and of `--json`. It is written in one place and used three
times: `of` makes it of domain values and it is encoded; the OpenAPI document has its schema, under its name without
"View"; and a client decodes it and turns it back with `to_…`. Fields stand in the order in which they are encoded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
#: RFC 3339 in UTC, to the millisecond: `2026-11-23T06:18:52.123Z`.
Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the API. Keys that this version does not know are ignored when it is decoded."""

    def fields(self) -> dict[str, Any]:
        """Its own keys and values, to put others beside them."""
        return msgspec.structs.asdict(self)


def time_text(at: datetime) -> Timestamp:
    """*at*, which must be aware."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def optional_time_text(at: datetime | None) -> Timestamp | None:
    """*at* or None."""
    return None if at is None else time_text(at)


def parse_time(text: Timestamp) -> datetime:
    """The time that `time_text` wrote. Raises ValueError, also for a time without its zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at


def parse_optional_time(text: Timestamp | None) -> datetime | None:
    """The time that `optional_time_text` wrote."""
    return None if text is None else parse_time(text)
