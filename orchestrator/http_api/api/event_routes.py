"""Routes of events, and of the webhooks that they are sent to.

Events: in pages, and live as Server-Sent Events. Webhooks: endpoints, deliveries, a test notice, and a replay.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from fastapi import Header, Path, Query
from starlette.responses import Response, StreamingResponse

from orchestrator.domain.ids import MAX_INTEGER, MAX_NUMBER, JobId
from orchestrator.domain.model import Event
from orchestrator.domain.notices import DeliveryState
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
from orchestrator.http_api.services import Services
from orchestrator.ports.reads import Reads
from orchestrator.views.service_views import (
    DeliveriesView,
    DeliveryView,
    EndpointsView,
    EndpointView,
    EventsView,
    EventView,
    SentView,
)

api = router("events")
webhook_api = router("webhooks")

After = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="Only events above this `id`.")]
#: Start of a stream; without it, only new events are sent.
From = Annotated[int | None, Query(alias="after", ge=0, le=MAX_INTEGER, description="Begin above this `id`; else now.")]
LastId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, le=MAX_INTEGER, description="As `after`, and before it.")
]
#: How long a browser waits before it comes back.
_RETRY_MS: Final = 2000
_ALIVE: Final = b": alive\n\n"
_LIVE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "`id` is the event's, `event` its kind, `data` the event in JSON; a comment every 15 s.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 7\nevent: job.moved\ndata: {"id":7,"kind":"job.moved","new":"running"}\n\n',
            }
        },
    }
}
_encode: Final = msgspec.json.Encoder().encode


@api.get("/events", responses=answers(EventsView))
async def events(services: ServicesDep, after: After = 0, limit: Limit = 100) -> Response:
    """The events of every job, oldest first."""
    return json_response(await services.reader.read(partial(_page, None, after, limit)))


@api.get("/jobs/{ref}/events", responses=answers(EventsView, 404))
async def of_job(services: ServicesDep, found: JobDep, after: After = 0, limit: Limit = 100) -> Response:
    """The events of a job and of its batches, oldest first."""
    return json_response(await services.reader.read(partial(_page, found.job.id, after, limit)))


@api.get("/events/stream", response_class=StreamingResponse, responses={**_LIVE, **error_responses()})
async def live(services: ServicesDep, after: From = None, last_event_id: LastId = None) -> Response:
    """Every event as it happens, until the engine stops."""
    return await _stream(services, None, after if last_event_id is None else last_event_id)


@api.get("/jobs/{ref}/events/stream", response_class=StreamingResponse, responses={**_LIVE, **error_responses(404)})
async def live_of_job(
    services: ServicesDep, found: JobDep, after: From = None, last_event_id: LastId = None
) -> Response:
    """The events of a job as they happen, until the engine stops."""
    return await _stream(services, found.job.id, after if last_event_id is None else last_event_id)


def event_page(events: Sequence[Event], reads: Reads) -> list[EventView]:
    """Views of *events*, with the public ids of their jobs."""
    jobs = reads.known({event.job_id for event in events if event.job_id is not None})
    names: dict[JobId | None, str] = {job.id: job.public_id for job in jobs.values()}
    return [EventView.of(event, names.get(event.job_id)) for event in events]


def _page(job: JobId | None, after: int, limit: int, reads: Reads) -> EventsView:
    found = reads.events(job, after=after, limit=limit + 1)
    more = found[limit - 1].id if len(found) > limit else None
    return EventsView(events=event_page(found[:limit], reads), next=more)


async def _stream(services: Services, job: JobId | None, after: int | None) -> Response:
    begin = await services.reader.read(lambda reads: reads.last_event()) if after is None else after
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_event_stream(services, job, begin), media_type="text/event-stream", headers=headers)


async def _event_stream(services: Services, job: JobId | None, after: int) -> AsyncGenerator[bytes, None]:
    """The stream. It begins with its start id, so that a client that is cut off at once misses nothing."""
    yield f"retry: {_RETRY_MS}\nid: {after}\n\n".encode()
    async with aclosing(services.feed.events(after, job=job)) as pages:
        async for page in pages:
            views = await services.reader.read(partial(event_page, page)) if page else []
            yield b"".join(map(_server_sent_event, views)) if views else _ALIVE


def _server_sent_event(view: EventView) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(view.id).encode(), view.kind.encode(), _encode(view))


Number = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="A delivery's number.")]


@webhook_api.get("/webhooks", responses=answers(EndpointsView))
async def endpoints(services: ServicesDep) -> Response:
    """The endpoints, as of the start of the engine; those no longer configured come last."""
    found = await services.reader.read(lambda reads: reads.endpoints())
    return json_response(EndpointsView(endpoints=[EndpointView.of(endpoint) for endpoint in found]))


@webhook_api.get("/webhooks/deliveries", responses=answers(DeliveriesView))
async def deliveries(
    services: ServicesDep,
    state: Annotated[DeliveryState | None, Query(description="Only those that are so.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The deliveries of the last 30 days, the newest first."""
    return json_response(await services.reader.read(partial(_delivery_page, state, decode_cursor(cursor), limit)))


def _delivery_page(state: DeliveryState | None, before: int | None, limit: int, reads: Reads) -> DeliveriesView:
    found = reads.deliveries(limit=limit + 1, before=before, state=state)
    page, more = cut_page(found, limit, lambda delivery: delivery.id)
    return DeliveriesView(deliveries=[DeliveryView.of(delivery) for delivery in page], next=more)


@webhook_api.post("/webhooks/test", responses=answers(SentView, 404))
async def send_test(
    services: ServicesDep,
    url: Annotated[str | None, Query(description="The endpoint; without it, each.", max_length=4096)] = None,
) -> Response:
    """Send a test notice."""
    return json_response(SentView(sent=await services.commands.test_notice(url)))


@webhook_api.post("/webhooks/deliveries/{number}/replay", responses=answers(DeliveryView, 404))
async def replay(services: ServicesDep, number: Number) -> Response:
    """Send a finished delivery again, unchanged and with the same id."""
    await services.reader.read(lambda reads: reads.delivery(number))
    await services.commands.replay_notice(number)
    return json_response(DeliveryView.of(await services.reader.read(lambda reads: reads.delivery(number))))


ROUTERS = (api, webhook_api)
