"""Results as they are written to a file, streamed: nothing is held but a page, and a slow reader is waited for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Header, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from orchestrator.domain.errors import GuardRefused, OrchestratorError
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import Event, RequestDetails, ResultRow
from orchestrator.domain.queries import SettledCursor
from orchestrator.domain.result_lines import settled_lines
from orchestrator.domain.states import OVER, BatchState
from orchestrator.http_api.api.jobs import Found
from orchestrator.http_api.api.routing import The, refusals, router
from orchestrator.http_api.gzipped import gzipped, takes_gzip
from orchestrator.http_api.services import Services
from orchestrator.observability.logs import get_logger
from orchestrator.ports.reads import Reads

log = get_logger(__name__)

api = router("results")

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
class _Walk:
    """What is asked for. after: the request that was read last; follow: wait for what is not settled yet."""

    job: JobId
    after: RequestDetails | None
    follow: bool


@api.get("/jobs/{ref}/results", response_class=StreamingResponse, responses={**_STREAM, **refusals(404, 410)})
async def results(
    services: The,
    found: Found,
    order: Annotated[
        Literal["input", "settled"], Query(description="As handed in, or as the batches settled.")
    ] = "input",
    after: Annotated[str | None, Query(description="`custom_id` of the last whole line: go on behind it.")] = None,
    follow: Annotated[Literal["0", "1"], Query(description="1: wait until the job is over.")] = "0",
    accept_encoding: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """The results that there are, one line each; also compressed, where `Accept-Encoding` says so.

    A download that broke goes on with `after`: the `custom_id` of the last whole line, in either order. Of a job that
    was retried meanwhile, begin anew. In input order, `follow` gives nothing before the job is over.
    """
    job = found.job.id
    await services.bulk.read(lambda reads: reads.results(job, above=0, limit=1))  # purged: said before the first byte
    last = None if after is None else await services.bulk.read(lambda reads: reads.request(job, after))
    walk = _Walk(job=job, after=last, follow=follow == "1")
    pages = _in_input_order(services, walk) if order == "input" else _as_settled(services, walk)
    headers = {"vary": "accept-encoding", "cache-control": "no-store"}
    if takes_gzip(accept_encoding):
        pages, headers["content-encoding"] = gzipped(pages), "gzip"
    return _Cut(pages, media_type=MEDIA_TYPE, headers=headers)


class _Cut(StreamingResponse):
    """A stream that is left without its end when it cannot go on: nobody takes it for the whole."""

    async def stream_response(self, send: Send) -> None:
        """Send it all, or stop in the middle."""
        try:
            await super().stream_response(send)
        except OrchestratorError as exc:
            log.warning("download.cut", why=exc.message)


async def _in_input_order(services: Services, walk: _Walk) -> AsyncGenerator[bytes, None]:
    while walk.follow and not await services.reader.read(partial(_is_over, walk.job)):
        await _wait(services)
    above = 0 if walk.after is None else walk.after.number
    while rows := await services.bulk.read(partial(_results, walk.job, above)):
        above = rows[-1].number
        yield settled_lines(rows)


async def _as_settled(services: Services, walk: _Walk) -> AsyncGenerator[bytes, None]:
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
            await _wait(services)


async def _wait(services: Services) -> None:
    """Until something moved. Raises GuardRefused when the engine stops."""
    if services.feed.is_over:
        raise GuardRefused("the engine is stopping", hint="go on with after=")
    await services.feed.change(_LOOK)


async def _place_of(services: Services, job: JobId, last: RequestDetails) -> SettledCursor:
    """Where *last* stands in the order of settling: behind the event that settled its batch."""
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


ROUTERS = (api,)
