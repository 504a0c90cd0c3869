"""The guard in front of every route, as ASGI: framing, access, body limits, and headers of every response."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from orchestrator.domain.errors import BodyTooLarge, BodyTooSlow, NeedsPerson, RoleRefused, ServerBusy, UsageError
from orchestrator.http_api import browser_login, request_scope, responses
from orchestrator.http_api.guard import access_rules, request_limits
from orchestrator.ports import caller
from orchestrator.views.problem_details import ProblemView, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from orchestrator.domain.access import Bearer

_VERSIONS: Final = frozenset({"1.0", "1.1"})
_MAX_HEADERS: Final = 100
_MAX_HEAD_BYTES: Final = 64 * 1024
#: On every answer that does not say otherwise; pages bring their own policy.
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
#: What the Message Batches API calls them.
_TYPES: Final = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.REQUEST_TIMEOUT: "timeout_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
}


class Guard:
    """Passes a request on to *app*, or refuses it. access: None if the connection itself is proof (unix socket).

    connections: how many the listener accepts; long requests get a part of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: access_rules.AccessRules | None,
        limits: request_limits.BodyLimits,
        connections: int = 512,
    ) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._slots = request_limits.LongRequestSlots(connections)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with its body under limits."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        request_scope.keep_slashes(scope)
        body = request_limits.LimitedBody(scope, receive, self._limits)
        answer = _GuardedResponse(send, body, has_body=_has_body(scope["headers"]))
        bearer, refused = self._judged(scope)
        early = refused or _length_error(body, scope)
        if early is not None:
            await early(scope, body.receive, answer.send)
            return
        try:
            with self._slots.slot(scope), caller.acting_for(bearer, self._look(scope)):
                await self._app(scope, body.receive, answer.send)
        except (BodyTooSlow, BodyTooLarge, ServerBusy) as exc:
            if answer.has_begun:
                raise
            await _error_response(scope, exc)(scope, body.receive, answer.send)

    def _judged(self, scope: Scope) -> tuple[Bearer | None, Response | None]:
        """Who asks, if they have to show a token, and why not."""
        headers: access_rules.Headers = scope["headers"]
        wrong = _framing_error(scope, headers)
        access = self._access
        if wrong is not None or access is None:
            return None, wrong
        asked = (scope["method"], scope["path"], headers)
        found, login, peer = access.judge(*asked), access.session(*asked), scope.get("client")
        request_scope.set_base_url(scope, access.base_url(headers, None if peer is None else peer[0]))
        request_scope.set_session(scope, None if login is None else login.number)
        if isinstance(found, access_rules.Refusal):
            return None, _refusal_response(found, scope)
        return found, None

    def _look(self, scope: Scope) -> Callable[[], Bearer | None] | None:
        """How to find out later who asks; None where the connection is proof."""
        if self._access is None:
            return None
        return partial(_asks_now, self._access, scope["method"], scope["path"], scope["headers"])


def _asks_now(access: access_rules.AccessRules, method: str, path: str, headers: access_rules.Headers) -> Bearer | None:
    """Who asks by the rules of now. Raises RoleRefused if they are not let in any more."""
    found = access.judge(method, path, headers)
    if isinstance(found, access_rules.Refusal):
        raise RoleRefused("you are not let in any more", cause=found.title, hint=found.hint)
    return found


class _GuardedResponse:
    """Adds the common headers, and closes the connection of a client whose body was not read to its end.

    No piece of a stream is sent to who is not let in any more: it is cut (RoleRefused).
    """

    def __init__(self, send: Send, body: request_limits.LimitedBody, *, has_body: bool) -> None:
        self._send = send
        self._body = body
        self._has_body = has_body
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Pass *message* on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._has_body and not self._body.is_whole:
                headers["connection"] = "close"
        elif message.get("more_body", False):
            caller.check_still_let_in()
        await self._send(message)


def _has_body(headers: access_rules.Headers) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)


def _framing_error(scope: Scope, headers: access_rules.Headers) -> Response | None:
    """Refuses requests that a proxy in front of us might read differently: they are never an honest mistake."""
    names = [name for name, _ in headers]
    if len(names) > _MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > _MAX_HEAD_BYTES:
        told = "there are too many headers, or they are too long"
        return _malformed_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-headers", told)
    if b"transfer-encoding" in names and scope["http_version"] == "1.0":
        return _malformed_response(HTTPStatus.BAD_REQUEST, "bad-framing", "HTTP/1.0 has no Transfer-Encoding")
    if b"transfer-encoding" in names and b"content-length" in names:
        return _malformed_response(
            HTTPStatus.BAD_REQUEST, "bad-framing", "Content-Length and Transfer-Encoding exclude each other"
        )
    if not scope["raw_path"].startswith(b"/") or b"#" in scope["raw_path"] + scope["query_string"]:
        return _malformed_response(HTTPStatus.BAD_REQUEST, "bad-target", "the target must be a path")
    if scope["http_version"] not in _VERSIONS:
        return _malformed_response(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad-version", "only HTTP/1.1 and HTTP/1.0 are spoken"
        )
    return None


def _length_error(body: request_limits.LimitedBody, scope: Scope) -> Response | None:
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    try:
        body.check_length(declared)
    except BodyTooLarge as exc:
        return _error_response(scope, exc)
    return None


def _malformed_response(status: HTTPStatus, slug: str, title: str) -> Response:
    answer = responses.problem(ProblemView(type=slug, title=title, exit_code=UsageError.exit_code, status=status))
    answer.headers["connection"] = "close"
    return answer


def _refusal_response(refusal: access_rules.Refusal, scope: Scope) -> Response:
    if refusal.status is HTTPStatus.UNAUTHORIZED and _wants_html(scope):
        return browser_login.page_before(scope)
    if responses.speaks_as_the_api(scope):
        answer = _api_error(refusal.status, refusal.title)
    else:
        code = NeedsPerson.exit_code
        answer = responses.problem(
            ProblemView(
                type=refusal.slug, title=refusal.title, hint=refusal.hint, exit_code=code, status=refusal.status
            )
        )
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        answer.headers["www-authenticate"] = browser_login.CHALLENGE
    return answer


def _wants_html(scope: Scope) -> bool:
    is_page = not scope["path"].startswith(("/api/", "/v1/"))
    return is_page and any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _error_response(scope: Scope, exc: BodyTooSlow | BodyTooLarge | ServerBusy) -> Response:
    if not responses.speaks_as_the_api(scope):
        return responses.problem_response(exc)
    answer = _api_error(HTTPStatus(problem_of(exc).status), exc.message)
    if isinstance(exc, ServerBusy):
        answer.headers.update(responses.RETRY_SOON)
    return answer


def _api_error(status: HTTPStatus, message: str) -> Response:
    return responses.api_error_response(status, _TYPES.get(status, "invalid_request_error"), message)
