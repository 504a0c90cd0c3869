"""The sandbox's time: real time, made faster, and pushed forward on request."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class ScaledClock:
    """Gives start + real seconds × *speed* + what was added by `advance`; never goes back. *speed* 0 stands still.

    *start*: an aware instant, default the wall clock now. *monotonic*: where real seconds come from.
    """

    def __init__(
        self,
        speed: float,
        *,
        start: datetime | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._began = monotonic()
        self._start = datetime.now(UTC) if start is None else start
        self._added = timedelta(0)

    def now(self) -> datetime:
        """The sandbox's instant."""
        return self._start + timedelta(seconds=(self._monotonic() - self._began) * self.speed) + self._added

    def advance(self, by: timedelta) -> datetime:
        """Move forward at once; returns the new instant. Raises ValueError on a step back."""
        if by < timedelta(0):
            raise ValueError("time only goes forward")
        self._added += by
        return self.now()
