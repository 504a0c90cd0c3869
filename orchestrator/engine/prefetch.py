"""Prefetch of one item: the next is fetched while the one before is worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def prefetch(
    items: AsyncGenerator[T, None], *, filler: T | None = None, filler_after_s: float | None = None
) -> AsyncGenerator[T, None]:
    """Yield *items* in their order, one of them fetched ahead, and close *items* at the end, however it comes.

    With *filler_after_s*, *filler* is yielded whenever the next item is not there within so many seconds.

    One task runs *items* from beginning to close: a program's own generator may hold an `asyncio.timeout`, a task group
    or a context variable across its yields, and each of them belongs to a task.
    """
    ready: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    taken = asyncio.Semaphore(0)

    async def fetch() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    ready.put_nowait((item,))
                    await taken.acquire()
        finally:
            ready.put_nowait(None)

    fetching = asyncio.ensure_future(fetch())
    try:
        while fetched := await _next(ready, filler, filler_after_s):
            if filler is None or fetched[0] is not filler:
                taken.release()
            yield fetched[0]
        await fetching
    finally:
        fetching.cancel()
        await asyncio.wait({fetching})


async def _next(ready: asyncio.Queue[tuple[T] | None], filler: T | None, seconds: float | None) -> tuple[T] | None:
    if filler is None or seconds is None:
        return await ready.get()
    try:
        async with asyncio.timeout(seconds):
            return await ready.get()
    except TimeoutError:
        return (filler,)
