"""Dashboard pages: a template, its live parts, the function that loads its data; and flash messages.

A flash message says once, on the next page, what an action did. It travels in a cookie: in the address, a link could
make a page say anything. A page on another port of this host may set cookies here too, so the message carries a MAC of
this process over the text and the browser's session.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlencode

from starlette.responses import HTMLResponse

from orchestrator.domain.errors import NoSuchThing, OrchestratorError, UsageError
from orchestrator.http_api.request_scope import session_of
from orchestrator.views.problem_details import problem_of

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.http_api.services import Services

#: Nothing comes from elsewhere, nothing runs that is not a file of ours, and nobody may frame the page.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # Not "no-referrer": with it a browser sends the forms of these very pages with `Origin: null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_THEMES: Final = frozenset({"light", "dark"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page: the engine, the path and its parameters. live: repeated, for a stream."""

    services: Services
    path: str
    params: dict[str, Any]
    query: QueryParams
    live: bool = False

    def one_of(self, key: str, known: frozenset[str]) -> str | None:
        """The value of *key*, which must be in *known*; None without one. Raises UsageError."""
        value = self.query.get(key)
        if value is None or value == "":
            return None
        if value not in known:
            raise UsageError(f"{key} is {value!r}", hint=f"one of {', '.join(sorted(known))}")
        return value

    def number(self, key: str) -> int | None:
        """The whole number in *key*; None without one. Raises UsageError."""
        value = self.query.get(key)
        if value is None or value == "":
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise UsageError(f"{key} is {value!r}", hint="a whole number is wanted")
        return int(value)

    def link(self, **changes: object) -> str:
        """The address of this page with its query changed; None removes a key."""
        kept = [(key, value) for key, value in self.query.multi_items() if key not in changes]
        query = urlencode([*kept, *((key, value) for key, value in changes.items() if value is not None)])
        return f"{self.path}?{query}" if query else self.path


Load = Callable[[PageRequest], Awaitable[dict[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page. parts: templates of elements with an id, which are sent again when they change."""

    template: str
    load: Load
    title: str
    parts: tuple[str, ...] = ()


def base_context(request: Request, services: Services) -> dict[str, object]:
    """Template variables of every page."""
    theme = request.cookies.get("theme")
    path = request.url.path
    return {
        "sandbox": services.identity.sandbox,
        "theme": theme if theme in _THEMES else None,
        "path": path,
        "at": f"{path}?{request.url.query}" if request.url.query else path,
        "live": False,
        "flash": get_flash(request),
        "logged_in": session_of(request) is not None,
    }


def page_response(template: str, context: dict[str, object], *, status: int = 200) -> Response:
    """A rendered page, with the headers of every page."""
    from orchestrator.http_api.dashboard.rendering import render

    return HTMLResponse(render(template, context), status_code=status, headers=HEADERS)


def page_route(page: Page, services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route function of *page*; errors of ours become an error page."""

    async def shown_page(request: Request) -> Response:
        page_request = PageRequest(
            services=services, path=request.url.path, params=request.path_params, query=request.query_params
        )
        try:
            facts = await page.load(page_request)
        except OrchestratorError as exc:
            return error_page(request, services, exc)
        context = {**base_context(request, services), "title": page.title, "live": bool(page.parts), **facts}
        shown = page_response(page.template, context)
        if context["flash"]:
            clear_flash(shown)
        return shown

    return shown_page


def error_page(request: Request, services: Services, exc: OrchestratorError) -> Response:
    """*exc* as a page: what happened, and what to do."""
    status = problem_of(exc).status
    title = "Not here" if isinstance(exc, NoSuchThing) else "That did not work"
    told = {"title": title, "status": status, "message": exc.message, "cause": exc.cause, "hint": exc.hint}
    return page_response("error.html", {**base_context(request, services), **told}, status=status)


_COOKIE: Final = "said"
_FOR_S: Final = 30
_KEY: Final = secrets.token_bytes(32)


def set_flash(answer: Response, request: Request, text: str) -> None:
    """Show *text* on the next page that this browser opens within half a minute."""
    value = f"{_seal(request, text)}.{quote(text)}"
    secure = request.url.scheme == "https"
    answer.set_cookie(_COOKIE, value, max_age=_FOR_S, httponly=True, samesite="strict", secure=secure)


def get_flash(request: Request) -> str:
    """The message for this page; "" if there is none, or if its MAC is not ours."""
    seal, _, quoted = request.cookies.get(_COOKIE, "").partition(".")
    text = unquote(quoted)
    return text if hmac.compare_digest(seal.encode(), _seal(request, text).encode()) else ""


def clear_flash(answer: Response) -> None:
    """The message has been shown."""
    answer.delete_cookie(_COOKIE)


def _seal(request: Request, text: str) -> str:
    session = session_of(request) or ""
    return hmac.digest(_KEY, f"{session}\n{text}".encode(), "sha256").hex()
