"""Routes of the service: version, liveness, readiness, health, login, load, totals, limits and what was spent."""

from __future__ import annotations

import asyncio
import os
import tomllib
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import Query, Request, Response

from orchestrator.config import setting_rows
from orchestrator.domain import spending
from orchestrator.domain.budgets import Scope
from orchestrator.domain.errors import GuardRefused, UsageError
from orchestrator.http_api import responses, self_checks
from orchestrator.http_api.api import job_routes, job_upload, route_docs, routing
from orchestrator.http_api.guard.access_tokens import CODE_S
from orchestrator.http_api.services import Services
from orchestrator.version import VERSION
from orchestrator.views import cost_views, fleet_views, health_checks, job_views, problem_details, service_views

api = routing.router("service")
root = routing.router("service", prefix="")

NOT_READY: Final = "not-ready"
_NOT_YET: Final = 5
_STORE_S: Final = 2.0
SharedScope = Literal["day", "month", "total"]


@root.get("/version", responses=route_docs.answers(service_views.VersionView))
@api.get("/version", responses=route_docs.answers(service_views.VersionView))
async def version(services: routing.ServicesDep) -> Response:
    """Version and identity of the daemon."""
    identity = services.identity
    view = service_views.VersionView(
        version=VERSION,
        pid=os.getpid(),
        db=identity.db,
        sandbox=identity.sandbox,
        lineage=identity.lineage,
    )
    return routing.json_response(view)


@root.get("/livez", responses=route_docs.answers(service_views.AliveView))
@api.get("/livez", responses=route_docs.answers(service_views.AliveView))
async def livez() -> Response:
    """Liveness: the process answers; the store is not read."""
    return routing.json_response(service_views.AliveView(alive=True))


@root.get("/readyz", responses=route_docs.answers(service_views.ReadyView))
@api.get("/readyz", responses=route_docs.answers(service_views.ReadyView))
async def readyz(services: routing.ServicesDep) -> Response:
    """Readiness: the store answers and has space, and every stage is alive."""
    trouble = services.why_not_ready()
    try:
        async with asyncio.timeout(_STORE_S):
            await services.reader.read(lambda reads: reads.last_event())
    except TimeoutError:
        trouble = "the store does not answer"
    if trouble is None:
        return routing.json_response(service_views.ReadyView(ready=True))
    return responses.problem(
        problem_details.ProblemView(
            type=NOT_READY,
            title="not ready",
            detail=trouble,
            hint="the log says more",
            exit_code=_NOT_YET,
            status=HTTPStatus.SERVICE_UNAVAILABLE,
        )
    )


@api.get("/health", responses=route_docs.answers(service_views.HealthView))
async def health(services: routing.ServicesDep) -> Response:
    """Whether the Message Batches API answers the engine."""
    return routing.json_response(service_views.HealthView.of(services.health))


@api.post("/login", responses=route_docs.answers(service_views.WayInView))
async def login(services: routing.ServicesDep) -> Response:
    """A one-time link that logs a browser in to the dashboard. A browser's own login does not authorize this."""
    found = services.dashboard_link()
    if found is None:
        raise GuardRefused(
            "this engine does not listen on TCP, so it has no dashboard", hint="`orchestrator serve` has"
        )
    url, path = found
    return routing.json_response(
        service_views.WayInView(url=url, path=path, expires_in_s=None if path == "/" else CODE_S)
    )


stats_api = routing.router("stats")

_LONGEST: Final = timedelta(days=31)
_SHORTEST: Final = timedelta(seconds=10)
_MOST: Final = 10_000
_SECTIONS: Final = ("limits.", "batching.", "retry.")

Duration = Annotated[str, Query(max_length=30, description="Such as 30s, 5m, 24h, 7d.")]


@stats_api.get("/stats", responses=route_docs.answers(service_views.StatsView))
async def stats(services: routing.ServicesDep, window: Duration = "24h", step: Duration = "5m") -> Response:
    """The last sample of each `step` in the `window` that ends now; a sample holds until the next."""
    back, width = routing.parse_wait(window, longest=_LONGEST), routing.parse_wait(step, longest=_LONGEST)
    if width < _SHORTEST or back / width > _MOST:
        raise UsageError("there would be too many steps", hint=f"at least 10s a step, at most {_MOST:,} in the window")
    since = datetime.now(UTC) - back
    samples = await services.reader.read(lambda reads: reads.samples(since=since, step=width))
    return routing.json_response(
        service_views.StatsView(samples=[service_views.SampleView.of(sample) for sample in samples])
    )


@stats_api.get("/totals", responses=route_docs.answers(service_views.TotalsView))
async def totals(services: routing.ServicesDep) -> Response:
    """Totals over all jobs."""
    return routing.json_response(service_views.TotalsView.of(await services.reader.read(lambda reads: reads.totals())))


@stats_api.get("/limits", responses=route_docs.answers(service_views.LimitsView))
async def limits(services: routing.ServicesDep) -> Response:
    """Limits of the engine: settings, the size of a batch, requests in flight, and waits."""
    sums, gates = await services.reader.read(lambda reads: (reads.totals(), reads.gates()))
    settings = [each for each in setting_rows(services.settings) if each.name.startswith(_SECTIONS)]
    view = service_views.LimitsView(
        settings={each.name: None if each.text is None else _plain(each.text) for each in settings},
        batch=job_views.PlannedView(requests=services.caps.requests, bytes=services.caps.size_bytes),
        in_flight_requests=sums.in_flight_requests,
        waits=[service_views.GateView.of(gate) for gate in gates],
        api=service_views.HealthView.of(services.health),
    )
    return routing.json_response(view)


@stats_api.get("/settings", responses=route_docs.answers(service_views.SettingsView))
async def settings(services: routing.ServicesDep) -> Response:
    """The settings in force and where each comes from, as `config show` has them; without secrets."""
    rows = setting_rows(services.settings)
    return routing.json_response(service_views.SettingsView.of(rows, sandbox=services.identity.sandbox))


def _plain(toml: str) -> int | str:
    """A TOML value as JSON: a number, or a text without quotes."""
    value: int | str = tomllib.loads(f"value = {toml}")["value"]
    return value


@stats_api.get("/fleet", responses=route_docs.answers(fleet_views.FleetAnswerView))
async def fleet(services: routing.ServicesDep) -> Response:
    """The daemons on the store and what each of them holds; `fleet` is false where one process owns the store."""
    return routing.json_response(fleet_views.FleetAnswerView.of(await services.view_fleet()))


@stats_api.get("/doctor", responses=route_docs.answers(service_views.FindingsView))
async def doctor(services: routing.ServicesDep) -> Response:
    """Health checks that do not ask the API; `orchestrator doctor` makes more."""
    found = await self_checks.findings_of(services)
    checks = [service_views.FindingView.of(finding) for finding in found]
    return routing.json_response(
        service_views.FindingsView(
            checks=checks, healthy=all(finding.verdict != health_checks.FAIL for finding in found)
        )
    )


@api.get("/jobs/{ref}/cost", responses=route_docs.answers(cost_views.JobCostView, 404))
async def cost(services: routing.ServicesDep, found: job_routes.JobDep) -> Response:
    """What a job has cost so far, by the models of its answers."""
    whole = await services.reader.read(lambda reads: reads.cost(reads.get(found.job.id)))
    return routing.json_response(cost_views.JobCostView.whole(whole))


@api.get("/spend", responses=route_docs.answers(cost_views.SpendView))
async def spend(
    services: routing.ServicesDep,
    by: Annotated[spending.SpendBy, Query(description="One line a day, model or job.")] = spending.SpendBy.DAY,
    since: Annotated[
        str | None,
        Query(
            description="Only batches that the API created in the last `7d`, or since the day `2026-11-23` (UTC).",
            max_length=50,
        ),
    ] = None,
) -> Response:
    """What was spent by all jobs."""
    day = cost_views.parse_since(since, datetime.now(UTC).date())
    lines = await services.reader.read(lambda reads: reads.spending(by, since=day))
    return routing.json_response(cost_views.SpendView.of(by, None if day is None else day.isoformat(), lines))


@api.get("/budgets", responses=route_docs.answers(cost_views.BudgetsView))
async def budgets(services: routing.ServicesDep) -> Response:
    """The budgets of all jobs together, with what is spent and reserved of each."""
    return routing.json_response(await _budgets(services))


@api.put(
    "/budgets/{scope}",
    responses=route_docs.answers(cost_views.BudgetsView, 413, 415),
    openapi_extra=route_docs.amount_body("cap"),
)
async def set_budget(request: Request, services: routing.ServicesDep, scope: SharedScope) -> Response:
    """Set the budget of a day or month (UTC), or the total, or take it away. It comes before that of the settings."""
    await services.commands.set_budget(Scope(scope), await job_upload.parse_amount_body(request, "cap"))
    return routing.json_response(await _budgets(services))


async def _budgets(services: Services) -> cost_views.BudgetsView:
    found = await services.reader.read(lambda reads: reads.budgets(datetime.now(UTC)))
    return cost_views.BudgetsView(budgets=[cost_views.BudgetView.of(limit) for limit in found])


ROUTERS = (stats_api, api, root)
