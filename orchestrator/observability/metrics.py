"""Counters of this process since its start: API calls, waits, tokens, and the lag of the event loop.

Plain numbers; `http_api/metrics_route.py` renders them in Prometheus's format when scraped. What the store knows is not
counted here: it is read from there, so that it survives a restart.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from typing_extensions import override

from orchestrator.ports.runtime import NullMeter

#: Upper bounds in seconds, as Prometheus counts them: a value belongs to the first bound that is not below it.
CALL_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
TURNAROUND_BOUNDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0, 86400.0)
LIST_LAG_BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)

_TICK_S: Final = 1.0
#: The lag that is shown is the largest of so many ticks: a scrape every minute misses none.
_REMEMBERED_TICKS: Final = 60


class Histogram:
    """Counts of values up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Add a value; one below 0 (from two clocks) counts as 0."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, count of values up to it), the last bound being "+Inf"."""
        total, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Meters(NullMeter):
    """The counters; one object per process. What ticks did, and which jobs are over, the store knows."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.call_seconds: dict[str, Histogram] = {}
        self.turnaround = Histogram(TURNAROUND_BOUNDS)
        self.list_lag = Histogram(LIST_LAG_BOUNDS)
        self.tokens: Counter[str] = Counter()
        self._loop_lags: deque[float] = deque(maxlen=_REMEMBERED_TICKS)

    @override
    def called(self, op: str, code: str, took: timedelta) -> None:
        self.calls[op, code] += 1
        self.call_seconds.setdefault(op, Histogram(CALL_BOUNDS)).add(took.total_seconds())

    @override
    def turned_around(self, took: timedelta) -> None:
        self.turnaround.add(took.total_seconds())

    @override
    def listed(self, lag: timedelta) -> None:
        self.list_lag.add(lag.total_seconds())

    @override
    def spent(self, kind: str, tokens: int) -> None:
        self.tokens[kind] += tokens

    @property
    def watched(self) -> int:
        """How many ticks of the loop are remembered."""
        return len(self._loop_lags)

    @property
    def loop_lag_s(self) -> float:
        """The worst lag of the event loop in the last minute, in seconds; 0 where nobody measures it."""
        return max(self._loop_lags, default=0.0)

    async def watch_loop(self, stop: asyncio.Event) -> None:
        """Measure the lag of the event loop once a second, until *stop*."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + _TICK_S
            try:
                async with asyncio.timeout_at(due):
                    await stop.wait()
            except TimeoutError:
                self._loop_lags.append(max(loop.time() - due, 0.0))
