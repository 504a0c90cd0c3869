"""Routes of the requests of a job: a list of those that are wanted, and the same as an input to hand in again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from orchestrator.domain import ids, queries, states
from orchestrator.domain.result_choice import HELP, RequestChoice
from orchestrator.http_api import responses
from orchestrator.http_api.api import job_routes, result_tables, route_docs, routing
from orchestrator.http_api.services import Services
from orchestrator.ports.reads import Reads
from orchestrator.views import request_views

api = routing.router("requests")

_PAGE: Final = 500
_MOST_WORDS: Final = 20
_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "One line per request, as they are handed in. A stream that was not ended is cut.",
        "content": {
            result_tables.LINES: {
                "schema": {"type": "string"},
                "example": '{"custom_id":"hello-1","params":{"model":"claude-haiku-4-5","max_tokens":16}}\n',
            }
        },
    }
}


async def request_filter(
    batch: Annotated[int | None, Query(ge=1, le=ids.MAX_INTEGER, description="Only requests of this batch.")] = None,
    error_type: Annotated[str | None, Query(max_length=1000, description="Only failures of this type.")] = None,
    error_message: Annotated[
        str | None, Query(max_length=10_000, description="Only failures with this message.")
    ] = None,
    error_cause: Annotated[
        str | None, Query(max_length=1000, description="Only failures of this `cause`, as `errors` gives it.")
    ] = None,
    custom_id_prefix: Annotated[
        str | None, Query(max_length=1000, description="Only requests whose `custom_id` begins with it.")
    ] = None,
) -> queries.RequestFilter:
    """The filter in the query."""
    return queries.RequestFilter(
        batch=None if batch is None else ids.BatchId(batch),
        error_type=error_type,
        error_message=error_message,
        cause=error_cause,
        id_prefix=custom_id_prefix or None,
    )


async def request_choice(
    within: Annotated[queries.RequestFilter, Depends(request_filter)],
    state: Annotated[
        list[states.RequestState] | None,
        Query(max_length=len(states.RequestState), description="Only requests in one of these states."),
    ] = None,
    stop_reason: Annotated[
        list[str] | None,
        Query(max_length=_MOST_WORDS, description='Only answers that ended by one of these, such as "refusal".'),
    ] = None,
    only: Annotated[
        list[str] | None,
        Query(max_length=_MOST_WORDS, description=f"Only requests of which one of these is true: {HELP}"),
    ] = None,
) -> RequestChoice:
    """The choice in the query."""
    return RequestChoice(
        states=frozenset(state or ()), stops=frozenset(stop_reason or ()), only=frozenset(only or ()), within=within
    )


ChoiceDep = Annotated[RequestChoice, Depends(request_choice)]


@api.get("/jobs/{ref}/requests", responses=route_docs.answers(request_views.RequestsView, 404))
async def requests(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    choice: ChoiceDep,
    cursor: routing.Cursor = None,
    limit: routing.Limit = 100,
    from_number: Annotated[
        int, Query(ge=1, le=ids.MAX_NUMBER, description="Only requests of this `number`, and after it.")
    ] = 1,
) -> Response:
    """The requests of a job, in input order."""
    above = max(queries.decode_cursor(cursor) or 0, from_number - 1)
    page = partial(_page, found.job.id, choice, above, limit)
    return routing.json_response(await services.bulk.read(page))


def _page(job: ids.JobId, choice: RequestChoice, above: int, limit: int, reads: Reads) -> request_views.RequestsView:
    rows = reads.chosen_requests(job, choice, above=above, limit=limit + 1)
    page, more = routing.cut_page(rows, limit, lambda row: row.number)
    return request_views.RequestsView(requests=[request_views.RequestRowView.of(row) for row in page], next=more)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Download:
    """Which lines are asked for: those behind one, a page of them or all, with their rows or without."""

    after: str | None
    limit: int | None
    rows: bool

    def page(self, job: ids.JobId, choice: RequestChoice, after: str | None, reads: Reads) -> list[queries.RequestLine]:
        """The lines behind *after*."""
        limit = _PAGE if self.limit is None else self.limit
        return reads.request_lines(job, choice, after=after, limit=limit, rows=self.rows)


async def _asked(
    after: routing.AfterLine = None,
    limit: Annotated[
        int | None, Query(ge=1, le=1000, description="One page: so many lines, and a few megabytes, at most.")
    ] = None,
    rows: routing.WithRows = False,
) -> _Download:
    return _Download(after=after, limit=limit, rows=rows)


@api.get(
    "/jobs/{ref}/requests.jsonl",
    response_class=StreamingResponse,
    responses={**_LINES, **route_docs.error_responses(404, 410)},
)
async def request_lines(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    choice: ChoiceDep,
    asked: Annotated[_Download, Depends(_asked)],
    accept_encoding: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The requests of a job as they were handed in, to be corrected and handed in again; in input order.

    Without `limit` all of them. gzipped if `Accept-Encoding` allows it.
    """
    read = partial(asked.page, found.job.id, choice)
    first = await services.bulk.read(partial(read, asked.after))  # what is wrong is said before the first byte
    pages = _pages(services, read, first, is_one=asked.limit is not None)
    return responses.download(pages, result_tables.LINES, accept_encoding)


_ReadLines = partial[list[queries.RequestLine]]


async def _pages(
    services: Services, read: _ReadLines, page: list[queries.RequestLine], *, is_one: bool
) -> AsyncGenerator[bytes, None]:
    while page:
        yield b"".join([line.text for line in page])
        page = [] if is_one else await services.bulk.read(partial(read, page[-1].custom_id))


ROUTERS = (api,)
