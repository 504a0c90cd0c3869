"""Answers that every face over HTTP gives alike: problem documents, and which methods a path knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from orchestrator.http_api import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from orchestrator.domain.errors import OrchestratorError


def problem(status: int, document: Mapping[str, object]) -> Response:
    """*document* (see `problems.document`) as an answer."""
    return JSONResponse({**document, "status": int(status)}, status_code=status, media_type=problems.CONTENT_TYPE)


def problem_response(exc: OrchestratorError) -> Response:
    """*exc* as an answer."""
    return problem(*problems.problem_of(exc))


def allowed(request: Request) -> list[str]:
    """The methods of all routes of this path; the router knows only those of the first."""
    allowed: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            allowed |= getattr(route, "methods", None) or set()
    return sorted(allowed)
