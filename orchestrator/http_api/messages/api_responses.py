"""Responses in the API's own form: objects, errors, and a `request-id` on each."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.domain import batches_api, errors, humanize
from orchestrator.http_api.responses import RETRY_SOON, allowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ID: Final = "request_id"
_BATCHES: Final = "/v1/messages/batches"
_encode: Final = msgspec.json.Encoder().encode


class RequestIdMiddleware:
    """Gives each request an id, and adds it to the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its new id."""
        request_id = f"req_{secrets.token_hex(12)}"
        scope["state"] = {**scope.get("state", {}), _ID: request_id}

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["request-id"] = request_id
            await send(message)

        await self._app(scope, receive, named)


def json_response(content: object, *, headers: Mapping[str, str] | None = None) -> Response:
    """*content* as JSON."""
    return Response(_encode(content), media_type="application/json", headers=headers)


async def api_error(request: Request, exc: Exception) -> Response:
    """An ApiError in the API's form."""
    error = cast("batches_api.ApiError", exc)
    body = error.body(request.scope["state"][_ID])
    return Response(body, error.status, dict(error.headers), media_type="application/json")


async def own_error_response(request: Request, exc: Exception) -> Response:
    """An error of ours as the closest one of the API's."""
    return await api_error(request, _nearest(cast("errors.OrchestratorError", exc)))


async def unknown_route(request: Request, exc: Exception) -> Response:
    """A path or a method that does not exist."""
    wrong = cast("HTTPException", exc)
    if wrong.status_code != 405:
        return await api_error(request, batches_api.not_found(_not_served(request)))
    response = await api_error(request, batches_api.method_not_allowed())
    response.headers["allow"] = ", ".join(allowed(request))
    return response


def _not_served(request: Request) -> str:
    """The message for a path that is not served here, whether or not the API itself has it."""
    path = humanize.plain(str(request.scope["path"]))[:200]
    if path.startswith(f"{_BATCHES}/"):
        return "Not found"
    remedy = "Leave /v1 out of base_url" if path.startswith("/v1/v1/") else "Use a client with the API's own base_url"
    return f"{request.method} {path} is not served here, only {_BATCHES} and what is below it. {remedy}."


async def client_gone(_: Request, __: Exception) -> Response:
    """Answer a client that disconnected in the middle of its body."""
    return Response(status_code=400)


async def bug(request: Request, exc: Exception) -> Response:
    """Answer an unforeseen error, which Starlette re-raises after the response."""
    lacking = errors.shortage(exc)
    return await api_error(request, _internal() if lacking is None else _nearest(lacking))


def _nearest(exc: errors.OrchestratorError) -> batches_api.ApiError:
    """Without cause and hint: they are for people at this machine, and may name its files."""
    match exc:
        case errors.NoSuchThing():
            return batches_api.not_found(exc.message)
        case errors.KeyReused():
            return batches_api.ApiError(422, "invalid_request_error", "idempotency-key: it was used for another create")
        case errors.RoleRefused():
            return batches_api.ApiError(403, "permission_error", exc.message)
        case errors.GuardRefused() | errors.UsageError():
            return batches_api.invalid_request(exc.message)
        case errors.ServerBusy() | errors.StoreFull() | errors.StoreUnreachable() | errors.OutOfMemory():
            return _overloaded(exc)
        case _:
            return _internal()


def _overloaded(exc: errors.OrchestratorError) -> batches_api.ApiError:
    if isinstance(exc, errors.ServerBusy | errors.StoreUnreachable):
        return batches_api.ApiError(503, "overloaded_error", exc.message, headers=tuple(RETRY_SOON.items()))
    lacking = "memory left to answer" if isinstance(exc, errors.OutOfMemory) else "space left to store"
    return batches_api.ApiError(529, "overloaded_error", f"There is no {lacking} the request.")


def _internal() -> batches_api.ApiError:
    return batches_api.ApiError(500, "api_error", "Internal server error")


def handlers() -> dict[Any, Any]:
    """The handler of each kind of error."""
    return {
        batches_api.ApiError: api_error,
        errors.OrchestratorError: own_error_response,
        HTTPException: unknown_route,
        ClientDisconnect: client_gone,
        Exception: bug,
    }
