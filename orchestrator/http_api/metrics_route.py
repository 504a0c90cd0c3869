"""`/metrics` in Prometheus's format: what the store knows and what this process has counted.

Nothing is cached: every scrape reads one snapshot of maintained sums, however large the jobs are.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, core, exposition
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from orchestrator.domain import money, notices, queries, spending, states
from orchestrator.domain.budgets import Limit
from orchestrator.ports.dispatch import FleetView, UnitKind
from orchestrator.version import VERSION
from orchestrator.views.fleet_views import alive_count

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.observability.telemetry import Histogram, Meters

PREFIX: Final = "orchestrator_"
_MOST_MODELS: Final = 50
_OTHER: Final = "other"
_BUDGETS: Final = (
    ("budget_usd", "Dollars that all jobs together may cost", "cap"),
    ("budget_spent_usd", "Dollars of a budget that are spent", "spent"),
    ("budget_reserved_usd", "Dollars of a budget that what is in flight may cost at most", "reserved"),
)


def routes(services: Services) -> list[BaseRoute]:
    """The route of `/metrics`."""

    async def metrics(request: Request) -> Response:
        facts = await _read(services)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(
            _FixedCollector(
                [
                    *from_store(facts),
                    *from_fleet(facts.fleet),
                    *from_process(services.meters, store=services.identity.lineage, taken_over=services.taken_over()),
                ]
            )
        )
        encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})

    return [Route("/metrics", metrics, methods=["GET"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeFacts:
    """What one scrape reads. attentions: matters that a person should look at. fleet: None: this process owns it."""

    totals: queries.Totals
    spent: Sequence[spending.KindSpending]
    budgets: Sequence[Limit]
    attentions: int
    deliveries: Mapping[notices.DeliveryState, int]
    now: datetime
    store_bytes: int
    wal_bytes: int
    fleet: FleetView | None = None


async def _read(services: Services) -> ScrapeFacts:
    now = datetime.now(UTC)
    totals, spent, budgets, attentions, deliveries = await services.reader.read(
        lambda reads: (
            reads.totals(),
            reads.spent_by_kind(),
            reads.budgets(now),
            len(reads.attentions()),
            reads.delivery_counts(),
        )
    )
    location = services.location  # a server is asked over the network
    store_bytes, wal_bytes = await asyncio.to_thread(lambda: (location.size_bytes, location.log_bytes))
    return ScrapeFacts(
        totals=totals,
        spent=spent,
        budgets=budgets,
        attentions=attentions,
        deliveries=deliveries,
        now=now,
        store_bytes=store_bytes,
        wal_bytes=wal_bytes,
        fleet=await services.view_fleet(),
    )


class _FixedCollector(Collector):
    """Yields metrics that are computed already."""

    def __init__(self, metrics: Iterable[core.Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[core.Metric]:
        return self._metrics


def from_store(facts: ScrapeFacts) -> Iterator[core.Metric]:
    """Metrics that survive a restart. An unknown time is left out: 0 would be wrong."""
    totals = facts.totals
    requests = {state.value: getattr(totals.requests, state.value) for state in states.RequestState}
    yield _by_state("requests", "Requests of all jobs, by state", requests)
    yield _by_stop_reason(totals.stop_reasons)
    yield _gauge("invalid_answers", "Failed requests whose answer does not match their schema", totals.invalid_answers)
    yield from _spent(facts.spent)
    yield from _budgets(facts.budgets)
    yield _by_state("batches", "Batches of all jobs, by state", totals.batches)
    yield _by_state("jobs", "Jobs, by state", totals.jobs)
    in_doubt = totals.batches[states.BatchState.IN_DOUBT]
    yield _gauge("in_doubt_batches", "Batches that the API may or may not have", in_doubt)
    yield _gauge("in_flight_requests", "Requests that the API holds, or may hold", totals.in_flight_requests)
    yield _gauge("attentions", "Matters that a person should look at", facts.attentions)
    yield _by_state("webhook_deliveries", "Notices of the last 30 days, by state", facts.deliveries)
    yield core.CounterMetricFamily(f"{PREFIX}resubmitted", "Requests that were sent again", value=totals.resubmitted)
    yield core.CounterMetricFamily(
        f"{PREFIX}duplicates", "Batches thought void that ran after all", value=totals.duplicates_total
    )
    oldest = totals.oldest_unfinished_at
    yield _gauge("oldest_unfinished_seconds", "Age of the oldest job that is not over", _until(oldest, facts.now, -1))
    yield _gauge("next_expiry_seconds", "Until the next batch expires", _until(totals.next_expiry, facts.now, 1))
    yield _gauge("store_bytes", "Size of the database file", facts.store_bytes)
    yield _gauge("wal_bytes", "Size of the database's log", facts.wal_bytes)


def from_fleet(fleet: FleetView | None) -> Iterator[core.Metric]:
    """Metrics of all daemons on the store, which each of them tells; where one process owns it, of that one."""
    yield _gauge("daemons", "Daemons that work on the store", 1 if fleet is None else alive_count(fleet))
    ages = core.GaugeMetricFamily(
        f"{PREFIX}unit_age_seconds", "For how long the oldest unit is due that nobody has, by kind", labels=["kind"]
    )
    since = {} if fleet is None else {each.kind: fleet.at - each.since for each in fleet.waiting}
    for kind in () if fleet is None else UnitKind:
        ages.add_metric([kind], since[kind].total_seconds() if kind in since else 0)
    yield ages


def from_process(meters: Meters, *, store: str, taken_over: int = 0) -> Iterator[core.Metric]:
    """Metrics that start at 0 with the process. store: the lineage of what it works on."""
    info = {"version": VERSION, "python": platform.python_version(), "store": store}
    yield core.InfoMetricFamily(f"{PREFIX}build", "Which program this is", value=info)
    calls = core.CounterMetricFamily(f"{PREFIX}api_requests", "Calls of the API, by HTTP status", labels=["op", "code"])
    for (op, code), count in sorted(meters.calls.items()):
        calls.add_metric([op, code], count)
    yield calls
    seconds = core.HistogramMetricFamily(f"{PREFIX}api_request_seconds", "Until the head of the answer", labels=["op"])
    for op, histogram in sorted(meters.call_seconds.items()):
        seconds.add_metric([op], histogram.buckets(), histogram.sum)
    yield seconds
    tokens = core.CounterMetricFamily(f"{PREFIX}tokens", "Tokens of collected results, by kind", labels=["kind"])
    for kind, count in sorted(meters.tokens.items()):
        tokens.add_metric([kind], count)
    yield tokens
    yield _histogram(
        "batch_turnaround_seconds", "From creation to end of a batch, by the API's clock", meters.turnaround
    )
    yield _histogram("list_lag_seconds", "From creation of a batch to the first list that showed it", meters.list_lag)
    yield _histogram("turn_wait_seconds", "How long a write waited for those of other daemons", meters.turn_waits)
    yield _histogram(
        "estimate_ratio", "Cost of finished jobs, as a part of what was expected at first", meters.estimate_ratios
    )
    yield core.CounterMetricFamily(
        f"{PREFIX}taken_over", "Units taken over from daemons that fell silent", value=taken_over
    )
    yield _gauge("loop_lag_seconds", "How late the event loop woke at the worst in the last minute", meters.loop_lag_s)


def _until(at: datetime | None, now: datetime, sign: int) -> float | None:
    return None if at is None else sign * (at - now).total_seconds()


def _by_state(name: str, help_: str, counts: Mapping[Any, int]) -> core.Metric:
    family = core.GaugeMetricFamily(f"{PREFIX}{name}", help_, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family


def _by_stop_reason(counts: Mapping[str, int]) -> core.Metric:
    """A counter, since a success is never taken back. `domain.result_outcome` bounds the number of names."""
    family = core.CounterMetricFamily(
        f"{PREFIX}answers", "Requests that succeeded, by stop reason", labels=["stop_reason"]
    )
    for name, count in counts.items():
        family.add_metric([name], count)
    return family


def _spent(sums: Sequence[spending.KindSpending]) -> Iterator[core.Metric]:
    """Dollars, and how many answers are not in them. Models are what the API says: the rarest are one, `other`."""
    dollars = core.CounterMetricFamily(
        f"{PREFIX}cost_usd", "Dollars that answers cost, as far as it is known", labels=["model", "kind"]
    )
    named = list(dict.fromkeys(each.model for each in sums))[:_MOST_MODELS]
    nanos = Counter[tuple[str, str]]()
    for each in sums:
        nanos[each.model if each.model in named else _OTHER, each.kind.value] += each.nanos
    for labels, amount in nanos.items():
        dollars.add_metric(labels, amount / money.NANOS)
    yield dollars
    yield _gauge("unpriced_answers", "Answers whose cost is not known", sum(each.unpriced for each in sums))


def _budgets(limits: Sequence[Limit]) -> Iterator[core.Metric]:
    """Shortly before midnight there are those of two days: the first is that of today."""
    today = {limit.scope: limit for limit in reversed(limits)}
    for name, help_, field in _BUDGETS:
        family = core.GaugeMetricFamily(f"{PREFIX}{name}", help_, labels=["scope"])
        for scope, limit in today.items():
            family.add_metric([scope.value], getattr(limit, field) / money.NANOS)
        yield family


def _gauge(name: str, help_: str, value: float | None) -> core.Metric:
    return core.GaugeMetricFamily(f"{PREFIX}{name}", help_, value=value)


def _histogram(name: str, help_: str, histogram: Histogram) -> core.Metric:
    return core.HistogramMetricFamily(f"{PREFIX}{name}", help_, buckets=histogram.buckets(), sum_value=histogram.sum)
