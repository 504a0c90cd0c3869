"""Traces: a job and its batches are one trace, whatever processes they went through."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.observability import telemetry
from orchestrator.observability.telemetry import Meters, Tracing


async def finish(world: World) -> None:
    for _ in range(80):
        await world.round()
        world.advance(timedelta(seconds=30))


def named(spans: tuple[ReadableSpan, ...], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


@in_a_loop
async def test_a_job_and_its_batches_are_one_trace_across_processes(tmp_path: Path) -> None:
    """The job's span holds its batches', with ids, counts and times; no prompt is in any of them."""
    exporters = InMemorySpanExporter(), InMemorySpanExporter()
    first, second = (Tracing(Meters(), exporter, lineage="store") for exporter in exporters)
    path = tmp_path / "store.db"
    async with new_world(path, wrap=lambda c: replace(c, meter=first), max_requests=5) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        await first.aclose()
        async with next_life(world, wrap=lambda c: replace(c, meter=second)) as again:
            await finish(again)
            await second.aclose()
    spans = exporters[0].get_finished_spans() + exporters[1].get_finished_spans()
    (whole,) = named(spans, telemetry.JOB)
    batches = named(spans, telemetry.BATCH)
    assert whole.attributes is not None
    assert whole.attributes[telemetry.JOB_ID] == job.public_id
    assert whole.attributes["orchestrator.requests.total"] == 10
    assert whole.context is not None
    assert len(batches) == 2
    for span in batches:
        assert span.context is not None
        assert span.parent is not None
        assert (span.context.trace_id, span.parent.span_id) == (whole.context.trace_id, whole.context.span_id)
        assert [event.name for event in span.events] == [telemetry.SENT]
        assert whole.start_time is not None
        assert span.start_time is not None
        assert span.end_time is not None
        assert whole.start_time <= span.start_time < span.end_time
    assert "question" not in "".join(span.to_json() for span in spans)


def test_calls_and_ticks_are_spans_of_their_own_length() -> None:
    """A call that failed says so; the counters go on counting."""
    exporter, meters = InMemorySpanExporter(), Meters()
    tracing = Tracing(meters, exporter, lineage="store")
    tracing.called("list", "200", timedelta(seconds=2))
    tracing.called("create", "529", timedelta(seconds=1))
    tracing.called("create", "none", timedelta(seconds=1))
    tracing.worked("plan", 3, timedelta(milliseconds=5))
    tracing._provider.force_flush()
    good, busy, silent, tick = exporter.get_finished_spans()
    assert [span.kind for span in (good, busy, silent)] == [SpanKind.CLIENT] * 3
    assert [span.status.status_code for span in (good, busy, silent)] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
        StatusCode.ERROR,
    ]
    assert busy.attributes == {telemetry.STATUS: 529}
    assert tick.name == "orchestrator.stage.plan"
    assert good.end_time is not None
    assert good.start_time is not None
    assert good.end_time - good.start_time == 2_000_000_000
    assert meters.calls["create", "529"] == 1
    assert good.resource.attributes["service.name"] == "orchestrator"


@contextmanager
def _set(variables: pytest.MonkeyPatch, **values: str) -> Iterator[None]:
    for name, value in values.items():
        variables.setenv(name, value)
    yield


def test_the_standard_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several daemons tell themselves apart as everybody does."""
    exporter = InMemorySpanExporter()
    with _set(monkeypatch, OTEL_SERVICE_NAME="night-shift", OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test"):
        tracing = Tracing(Meters(), exporter, lineage="store")
    tracing.worked("plan", 1, timedelta(0))
    tracing._provider.force_flush()
    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == "night-shift"
    assert span.resource.attributes["deployment.environment"] == "test"


@pytest.mark.process
def test_without_the_setting_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    """Off is free: an engine runs a job to its end without the packages of the extra."""
    code = (
        "import sys\n"
        "from orchestrator import SyncOrchestrator\n"
        "rows = [{'custom_id': 'a', 'params': {'model': 'claude-haiku-4-5', 'max_tokens': 8,"
        " 'messages': [{'role': 'user', 'content': 'hi'}]}}]\n"
        f"with SyncOrchestrator({str(tmp_path / 'x.db')!r}, sandbox=True, sandbox__speed=36000) as orc:\n"
        "    orc.submit(rows).wait()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])\n"
    )
    with tempfile.TemporaryDirectory(prefix="orc-") as runtime:  # short: a socket lies in it
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": runtime}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "[]\n"
