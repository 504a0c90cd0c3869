"""The ASGI application: all routes, and how errors become responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from orchestrator.domain.errors import OrchestratorError, ProviderError, RoleRefused, UsageError, shortage
from orchestrator.http_api import dashboard, job_cache, messages, metrics_route, request_scope, responses, upload_memory
from orchestrator.http_api.api import job_upload, openapi, routing
from orchestrator.http_api.dashboard import page
from orchestrator.http_api.guard import route_roles
from orchestrator.version import VERSION
from orchestrator.views.problem_details import ProblemView

if TYPE_CHECKING:
    from orchestrator.http_api.services import Services

#: The `type` where the Message Batches API is in the way.
API_TROUBLE: Final = "api-trouble"
_NO_API: Final = 6
_INTERNAL: Final = 8
_WRONG_REQUEST: Final = 2
#: The `type` of an answer that the framework gives; Python's own phrases change from version to version.
_SLUGS: Final = {403: "forbidden", 404: "not-found", 405: "method-not-allowed", 415: "unsupported-media-type"}
#: What to do about it.
_HINTS: Final = {
    404: f"the routes are below {routing.PREFIX}, and all of them in /openapi.json",
    405: "the header Allow says what may be done here",
    415: "send JSON Lines with `Content-Type: application/x-ndjson` (curl: -H 'Content-Type: application/x-ndjson' "
    "-T FILE), a form with a part `file`, or a small job as application/json",
}


def build_app(services: Services) -> FastAPI:
    """The ASGI application over one engine. Needs no lifespan."""
    app = FastAPI(
        title="orchestrator",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            OrchestratorError: _own_error_response,
            ProviderError: _provider_error_response,
            RequestValidationError: _invalid_parameter,
            HTTPException: _http_error,
            ClientDisconnect: _client_gone,
            Exception: _internal_error,
        },
    )
    app.router.redirect_slashes = False  # its redirects name a host and a scheme; `_redirect_without_slash` does it
    app.state.services = services
    app.add_middleware(job_cache.InvalidateOnWrite, job_cache=services.job_cache)
    app.add_middleware(upload_memory.ReleaseClaims, shared=services.memory)
    app.add_middleware(request_scope.PathMiddleware)
    app.router.routes.extend(route_roles.gated(openapi.routes()))
    app.router.routes.extend(route_roles.gated(metrics_route.routes(services)))
    app.router.routes.extend(messages.routes(services))
    app.router.routes.extend(route_roles.gated(dashboard.routes(services)))
    return app


async def _own_error_response(request: Request, exc: Exception) -> Response:
    if isinstance(exc, RoleRefused) and dashboard.wants_page(request):
        return page.error_page(request, request.app.state.services, exc)
    return responses.problem_response(cast("OrchestratorError", exc))


async def _provider_error_response(_: Request, exc: Exception) -> Response:
    """The Message Batches API had to be called, and failed."""
    return responses.problem(
        ProblemView(
            type=API_TROUBLE,
            title="the API could not be asked",
            detail=cast("ProviderError", exc).message,
            hint="`orchestrator doctor` looks closer",
            exit_code=_NO_API,
            status=HTTPStatus.BAD_GATEWAY,
        )
    )


async def _invalid_parameter(_: Request, exc: Exception) -> Response:
    """A parameter that the route does not accept."""
    first: dict[str, Any] = cast("RequestValidationError", exc).errors()[0]
    place = ".".join(map(str, first["loc"][1:]))
    told = f"{place} cannot be used" if place else "the request cannot be used"
    return responses.problem_response(
        UsageError(told, cause=str(first["msg"]), hint="/openapi.json says what it may be")
    )


async def _http_error(request: Request, exc: Exception) -> Response:
    wrong = cast("HTTPException", exc)
    if (answer := _redirect_without_slash(request, wrong)) is not None:
        return answer
    if (shown := dashboard.http_error_page(request.app.state.services, request, wrong)) is not None:
        return shown
    response = responses.problem(
        ProblemView(
            type=_SLUGS.get(wrong.status_code, "bad-request"),
            title=wrong.detail,
            hint=wrong.hint if isinstance(wrong, job_upload.JsonWanted) else _HINTS.get(wrong.status_code),
            exit_code=_WRONG_REQUEST,
            status=wrong.status_code,
        )
    )
    response.headers.update(wrong.headers or {})
    if wrong.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["allow"] = ", ".join(responses.allowed(request))
    return response


def _redirect_without_slash(request: Request, wrong: HTTPException) -> Response | None:
    """A relative redirect for a path with a trailing slash: only a proxy may know the scheme of an absolute one."""
    raw = request.scope["raw_path"].decode("latin-1")
    if wrong.status_code != HTTPStatus.NOT_FOUND or not raw.endswith("/") or raw.startswith("//"):
        return None
    scope = {**request.scope, "path": request.scope["path"].rstrip("/")}
    if not any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
        return None
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers={"location": f"{raw.rstrip('/')}{query}"})


async def _client_gone(_: Request, __: Exception) -> Response:
    """The client disconnected in the middle of its body; what was read has been discarded already."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _internal_error(_: Request, exc: Exception) -> Response:
    """Starlette re-raises the error after this response, and the server logs it."""
    if (lacking := shortage(exc)) is not None:
        return responses.problem_response(lacking)
    return responses.problem(
        ProblemView(
            type="internal",
            title="the engine failed while it worked on this",
            hint="its log says more",
            exit_code=_INTERNAL,
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
        )
    )
