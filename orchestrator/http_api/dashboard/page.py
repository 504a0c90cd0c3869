"""Dashboard pages: a template, its live parts, the function that loads its data.

Everything a template prints is escaped; no filter undoes that.
"""

from __future__ import annotations

import hmac
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlencode

from minijinja import Environment
from starlette.responses import HTMLResponse, Response

from orchestrator.domain import budgets, errors, humanize, money
from orchestrator.domain.access import AccessRole
from orchestrator.domain.urls import is_loopback
from orchestrator.http_api.dashboard import markdown
from orchestrator.http_api.dashboard.components import state_badge
from orchestrator.http_api.dashboard.static_files import asset_url
from orchestrator.http_api.request_scope import session_of
from orchestrator.http_api.responses import packed
from orchestrator.ports import caller
from orchestrator.version import VERSION
from orchestrator.views import event_text, problem_details, view

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.http_api.services import Services


_COOKIE: Final = "said"
_FOR_S: Final = 30
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
    address: str = ""  #: of this engine, as it was asked
    live: bool = False

    def one_of(self, key: str, known: frozenset[str]) -> str | None:
        """The value of *key*, which must be in *known*; None without one. Raises UsageError."""
        value = self.query.get(key)
        if value is None or value == "":
            return None
        if value not in known:
            raise errors.UsageError(f"{key} is {value!r}", hint=f"one of {', '.join(sorted(known))}")
        return value

    def number(self, key: str) -> int | None:
        """The whole number in *key*, as pages show it or without commas; None without one. Raises UsageError."""
        value = self.query.get(key, "").replace(",", "")
        if value == "":
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise errors.UsageError(f"{key} is {value!r}", hint="a whole number is wanted")
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
        "shared": services.settings.database.url is not None,
        "theme": theme if theme in _THEMES else None,
        "path": path,
        "at": f"{path}?{request.url.query}" if request.url.query else path,
        "live": False,
        "flash": get_flash(request, services),
        "logged_in": session_of(request) is not None,
        "who": caller.current(),
        "may_submit": caller.has_role(AccessRole.SUBMIT),
        "may_admin": caller.has_role(AccessRole.ADMIN),
        "flags": _flags(request, services),
    }


def _flags(request: Request, services: Services) -> str:
    """What leads a command to the store that is shown here: who is on this machine names it, others its address."""
    if request.client is None or is_loopback(request.url.hostname or ""):
        sandbox = " --sandbox" if services.identity.sandbox else ""
        return f"--db {shlex.quote(services.identity.db)}{sandbox}"
    return f"--server {shlex.quote(address_of(request))}"


def _raising(reason: str, flags: str) -> str:
    """The command in *reason* that raises a cap, with *flags*; empty if there is none."""
    command = budgets.raising_in(reason)
    return "" if command is None else f"{command.removesuffix(' --sandbox')} {flags}"


def address_of(request: Request) -> str:
    """This engine, as *request* asked it: `https://batch.example.com`."""
    return f"{request.url.scheme}://{request.url.netloc}"


def page_response(template: str, context: dict[str, object], *, status: int = 200) -> Response:
    """A rendered page, with the headers of every page."""
    return HTMLResponse(render(template, context), status_code=status, headers=HEADERS)


def page_route(page: Page, services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route function of *page*; errors of ours become an error page."""

    async def shown_page(request: Request) -> Response:
        page_request = PageRequest(
            services=services,
            path=request.url.path,
            params=request.path_params,
            query=request.query_params,
            address=address_of(request),
        )
        try:
            facts = await page.load(page_request)
        except errors.OrchestratorError as exc:
            return error_page(request, services, exc)
        context = {**base_context(request, services), "title": page.title, "live": bool(page.parts), **facts}
        shown = page_response(page.template, context)
        if context["flash"]:
            clear_flash(shown)
        return packed(shown, request)

    return shown_page


def error_page(request: Request, services: Services, exc: errors.OrchestratorError) -> Response:
    """*exc* as a page: what happened, and what to do."""
    status = problem_details.problem_of(exc).status
    title = "Not here" if isinstance(exc, errors.NoSuchThing) else "That did not work"
    told = {"title": title, "status": status, "message": exc.message, "cause": exc.cause, "hint": exc.hint}
    return page_response("error.html", {**base_context(request, services), **told}, status=status)


_TEMPLATES: Final = resources.files(__package__) / "templates"


def render(template: str, context: dict[str, object]) -> str:
    """The text of *template*; a variable that *context* lacks raises: it is a bug."""
    return _environment().render_template(template, **context)


@cache
def _environment() -> Environment:
    return Environment(
        loader=_source,
        filters={
            "plain": humanize.plain,
            "count": humanize.count,
            "batches": humanize.batches,
            "size": humanize.size,
            "span": humanize.span,
            "n": "{:,}".format,
            "dollars": money.shown,
            "cap": money.shown_cap,
            "iso": view.time_text,
            "ago": _ago,
            "lasting": _lasting,
            "later": lambda at, by: at + by,
            "exact": _exact,
            "asset": asset_url,
            "standing": state_badge,
            "spans": lambda text: list(markdown.spans(text)),
            "happened": event_text.event_words,
            "reason": event_text.event_reason,
            "unraised": budgets.without_raising,
            "raising": _raising,
        },
        globals={"version": VERSION},
        undefined_behavior="strict",
        auto_escape_callback=lambda _: "html",
        trim_blocks=True,
        lstrip_blocks=True,
        debug=False,
    )


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _ago(at: datetime) -> str:
    """`3m ago`, `in 2h`; static/app.js keeps it current."""
    distance = datetime.now(UTC) - at
    if distance < timedelta(0):
        return f"in {humanize.span(-distance)}"
    return f"{humanize.span(distance)} ago"


def _lasting(since: datetime) -> str:
    """`25s`: how long it has been so."""
    return humanize.span(max(datetime.now(UTC) - since, timedelta(0)))


def _exact(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def set_flash(answer: Response, request: Request, services: Services, text: str) -> None:
    """Say *text* once, on the next page of this browser within half a minute, whichever daemon of the store shows that.

    It travels in a cookie: in the address, a link could make a page say anything. A page on another port of this host
    may set cookies here too, so it carries a MAC, under a key of the store, over text, end and the browser's session.
    """
    until = str(_now_s(services) + _FOR_S)
    value = f"{_seal(request, services, until, text)}.{until}.{quote(text)}"
    secure = request.url.scheme == "https"
    answer.set_cookie(_COOKIE, value, max_age=_FOR_S, httponly=True, samesite="strict", secure=secure)


def get_flash(request: Request, services: Services) -> str:
    """The message for this page; "" if there is none, if its MAC is not the store's, or if its time is over."""
    seal, _, rest = request.cookies.get(_COOKIE, "").partition(".")
    until, _, quoted = rest.partition(".")
    text = unquote(quoted)
    is_ours = hmac.compare_digest(seal.encode(), _seal(request, services, until, text).encode())
    return text if is_ours and _now_s(services) < int(until) else ""


def clear_flash(answer: Response) -> None:
    """The message has been shown."""
    answer.delete_cookie(_COOKIE)


def _now_s(services: Services) -> int:
    """Seconds since 1970, by the clock that all daemons of the store share."""
    return int(services.clock.now().timestamp())


def _seal(request: Request, services: Services, until: str, text: str) -> str:
    sealed = f"{session_of(request) or ''}\n{until}\n{text}"
    return hmac.digest(services.page_key, sealed.encode(), "sha256").hex()
