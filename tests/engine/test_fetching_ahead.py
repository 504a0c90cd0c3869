"""Fetching one item ahead changes neither what comes, nor in which order, nor who is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from support.world import in_a_loop

from orchestrator.engine.prefetch import prefetch


class Source:
    """Numbers from 0; remembers how many were taken, and whether it was closed."""

    def __init__(self, count: int, *, breaks: bool = False) -> None:
        self._count = count
        self._breaks = breaks
        self.taken = 0
        self.closed = False

    async def items(self) -> AsyncGenerator[int, None]:
        """The numbers."""
        try:
            for number in range(self._count):
                await asyncio.sleep(0)
                self.taken += 1
                yield number
            if self._breaks:
                raise OSError("the file is gone")
        finally:
            self.closed = True


@in_a_loop
async def test_everything_comes_in_order_with_one_item_fetched_ahead() -> None:
    """The next item is on its way while one is worked on, and never more than one."""
    source, seen = Source(5), []
    async with aclosing(prefetch(source.items())) as items:
        async for number in items:
            for _ in range(10):
                await asyncio.sleep(0)
            assert source.taken == min(number + 2, 5)
            seen.append(number)
    assert (seen, source.closed) == ([0, 1, 2, 3, 4], True)


@in_a_loop
async def test_what_the_source_raises_comes_after_its_last_item() -> None:
    """Nothing that was read before the error is lost."""
    source, seen = Source(3, breaks=True), []

    async def consume() -> None:
        async for number in prefetch(source.items()):
            seen.append(number)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(OSError, match="gone"):
        await consume()
    assert (seen, source.closed) == ([0, 1, 2], True)


@in_a_loop
async def test_whoever_stops_early_leaves_nothing_open() -> None:
    """An import that fails, or is cancelled, closes its file and leaves no task."""
    source = Source(5)

    async def consume() -> None:
        async with aclosing(prefetch(source.items())) as items:
            async for _ in items:
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        await consume()
    assert source.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


@in_a_loop
async def test_a_cancelled_consumer_leaves_nothing_open() -> None:
    """The same for a task that is cancelled while it waits for an item."""
    source = Source(1000)

    async def consume() -> None:
        async with aclosing(prefetch(source.items())) as items:
            async for _ in items:
                pass

    task = asyncio.create_task(consume())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
