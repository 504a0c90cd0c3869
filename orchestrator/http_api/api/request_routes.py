"""Routes of the requests of a job: a list, one in full, and failures by cause."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Depends, Path, Query
from starlette.responses import Response

from orchestrator.domain.ids import MAX_INTEGER, BatchId, JobId
from orchestrator.domain.queries import RequestFilter
from orchestrator.domain.states import RequestState
from orchestrator.http_api.api.job_routes import JobDep
from orchestrator.http_api.api.route_docs import answers
from orchestrator.http_api.api.routing import (
    Cursor,
    Limit,
    ServicesDep,
    cut_page,
    decode_cursor,
    json_response,
    router,
)
from orchestrator.ports.reads import Reads
from orchestrator.views.request_views import ErrorsView, RequestRowView, RequestsView, RequestView

api = router("requests")


async def wanted(
    state: Annotated[RequestState | None, Query(description="Only requests in this state.")] = None,
    batch: Annotated[int | None, Query(ge=1, le=MAX_INTEGER, description="Only requests of this batch.")] = None,
    error_type: Annotated[str | None, Query(max_length=1000, description="Only failures of this type.")] = None,
    error_message: Annotated[
        str | None, Query(max_length=10_000, description="Only failures with this message.")
    ] = None,
    error_cause: Annotated[
        str | None, Query(max_length=1000, description="Only failures of this `cause`, as `errors` gives it.")
    ] = None,
    stop_reason: Annotated[
        str | None, Query(max_length=100, description='Only answers that ended like this, such as "refusal".')
    ] = None,
) -> RequestFilter:
    """The filter in the query."""
    return RequestFilter(
        state=state,
        batch=None if batch is None else BatchId(batch),
        error_type=error_type,
        error_message=error_message,
        cause=error_cause,
        stop_reason=stop_reason,
    )


@api.get("/jobs/{ref}/requests", responses=answers(RequestsView, 404))
async def requests(
    services: ServicesDep,
    found: JobDep,
    where: Annotated[RequestFilter, Depends(wanted)],
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """The requests of a job, in input order."""
    page = partial(_page, found.job.id, where, decode_cursor(cursor), limit)
    return json_response(await services.bulk.read(page))


def _page(job: JobId, where: RequestFilter, above: int | None, limit: int, reads: Reads) -> RequestsView:
    rows = reads.requests(job, above=0 if above is None else above, limit=limit + 1, where=where)
    page, more = cut_page(rows, limit, lambda row: row.number)
    return RequestsView(requests=[RequestRowView.of(row) for row in page], next=more)


@api.get("/jobs/{ref}/requests/{custom_id:path}", responses=answers(RequestView, 404))
async def request(
    services: ServicesDep, found: JobDep, custom_id: Annotated[str, Path(description="The request's own id.")]
) -> Response:
    """One request: params, result, usage, and its failed attempts."""

    def look(reads: Reads) -> RequestView:
        view = reads.request(found.job.id, custom_id)
        return RequestView.of(found.job, view, reads.neighbours(found.job.id, view.number))

    return json_response(await services.reader.read(look))


@api.get("/jobs/{ref}/errors", responses=answers(ErrorsView, 404))
async def errors(
    services: ServicesDep,
    found: JobDep,
    groups: Annotated[int, Query(ge=1, le=10_000, description="At most so many causes.")] = 50,
    examples: Annotated[int, Query(ge=0, le=1000, description="Examples per cause.")] = 3,
) -> Response:
    """What failed, grouped by cause, the largest group first."""
    grouped = await services.bulk.read(lambda reads: reads.errors(found.job.id, groups=groups, examples=examples))
    return json_response(ErrorsView.of(found, grouped))


ROUTERS = (api,)
