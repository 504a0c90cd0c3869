"""What a path may hold: job names, `custom_id`s and batch ids are anybody's text, with slashes and line breaks in it.

A server unquotes a path before it is taken apart, and "a%2Fb" would be two segments. So "%2F" stays quoted (and "%25",
to be told apart), routes see one segment, and what they get of it is unquoted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEPT: Final = re.compile(rb"%(2f|25)", re.IGNORECASE)
_QUOTED: Final = re.compile("%(2F|25)")


def keep_slashes(scope: Scope) -> None:
    """Leave the slashes of a name quoted in the path of *scope*; safe to repeat."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw and _KEPT.search(raw):
        scope["path"] = unquote(_KEPT.sub(lambda found: b"%25" + found[1].upper(), raw).decode("ascii"))


class _Segment(StringConvertor):
    """Between two slashes: anything."""

    def convert(self, value: str) -> str:
        return _unquoted(value)


class _Rest(PathConvertor):
    """To the end of the path: anything, line breaks too."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return _unquoted(value)


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda found: unquote(found.group()), text)


def teach_routes() -> None:
    """Make it so for every route that is made from now on."""
    register_url_convertor("str", _Segment())
    register_url_convertor("path", _Rest())


class Paths:
    """*app*, which answers HEAD wherever it answers GET (RFC 9110, 9.3.2), and whose paths keep their slashes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A stream that is only asked for its head is ended there: the server says it is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        keep_slashes(scope)
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def head_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, receive, head_only)
