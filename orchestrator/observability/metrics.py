"""What this process has counted since its start: API calls, waits, tokens, and how late the event loop is.

Plain numbers; `http_api/metrics_route.py` puts them into Prometheus's form when somebody asks. What the store knows is
not counted here: it is read from there, so that it survives a restart.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.domain.model import BatchRow, JobRow

#: Upper bounds in seconds, as Prometheus counts them: a value belongs to the first bound that is not below it.
CALL_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
TURNAROUND_BOUNDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 57600.0, 86400.0)
LIST_LAG_BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)

_TICK_S: Final = 1.0
#: The lag that is shown is the largest of so many ticks: a scrape every minute misses none.
_REMEMBERED_TICKS: Final = 60


class Histogram:
    """How many values there were up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value; what is below 0 (two clocks) counts as 0."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, how many values were not above it), the last bound being "+Inf"."""
        total, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Meters:
    """See `ports.runtime.Meter`; one per process."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.call_seconds: dict[str, Histogram] = {}
        self.turnaround = Histogram(TURNAROUND_BOUNDS)
        self.list_lag = Histogram(LIST_LAG_BOUNDS)
        self.tokens: Counter[str] = Counter()
        self._loop_lags: deque[float] = deque(maxlen=_REMEMBERED_TICKS)

    def called(self, op: str, code: str, took: timedelta) -> None:
        """One call of the API ended."""
        self.calls[op, code] += 1
        self.call_seconds.setdefault(op, Histogram(CALL_BOUNDS)).add(took.total_seconds())

    def turned_around(self, took: timedelta) -> None:
        """A batch of ours ended."""
        self.turnaround.add(took.total_seconds())

    def listed(self, lag: timedelta) -> None:
        """A new batch was in the API's list for the first time."""
        self.list_lag.add(lag.total_seconds())

    def spent(self, kind: str, tokens: int) -> None:
        """A batch is collected."""
        self.tokens[kind] += tokens

    def worked(self, stage: str, moved: int, took: timedelta) -> None:
        """A tick moved something: what, the store knows."""

    def batch_over(self, batch: BatchRow, at: datetime) -> None:
        """A batch is settled: the store knows."""

    def job_over(self, job: JobRow, at: datetime) -> None:
        """A job is over: the store knows."""

    @property
    def watched(self) -> int:
        """How many ticks of the loop are remembered."""
        return len(self._loop_lags)

    @property
    def loop_lag_s(self) -> float:
        """How late the event loop woke at the worst in the last minute; 0 where nobody watches it."""
        return max(self._loop_lags, default=0.0)

    async def watch_loop(self, stop: asyncio.Event) -> None:
        """Note once a second how late we are woken, until *stop*."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + _TICK_S
            try:
                async with asyncio.timeout_at(due):
                    await stop.wait()
            except TimeoutError:
                self._loop_lags.append(max(loop.time() - due, 0.0))
