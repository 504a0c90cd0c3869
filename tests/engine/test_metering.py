"""What the engine tells its meter: how long batches take, how late the list is, what the answers cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from support.world import in_a_loop, new_world, next_life

from orchestrator.observability.telemetry import Histogram, Meters
from orchestrator.sandbox import MachineSettings


def count(histogram: Histogram) -> float:
    return histogram.buckets()[-1][1]


@in_a_loop
async def test_a_batch_tells_its_turnaround_and_its_tokens_once(tmp_path: Path) -> None:
    """Once each, however often the stages look again."""
    meters = Meters()
    async with new_world(tmp_path / "store.db", wrap=lambda c: replace(c, meter=meters), max_requests=5) as world:
        await world.submit(10)
        for _ in range(60):
            await world.round()
            world.advance(timedelta(seconds=30))
        assert count(meters.turnaround) == 2
        assert 120 <= meters.turnaround.sum <= 1200
        assert meters.tokens["input"] > 0
        assert meters.tokens["output"] > 0
        before = dict(meters.tokens)
        for _ in range(5):
            await world.round()
        assert dict(meters.tokens) == before


@in_a_loop
async def test_the_lag_of_the_list_is_what_the_looks_see(tmp_path: Path) -> None:
    """A batch that the list shows late is measured when it does; what an earlier process sent is not measured."""
    meters = Meters()
    slow = MachineSettings(batch_seconds=(5 * 3600, 6 * 3600))
    path = tmp_path / "store.db"
    async with new_world(path, machine=slow, wrap=lambda c: replace(c, meter=meters), max_requests=5) as world:
        await world.tick("poll")
        await world.submit(5)
        await world.tick("plan", "submit", "poll")
        assert count(meters.list_lag) == 1
        assert meters.list_lag.sum < 60
        world.machine.plan.set({"list_lag": 300})
        await world.submit(5, name="late")
        await world.tick("plan", "submit")
        for _ in range(20):
            world.advance(timedelta(seconds=30))
            await world.tick("poll")
        assert count(meters.list_lag) == 2
        assert 300 <= meters.list_lag.sum <= 600
        async with next_life(world, wrap=lambda c: replace(c, meter=meters)) as again:
            again.advance(timedelta(hours=1))
            await again.tick("poll")
        assert count(meters.list_lag) == 2
