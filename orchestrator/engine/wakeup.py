"""Wakes waiting stages: what one of them moved may be another's to go on with."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestrator.ports.runtime import Clock


class Wakeup:
    """Rung after every move. A hint, kept in memory: whoever misses it looks again when its own pause is over."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def event(self) -> asyncio.Event:
        """The ring to come. Take it before you look: a ring that comes while you look is not missed."""
        return self._next

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        current, self._next = self._next, asyncio.Event()
        current.set()


class EngineChanges:
    """See `ports.engine.ChangeSignal`."""

    def __init__(self, wakeup: Wakeup, clock: Clock) -> None:
        self._wakeup = wakeup
        self._clock = clock
        self._event = wakeup.event

    async def wait(self, at_most: timedelta) -> None:
        """Wait for the next move since the last wait, or *at_most*."""
        await sleep_or_signal(self._clock, at_most, self._event)
        self._event = self._wakeup.event


async def sleep_or_signal(clock: Clock, pause: timedelta, signal: asyncio.Event) -> None:
    """Wait for *pause*, or until *ring*, whichever comes first."""
    waiting = {asyncio.ensure_future(signal.wait()), asyncio.ensure_future(clock.sleep(pause))}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
