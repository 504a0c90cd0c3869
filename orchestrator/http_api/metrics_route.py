"""`/metrics` in Prometheus's format: what the store knows and what this process has counted.

Nothing is cached: every scrape reads one snapshot of maintained sums, however large the jobs are.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, core, exposition
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from orchestrator.domain import notices, queries, states
from orchestrator.version import VERSION

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.observability.telemetry import Histogram, Meters

PREFIX: Final = "orchestrator_"


def routes(services: Services) -> list[BaseRoute]:
    """The route of `/metrics`."""

    async def metrics(request: Request) -> Response:
        facts = await _read(services)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_FixedCollector([*from_store(facts), *from_process(services.meters)]))
        encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})

    return [Route("/metrics", metrics, methods=["GET"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeFacts:
    """What one scrape reads. attentions: matters that a person should look at."""

    totals: queries.Totals
    attentions: int
    deliveries: Mapping[notices.DeliveryState, int]
    now: datetime
    store_bytes: int
    wal_bytes: int


async def _read(services: Services) -> ScrapeFacts:
    totals, attentions, deliveries = await services.reader.read(
        lambda reads: (reads.totals(), len(reads.attentions()), reads.delivery_counts())
    )
    return ScrapeFacts(
        totals=totals,
        attentions=attentions,
        deliveries=deliveries,
        now=datetime.now(UTC),
        store_bytes=services.location.size_bytes,
        wal_bytes=services.location.log_bytes,
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


def from_process(meters: Meters) -> Iterator[core.Metric]:
    """Metrics that start at 0 with the process."""
    info = {"version": VERSION, "python": platform.python_version()}
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


def _gauge(name: str, help_: str, value: float | None) -> core.Metric:
    return core.GaugeMetricFamily(f"{PREFIX}{name}", help_, value=value)


def _histogram(name: str, help_: str, histogram: Histogram) -> core.Metric:
    return core.HistogramMetricFamily(f"{PREFIX}{name}", help_, buckets=histogram.buckets(), sum_value=histogram.sum)
