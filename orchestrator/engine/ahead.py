"""Two things at once where one feeds the other: the next item is fetched while the one before is worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same *items* in the same order, one of them fetched ahead; *items* is closed at the end, however it comes."""
    async with aclosing(items):
        fetching = asyncio.ensure_future(_fetch(items))
        try:
            while fetched := await fetching:
                fetching = asyncio.ensure_future(_fetch(items))
                yield fetched[0]
        finally:
            fetching.cancel()
            await asyncio.wait({fetching})


async def _fetch(items: AsyncGenerator[T, None]) -> tuple[T] | None:
    """The next item, or None at the end (a task cannot raise StopAsyncIteration)."""
    async for item in items:
        return (item,)
    return None
