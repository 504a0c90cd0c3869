"""What the guard found out about who asks, handed on to the routes in the request's scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

#: Where a browser logs in and out; open to everybody.
LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
_SESSION: Final = "orchestrator.session"
_LOOK: Final = "orchestrator.session.look"
_BASE: Final = "orchestrator.base_url"


def note_session(scope: Scope, look: Callable[[], str | None]) -> None:
    """Hand on which login a browser shows; *look* gives None for everybody who is let in by other means, or no more."""
    scope[_SESSION] = look()
    scope[_LOOK] = look


def session_of(request: Request) -> str | None:
    """The login that let this browser in; None: it needed none."""
    found: str | None = request.scope.get(_SESSION)
    return found


def is_still_let_in(request: Request) -> bool:
    """False once the login that a long answer began under is over: it was logged out, or the token is another one."""
    session = session_of(request)
    return session is None or request.scope[_LOOK]() == session


def note_base_url(scope: Scope, base_url: str) -> None:
    """Hand on where the caller sees this server, its scheme included."""
    scope["scheme"] = base_url.partition("://")[0]
    scope[_BASE] = base_url


def base_url_of(request: Request) -> str:
    """Where the caller sees this server, without a slash at the end."""
    found: str | None = request.scope.get(_BASE)
    return f"http://{request.headers.get('host', 'localhost')}" if found is None else found
