"""Stages wake each other: what one moved, the next goes on with at once, whatever its own pause is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.world import in_a_loop, new_world

from orchestrator.engine.context import Wakeup, sleep_or_signal
from orchestrator.engine.runner import Runner
from orchestrator.ports.runtime import Clock
from orchestrator.sandbox import MachineSettings

AGES = timedelta(days=1)


class Sleepless:
    """A clock by which no pause ever ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """The time."""
        return self._clock.now()

    def elapsed(self) -> timedelta:
        """The same."""
        return self._clock.elapsed()

    async def sleep(self, _pause: timedelta) -> None:
        """For ever."""
        await asyncio.Event().wait()


@in_a_loop
async def test_a_job_goes_its_whole_road_without_a_single_pause_ending(tmp_path: Path) -> None:
    """Handed in while every stage sleeps: the ring of each move is all that takes it to its end."""
    instant = MachineSettings(instant=True, retry_after_in_progress=None)
    async with new_world(
        tmp_path / "store.db", machine=instant, wrap=lambda c: replace(c, clock=Sleepless(c.clock))
    ) as world:
        stop = asyncio.Event()
        engine = asyncio.create_task(Runner(world.context).run(world.units, stop))
        await asyncio.sleep(0)
        job = await world.submit(10)
        async with asyncio.timeout(60):
            while (await world.status(job.id)).job.state != "finished":
                ring = world.context.wakeup.event
                if (await world.status(job.id)).job.state != "finished":
                    await ring.wait()
        stop.set()
        await engine
        assert (await world.status(job.id)).job.requests.succeeded == 10


@in_a_loop
async def test_a_ring_that_comes_while_one_looks_is_not_missed() -> None:
    """The event is taken before the look; a ring during it ends the next pause at once."""
    wakeup = Wakeup()
    ring = wakeup.event
    wakeup.notify_all()
    async with asyncio.timeout(60):
        await sleep_or_signal(Sleepless(HourGlass()), AGES, ring)
    assert not wakeup.event.is_set(), "an old ring wakes nobody twice"


@in_a_loop
async def test_a_pause_ends_without_a_ring_too() -> None:
    """A hint may be lost; time passes all the same."""
    async with asyncio.timeout(60):
        await sleep_or_signal(HourGlass(), AGES, Wakeup().event)


@in_a_loop
async def test_a_cancelled_pause_leaves_no_task_behind() -> None:
    """A stage that is stopped while it waits takes its two waits along."""
    waiting = asyncio.create_task(sleep_or_signal(Sleepless(HourGlass()), AGES, Wakeup().event))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


class HourGlass:
    """A clock by which every pause is over at once."""

    def now(self) -> datetime:
        """Not asked."""
        raise NotImplementedError

    def elapsed(self) -> timedelta:
        """Not asked either."""
        raise NotImplementedError

    async def sleep(self, _pause: timedelta) -> None:
        """Over."""
