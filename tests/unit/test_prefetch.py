"""Fetching ahead: the same items, one of them early; a program's own generator cannot tell that it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest

from orchestrator.engine.prefetch import prefetch

PLACE: ContextVar[str] = ContextVar("PLACE", default="outside")


async def numbers(seen: list[str], upto: int = 5) -> AsyncGenerator[int, None]:
    """Numbers from 1, telling what it does."""
    try:
        for number in range(1, upto + 1):
            await asyncio.sleep(0)
            seen.append(f"fetched {number}")
            yield number
    finally:
        seen.append("closed")


def test_items_come_in_order_and_one_is_fetched_ahead() -> None:
    """One, not more: a chunk is some MB."""

    async def run() -> list[str]:
        seen: list[str] = []
        async with aclosing(prefetch(numbers(seen, 3))) as items:
            async for item in items:
                for _ in range(10):
                    await asyncio.sleep(0)
                seen.append(f"used {item}")
        return seen

    assert asyncio.run(run()) == [
        "fetched 1", "fetched 2", "used 1", "fetched 3", "used 2", "closed", "used 3",
    ]  # fmt: skip


def test_one_task_and_one_context_run_all_of_it() -> None:
    """A timeout, a task group or a context variable that a generator holds across its yields belongs to a task."""

    async def careful() -> AsyncGenerator[object, None]:
        token = PLACE.set("inside")
        async with asyncio.TaskGroup():
            for _ in range(4):
                yield asyncio.current_task(), PLACE.get()
        PLACE.reset(token)

    async def run() -> set[Any]:
        async with aclosing(prefetch(careful())) as items:
            return {item async for item in items}

    ((_, place),) = asyncio.run(run())
    assert place == "inside"


def test_a_timeout_across_yields_still_ends_it() -> None:
    """What a program limits stays limited."""

    async def slow() -> AsyncGenerator[int, None]:
        async with asyncio.timeout(0.05):
            yield 1
            await asyncio.sleep(5)
            yield 2

    async def run() -> list[int]:
        async with aclosing(prefetch(slow())) as items:
            return [item async for item in items]

    with pytest.raises(TimeoutError):
        asyncio.run(run())


@pytest.mark.parametrize("upto", [1, 5])
def test_whoever_leaves_early_closes_it(upto: int) -> None:
    """In the middle, and when the last item is out."""

    async def run() -> list[str]:
        seen: list[str] = []
        async with aclosing(prefetch(numbers(seen, upto))) as items:
            async for _ in items:
                break
        return seen

    assert asyncio.run(run())[-1] == "closed"
