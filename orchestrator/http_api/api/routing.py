"""What every router stands on: the prefix, the engine it is handed, a strict query, and how answers are described."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.domain.errors import UsageError
from orchestrator.http_api.paths import teach_routes
from orchestrator.http_api.services import Services
from orchestrator.views import problem_details

teach_routes()

PREFIX: Final = "/api/v1"
#: Any route may answer so: a query that is wrong, an engine that failed, one that stops.
_ALWAYS: Final = (400, 409, 500, 503)
_WHY: Final = {
    400: "What was asked is wrong; nothing was changed.",
    404: "There is no such thing.",
    409: "A guard said no; nothing was changed.",
    410: "Its prompts and results were deleted.",
    413: "The body is too large for this route.",
    415: "The body's type is not one that is taken here.",
    422: "The input was read and refused, with every problem by line; nothing was stored or sent.",
    500: "The engine or its store failed; the log says more.",
    502: "The Message Batches API could not be asked.",
    503: "The engine does not own its store, is not ready, or stops: try again.",
    507: "There is no space left for the store.",
}
#: How a problem document is described.
PROBLEM: Final = {problem_details.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_encode: Final = msgspec.json.Encoder().encode


async def services_of(request: Request) -> Services:  # async, or every request pays for a change of threads
    """The engine that the application was built over."""
    services: Services = request.app.state.services
    return services


The = Annotated[Services, Depends(services_of)]


def router(tag: str, *, prefix: str = PREFIX) -> APIRouter:
    """A router whose routes refuse a parameter that they do not know."""
    return APIRouter(prefix=prefix, tags=[tag], dependencies=[Depends(_only_known)])


def said(view: object, status: int = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None) -> Response:
    """*view* as an answer in JSON."""
    return Response(_encode(view), status, headers=headers, media_type="application/json")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of what a route refuses with *statuses*, beside what every route may answer."""
    return {status: _refusal(status) for status in sorted({*_ALWAYS, *statuses})}


def _refusal(status: int) -> dict[str, Any]:
    schema = "Refused" if status == HTTPStatus.UNPROCESSABLE_ENTITY else "Problem"
    content = {problem_details.CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": _WHY[status], "content": content}


async def _only_known(request: Request) -> None:
    """Raises UsageError for a parameter that the route does not have: it would change nothing, silently."""
    if not request.query_params:
        return
    known = _known(request.scope["route"].dependant)
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        hint = f"known are: {', '.join(sorted(known))}" if known else "it takes none"
        raise UsageError(f"there is no parameter {unknown[0]!r} here", hint=hint)


def _known(dependant: Dependant) -> set[str]:
    """The parameters of a route and of what it depends on; those of a model are its fields."""
    known: set[str] = set()
    for field in dependant.query_params:
        kind: object = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known |= set(kind.model_fields)
        else:
            known.add(field.alias)
    return known.union(*(_known(each) for each in dependant.dependencies))
