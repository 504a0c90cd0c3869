"""The machine's clock and chance, as the ports want them."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime, timedelta

from orchestrator.domain.ids import NONCE_ALPHABET, NONCE_LENGTH, Nonce


class SystemClock:
    """See `ports.runtime.Clock`: wall time at the start plus monotonic time since."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._origin = time.monotonic()

    def now(self) -> datetime:
        """The time, aware, UTC."""
        return self._started + timedelta(seconds=time.monotonic() - self._origin)

    async def sleep(self, pause: timedelta) -> None:
        """Wait."""
        await asyncio.sleep(pause.total_seconds())


class SystemEntropy:
    """See `ports.runtime.Entropy`."""

    def nonce(self) -> Nonce:
        """100 random bits, from the operating system."""
        return Nonce("".join(secrets.choice(NONCE_ALPHABET) for _ in range(NONCE_LENGTH)))

    def jitter(self) -> float:
        """A number in [0, 1)."""
        return random.random()  # noqa: S311 - jitter is no secret
