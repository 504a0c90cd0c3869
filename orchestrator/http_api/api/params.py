"""What may stand in a query, and the cursors of lists: opaque to who holds them, strict when they come back."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Annotated, Final, Literal

import msgspec
from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.config import parse_duration
from orchestrator.domain.errors import BadCursor, UsageError
from orchestrator.domain.ids import MAX_NUMBER

_VERSION: Final = 1
_MOST: Final = 1000
#: What SQLite can hold.
LARGEST: Final = (1 << 63) - 1

Flag = Literal["0", "1"]
Ref = Annotated[
    str,
    Path(
        description="A job: its id, a unique prefix of it, its name (the newest so called), or `@last`. A route that "
        "changes something refuses a name that several jobs have (409)."
    ),
]
Limit = Annotated[int, Query(ge=1, le=_MOST, description="At most so many.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=200)]


class Options(BaseModel):
    """How a new job is made of a body: as parameters, as fields of a form, or beside the requests in JSON."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str | None, Field(min_length=1, max_length=500, description="What people call it.")] = None
    default_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=500,
            description="As `name` for a new job; one that is there keeps its name. Else the name of its source.",
        ),
    ] = None
    source: Annotated[str, Field(max_length=4096, description="Where the requests come from, for showing.")] = "<http>"
    api_version: Annotated[
        str | None, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="`anthropic-version`; else the configured one.")
    ] = None
    beta: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]],
        Field(max_length=100, description="`anthropic-beta`, one by one."),
    ] = []
    priority: Annotated[int, Field(ge=1, le=100, description="Who goes first: 1 before 100.")] = 10
    open: Annotated[Flag, Field(description="1: more requests will come; close it then.")] = "0"
    key: Annotated[
        str | None,
        Field(pattern=r"^[ -~]{1,255}$", description="Your own name of this hand-over, as `Idempotency-Key`."),
    ] = None
    new: Annotated[Flag, Field(description="1: a new job although the same content is there.")] = "0"
    skip_bad: Annotated[Flag, Field(description="1: leave bad lines out in place of refusing all.")] = "0"
    max_problems: Annotated[int, Field(ge=1, le=10_000, description="List so many problems; all are counted.")] = 20
    shown_as: Annotated[str | None, Field(max_length=4096, description='What stands before ":line".')] = None


def cursor(place: int | str) -> str:
    """*place* for who asks for the next page."""
    return urlsafe_b64encode(msgspec.json.encode([_VERSION, place])).decode().rstrip("=")


def number_of(text: str | None) -> int | None:
    """The number that a cursor holds; None without one. Raises BadCursor."""
    if text is None:
        return None
    try:
        held = msgspec.json.decode(
            urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[Literal[1], int], strict=True
        )
    except (msgspec.DecodeError, binascii.Error, ValueError) as exc:
        raise _bad_cursor() from exc
    if not 0 <= held[1] <= MAX_NUMBER or cursor(held[1]) != text:
        raise _bad_cursor()
    return held[1]


def wait_of(text: str | None, *, longest: timedelta) -> timedelta:
    """The duration that *text* says, "30s" for instance; none without it. Raises UsageError."""
    if text is None:
        return timedelta(0)
    wait = duration(text, "the time")
    if wait > longest:
        raise UsageError(f"{text} is too long", hint=f"at most {longest.total_seconds():g}s")
    return wait


def _bad_cursor() -> BadCursor:
    return BadCursor("the cursor cannot be read", hint="give `next` of the page before as it is, or leave it out")


def duration(text: str, key: str) -> timedelta:
    """A duration with its unit. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise UsageError(f"{key} is {text!r}", hint='give a duration such as "90d" or "12h"') from exc
