"""Routes of webhooks: endpoints, deliveries, a test notice, and a replay."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from orchestrator.domain.ids import MAX_NUMBER
from orchestrator.domain.notices import DeliveryState
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
from orchestrator.views.service_views import DeliveriesView, DeliveryView, EndpointsView, EndpointView, SentView

api = router("webhooks")

Number = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="A delivery's number.")]


@api.get("/webhooks", responses=answers(EndpointsView))
async def endpoints(services: ServicesDep) -> Response:
    """The endpoints, as of the start of the engine; those no longer configured come last."""
    found = await services.reader.read(lambda reads: reads.endpoints())
    return json_response(EndpointsView(endpoints=[EndpointView.of(endpoint) for endpoint in found]))


@api.get("/webhooks/deliveries", responses=answers(DeliveriesView))
async def deliveries(
    services: ServicesDep,
    state: Annotated[DeliveryState | None, Query(description="Only those that are so.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The deliveries of the last 30 days, the newest first."""
    return json_response(await services.reader.read(partial(_page, state, decode_cursor(cursor), limit)))


def _page(state: DeliveryState | None, before: int | None, limit: int, reads: Reads) -> DeliveriesView:
    found = reads.deliveries(limit=limit + 1, before=before, state=state)
    page, more = cut_page(found, limit, lambda delivery: delivery.id)
    return DeliveriesView(deliveries=[DeliveryView.of(delivery) for delivery in page], next=more)


@api.post("/webhooks/test", responses=answers(SentView, 404))
async def send_test(
    services: ServicesDep,
    url: Annotated[str | None, Query(description="The endpoint; without it, each.", max_length=4096)] = None,
) -> Response:
    """Send a test notice."""
    return json_response(SentView(sent=await services.commands.test_notice(url)))


@api.post("/webhooks/deliveries/{number}/replay", responses=answers(DeliveryView, 404))
async def replay(services: ServicesDep, number: Number) -> Response:
    """Send a finished delivery again, unchanged and with the same id."""
    await services.reader.read(lambda reads: reads.delivery(number))
    await services.commands.replay_notice(number)
    return json_response(DeliveryView.of(await services.reader.read(lambda reads: reads.delivery(number))))


ROUTERS = (api,)
