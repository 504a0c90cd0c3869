"""Shared by all routes: the services, a strict query, cursors and durations, and answers in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from orchestrator.config import parse_duration
from orchestrator.domain import errors, queries
from orchestrator.http_api.request_scope import teach_routes
from orchestrator.http_api.services import Services
from orchestrator.views.view import View

teach_routes()

T = TypeVar("T")
PREFIX: Final = "/api/v1"
_encode: Final = msgspec.json.Encoder().encode


async def services_of(request: Request) -> Services:  # async, or every request pays for a change of threads
    """The services of the engine behind the application."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
#: Of a download of lines: where a broken one goes on.
AfterLine = Annotated[str | None, Query(description="`custom_id` of the last whole line: continue after it.")]
WithRows = Annotated[bool, Query(description="With the row that each request was made of.")]


def router(tag: str, *, prefix: str = PREFIX) -> APIRouter:
    """A router whose routes refuse unknown parameters."""
    return APIRouter(prefix=prefix, tags=[tag], dependencies=[Depends(_refuse_unknown_parameters)])


def json_response(view: View, status: int = HTTPStatus.OK, *, headers: Mapping[str, str] | None = None) -> Response:
    """*view* as an answer in JSON."""
    return Response(_encode(view), status, headers=headers, media_type="application/json")


async def _refuse_unknown_parameters(request: Request) -> None:
    """Raises UsageError for an unknown parameter, which would silently have no effect."""
    if not request.query_params:
        return
    known = _parameter_names(request.scope["route"].dependant)
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        hint = f"known are: {', '.join(sorted(known))}" if known else "it takes none"
        raise errors.UsageError(f"there is no parameter {unknown[0]!r} here", hint=hint)


def _parameter_names(dependant: Dependant) -> set[str]:
    """Names of the query parameters of a route and its dependencies; a model stands for its fields."""
    known: set[str] = set()
    for field in dependant.query_params:
        kind: object = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known |= {each.alias or name for name, each in kind.model_fields.items()}
        else:
            known.add(field.alias)
    return known.union(*(_parameter_names(each) for each in dependant.dependencies))


_MOST: Final = 1000

Ref = Annotated[
    str,
    Path(
        description="A job: its id, a unique prefix of it, its name (the newest so called), or `@last`. A route that "
        "changes something refuses a name that several jobs have (409)."
    ),
]
Limit = Annotated[int, Query(ge=1, le=_MOST, description="Maximum number of entries.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.", max_length=200)]


def cut_page(found: Sequence[T], limit: int, number: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
    """The first *limit* entries of *found*, and the cursor of the next page if *found* has more.

    number: the number of an entry, after which the next page begins.
    """
    page = found[:limit]
    return page, queries.encode_cursor(number(page[-1])) if len(found) > limit else None


def parse_wait(text: str | None, *, longest: timedelta) -> timedelta:
    """A duration such as "30s"; zero without one. Raises UsageError, also if it is over *longest*."""
    if text is None:
        return timedelta(0)
    wait = parse_duration_param(text, "the time")
    if wait > longest:
        raise errors.UsageError(f"{text} is too long", hint=f"at most {longest.total_seconds():g}s")
    return wait


def parse_duration_param(text: str, key: str) -> timedelta:
    """The duration in parameter *key*. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise errors.UsageError(f"{key} is {text!r}", hint='give a duration such as "90d" or "12h"') from exc
