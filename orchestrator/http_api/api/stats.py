"""How busy the engine is and was, and what bounds it."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Query
from starlette.responses import Response

from orchestrator.config import shown
from orchestrator.domain.errors import UsageError
from orchestrator.http_api.api import shapes
from orchestrator.http_api.api.params import wait_of
from orchestrator.http_api.api.routing import The, refusals, router, said
from orchestrator.http_api.self_checks import findings_of
from orchestrator.views.batch_views import gate_view, samples_view, totals_view
from orchestrator.views.health_checks import FAIL
from orchestrator.views.job_views import health_view

api = router("stats")

_LONGEST: Final = timedelta(days=31)
_SHORTEST: Final = timedelta(seconds=10)
_MOST: Final = 10_000
_SECTIONS: Final = ("limits.", "batching.", "retry.")

Duration = Annotated[str, Query(max_length=30, description="Such as 30s, 5m, 24h, 7d.")]


@api.get("/stats", response_model=shapes.Stats, responses=refusals())
async def stats(services: The, window: Duration = "24h", step: Duration = "5m") -> Response:
    """The last sample of each *step* in the *window* that ends now; one holds until the next."""
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
    """What bounds the engine: settings, what one batch may hold, what is at the API now, and what it waits for."""
    sums, gates = await services.reader.read(lambda reads: (reads.totals(), reads.gates()))
    settings = [each for each in shown(services.settings) if each.name.startswith(_SECTIONS)]
    view = {
        "settings": {each.name: None if each.text is None else _plain(each.text) for each in settings},
        "batch": {"requests": services.caps.requests, "bytes": services.caps.size_bytes},
        "in_flight_requests": sums.in_flight_requests,
        "waits": [gate_view(gate) for gate in gates],
        "api": health_view(services.health),
    }
    return said(view)


def _plain(toml: str) -> object:
    """A value as JSON has it: a number, or a text without TOML's quotes."""
    value: object = tomllib.loads(f"value = {toml}")["value"]
    return value


@api.get("/doctor", response_model=shapes.Findings, responses=refusals())
async def doctor(services: The) -> Response:
    """What the engine finds of itself without asking the API; `orchestrator doctor` looks closer."""
    found = await findings_of(services)
    checks = [{"check": f.check, "verdict": f.verdict, "fact": f.fact, "remedy": f.remedy} for f in found]
    return said({"checks": checks, "healthy": all(f.verdict != FAIL for f in found)})


ROUTERS = (api,)
