"""What was done is said once, on the next page, and only by us.

It travels in a cookie: in the address, a link could make a page say anything. But a page on another port of this host
may set cookies here too, so what a cookie says carries a seal of this process over it and the browser's session.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from orchestrator.http_api.caller import session_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_COOKIE: Final = "said"
_FOR_S: Final = 30
_KEY: Final = secrets.token_bytes(32)


def note(answer: Response, request: Request, text: str) -> None:
    """Have the next page that this browser opens say *text*, within half a minute."""
    value = f"{_seal(request, text)}.{quote(text)}"
    secure = request.url.scheme == "https"
    answer.set_cookie(_COOKIE, value, max_age=_FOR_S, httponly=True, samesite="strict", secure=secure)


def noted(request: Request) -> str:
    """What is to be said on this page; "" for nothing, and for what is not from us."""
    seal, _, quoted = request.cookies.get(_COOKIE, "").partition(".")
    text = unquote(quoted)
    return text if hmac.compare_digest(seal.encode(), _seal(request, text).encode()) else ""


def forget(answer: Response) -> None:
    """It was said."""
    answer.delete_cookie(_COOKIE)


def _seal(request: Request, text: str) -> str:
    session = session_of(request) or ""
    return hmac.digest(_KEY, f"{session}\n{text}".encode(), "sha256").hex()
