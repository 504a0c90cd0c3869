"""Stage sample: every ten seconds, how busy all jobs together are, for the charts; kept for thirty days."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.engine.context import Context

_EVERY: Final = timedelta(seconds=10)
_KEPT: Final = timedelta(days=30)


class SampleStage:
    """Only in a daemon. What did not change since the last sample is not written again: a sample holds until the next.

    What the first look of a process finds changed was changed while nobody looked (by `run`, beside no daemon), and is
    marked so: it says nothing of the last minutes.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.samples
        self._due: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """Never a move: nobody has to wake up for a sample."""
        if self._due is None or now >= self._due:
            watched = self._due is not None
            self._due = now + _EVERY
            await self._store.take(now, keep_from=now - _KEPT, watched=watched)
        return 0
