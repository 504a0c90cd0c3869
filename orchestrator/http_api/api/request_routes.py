"""Routes of a job's requests and their results.

Requests: a list, one in full, failures by cause, and lines that were left out. Results: in pages, and a stream in the
format of a result file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from orchestrator.domain import ids, model, queries, result_lines, states
from orchestrator.domain.errors import GuardRefused, OrchestratorError
from orchestrator.http_api.api import job_routes, route_docs, routing
from orchestrator.http_api.responses import gzipped, takes_gzip
from orchestrator.http_api.services import Services
from orchestrator.observability.logs import get_logger
from orchestrator.ports.reads import Reads
from orchestrator.views import request_views

log = get_logger(__name__)

api = routing.router("requests")
result_api = routing.router("results")


async def request_filter(
    state: Annotated[states.RequestState | None, Query(description="Only requests in this state.")] = None,
    batch: Annotated[int | None, Query(ge=1, le=ids.MAX_INTEGER, description="Only requests of this batch.")] = None,
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
) -> queries.RequestFilter:
    """The filter in the query."""
    return queries.RequestFilter(
        state=state,
        batch=None if batch is None else ids.BatchId(batch),
        error_type=error_type,
        error_message=error_message,
        cause=error_cause,
        stop_reason=stop_reason,
    )


@api.get("/jobs/{ref}/requests", responses=route_docs.answers(request_views.RequestsView, 404))
async def requests(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    where: Annotated[queries.RequestFilter, Depends(request_filter)],
    cursor: routing.Cursor = None,
    limit: routing.Limit = 100,
) -> Response:
    """The requests of a job, in input order."""
    page = partial(_page, found.job.id, where, routing.decode_cursor(cursor), limit)
    return routing.json_response(await services.bulk.read(page))


def _page(
    job: ids.JobId, where: queries.RequestFilter, above: int | None, limit: int, reads: Reads
) -> request_views.RequestsView:
    rows = reads.requests(job, above=0 if above is None else above, limit=limit + 1, where=where)
    page, more = routing.cut_page(rows, limit, lambda row: row.number)
    return request_views.RequestsView(requests=[request_views.RequestRowView.of(row) for row in page], next=more)


@api.get("/jobs/{ref}/requests/{custom_id:path}", responses=route_docs.answers(request_views.RequestView, 404))
async def request(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    custom_id: Annotated[str, Path(description="The request's own id.")],
) -> Response:
    """One request: params, result, usage, and its failed attempts."""

    def look(reads: Reads) -> request_views.RequestView:
        view = reads.request(found.job.id, custom_id)
        return request_views.RequestView.of(found.job, view, reads.neighbours(found.job.id, view.number))

    return routing.json_response(await services.reader.read(look))


@api.get("/jobs/{ref}/errors", responses=route_docs.answers(request_views.ErrorsView, 404))
async def errors(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    groups: Annotated[int, Query(ge=1, le=10_000, description="Maximum number of causes.")] = 50,
    examples: Annotated[int, Query(ge=0, le=1000, description="Examples per cause.")] = 3,
) -> Response:
    """What failed, grouped by cause, the largest group first."""
    grouped = await services.bulk.read(lambda reads: reads.errors(found.job.id, groups=groups, examples=examples))
    return routing.json_response(request_views.ErrorsView.of(found, grouped))


MEDIA_TYPE: Final = "application/x-ndjson"
_PAGE: Final = 500
_LOOK: Final = timedelta(seconds=15)
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "One line per settled request, as the API writes them. A stream that was not ended is cut.",
        "content": {
            MEDIA_TYPE: {
                "schema": {"type": "string"},
                "example": '{"custom_id":"hello-1","result":{"type":"succeeded","message":{}}}\n',
            }
        },
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResultQuery:
    """after: the request that the client read last; follow: wait for requests that are not settled yet."""

    job: ids.JobId
    after: queries.RequestDetails | None
    follow: bool


@result_api.get(
    "/jobs/{ref}/results",
    response_class=StreamingResponse,
    responses={**_STREAM, **route_docs.error_responses(404, 410)},
)
async def results(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    order: Annotated[
        Literal["input", "settled"], Query(description="As handed in, or as the batches settled.")
    ] = "input",
    after: Annotated[str | None, Query(description="`custom_id` of the last whole line: continue after it.")] = None,
    follow: Annotated[Literal["0", "1"], Query(description="1: wait until the job is over.")] = "0",
    accept_encoding: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The results so far, one line each; gzipped if `Accept-Encoding` allows it.

    Resume a broken download with `after`: the `custom_id` of the last whole line, in either order. If the job was
    retried meanwhile, start over. In input order, `follow` sends nothing before the job is over.
    """
    job = found.job.id
    await services.bulk.read(lambda reads: reads.results(job, above=0, limit=1))  # purged: said before the first byte
    last = None if after is None else await services.bulk.read(lambda reads: reads.request(job, after))
    walk = _ResultQuery(job=job, after=last, follow=follow == "1")
    pages = _in_input_order(services, walk) if order == "input" else _as_settled(services, walk)
    headers = {"vary": "accept-encoding", "cache-control": "no-store"}
    if takes_gzip(accept_encoding):
        pages, headers["content-encoding"] = gzipped(pages), "gzip"
    return _CutStream(pages, media_type=MEDIA_TYPE, headers=headers)


class _CutStream(StreamingResponse):
    """A stream that is cut, without its final chunk, when it fails: so nobody mistakes it for the whole."""

    async def stream_response(self, send: Send) -> None:
        """Send it all, or stop in the middle."""
        try:
            await super().stream_response(send)
        except OrchestratorError as exc:
            log.warning("download.cut", why=exc.message)


async def _in_input_order(services: Services, walk: _ResultQuery) -> AsyncGenerator[bytes, None]:
    while walk.follow and not await services.reader.read(partial(_is_over, walk.job)):
        await _wait_for_move(services)
    above = 0 if walk.after is None else walk.after.number
    while rows := await services.bulk.read(partial(_results, walk.job, above)):
        above = rows[-1].number
        yield result_lines.settled_lines(rows)


async def _as_settled(services: Services, walk: _ResultQuery) -> AsyncGenerator[bytes, None]:
    place = queries.SettledCursor()
    if walk.after is not None:
        place = await _place_of(services, walk.job, walk.after)
    while True:
        rows, place, is_over = await services.bulk.read(partial(_settled, walk.job, place))
        if rows:
            yield result_lines.settled_lines(rows)
        elif is_over or not walk.follow:
            return
        else:
            await _wait_for_move(services)


async def _wait_for_move(services: Services) -> None:
    """Wait for a change of state. Raises GuardRefused when the engine stops."""
    if services.feed.is_over:
        raise GuardRefused("the engine is stopping", hint="go on with after=")
    await services.feed.change(_LOOK)


async def _place_of(services: Services, job: ids.JobId, last: queries.RequestDetails) -> queries.SettledCursor:
    """The place of *last* in settling order: behind the event that settled its batch."""
    if last.batch_id is None:
        return queries.SettledCursor(event=None, number=last.number)
    after, place = 0, None
    while page := await services.bulk.read(partial(_events, job, after)):
        after = page[-1].id
        for event in page:
            if event.batch_id == last.batch_id and event.new == states.BatchState.SETTLED:
                place = queries.SettledCursor(event=event.id, number=last.number)
    if place is None:
        raise GuardRefused(
            "that request is not settled any more", hint="the job was retried: begin anew, without after="
        )
    return place


def _is_over(job: ids.JobId, reads: Reads) -> bool:
    return reads.get(job).state in states.OVER


def _events(job: ids.JobId, after: int, reads: Reads) -> list[model.Event]:
    return reads.events(job, after=after)


def _results(job: ids.JobId, above: int, reads: Reads) -> list[queries.ResultRow]:
    return reads.results(job, above=above, limit=_PAGE)


def _settled(
    job: ids.JobId, after: queries.SettledCursor, reads: Reads
) -> tuple[list[queries.ResultRow], queries.SettledCursor, bool]:
    rows, place = reads.settled_results(job, after=after, limit=_PAGE)
    return rows, place, _is_over(job, reads)


#: An answer may have hundreds of kilobytes, and a page is held whole.
_MOST_RESULTS: Final = 200


@result_api.get(
    "/jobs/{ref}/results/page", responses=route_docs.answers(request_views.ResultPageView, 404, 410), name="results"
)
async def result_page(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    above: Annotated[int, Query(ge=0, le=ids.MAX_NUMBER, description="Only requests above this `number`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_RESULTS, description="Maximum number of entries.")] = 100,
) -> Response:
    """A page of settled requests in input order, with their numbers; /results streams all of them."""
    return routing.json_response(await services.bulk.read(partial(_result_page, found.job.id, above, limit)))


def _result_page(job: ids.JobId, above: int, limit: int, reads: Reads) -> request_views.ResultPageView:
    rows = reads.results(job, above=above, limit=limit)
    more = rows[-1].number if len(rows) == limit else None
    return request_views.ResultPageView(results=[request_views.ResultRowView.of(row) for row in rows], next=more)


@result_api.get("/jobs/{ref}/refused", responses=route_docs.answers(request_views.LeftOutView, 404))
async def refused(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    after: Annotated[int, Query(ge=0, le=ids.MAX_NUMBER, description="Only lines behind this one.")] = 0,
    limit: routing.Limit = 100,
) -> Response:
    """The lines that `skip_bad` left out, in file order, with their problems; a line may have several."""
    job = found.job.id
    problems = await services.bulk.read(lambda reads: reads.refused(job, after=after, limit=limit))
    more = problems[-1].line if len(problems) >= limit else None
    return routing.json_response(
        request_views.LeftOutView(
            refused=[request_views.LineLeftOutView.with_line(problem) for problem in problems], next=more
        )
    )


ROUTERS = (api, result_api)
