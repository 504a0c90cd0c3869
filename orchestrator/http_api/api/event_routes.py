"""Routes of events, and of the webhooks that they are sent to.

Events: in pages, and live as Server-Sent Events. Webhooks: endpoints, deliveries, a test notice, and a replay.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from fastapi import Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from orchestrator.domain import ids, model, notices, queries
from orchestrator.http_api import responses
from orchestrator.http_api.api import job_routes, route_docs, routing
from orchestrator.http_api.services import Services
from orchestrator.ports import caller
from orchestrator.ports.reads import Reads
from orchestrator.views import service_views

api = routing.router("events")
webhook_api = routing.router("webhooks")

After = Annotated[int, Query(ge=0, le=ids.MAX_INTEGER, description="Only events above this `id`.")]
#: Start of a stream; without it, only new events are sent.
From = Annotated[
    int | None, Query(alias="after", ge=0, le=ids.MAX_INTEGER, description="Begin above this `id`; else now.")
]
LastId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, le=ids.MAX_INTEGER, description="As `after`, and before it.")
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


@api.get("/events", responses=route_docs.answers(service_views.EventsView))
async def events(services: routing.ServicesDep, after: After = 0, limit: routing.Limit = 100) -> Response:
    """The events of every job, oldest first."""
    return routing.json_response(await services.reader.read(partial(_page, None, after, limit)))


@api.get("/jobs/{ref}/events", responses=route_docs.answers(service_views.EventsView, 404))
async def of_job(
    services: routing.ServicesDep, found: job_routes.JobDep, after: After = 0, limit: routing.Limit = 100
) -> Response:
    """The events of a job and of its batches, oldest first."""
    return routing.json_response(await services.reader.read(partial(_page, found.job.id, after, limit)))


@api.get("/events/stream", response_class=StreamingResponse, responses={**_LIVE, **route_docs.error_responses()})
async def live(services: routing.ServicesDep, after: From = None, last_event_id: LastId = None) -> Response:
    """Every event as it happens, until the engine stops."""
    return await _stream(services, None, after if last_event_id is None else last_event_id)


@api.get(
    "/jobs/{ref}/events/stream",
    response_class=StreamingResponse,
    responses={**_LIVE, **route_docs.error_responses(404)},
)
async def live_of_job(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    after: From = None,
    last_event_id: LastId = None,
) -> Response:
    """The events of a job as they happen, until the engine stops."""
    return await _stream(services, found.job.id, after if last_event_id is None else last_event_id)


def event_page(events: Sequence[model.Event], reads: Reads) -> list[service_views.EventView]:
    """Views of *events*, with the public ids of their jobs."""
    jobs = reads.known({event.job_id for event in events if event.job_id is not None})
    names: dict[ids.JobId | None, str] = {job.id: job.public_id for job in jobs.values()}
    return [service_views.EventView.of(event, names.get(event.job_id)) for event in events]


def _page(job: ids.JobId | None, after: int, limit: int, reads: Reads) -> service_views.EventsView:
    found = reads.events(job, after=after, limit=limit + 1)
    more = found[limit - 1].id if len(found) > limit else None
    return service_views.EventsView(events=event_page(found[:limit], reads), next=more)


async def _stream(services: Services, job: ids.JobId | None, after: int | None) -> Response:
    begin = await services.reader.read(lambda reads: reads.last_event()) if after is None else after
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    pages = _event_stream(services, job, begin)
    return responses.CutStream(pages, media_type="text/event-stream", headers=headers)


async def _event_stream(services: Services, job: ids.JobId | None, after: int) -> AsyncGenerator[bytes, None]:
    """The stream, as long as who asked is let in.

    It begins with its start id, so that a client that is cut off at once misses nothing.
    """
    yield f"retry: {_RETRY_MS}\nid: {after}\n\n".encode()
    async with aclosing(services.feed.events(after, job=job)) as pages:
        async for page in pages:
            if not caller.is_still_let_in():
                return
            views = await services.reader.read(partial(event_page, page)) if page else []
            yield b"".join(map(_server_sent_event, views)) if views else _ALIVE


def _server_sent_event(view: service_views.EventView) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(view.id).encode(), view.kind.encode(), _encode(view))


Number = Annotated[int, Path(ge=1, le=ids.MAX_NUMBER, description="A delivery's number.")]


@webhook_api.get("/webhooks", responses=route_docs.answers(service_views.EndpointsView))
async def endpoints(services: routing.ServicesDep) -> Response:
    """The endpoints, as of the start of the engine; those no longer configured come last."""
    found = await services.reader.read(lambda reads: reads.endpoints())
    return routing.json_response(
        service_views.EndpointsView(endpoints=[service_views.EndpointView.of(endpoint) for endpoint in found])
    )


@webhook_api.get("/webhooks/deliveries", responses=route_docs.answers(service_views.DeliveriesView))
async def deliveries(
    services: routing.ServicesDep,
    state: Annotated[notices.DeliveryState | None, Query(description="Only those that are so.")] = None,
    limit: routing.Limit = 100,
    cursor: routing.Cursor = None,
) -> Response:
    """The deliveries of the last 30 days, the newest first."""
    return routing.json_response(
        await services.reader.read(partial(_delivery_page, state, queries.decode_cursor(cursor), limit))
    )


def _delivery_page(
    state: notices.DeliveryState | None, before: int | None, limit: int, reads: Reads
) -> service_views.DeliveriesView:
    found = reads.deliveries(limit=limit + 1, before=before, state=state)
    page, more = routing.cut_page(found, limit, lambda delivery: delivery.id)
    return service_views.DeliveriesView(
        deliveries=[service_views.DeliveryView.of(delivery) for delivery in page], next=more
    )


@webhook_api.post("/webhooks/test", responses=route_docs.answers(service_views.SentView, 404))
async def send_test(
    services: routing.ServicesDep,
    url: Annotated[str | None, Query(description="The endpoint; without it, each.", max_length=4096)] = None,
) -> Response:
    """Send a test notice."""
    return routing.json_response(service_views.SentView(sent=await services.commands.test_notice(url)))


@webhook_api.post("/webhooks/deliveries/{number}/replay", responses=route_docs.answers(service_views.DeliveryView, 404))
async def replay(services: routing.ServicesDep, number: Number) -> Response:
    """Send a finished delivery again, unchanged and with the same id."""
    await services.reader.read(lambda reads: reads.delivery(number))
    await services.commands.replay_notice(number)
    return routing.json_response(
        service_views.DeliveryView.of(await services.reader.read(lambda reads: reads.delivery(number)))
    )


ROUTERS = (api, webhook_api)
