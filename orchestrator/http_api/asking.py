"""What a request to the socket asks for: its query and its body, read strictly."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from orchestrator.domain.errors import UsageError
from orchestrator.domain.model import NewJob
from orchestrator.domain.naming import is_key, name_of
from orchestrator.ports.commands import Terms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

_API_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_BETA: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NEW_JOB: Final = frozenset(
    {"name", "source", "api_version", "beta", "priority", "open", "key", "new", "skip_bad", "max_problems", "shown_as"}
)
_DEFAULT_PRIORITY: Final = 10
_DEFAULT_PROBLEMS: Final = 20
_SOURCE: Final = "<http>"
#: Blocks are put together up to this size: every one costs two changes of thread further on.
_BLOCK_BYTES: Final = 256 * 1024


def new_job(query: QueryParams, *, api_version: str) -> NewJob:
    """The job that *query* describes; *api_version* holds where it names none. Raises UsageError."""
    _only(query, _NEW_JOB)
    source = query.get("source", _SOURCE)
    return NewJob(
        name=_filled(query, "name", name_of(source)),
        source=source,
        api_version=_matching(_API_VERSION, "api_version", query.get("api_version", api_version)),
        betas=tuple(sorted({_matching(_BETA, "beta", beta) for beta in query.getlist("beta")})),
        priority=whole_number(query, "priority", default=_DEFAULT_PRIORITY, highest=100),
        still_open=_flag(query, "open"),
        key=_key(query),
    )


def terms(query: QueryParams) -> Terms:
    """How the input is to be taken in. Raises UsageError."""
    most = whole_number(query, "max_problems", default=_DEFAULT_PROBLEMS, highest=10_000)
    return Terms(anew=_flag(query, "new"), skip_bad=_flag(query, "skip_bad"), max_problems=most)


def shown_as(query: QueryParams, new: NewJob) -> str:
    """What stands before ":line" where problems are told."""
    return query.get("shown_as", new.source)


def whole_number(query: QueryParams, key: str, *, default: int, highest: int) -> int:
    """A number from 1 to *highest*. Raises UsageError."""
    text = query.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= highest):
        raise UsageError(f"{key} is {text!r}", hint=f"give a whole number from 1 to {highest}")
    return int(text)


async def blocks(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; nothing is read from the socket before it is wanted here.

    Raises starlette's ClientDisconnect when the client goes away before the end.
    """
    held = bytearray()
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            held += piece
            if len(held) >= _BLOCK_BYTES:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)


def _only(query: QueryParams, known: frozenset[str]) -> None:
    unknown = sorted(set(query) - known)
    if unknown:
        raise UsageError(f"there is no parameter {unknown[0]!r} here", hint=f"known are: {', '.join(sorted(known))}")


def _filled(query: QueryParams, key: str, default: str) -> str:
    text = query.get(key, default)
    if not text:
        raise UsageError(f"{key} is empty", hint="give it at least one character, or leave it out")
    return text


def _key(query: QueryParams) -> str | None:
    key = query.get("key")
    if key is not None and not is_key(key):
        raise UsageError("key cannot be used", hint="give 1 to 255 printable ASCII characters")
    return key


def _flag(query: QueryParams, key: str) -> bool:
    text = query.get(key, "0")
    if text not in ("0", "1"):
        raise UsageError(f"{key} is {text!r}", hint="give 0 or 1")
    return text == "1"


def _matching(pattern: re.Pattern[str], key: str, text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise UsageError(f"{key} is {text!r}", hint="see the Message Batches API reference for what it may be")
    return text
