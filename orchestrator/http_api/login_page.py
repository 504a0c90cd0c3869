"""The page that asks a browser for the token. It stands alone: who is not logged in gets no other file from here."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Final

from starlette.responses import HTMLResponse, Response

from orchestrator.http_api.caller import LOGIN, LOGOUT

if TYPE_CHECKING:
    from starlette.types import Scope

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
    """The page. said: what stands above the field; place: where a login leads.

    asks_again: the browser asks once more by itself, and then from our own page, so that it shows a cookie that it
    keeps back where another site's link led here.
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
    """The page in the place of the one that a browser asked for; a login leads on to that."""
    told = dict(scope["headers"])
    is_led_here = told.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
    is_visit = scope["method"] == "GET" and told.get(b"sec-fetch-mode") == b"navigate"
    query = scope["query_string"].decode("latin-1")
    raw = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    place = place_or_home(raw) if scope["method"] == "GET" else "/"
    return login_page(place=place, status=HTTPStatus.UNAUTHORIZED, asks_again=is_led_here and is_visit)


def place_or_home(place: str) -> str:
    """*place*, a path and query of this server, to go to after a login; "/" for what is none."""
    is_page = _PLACE.fullmatch(place) is not None and not place.startswith((LOGIN, LOGOUT))
    return place if is_page else "/"


@cache
def _template() -> str:
    return _PAGE.read_text("utf-8")


@cache
def _policy() -> str:
    """Nothing is loaded and nothing runs; the one style is named by its hash."""
    style = _template().partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
