"""Wake-ups: when a stage has moved something, the others look whether it is theirs to go on with."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from typing_extensions import override

from orchestrator.ports.engine import ChangeSignal
from orchestrator.ports.runtime import Clock


class Wakeup:
    """Broadcast after every move. A hint, kept in memory: a stage that misses it looks again after its own pause."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def event(self) -> asyncio.Event:
        """Set by the next `notify_all`. Take it before you look at the store: then a move meanwhile is not missed."""
        return self._next

    def notify_all(self) -> None:
        """Wake every waiting stage."""
        current, self._next = self._next, asyncio.Event()
        current.set()


class EngineChanges(ChangeSignal):
    """Waits for the next move of a stage, for those who watch jobs."""

    def __init__(self, wakeup: Wakeup, clock: Clock) -> None:
        self._wakeup = wakeup
        self._clock = clock
        self._event = wakeup.event

    @override
    async def wait(self, at_most: timedelta) -> None:
        await sleep_or_signal(self._clock, at_most, self._event)
        self._event = self._wakeup.event


async def sleep_or_signal(clock: Clock, pause: timedelta, signal: asyncio.Event) -> None:
    """Sleep for *pause*, or until *signal*, whichever comes first."""
    waiting = {asyncio.ensure_future(signal.wait()), asyncio.ensure_future(clock.sleep(pause))}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
