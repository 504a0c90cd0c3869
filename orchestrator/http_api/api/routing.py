"""What every route stands on: services, a strict query, paging, JSON answers and how refusals are described."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.config import parse_duration
from orchestrator.domain.errors import BadCursor, UsageError
from orchestrator.domain.ids import MAX_NUMBER
from orchestrator.domain.job_spec import DEFAULT_PRIORITY, OPTIONS, JobOptions
from orchestrator.http_api.request_scope import teach_routes
from orchestrator.http_api.services import Services
from orchestrator.views import problem_details
from orchestrator.views.view import View

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
#: The names by which the description knows them; that of a view is its own without "View".
_PUBLIC_NAMES: Final = {"IngestResultView": "TakenIn", "AttemptView": "Trip", "RequestCounts": "Counts"}
_encode: Final = msgspec.json.Encoder().encode


async def services_of(request: Request) -> Services:  # async, or every request pays for a change of threads
    """The engine that the application was built over."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]


def router(tag: str, *, prefix: str = PREFIX) -> APIRouter:
    """A router whose routes refuse a parameter that they do not know."""
    return APIRouter(prefix=prefix, tags=[tag], dependencies=[Depends(_refuse_unknown_parameters)])


def json_response(view: View, status: int = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None) -> Response:
    """*view* as an answer in JSON."""
    return Response(_encode(view), status, headers=headers, media_type="application/json")


def public_name(kind: str) -> str:
    """What the description calls the class *kind*."""
    return _PUBLIC_NAMES.get(kind, kind.removesuffix("View"))


def answers(
    view: type[View], *refusals: int, status: int = HTTPStatus.OK, what: str = "Successful Response"
) -> dict[int | str, dict[str, Any]]:
    """The description of a route that answers *view*, or refuses with *refusals* (see `error_responses`)."""
    schema = {"$ref": f"#/components/schemas/{public_name(view.__name__)}"}
    answer = {"description": what, "content": {"application/json": {"schema": schema}}}
    return {int(status): answer, **error_responses(*refusals)}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of what a route refuses with *statuses*, beside what every route may answer."""
    return {status: _refusal(status) for status in sorted({*_ALWAYS, *statuses})}


def _refusal(status: int) -> dict[str, Any]:
    schema = "Refused" if status == HTTPStatus.UNPROCESSABLE_ENTITY else "Problem"
    content = {problem_details.CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": _WHY[status], "content": content}


async def _refuse_unknown_parameters(request: Request) -> None:
    """Raises UsageError for a parameter that the route does not have: it would change nothing, silently."""
    if not request.query_params:
        return
    known = _parameter_names(request.scope["route"].dependant)
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        hint = f"known are: {', '.join(sorted(known))}" if known else "it takes none"
        raise UsageError(f"there is no parameter {unknown[0]!r} here", hint=hint)


def _parameter_names(dependant: Dependant) -> set[str]:
    """The parameters of a route and of what it depends on; those of a model are its fields."""
    known: set[str] = set()
    for field in dependant.query_params:
        kind: object = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known |= set(kind.model_fields)
        else:
            known.add(field.alias)
    return known.union(*(_parameter_names(each) for each in dependant.dependencies))


_VERSION: Final = 1
_MOST: Final = 1000
#: What SQLite can hold.
LARGEST: Final = (1 << 63) - 1

Flag = Literal["0", "1"]
Ref = Annotated[
    str,
    Path(
        description="A job: its id, a unique prefix of it, its name (the newest so called), or `@last`. A route that "
        "changes something refuses a name that several jobs have (409)."
    ),
]
Limit = Annotated[int, Query(ge=1, le=_MOST, description="At most so many.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=200)]


def _option(field: str, help_text: str | None = None) -> FieldInfo:
    """The parameter of an option of a new job; its value is checked when the job is made (`JobOptions.new_job`)."""
    option = OPTIONS[field]

    def describe(schema: dict[str, Any]) -> None:
        schema.pop("anyOf", None)
        schema.update(option.schema)

    found: FieldInfo = Field(description=help_text or option.help, json_schema_extra=describe)
    return found


_DEFAULT_NAME: Final = "As `name` for a new job; one that is there keeps its name. Else the name of its source."


class UploadOptions(BaseModel):
    """How a new job is made of a body: as parameters, as fields of a form, or beside the requests in JSON."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str | None, _option("name")] = None
    default_name: Annotated[str | None, _option("name", _DEFAULT_NAME)] = None
    source: Annotated[str, Field(max_length=4096, description="Where the requests come from, for showing.")] = "<http>"
    api_version: Annotated[str | None, _option("api_version")] = None
    beta: Annotated[list[str], _option("betas")] = []
    priority: Annotated[int, _option("priority")] = DEFAULT_PRIORITY
    open: Annotated[Flag, Field(description="1: more requests will come; close it then.")] = "0"
    key: Annotated[str | None, _option("key")] = None
    new: Annotated[Flag, Field(description="1: a new job although the same content is there.")] = "0"
    skip_bad: Annotated[Flag, Field(description="1: leave bad lines out in place of refusing all.")] = "0"
    max_problems: Annotated[int, Field(ge=1, le=10_000, description="List so many problems; all are counted.")] = 20
    shown_as: Annotated[str | None, Field(max_length=4096, description='What stands before ":line".')] = None

    def job_options(self) -> JobOptions:
        """The options of the job among the parameters."""
        return JobOptions(**{field: getattr(self, option.param) for field, option in OPTIONS.items()})


def encode_cursor(place: int | str) -> str:
    """*place* for who asks for the next page."""
    return urlsafe_b64encode(msgspec.json.encode([_VERSION, place])).decode().rstrip("=")


def decode_cursor(text: str | None) -> int | None:
    """The number that a cursor holds; None without one. Raises BadCursor."""
    if text is None:
        return None
    try:
        held = msgspec.json.decode(
            urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[Literal[1], int], strict=True
        )
    except (msgspec.DecodeError, binascii.Error, ValueError) as exc:
        raise _bad_cursor() from exc
    if not 0 <= held[1] <= MAX_NUMBER or encode_cursor(held[1]) != text:
        raise _bad_cursor()
    return held[1]


def parse_wait(text: str | None, *, longest: timedelta) -> timedelta:
    """The duration that *text* says, "30s" for instance; none without it. Raises UsageError."""
    if text is None:
        return timedelta(0)
    wait = parse_duration_param(text, "the time")
    if wait > longest:
        raise UsageError(f"{text} is too long", hint=f"at most {longest.total_seconds():g}s")
    return wait


def _bad_cursor() -> BadCursor:
    return BadCursor("the cursor cannot be read", hint="give `next` of the page before as it is, or leave it out")


def parse_duration_param(text: str, key: str) -> timedelta:
    """A duration with its unit. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise UsageError(f"{key} is {text!r}", hint='give a duration such as "90d" or "12h"') from exc
