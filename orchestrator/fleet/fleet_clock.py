"""One time for the whole fleet: PostgreSQL's. What one daemon writes down for later another one reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from typing_extensions import override

from orchestrator.fleet.queue_pool import Pool
from orchestrator.system_clock import SystemClock

_NOW: Final = "SELECT clock_timestamp()"


class FleetClock(SystemClock):
    """PostgreSQL's time when it was last asked, plus the time elapsed since. Until `ask` it is this machine's.

    Where an answer would set back what was shown, it stands still until the fleet's time has come up to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._theirs = super().now()
        self._shown = datetime.min.replace(tzinfo=UTC)  # nothing yet: this machine may be fast by any time
        self._at = self.elapsed()
        self.offset = timedelta(0)  #: how far the database's clock is ahead of this machine's wall clock

    @override
    def now(self) -> datetime:
        self._shown = max(self._shown, self._theirs + (self.elapsed() - self._at))
        return self._shown

    async def ask(self, pool: Pool) -> None:
        """Take PostgreSQL's time over, as of the middle of the question."""
        begun = self.elapsed()
        theirs = await pool.fetchval(_NOW)
        self.take(theirs, begun + (self.elapsed() - begun) / 2)

    def take(self, theirs: datetime, at: timedelta) -> None:
        """Take over that it was *theirs* when `elapsed` was *at*."""
        self._theirs, self._at = theirs, at
        self.offset = theirs + (self.elapsed() - at) - datetime.now(UTC)
