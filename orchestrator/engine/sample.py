"""Stage sample: every ten seconds notes how busy all jobs together are, for the charts; kept for thirty days."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.engine.context import Context

_EVERY: Final = timedelta(seconds=10)
_KEPT: Final = timedelta(days=30)


class SampleStage:
    """Runs only in a daemon. An unchanged sample is not written again: a sample holds until the next.

    A change found by the first sample of a process happened while none ran (`run` without a daemon), and is marked so:
    it says nothing of the last minutes.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.samples
        self._due: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """Always 0: no stage need wake up for a sample."""
        if self._due is None or now >= self._due:
            watched = self._due is not None
            self._due = now + _EVERY
            await self._store.take(now, keep_from=now - _KEPT, watched=watched)
        return 0
