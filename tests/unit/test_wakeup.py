"""The bell: a stage that waits is woken by another's move, also by one that comes while it looks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestrator.engine.wakeup import Bell, pause_or_ring
from orchestrator.system_clock import SystemClock

LONG = timedelta(seconds=30)


def test_a_ring_wakes_everybody_who_waits_and_nobody_twice() -> None:
    """A wait of half a minute is over at once; the next one waits for the next ring."""

    async def run() -> None:
        bell, clock = Bell(), SystemClock()
        waiting = [asyncio.ensure_future(pause_or_ring(clock, LONG, bell.next)) for _ in range(3)]
        await asyncio.sleep(0.01)
        bell.ring()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)
        assert not bell.next.is_set()

    asyncio.run(run())


def test_a_ring_that_comes_while_one_looks_is_not_missed() -> None:
    """Whoever takes the ring before the look does not sleep over a move that came in between."""

    async def run() -> None:
        bell, clock = Bell(), SystemClock()
        ring = bell.next
        bell.ring()
        async with asyncio.timeout(5):
            await pause_or_ring(clock, LONG, ring)

    asyncio.run(run())


def test_without_a_ring_the_pause_ends_by_itself_and_leaves_no_task() -> None:
    """A bell is a hint: who misses it looks again."""

    async def run() -> None:
        await pause_or_ring(SystemClock(), timedelta(milliseconds=5), Bell().next)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
