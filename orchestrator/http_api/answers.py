"""Answers that every face over HTTP gives alike: problem documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from orchestrator.http_api import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.domain.errors import OrchestratorError


def problem(status: int, document: Mapping[str, object]) -> Response:
    """*document* (see `problems.document`) as an answer."""
    return JSONResponse({**document, "status": int(status)}, status_code=status, media_type=problems.CONTENT_TYPE)


def problem_response(exc: OrchestratorError) -> Response:
    """*exc* as an answer."""
    return problem(*problems.problem_of(exc))
