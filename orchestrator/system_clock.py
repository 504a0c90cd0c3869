"""The machine's clock and entropy."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from typing_extensions import override

from orchestrator.domain.ids import NONCE_ALPHABET, NONCE_LENGTH, Nonce
from orchestrator.ports.runtime import Clock, Entropy

#: Counts while the process is stopped, and while the machine is suspended. macOS has none of this name: there
#: CLOCK_MONOTONIC counts both.
_NEVER_STOPS: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock(Clock):
    """Wall time at the start plus monotonic time since."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._origin = time.monotonic()

    @override
    def now(self) -> datetime:
        return self._started + timedelta(seconds=time.monotonic() - self._origin)

    @override
    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.clock_gettime(_NEVER_STOPS))

    @override
    async def sleep(self, pause: timedelta) -> None:
        await asyncio.sleep(pause.total_seconds())


class SystemEntropy(Entropy):
    """Random numbers of the machine."""

    @override
    def nonce(self) -> Nonce:
        """100 random bits, from the operating system."""
        return Nonce("".join(secrets.choice(NONCE_ALPHABET) for _ in range(NONCE_LENGTH)))

    @override
    def jitter(self) -> float:
        return random.random()  # noqa: S311 - jitter is no secret
