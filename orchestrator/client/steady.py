"""A body that does not fall silent while its source thinks: a server gives up on one that does not come on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from orchestrator.views.source_codec import NOTHING

#: The guard wants 1 KiB in every 10 s. Source: `http_api.guard.bodies.BodyLimits`.
EVERY_S: Final = 3.0


async def steady(pieces: AsyncGenerator[bytes, None], every_s: float = EVERY_S) -> AsyncGenerator[bytes, None]:
    """*pieces*, and a record that says nothing whenever the next one is not there within *every_s*.

    As with `engine.ahead`, one task runs *pieces* from its beginning to its close, and one piece is fetched ahead.
    """
    ready: asyncio.Queue[bytes | None] = asyncio.Queue()
    taken = asyncio.Semaphore(0)

    async def fetch() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    ready.put_nowait(piece)
                    await taken.acquire()
        finally:
            ready.put_nowait(None)

    fetching = asyncio.ensure_future(fetch())
    try:
        while (piece := await _within(every_s, ready)) is not None:
            if piece is not NOTHING:
                taken.release()
            yield piece
        await fetching
    finally:
        fetching.cancel()
        await asyncio.wait({fetching})


async def _within(seconds: float, ready: asyncio.Queue[bytes | None]) -> bytes | None:
    try:
        async with asyncio.timeout(seconds):
            return await ready.get()
    except TimeoutError:
        return NOTHING
