"""What the overview says was settled lately: true at any hour, busy or idle, with or without a daemon meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from support.world import World, in_a_loop, new_world

from orchestrator.engine.sample import SampleStage
from orchestrator.http_api.dashboard.load_chart import RANGES, samples_since, settled_since

LATELY = timedelta(minutes=5)
TICK = timedelta(seconds=10)


async def look_on(world: World, stage: SampleStage, seconds: float) -> datetime:
    """Time passes beside a daemon; the time then."""
    until = world.clock.now() + timedelta(seconds=seconds)
    while world.clock.now() < until:
        world.advance(TICK)
        await stage.tick(world.clock.now())
    return world.clock.now()


async def lately(world: World) -> int | None:
    """What the tile says."""
    since = world.clock.now() - LATELY
    return await world.store.read(lambda reads: settled_since(since, reads.totals(), reads))


@in_a_loop
async def test_what_was_settled_is_said_for_five_minutes_and_not_longer(tmp_path: Path) -> None:
    """N (a) 5: after an hour of silence a burst is counted whole; five minutes later it is over, whatever came last."""
    async with new_world(tmp_path / "store.db") as world:
        stage = SampleStage(world.context)
        await stage.tick(world.clock.now())
        assert await lately(world) == 0
        await look_on(world, stage, 3600)
        await world.submit(30)
        await world.settle()
        await look_on(world, stage, 60)
        assert await lately(world) == 30
        await look_on(world, stage, 230)
        assert await lately(world) == 30
        await look_on(world, stage, 60)
        assert await lately(world) == 0
        await look_on(world, stage, 7200)
        assert await lately(world) == 0


@in_a_loop
async def test_the_chart_knows_silence(tmp_path: Path) -> None:
    """N (a) 5: its first point is how the hour began, and its last sum holds: an idle hour counts nothing."""
    async with new_world(tmp_path / "store.db") as world:
        stage = SampleStage(world.context)
        await stage.tick(world.clock.now())
        await world.submit(4)
        await world.settle()
        now = await look_on(world, stage, 7200)
        since = now - timedelta(hours=1)
        samples = await world.store.read(lambda reads: samples_since(since, reads))
        assert [(sample.at, sample.settled) for sample in samples] == [(since, 4)]


@in_a_loop
async def test_what_was_settled_while_nobody_looked_is_not_of_the_last_minutes(tmp_path: Path) -> None:
    """N (a) 5: a daemon that starts finds the work of a `run` beside it, of whatever hour: it claims none of it."""
    async with new_world(tmp_path / "store.db") as world:
        await SampleStage(world.context).tick(world.clock.now())
        await world.submit(7)
        await world.settle()
        again = SampleStage(world.context)
        await again.tick(world.clock.now())
        await look_on(world, again, 10)
        assert await lately(world) == 0
        await world.submit(2, name="b")
        await world.settle()
        await look_on(world, again, 10)
        assert await lately(world) == 2


@in_a_loop
async def test_a_long_range_knows_it_too_within_one_of_its_steps(tmp_path: Path) -> None:
    """Seven days have half an hour for a point: what a `run` settled before the daemon began is in no difference."""
    async with new_world(tmp_path / "store.db") as world:
        await SampleStage(world.context).tick(world.clock.now())
        first = world.clock.now()
        await world.submit(7)
        await world.settle()
        again = SampleStage(world.context)
        await again.tick(world.clock.now())
        await world.submit(2, name="b")
        await world.settle()
        await look_on(world, again, 20)
        samples = await world.store.read(lambda reads: samples_since(first, reads, step=RANGES["7d"].step))
        assert samples[-1].settled - samples[0].settled == 2


@in_a_loop
async def test_without_any_daemon_nothing_is_claimed(tmp_path: Path) -> None:
    """N (a) 5: no sample, no number."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(2)
        await world.settle()
        assert await lately(world) is None
