"""Webhooks: who is told, what became of every notice, a test, and a notice once more."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from orchestrator.domain.ids import MAX_NUMBER
from orchestrator.domain.notices import DeliveryState
from orchestrator.http_api.api import shapes
from orchestrator.http_api.api.routing import (
    Cursor,
    Limit,
    ServicesDep,
    decode_cursor,
    encode_cursor,
    error_responses,
    json_response,
    router,
)
from orchestrator.ports.reads import Reads
from orchestrator.views.job_views import delivery_view, endpoint_view

api = router("webhooks")

Number = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="A delivery's number.")]


@api.get("/webhooks", response_model=shapes.Endpoints, responses=error_responses())
async def endpoints(services: ServicesDep) -> Response:
    """Who is told, as the settings said when the engine started; who is told no more comes last."""
    found = await services.reader.read(lambda reads: reads.endpoints())
    return json_response({"endpoints": [endpoint_view(endpoint) for endpoint in found]})


@api.get("/webhooks/deliveries", response_model=shapes.Deliveries, responses=error_responses())
async def deliveries(
    services: ServicesDep,
    state: Annotated[DeliveryState | None, Query(description="Only those that are so.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The notices of the last 30 days, the newest first."""
    return json_response(await services.reader.read(partial(_page, state, decode_cursor(cursor), limit)))


def _page(state: DeliveryState | None, before: int | None, limit: int, reads: Reads) -> dict[str, object]:
    found = reads.deliveries(limit=limit + 1, before=before, state=state)
    more = encode_cursor(found[limit - 1].id) if len(found) > limit else None
    return {"deliveries": [delivery_view(delivery) for delivery in found[:limit]], "next": more}


@api.post("/webhooks/test", response_model=shapes.Sent, responses=error_responses(404))
async def send_test(
    services: ServicesDep,
    url: Annotated[str | None, Query(description="The endpoint; without it, each.", max_length=4096)] = None,
) -> Response:
    """Send a test notice."""
    return json_response({"sent": await services.commands.test_notice(url)})


@api.post("/webhooks/deliveries/{number}/replay", response_model=shapes.Delivery, responses=error_responses(404))
async def replay(services: ServicesDep, number: Number) -> Response:
    """Send a notice that is over again, as it was, with the same id."""
    await services.reader.read(lambda reads: reads.delivery(number))
    await services.commands.replay_notice(number)
    return json_response(delivery_view(await services.reader.read(lambda reads: reads.delivery(number))))


ROUTERS = (api,)
