"""What stage sample needs of the store."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class SamplesStore(Protocol):
    """Writes down how busy all jobs together were."""

    async def take(self, now: datetime, *, keep_from: datetime, watched: bool) -> bool:
        """Write down how busy all jobs are; False: just as at the last time. Older ones than *keep_from* go.

        watched: see `domain.looks.Sample`.
        """
        ...
