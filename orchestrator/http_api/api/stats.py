"""How busy the engine is and was, and what bounds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Query
from starlette.responses import Response

from orchestrator.config import shown
from orchestrator.domain.errors import UsageError
from orchestrator.http_api.api import shapes
from orchestrator.http_api.api.params import wait_of
from orchestrator.http_api.api.routing import The, refusals, router, said
from orchestrator.http_api.details import samples_view, totals_view
from orchestrator.http_api.views import health_view

api = router("stats")

_LONGEST: Final = timedelta(days=31)
_SHORTEST: Final = timedelta(seconds=10)
_MOST: Final = 10_000
_SECTIONS: Final = ("limits.", "batching.", "retry.")

Duration = Annotated[str, Query(max_length=30, description="Such as 30s, 5m, 24h, 7d.")]


@api.get("/stats", response_model=shapes.Stats, responses=refusals())
async def stats(services: The, window: Duration = "24h", step: Duration = "5m") -> Response:
    """The last sample of each *step* in the *window* that ends now; steps in which nothing changed are left out."""
    back, width = wait_of(window, longest=_LONGEST), wait_of(step, longest=_LONGEST)
    if width < _SHORTEST or back / width > _MOST:
        raise UsageError("there would be too many steps", hint=f"at least 10s a step, at most {_MOST:,} in the window")
    since = datetime.now(UTC) - back
    samples = await services.reader.read(lambda reads: reads.samples(since=since, step=width))
    return said({"samples": samples_view(samples)})


@api.get("/totals", response_model=shapes.Totals, responses=refusals())
async def totals(services: The) -> Response:
    """Sums over all jobs."""
    return said(totals_view(await services.reader.read(lambda reads: reads.totals())))


@api.get("/limits", response_model=shapes.Limits, responses=refusals())
async def limits(services: The) -> Response:
    """What bounds the engine: the settings, what one batch may hold, and how much is at the API now."""
    sums = await services.reader.read(lambda reads: reads.totals())
    settings = [each for each in shown(services.settings) if each.name.startswith(_SECTIONS)]
    view = {
        "settings": {each.name: each.text for each in settings},
        "batch": {"requests": services.caps.requests, "bytes": services.caps.size_bytes},
        "in_flight_requests": sums.in_flight_requests,
        "api": health_view(services.health),
    }
    return said(view)


ROUTERS = (api,)
