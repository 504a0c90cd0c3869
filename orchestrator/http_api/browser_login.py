"""Browser login: a link with a one-time code, a page that asks for the token, and logout.

It stands between the guard, which lets `/login` and `/logout` through, and the routes, which do not know about it. The
page is self-contained: a browser that is not logged in gets no other file from here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from functools import cache
from html import escape
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from orchestrator.domain.errors import BodyTooLarge, StoreError
from orchestrator.http_api.guard import access_rules, access_tokens
from orchestrator.http_api.request_scope import LOGIN, LOGOUT, session_of
from orchestrator.observability.logs import get_logger

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


log = get_logger(__name__)

_MOST_BYTES: Final = 8192
_MOST_FIELDS: Final = 4
_OUT: Final = "You are logged out."
_OLD_LINK: Final = "This link was used already, or is too old."
_WRONG_TOKEN: Final = "That is not a token of this server."  # noqa: S105 - words
_TOO_OFTEN: Final = {
    _OLD_LINK: "Too many old links were opened. Open a new link, log in with the token, or try again in {} seconds.",
    _WRONG_TOKEN: "Too many wrong tokens were shown. Try again in {} seconds, or open a new link.",
}


class LoginMiddleware:
    """Serves `/login` and `/logout` in front of *app*, for the address of *access*."""

    def __init__(self, app: ASGIApp, access: access_rules.AccessRules) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `/login` and `/logout`; pass on everything else."""
        if scope["path"] not in (LOGIN, LOGOUT):
            await self._app(scope, receive, send)
            return
        answer = await self._answered(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        allowed = ("POST",) if request.url.path == LOGOUT else ("GET", "HEAD", "POST")
        if request.method not in allowed:
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": ", ".join(allowed)})
        if not self._access.tokens:  # nobody needs to log in here
            return _see("/")
        if request.url.path == LOGOUT:
            return await self._logged_out(request)
        return await (self._by_token if request.method == "POST" else self._asked)(request)

    async def _asked(self, request: Request) -> Response:
        """A visit to the page, or a login link with a code (HEAD does not use the code up).

        The redirect removes the code from the address bar and the browser's history.
        """
        code = request.query_params.get("code") if request.method == "GET" else None
        if code is not None and (token := await self._redeemed(code)) is not None:
            return self._let_in(request, token, "/")
        if session_of(request) is not None:
            return _see("/")
        if code is not None:
            return self._refused(_OLD_LINK, "/")
        return login_page(said=_OUT if request.query_params.get("out") == "1" else None)

    async def _redeemed(self, code: str) -> access_rules.KnownToken | None:
        """The token that the link with *code* was made with; None: the code is not valid."""
        sessions, tokens = self._access.sessions, {each.digest: each for each in self._access.tokens}
        found = sessions.redeem(code, [*tokens])
        try:
            key = await sessions.redeem_shared(code, [*tokens]) if found is None else found
        except StoreError as exc:
            log.error("login.store_away", why=exc.message)
            return None
        return None if key is None else tokens[key]

    async def _by_token(self, request: Request) -> Response:
        fields = await _fields(request)
        place = place_or_home(fields.get("next", ""))
        if self._access.sessions.wrong_tokens.wait_s > 0:
            return self._refused(_WRONG_TOKEN, place)
        token = self._access.known(fields.get("token", "").strip().encode())
        if token is not None:
            return self._let_in(request, token, place)
        return self._refused(_WRONG_TOKEN, place)

    def _let_in(self, request: Request, token: access_rules.KnownToken, place: str) -> Response:
        log.info("login.accepted", name=token.bearer.name)
        answer = _see(place)
        answer.set_cookie(
            access_rules.cookie_name(request.scope["headers"]),
            self._access.sessions.begin(token.digest),
            max_age=access_tokens.SESSION_S,
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
            try:
                await self._access.sessions.end_shared(session)
            except StoreError as exc:
                log.error("logout.not_shared", why=exc.message, hint="a copy of the cookie still opens other daemons")
            answer.delete_cookie(access_rules.cookie_name(request.scope["headers"]), httponly=True, samesite="strict")
        return answer


def _see(place: str) -> Response:
    return RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER, headers={"referrer-policy": "no-referrer"})


async def _fields(request: Request) -> dict[str, str]:
    """The form's fields. Small, because no login is needed to send one. Raises BodyTooLarge."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _MOST_BYTES:
            raise BodyTooLarge("the body is too large", cause=f"a login has at most {_MOST_BYTES:,} bytes")
    try:
        return dict(parse_qsl(body.decode("latin-1"), max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}


#: What opens this server, in the words of HTTP. Not "Basic": a browser would ask by a box of its own.
CHALLENGE: Final = 'Bearer realm="orchestrator"'
#: A path of ours: anything else could lead to another host.
_PLACE: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
_PAGE: Final = resources.files(__package__) / "login.html"
_REFRESH: Final = '<meta http-equiv="refresh" content="0">'


def login_page(
    *,
    said: str | None = None,
    place: str = "/",
    status: HTTPStatus = HTTPStatus.OK,
    asks_again: bool = False,
) -> Response:
    """The login page. said: a message above the field. place: where to go after the login.

    asks_again: the page reloads itself once, from our own origin, so that the browser sends a SameSite=strict cookie
    that it holds back when another site's link led here.
    """
    words = "" if said is None else f'<p class="said" role="alert">{escape(said)}</p>'
    text = (
        _template()
        .replace("{refresh}", _REFRESH if asks_again else "")
        .replace("{said}", words)
        .replace("{place}", escape(place))
    )
    headers = {"content-security-policy": _policy(), "referrer-policy": "same-origin"}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = CHALLENGE
    return HTMLResponse(text, status, headers=headers)


def page_before(scope: Scope) -> Response:
    """The login page in place of the requested one; a login leads on to that."""
    told = dict(scope["headers"])
    is_led_here = told.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
    is_visit = scope["method"] == "GET" and told.get(b"sec-fetch-mode") == b"navigate"
    query = scope["query_string"].decode("latin-1")
    raw = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    place = place_or_home(raw) if scope["method"] == "GET" else "/"
    return login_page(place=place, status=HTTPStatus.UNAUTHORIZED, asks_again=is_led_here and is_visit)


def place_or_home(place: str) -> str:
    """*place* if it is a path and query of this server, to go to after a login; otherwise "/"."""
    is_page = _PLACE.fullmatch(place) is not None and not place.startswith((LOGIN, LOGOUT))
    return place if is_page else "/"


@cache
def _template() -> str:
    return _PAGE.read_text("utf-8")


@cache
def _policy() -> str:
    """Nothing is loaded and no script runs; the one style is allowed by its hash."""
    style = _template().partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
