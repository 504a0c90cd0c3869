"""`/metrics`: what the store knows and what this process has counted, as Prometheus reads it.

Nothing is kept for it: every scrape reads one snapshot of maintained sums, however large the jobs are.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.version import VERSION

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from orchestrator.http_api.services import Services
    from orchestrator.observability.metrics import Histogram, Meters

PREFIX: Final = "orchestrator_"


def routes(services: Services) -> list[BaseRoute]:
    """The one route."""

    async def metrics(request: Request) -> Response:
        facts = Facts(store_bytes=_size(services.identity.db), wal_bytes=_size(f"{services.identity.db}-wal"))
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Given([*from_store(facts), *from_process(services.meters)]))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})

    return [Route("/metrics", metrics, methods=["GET"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is read for one scrape."""

    store_bytes: int
    wal_bytes: int


class _Given(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def from_store(facts: Facts) -> Iterator[Metric]:
    """What survives a restart."""
    yield _gauge("store_bytes", "Size of the database file", facts.store_bytes)
    yield _gauge("wal_bytes", "Size of the database's log", facts.wal_bytes)


def from_process(meters: Meters) -> Iterator[Metric]:
    """What counts from 0 at the start of the process."""
    info = {"version": VERSION, "python": platform.python_version()}
    yield InfoMetricFamily(f"{PREFIX}build", "Which program this is", value=info)
    calls = CounterMetricFamily(f"{PREFIX}api_requests", "Calls of the API, by HTTP status", labels=["op", "code"])
    for (op, code), count in sorted(meters.calls.items()):
        calls.add_metric([op, code], count)
    yield calls
    seconds = HistogramMetricFamily(f"{PREFIX}api_request_seconds", "Until the head of the answer", labels=["op"])
    for op, histogram in sorted(meters.call_seconds.items()):
        seconds.add_metric([op], histogram.buckets(), histogram.sum)
    yield seconds
    tokens = CounterMetricFamily(f"{PREFIX}tokens", "Tokens of collected results, by kind", labels=["kind"])
    for kind, count in sorted(meters.tokens.items()):
        tokens.add_metric([kind], count)
    yield tokens
    yield _histogram(
        "batch_turnaround_seconds", "From creation to end of a batch, by the API's clock", meters.turnaround
    )
    yield _histogram("list_lag_seconds", "From creation of a batch to the first list that showed it", meters.list_lag)
    yield _gauge("loop_lag_seconds", "How late the event loop woke at the worst in the last minute", meters.loop_lag_s)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", help_, value=value)


def _histogram(name: str, help_: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(f"{PREFIX}{name}", help_, buckets=histogram.buckets(), sum_value=histogram.sum)


def _size(path: str) -> int:
    """0 for a file that is not there: SQLite removes the log of a store that nobody has open."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
