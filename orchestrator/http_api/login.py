"""The way in for people: a link with a code that opens once, a page that asks for the token, and the way out.

It stands between the guard, which lets `/login` and `/logout` through, and the routes, which know nothing of it.
"""

from __future__ import annotations

import asyncio
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from orchestrator.domain.errors import BodyTooLarge
from orchestrator.http_api.caller import LOGIN, LOGOUT, session_of
from orchestrator.http_api.guard.access import cookie_name, digest_of
from orchestrator.http_api.guard.sessions import SESSION_S
from orchestrator.http_api.login_page import login_page, place_or_home
from orchestrator.observability.logs import get_logger

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from orchestrator.http_api.guard.access import Access

log = get_logger(__name__)

_MOST_BYTES: Final = 8192
_MOST_FIELDS: Final = 4
_OUT: Final = "You are logged out."
_OLD_LINK: Final = "This link was used already, or is too old."
_WRONG_TOKEN: Final = "That is not the token of this server."  # noqa: S105 - words
_TOO_OFTEN: Final = {
    _OLD_LINK: "Too many old links were opened. Open a new link, log in with the token, or try again in {} seconds.",
    _WRONG_TOKEN: "Too many wrong tokens were shown. Try again in {} seconds, or open a new link.",
}


class Login:
    """*app*, with `/login` and `/logout` before it, for the address of *access*."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] not in (LOGIN, LOGOUT):
            await self._app(scope, receive, send)
            return
        answer = await self._answered(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        allowed = ("POST",) if request.url.path == LOGOUT else ("GET", "HEAD", "POST")
        if request.method not in allowed:
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": ", ".join(allowed)})
        token = self._access.token
        if token is None:  # nobody needs to log in here
            return _see("/")
        if request.url.path == LOGOUT:
            return await self._logged_out(request)
        return await self._by_token(request, token) if request.method == "POST" else self._asked(request, token)

    def _asked(self, request: Request, token: bytes) -> Response:
        """A visit: by a link with a code, which HEAD does not use up, or for the page.

        A redirect takes the code out of the address, and out of what the browser remembers of it.
        """
        code = request.query_params.get("code") if request.method == "GET" else None
        if code is not None and self._access.sessions.redeem(code, token):
            return self._let_in(request, token, "/")
        if session_of(request) is not None:
            return _see("/")
        if code is not None:
            return self._refused(_OLD_LINK, "/")
        return login_page(said=_OUT if request.query_params.get("out") == "1" else None)

    async def _by_token(self, request: Request, token: bytes) -> Response:
        fields = await _fields(request)
        place = place_or_home(fields.get("next", ""))
        if self._access.sessions.wrong_tokens.wait_s > 0:
            return self._refused(_WRONG_TOKEN, place)
        if hmac.compare_digest(digest_of(fields.get("token", "").strip()), token):
            return self._let_in(request, token, place)
        return self._refused(_WRONG_TOKEN, place)

    def _let_in(self, request: Request, token: bytes, place: str) -> Response:
        log.info("login.accepted")
        answer = _see(place)
        answer.set_cookie(
            cookie_name(request.scope["headers"]),
            self._access.sessions.begin(token),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def _refused(self, why: str, place: str) -> Response:
        sessions = self._access.sessions
        failures = sessions.wrong_codes if why == _OLD_LINK else sessions.wrong_tokens
        if (wait_s := failures.wait_s) > 0:
            answer = login_page(said=_TOO_OFTEN[why].format(wait_s), place=place, status=HTTPStatus.TOO_MANY_REQUESTS)
            answer.headers["retry-after"] = str(wait_s)
            return answer
        failures.note()
        log.warning("login.refused", why=why)
        return login_page(said=why, place=place, status=HTTPStatus.UNAUTHORIZED)

    async def _logged_out(self, request: Request) -> Response:
        answer = _see(f"{LOGIN}?out=1")
        session = session_of(request)
        if session is not None:
            try:
                await asyncio.to_thread(self._access.sessions.end, session)
            except OSError as exc:
                log.error("logout.not_kept", why=exc.strerror, hint="a copy of the cookie opens again after a restart")
            answer.delete_cookie(cookie_name(request.scope["headers"]), httponly=True, samesite="strict")
        return answer


def _see(place: str) -> Response:
    return RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER, headers={"referrer-policy": "no-referrer"})


async def _fields(request: Request) -> dict[str, str]:
    """The form's fields; small, because anybody may send one. Raises BodyTooLarge."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _MOST_BYTES:
            raise BodyTooLarge("the body is too large", cause=f"a login has at most {_MOST_BYTES:,} bytes")
    try:
        return dict(parse_qsl(body.decode("latin-1"), max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}
