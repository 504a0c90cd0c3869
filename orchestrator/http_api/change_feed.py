"""Notifies watchers that something changed: one polling task for all of them, idle while there are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from orchestrator.domain import ids, model

if TYPE_CHECKING:
    from orchestrator.ports.engine import ChangeSignal
    from orchestrator.ports.reads import Reader, Reads

#: Poll interval without a signal: not every change sends one, and another process may write.
_LONGEST: Final = timedelta(seconds=1)
#: A busy engine moves hundreds of times a second; nobody can watch that fast.
_SHORTEST_S: Final = 0.1
#: After so long without an event the watcher gets an empty page, so that a connection shows that it lives.
_SILENCE_S: Final = 15.0
_PAGE: Final = 500


class ChangeFeed:
    """Changes and events for streams and long polling. `run` is a core task; every wait ends with *stop*."""

    def __init__(self, reader: Reader, moves: ChangeSignal, stop: asyncio.Event) -> None:
        self._reader = reader
        self._moves = moves
        self._stop = stop
        self._watched = asyncio.Event()
        self._watchers = 0
        self._beat = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """The engine is stopping: nobody should wait any longer."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Wake the watchers after every change, while there are any. Runs until cancelled."""
        while True:
            await self._watched.wait()
            await self._moves.wait(_LONGEST)
            previous, self._beat = self._beat, asyncio.Event()
            previous.set()
            await asyncio.sleep(_SHORTEST_S)

    def close(self) -> None:
        """Wake everybody who waits; call it when *stop* is set."""
        self._beat.set()

    async def change(self, at_most: timedelta) -> None:
        """Wait until something may have changed, at most *at_most*; returns at once when the engine stops."""
        if self._stop.is_set():
            return
        self._watchers += 1
        self._watched.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(at_most.total_seconds()):
                    await self._beat.wait()
        finally:
            self._watchers -= 1
            if self._watchers == 0:
                self._watched.clear()

    async def events(self, after: int, *, job: ids.JobId | None = None) -> AsyncGenerator[Sequence[model.Event], None]:
        """Events above *after*, of one job or of all, as they happen; () after 15 s without one. Ends with *stop*."""
        loop = asyncio.get_running_loop()
        spoke_at = loop.time()
        while not self._stop.is_set():
            page = await self._reader.read(partial(_page, job, after))
            if page:
                after = page[-1].id
            if page or loop.time() - spoke_at >= _SILENCE_S:
                spoke_at = loop.time()
                yield page
            if len(page) < _PAGE:
                await self.change(timedelta(seconds=_SILENCE_S))


def _page(job: ids.JobId | None, after: int, reads: Reads) -> Sequence[model.Event]:
    return reads.events(job, after=after, limit=_PAGE)
