"""Wakes waiting stages: what one of them moved may be another's to go on with."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestrator.ports.runtime import Clock


class Bell:
    """Rung after every move. A hint, kept in memory: whoever misses it looks again when its own pause is over."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """The ring to come. Take it before you look: a ring that comes while you look is not missed."""
        return self._next

    def ring(self) -> None:
        """Wake everybody who waits."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()


class Moves:
    """See `ports.engine.ChangeSignal`."""

    def __init__(self, bell: Bell, clock: Clock) -> None:
        self._bell = bell
        self._clock = clock
        self._ring = bell.next

    async def wait(self, at_most: timedelta) -> None:
        """Wait for the next move since the last wait, or *at_most*."""
        await pause_or_ring(self._clock, at_most, self._ring)
        self._ring = self._bell.next


async def pause_or_ring(clock: Clock, pause: timedelta, ring: asyncio.Event) -> None:
    """Wait for *pause*, or until *ring*, whichever comes first."""
    waiting = {asyncio.ensure_future(ring.wait()), asyncio.ensure_future(clock.sleep(pause))}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
