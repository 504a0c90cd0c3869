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

from fastapi import Depends, Header, Path, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from orchestrator.domain.errors import GuardRefused, OrchestratorError
from orchestrator.domain.ids import MAX_INTEGER, MAX_NUMBER, BatchId, JobId
from orchestrator.domain.model import Event
from orchestrator.domain.queries import RequestDetails, RequestFilter, ResultRow, SettledCursor
from orchestrator.domain.result_lines import settled_lines
from orchestrator.domain.states import OVER, BatchState, RequestState
from orchestrator.http_api.api.job_routes import JobDep
from orchestrator.http_api.api.route_docs import answers, error_responses
from orchestrator.http_api.api.routing import (
    Cursor,
    Limit,
    ServicesDep,
    cut_page,
    decode_cursor,
    json_response,
    router,
)
from orchestrator.http_api.responses import gzipped, takes_gzip
from orchestrator.http_api.services import Services
from orchestrator.observability.logs import get_logger
from orchestrator.ports.reads import Reads
from orchestrator.views.request_views import (
    ErrorsView,
    LeftOutView,
    LineLeftOutView,
    RequestRowView,
    RequestsView,
    RequestView,
    ResultPageView,
    ResultRowView,
)

log = get_logger(__name__)

api = router("requests")
result_api = router("results")


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

    job: JobId
    after: RequestDetails | None
    follow: bool


@result_api.get(
    "/jobs/{ref}/results", response_class=StreamingResponse, responses={**_STREAM, **error_responses(404, 410)}
)
async def results(
    services: ServicesDep,
    found: JobDep,
    order: Annotated[
        Literal["input", "settled"], Query(description="As handed in, or as the batches settled.")
    ] = "input",
    after: Annotated[str | None, Query(description="`custom_id` of the last whole line: go on behind it.")] = None,
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
        yield settled_lines(rows)


async def _as_settled(services: Services, walk: _ResultQuery) -> AsyncGenerator[bytes, None]:
    place = SettledCursor()
    if walk.after is not None:
        place = await _place_of(services, walk.job, walk.after)
    while True:
        rows, place, is_over = await services.bulk.read(partial(_settled, walk.job, place))
        if rows:
            yield settled_lines(rows)
        elif is_over or not walk.follow:
            return
        else:
            await _wait_for_move(services)


async def _wait_for_move(services: Services) -> None:
    """Wait for a change of state. Raises GuardRefused when the engine stops."""
    if services.feed.is_over:
        raise GuardRefused("the engine is stopping", hint="go on with after=")
    await services.feed.change(_LOOK)


async def _place_of(services: Services, job: JobId, last: RequestDetails) -> SettledCursor:
    """The place of *last* in settling order: behind the event that settled its batch."""
    if last.batch_id is None:
        return SettledCursor(event=None, number=last.number)
    after, place = 0, None
    while page := await services.bulk.read(partial(_events, job, after)):
        after = page[-1].id
        for event in page:
            if event.batch_id == last.batch_id and event.new == BatchState.SETTLED:
                place = SettledCursor(event=event.id, number=last.number)
    if place is None:
        raise GuardRefused(
            "that request is not settled any more", hint="the job was retried: begin anew, without after="
        )
    return place


def _is_over(job: JobId, reads: Reads) -> bool:
    return reads.get(job).state in OVER


def _events(job: JobId, after: int, reads: Reads) -> list[Event]:
    return reads.events(job, after=after)


def _results(job: JobId, above: int, reads: Reads) -> list[ResultRow]:
    return reads.results(job, above=above, limit=_PAGE)


def _settled(job: JobId, after: SettledCursor, reads: Reads) -> tuple[list[ResultRow], SettledCursor, bool]:
    rows, place = reads.settled_results(job, after=after, limit=_PAGE)
    return rows, place, _is_over(job, reads)


#: An answer may have hundreds of kilobytes, and a page is held whole.
_MOST_RESULTS: Final = 200


@result_api.get("/jobs/{ref}/results/page", responses=answers(ResultPageView, 404, 410), name="results")
async def result_page(
    services: ServicesDep,
    found: JobDep,
    above: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Only requests above this `number`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_RESULTS, description="At most so many.")] = 100,
) -> Response:
    """A page of settled requests in input order, with their numbers; /results streams all of them."""
    return json_response(await services.bulk.read(partial(_result_page, found.job.id, above, limit)))


def _result_page(job: JobId, above: int, limit: int, reads: Reads) -> ResultPageView:
    rows = reads.results(job, above=above, limit=limit)
    more = rows[-1].number if len(rows) == limit else None
    return ResultPageView(results=[ResultRowView.of(row) for row in rows], next=more)


@result_api.get("/jobs/{ref}/refused", responses=answers(LeftOutView, 404))
async def refused(
    services: ServicesDep,
    found: JobDep,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Only lines behind this one.")] = 0,
    limit: Limit = 100,
) -> Response:
    """The lines that `skip_bad` left out, in file order, with their problems; a line may have several."""
    job = found.job.id
    problems = await services.bulk.read(lambda reads: reads.refused(job, after=after, limit=limit))
    more = problems[-1].line if len(problems) >= limit else None
    return json_response(LeftOutView(refused=[LineLeftOutView.with_line(problem) for problem in problems], next=more))


ROUTERS = (api, result_api)
