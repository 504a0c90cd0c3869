"""Routes of the service: version, liveness, readiness, health, login, load, totals and limits."""

from __future__ import annotations

import asyncio
import os
import tomllib
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Query
from starlette.responses import Response

from orchestrator.config import setting_rows
from orchestrator.domain.errors import GuardRefused, UsageError
from orchestrator.http_api.api.route_docs import answers
from orchestrator.http_api.api.routing import ServicesDep, json_response, parse_wait, router
from orchestrator.http_api.guard.access_tokens import CODE_S
from orchestrator.http_api.responses import problem
from orchestrator.http_api.self_checks import findings_of
from orchestrator.version import VERSION
from orchestrator.views.health_checks import FAIL
from orchestrator.views.job_views import PlannedView
from orchestrator.views.problem_details import ProblemView
from orchestrator.views.service_views import (
    AliveView,
    FindingsView,
    FindingView,
    GateView,
    HealthView,
    LimitsView,
    ReadyView,
    SampleView,
    StatsView,
    TotalsView,
    VersionView,
    WayInView,
)

api = router("service")
root = router("service", prefix="")

NOT_READY: Final = "not-ready"
_NOT_YET: Final = 5
_STORE_S: Final = 2.0


@root.get("/version", responses=answers(VersionView))
@api.get("/version", responses=answers(VersionView))
async def version(services: ServicesDep) -> Response:
    """Version and identity of the daemon."""
    identity = services.identity
    view = VersionView(
        version=VERSION,
        pid=os.getpid(),
        db=identity.db,
        sandbox=identity.sandbox,
        lineage=identity.lineage,
    )
    return json_response(view)


@root.get("/livez", responses=answers(AliveView))
@api.get("/livez", responses=answers(AliveView))
async def livez() -> Response:
    """Liveness: the process answers; the store is not read."""
    return json_response(AliveView(alive=True))


@root.get("/readyz", responses=answers(ReadyView))
@api.get("/readyz", responses=answers(ReadyView))
async def readyz(services: ServicesDep) -> Response:
    """Readiness: the store answers and has space, and every stage is alive."""
    trouble = services.why_not_ready()
    try:
        async with asyncio.timeout(_STORE_S):
            await services.reader.read(lambda reads: reads.last_event())
    except TimeoutError:
        trouble = "the store does not answer"
    if trouble is None:
        return json_response(ReadyView(ready=True))
    return problem(
        ProblemView(
            type=NOT_READY,
            title="not ready",
            detail=trouble,
            hint="the log says more",
            exit_code=_NOT_YET,
            status=HTTPStatus.SERVICE_UNAVAILABLE,
        )
    )


@api.get("/health", responses=answers(HealthView))
async def health(services: ServicesDep) -> Response:
    """Whether the Message Batches API answers the engine."""
    return json_response(HealthView.of(services.health))


@api.post("/login", responses=answers(WayInView))
async def login(services: ServicesDep) -> Response:
    """A one-time link that logs a browser in to the dashboard. A browser's own login does not authorize this."""
    found = services.dashboard_link()
    if found is None:
        raise GuardRefused(
            "this engine does not listen on TCP, so it has no dashboard", hint="`orchestrator serve` has"
        )
    url, path = found
    return json_response(WayInView(url=url, path=path, expires_in_s=None if path == "/" else CODE_S))


stats_api = router("stats")

_LONGEST: Final = timedelta(days=31)
_SHORTEST: Final = timedelta(seconds=10)
_MOST: Final = 10_000
_SECTIONS: Final = ("limits.", "batching.", "retry.")

Duration = Annotated[str, Query(max_length=30, description="Such as 30s, 5m, 24h, 7d.")]


@stats_api.get("/stats", responses=answers(StatsView))
async def stats(services: ServicesDep, window: Duration = "24h", step: Duration = "5m") -> Response:
    """The last sample of each `step` in the `window` that ends now; a sample holds until the next."""
    back, width = parse_wait(window, longest=_LONGEST), parse_wait(step, longest=_LONGEST)
    if width < _SHORTEST or back / width > _MOST:
        raise UsageError("there would be too many steps", hint=f"at least 10s a step, at most {_MOST:,} in the window")
    since = datetime.now(UTC) - back
    samples = await services.reader.read(lambda reads: reads.samples(since=since, step=width))
    return json_response(StatsView(samples=[SampleView.of(sample) for sample in samples]))


@stats_api.get("/totals", responses=answers(TotalsView))
async def totals(services: ServicesDep) -> Response:
    """Totals over all jobs."""
    return json_response(TotalsView.of(await services.reader.read(lambda reads: reads.totals())))


@stats_api.get("/limits", responses=answers(LimitsView))
async def limits(services: ServicesDep) -> Response:
    """Limits of the engine: settings, the size of a batch, requests in flight, and waits."""
    sums, gates = await services.reader.read(lambda reads: (reads.totals(), reads.gates()))
    settings = [each for each in setting_rows(services.settings) if each.name.startswith(_SECTIONS)]
    view = LimitsView(
        settings={each.name: None if each.text is None else _plain(each.text) for each in settings},
        batch=PlannedView(requests=services.caps.requests, bytes=services.caps.size_bytes),
        in_flight_requests=sums.in_flight_requests,
        waits=[GateView.of(gate) for gate in gates],
        api=HealthView.of(services.health),
    )
    return json_response(view)


def _plain(toml: str) -> int | str:
    """A TOML value as JSON: a number, or a text without quotes."""
    value: int | str = tomllib.loads(f"value = {toml}")["value"]
    return value


@stats_api.get("/doctor", responses=answers(FindingsView))
async def doctor(services: ServicesDep) -> Response:
    """Health checks that do not ask the API; `orchestrator doctor` makes more."""
    found = await findings_of(services)
    checks = [FindingView.of(finding) for finding in found]
    return json_response(FindingsView(checks=checks, healthy=all(finding.verdict != FAIL for finding in found)))


ROUTERS = (stats_api, api, root)
