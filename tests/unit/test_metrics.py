"""The counters of this process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from faces.client_world import until

from orchestrator.observability.telemetry import Histogram, Meters


def test_a_value_counts_in_every_bucket_that_is_not_below_it() -> None:
    """Prometheus's rule: buckets are cumulative, bounds belong to them, the last one holds all."""
    histogram = Histogram((1.0, 2.0))
    for value in (-3.0, 1.0, 1.5, 99.0):
        histogram.add(value)
    assert histogram.buckets() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert histogram.sum == 101.5


def test_calls_are_counted_by_their_status() -> None:
    """And their time by what was asked."""
    meters = Meters()
    for code in ("200", "200", "none"):
        meters.called("list", code, timedelta(seconds=0.2))
    assert dict(meters.calls) == {("list", "200"): 2, ("list", "none"): 1}
    assert meters.call_seconds["list"].buckets()[-1] == ("+Inf", 3.0)


def test_a_loop_that_was_held_up_is_seen() -> None:
    """A blocking call in a coroutine is the one thing that nobody inside notices otherwise."""

    async def check() -> float:
        meters, stop = Meters(), asyncio.Event()
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(meters.watch_loop(stop))
            await asyncio.sleep(0)
            ends = loop.time() + 1.3  # a second until the tick is due, and what it is late by
            while loop.time() < ends:
                pass
            await until(lambda: _is_seen(meters))
            stop.set()
        return meters.loop_lag_s

    assert asyncio.run(check()) >= 0.2


async def _is_seen(meters: Meters) -> bool:
    return meters.loop_lag_s > 0
