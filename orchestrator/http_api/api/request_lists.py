"""Routes of the requests of a job: a list of those that are wanted, and the same as an input to hand in again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from orchestrator.domain import ids, queries
from orchestrator.domain.result_choice import RequestChoice
from orchestrator.http_api import responses
from orchestrator.http_api.api import job_routes, request_query, result_tables, route_docs, routing
from orchestrator.http_api.services import Services
from orchestrator.ports.reads import Reads
from orchestrator.views import request_views

api = routing.router("requests")

_PAGE: Final = 500
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


ChoiceDep = Annotated[RequestChoice, Depends(request_query.request_choice)]


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
