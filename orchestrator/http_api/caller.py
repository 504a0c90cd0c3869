"""What the guard found out about who asks, handed on to the routes in the request's scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

#: Where a browser logs in and out; open to everybody.
LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
_SESSION: Final = "orchestrator.session"
_BASE: Final = "orchestrator.base_url"


def note_session(scope: Scope, session: str | None) -> None:
    """Hand on which login a browser showed; None for everybody who was let in by other means."""
    scope[_SESSION] = session


def session_of(request: Request) -> str | None:
    """The login that let this browser in; None: it needed none."""
    found: str | None = request.scope.get(_SESSION)
    return found


def note_base_url(scope: Scope, base_url: str) -> None:
    """Hand on where the caller sees this server, its scheme included."""
    scope["scheme"] = base_url.partition("://")[0]
    scope[_BASE] = base_url


def base_url_of(request: Request) -> str:
    """Where the caller sees this server, without a slash at the end."""
    found: str | None = request.scope.get(_BASE)
    return f"http://{request.headers.get('host', 'localhost')}" if found is None else found
