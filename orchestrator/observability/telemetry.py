"""Counters of this process since its start, and traces for OpenTelemetry (an extra: `[otel]`).

Counted are API calls, waits, tokens, and the lag of the event loop: plain numbers, which `http_api/metrics_route.py`
renders in Prometheus's format when scraped. What the store knows is read from there, so that it survives a restart.

Traces have a span for every API call, effective tick, batch and job. The standard OTEL_* variables say where spans go.
The ids of the spans of a job and its batches are derived from the store's and the job's own, so that they form one
trace although processes come and go between them. The conventions are not stable yet (GenAI: "Development"), so every
name is here. No prompts, no answers, no messages of the API.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.errors import UsageError
from orchestrator.ports.runtime import Meter, NullMeter
from orchestrator.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter

    from orchestrator.domain.model import BatchRow, JobRow

SERVICE: Final = "orchestrator"
CALL: Final = "orchestrator.api.{}"
STAGE: Final = "orchestrator.stage.{}"
BATCH: Final = "orchestrator.batch"
JOB: Final = "orchestrator.job"
STATUS: Final = "http.response.status_code"
MOVED: Final = "orchestrator.moved"
JOB_ID: Final = "orchestrator.job.id"
JOB_STATE: Final = "orchestrator.job.state"
BATCH_NUMBER: Final = "orchestrator.batch.number"
BATCH_ID: Final = "orchestrator.batch.id"
REQUESTS: Final = "orchestrator.requests.{}"
SENT: Final = "sent"
IN_DOUBT: Final = "in_doubt"

_EXPORT_S: Final = 3
_TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
#: Upper bounds in seconds, as Prometheus counts them: a value belongs to the first bound that is not below it.
CALL_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
TURNAROUND_BOUNDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0, 86400.0)
LIST_LAG_BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
RATIO_BOUNDS: Final = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0)
TURN_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_TICK_S: Final = 1.0
#: The lag that is shown is the largest of so many ticks: a scrape every minute misses none.
_REMEMBERED_TICKS: Final = 60


class Histogram:
    """Counts of values up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Add a value; one below 0 (from two clocks) counts as 0."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, count of values up to it), the last bound being "+Inf"."""
        total, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Meters(NullMeter):
    """The counters; one object per process. What ticks did, and which jobs are over, the store knows."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.call_seconds: dict[str, Histogram] = {}
        self.turnaround = Histogram(TURNAROUND_BOUNDS)
        self.list_lag = Histogram(LIST_LAG_BOUNDS)
        self.turn_waits = Histogram(TURN_BOUNDS)
        self.estimate_ratios = Histogram(RATIO_BOUNDS)
        self.tokens: Counter[str] = Counter()
        self._loop_lags: deque[float] = deque(maxlen=_REMEMBERED_TICKS)

    @override
    def called(self, op: str, code: str, took: timedelta) -> None:
        self.calls[op, code] += 1
        self.call_seconds.setdefault(op, Histogram(CALL_BOUNDS)).add(took.total_seconds())

    @override
    def turned_around(self, took: timedelta) -> None:
        self.turnaround.add(took.total_seconds())

    @override
    def cost_known(self, ratio: float) -> None:
        self.estimate_ratios.add(ratio)

    @override
    def listed(self, lag: timedelta) -> None:
        self.list_lag.add(lag.total_seconds())

    @override
    def spent(self, kind: str, tokens: int) -> None:
        self.tokens[kind] += tokens

    @property
    def watched(self) -> int:
        """How many ticks of the loop are remembered."""
        return len(self._loop_lags)

    @property
    def loop_lag_s(self) -> float:
        """The worst lag of the event loop in the last minute, in seconds; 0 where nobody measures it."""
        return max(self._loop_lags, default=0.0)

    async def watch_loop(self, stop: asyncio.Event) -> None:
        """Measure the lag of the event loop once a second, until *stop*."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + _TICK_S
            try:
                async with asyncio.timeout_at(due):
                    await stop.wait()
            except TimeoutError:
                self._loop_lags.append(max(loop.time() - due, 0.0))


@dataclass(frozen=True, slots=True)
class _Ids:
    """The ids of a span."""

    trace: int
    span: int


class Tracing(Meter):
    """Makes spans from what a meter hears; made by `open_tracing`. *inner* is told everything first."""

    def __init__(self, inner: Meter, exporter: SpanExporter, *, lineage: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

        class Chosen(IdGenerator):
            """Random ids, but for the one span whose ids are given."""

            def __init__(self) -> None:
                self.next: _Ids | None = None
                self._chance = RandomIdGenerator()

            def generate_trace_id(self) -> int:
                return self._chance.generate_trace_id() if self.next is None else self.next.trace

            def generate_span_id(self) -> int:
                return self._chance.generate_span_id() if self.next is None else self.next.span

        self._inner = inner
        self._lineage = lineage
        self._chosen = Chosen()
        self._provider = TracerProvider(resource=Resource.create(_resource()), id_generator=self._chosen)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, VERSION)

    @override
    def called(self, op: str, code: str, took: timedelta) -> None:
        from opentelemetry.trace import SpanKind, StatusCode

        self._inner.called(op, code, took)
        end = time.time_ns()
        span = self._tracer.start_span(CALL.format(op), kind=SpanKind.CLIENT, start_time=end - _ns(took))
        if code.isdecimal():
            span.set_attribute(STATUS, int(code))
        if not code.startswith("2"):
            span.set_status(StatusCode.ERROR, code)
        span.end(end)

    @override
    def turned_around(self, took: timedelta) -> None:
        self._inner.turned_around(took)

    @override
    def cost_known(self, ratio: float) -> None:
        self._inner.cost_known(ratio)

    @override
    def listed(self, lag: timedelta) -> None:
        self._inner.listed(lag)

    @override
    def spent(self, kind: str, tokens: int) -> None:
        self._inner.spent(kind, tokens)

    @override
    def worked(self, stage: str, moved: int, took: timedelta) -> None:
        self._inner.worked(stage, moved, took)
        end = time.time_ns()
        span = self._tracer.start_span(STAGE.format(stage), start_time=end - _ns(took), attributes={MOVED: moved})
        span.end(end)

    @override
    def batch_over(self, batch: BatchRow, at: datetime) -> None:
        self._inner.batch_over(batch, at)
        attributes: dict[str, int | str] = {BATCH_NUMBER: batch.id, REQUESTS.format("total"): batch.count}
        if batch.remote_id is not None:
            attributes[BATCH_ID] = batch.remote_id
        span = self._tracer.start_span(
            BATCH, context=self._inside(batch.job_id), start_time=_instant(batch.planned_at), attributes=attributes
        )
        for event, happened in ((SENT, batch.sent_at), (IN_DOUBT, batch.doubt_since)):
            if happened is not None:
                span.add_event(event, timestamp=_instant(happened))
        span.end(_instant(at))

    @override
    def job_over(self, job: JobRow, at: datetime) -> None:
        self._inner.job_over(job, at)
        counts = {"total": job.requests.total, "succeeded": job.requests.succeeded, "failed": job.requests.failed}
        attributes = {JOB_ID: job.public_id, JOB_STATE: job.state.value}
        self._chosen.next = self._ids(job.id)
        try:
            span = self._tracer.start_span(JOB, start_time=_instant(job.created_at), attributes=attributes)
        finally:
            self._chosen.next = None
        for name, count in counts.items():
            span.set_attribute(REQUESTS.format(name), count)
        span.end(_instant(at))

    async def aclose(self) -> None:
        """Flush the spans in a thread; an unreachable collector delays it by some seconds."""
        await asyncio.to_thread(self._provider.shutdown)

    def _ids(self, job: int) -> _Ids:
        digest = hashlib.sha256(f"{self._lineage}:{job}".encode()).digest()
        return _Ids(int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big"))

    def _inside(self, job: int) -> Context:
        """A context in which the job's span, which ends last, is the parent already."""
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        ids = self._ids(job)
        sampled = TraceFlags(TraceFlags.SAMPLED)
        parent = SpanContext(trace_id=ids.trace, span_id=ids.span, is_remote=True, trace_flags=sampled)
        return set_span_in_context(NonRecordingSpan(parent))


def open_tracing(inner: Meter, *, lineage: str, ask_no_proxy: bool = False) -> Tracing:
    """Traces over OTLP/HTTP; ask_no_proxy: the collector is on this machine.

    Raises UsageError without the extra, and for a variable that the exporter cannot use.
    """
    try:
        return Tracing(inner, _exporter(ask_no_proxy=ask_no_proxy), lineage=lineage)
    except UsageError:
        raise
    except Exception as exc:  # noqa: BLE001 - it calls plain functions on what a person wrote, and they raise anything
        said, kind = str(exc), type(exc).__name__
    raise _refusal(said, kind, os.environ)  # out here, so that it does not carry the library's words along


def _exporter(*, ask_no_proxy: bool) -> SpanExporter:
    try:
        import requests  # the exporter's own
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        hint = "pip install 'batch-orchestrator[otel]', or leave [telemetry] otel out"
        raise UsageError("[telemetry] otel needs packages that are not installed", hint=hint) from None
    # The library's ten seconds are long for a command that ends; a variable that says otherwise is obeyed.
    seconds = None if any(name in os.environ for name in _TIMEOUTS) else _EXPORT_S
    session = requests.Session() if ask_no_proxy else None
    if session is not None:
        session.trust_env = False  # else HTTP_PROXY gets what is for localhost
    return OTLPSpanExporter(timeout=seconds, session=session)


def _refusal(said: str, kind: str, environ: Mapping[str, str]) -> UsageError:
    """The error for a variable: the one that the library names, else all that are set; never a value."""
    found = sorted(name for name in environ if name.startswith("OTEL_"))
    named = [name for name in found if name in said] or found
    return UsageError(
        f"a variable of OpenTelemetry cannot be used: {' or '.join(named)}",
        cause=f"the exporter cannot be made with it ({kind})",
        hint="mend or unset it, or leave [telemetry] otel out",
    )


def _resource(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The attributes of this process, unless OTEL_RESOURCE_ATTRIBUTES has them: code would override it."""
    env = os.environ if environ is None else environ
    named = "OTEL_SERVICE_NAME" in env or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {"service.version": VERSION} if named else {"service.name": SERVICE, "service.version": VERSION}


def _ns(took: timedelta) -> int:
    return took // timedelta(microseconds=1) * 1000


def _instant(at: datetime) -> int:
    """Nanoseconds since 1970, exact to the microsecond."""
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
