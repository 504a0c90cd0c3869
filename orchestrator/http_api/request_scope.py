"""What the guard hands to the routes in a request's ASGI scope, and how path segments are unquoted.

Job names, `custom_id`s and batch ids are arbitrary text and may hold slashes and line breaks. A server unquotes a path
before routing, so "a%2Fb" would become two segments. Therefore "%2F" stays quoted (and "%25", to tell them apart): the
routes match one segment, and its value is unquoted when it is converted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


#: Where a browser logs in and out; open to everybody.
LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
_LOGIN: Final = "orchestrator.login"
_BASE: Final = "orchestrator.base_url"


def set_session(scope: Scope, session: str | None) -> None:
    """Note the login session of this request, if it has one."""
    scope[_LOGIN] = session


def session_of(request: Request) -> str | None:
    """The login session of this request; None if it has none."""
    found: str | None = request.scope.get(_LOGIN)
    return found


def set_base_url(scope: Scope, base_url: str) -> None:
    """Note the address by which the caller reaches this server, with its scheme."""
    scope["scheme"] = base_url.partition("://")[0]
    scope[_BASE] = base_url


def base_url_of(request: Request) -> str:
    """The base address that `guard.access_rules` found for this request, without a trailing slash."""
    found: str | None = request.scope.get(_BASE)
    return f"http://{request.headers.get('host', 'localhost')}" if found is None else found


_KEPT: Final = re.compile(rb"%(2f|25)", re.IGNORECASE)
_QUOTED: Final = re.compile("%(2F|25)")


def keep_slashes(scope: Scope) -> None:
    """Keep slashes inside a segment quoted in the path of *scope*; idempotent."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw and _KEPT.search(raw):
        scope["path"] = unquote(_KEPT.sub(lambda found: b"%25" + found[1].upper(), raw).decode("ascii"))


class _SegmentConvertor(StringConvertor):
    """Matches one path segment, with any characters."""

    def convert(self, value: str) -> str:
        return _unquoted(value)


class _RestConvertor(PathConvertor):
    """Matches the rest of the path, line breaks included."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return _unquoted(value)


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda found: unquote(found.group()), text)


def teach_routes() -> None:
    """Use these converters for every route created from now on."""
    register_url_convertor("str", _SegmentConvertor())
    register_url_convertor("path", _RestConvertor())


class PathMiddleware:
    """Answers HEAD wherever *app* answers GET (RFC 9110, 9.3.2), and keeps quoted slashes in paths."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """For HEAD a stream is ended after its head: the server then reports the client as gone."""
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
