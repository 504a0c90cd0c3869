"""Time and chance, injected: nothing above this port reads the machine's clock or its random source."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.domain.ids import Nonce


class Clock(Protocol):
    """A clock that never runs backwards within a process.

    `now` is the wall time at the start of the process plus the monotonic time since: a machine's clock that is set
    forward or back while we run changes nothing. For display and for pauses; promises use the API's own Date.
    """

    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...

    async def sleep(self, pause: timedelta) -> None:
        """Wait; returns early only by cancellation."""
        ...


class Entropy(Protocol):
    """Chance, injected so that a seed repeats a run."""

    def nonce(self) -> Nonce:
        """A new nonce, `NONCE_LENGTH` characters of `NONCE_ALPHABET`, never the same twice."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...
