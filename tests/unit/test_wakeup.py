"""The bell: a stage that waits is woken by another's move, also by one that comes while it looks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestrator.engine.context import Wakeup, sleep_or_signal
from orchestrator.system_clock import SystemClock

LONG = timedelta(seconds=30)


def test_a_ring_wakes_everybody_who_waits_and_nobody_twice() -> None:
    """A wait of half a minute is over at once; the next one waits for the next ring."""

    async def run() -> None:
        wakeup, clock = Wakeup(), SystemClock()
        waiting = [asyncio.ensure_future(sleep_or_signal(clock, LONG, wakeup.event)) for _ in range(3)]
        await asyncio.sleep(0.01)
        wakeup.notify_all()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)
        assert not wakeup.event.is_set()

    asyncio.run(run())


def test_a_ring_that_comes_while_one_looks_is_not_missed() -> None:
    """Whoever takes the ring before the look does not sleep over a move that came in between."""

    async def run() -> None:
        wakeup, clock = Wakeup(), SystemClock()
        ring = wakeup.event
        wakeup.notify_all()
        async with asyncio.timeout(5):
            await sleep_or_signal(clock, LONG, ring)

    asyncio.run(run())


def test_without_a_ring_the_pause_ends_by_itself_and_leaves_no_task() -> None:
    """A bell is a hint: who misses it looks again."""

    async def run() -> None:
        await sleep_or_signal(SystemClock(), timedelta(milliseconds=5), Wakeup().event)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
