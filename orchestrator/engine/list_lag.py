"""How long a batch that was created takes to show up in the API's list, as the looks of `poll` see it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from orchestrator.domain.answers import RemoteBatch
from orchestrator.ports.meter import Meter


class ListLag:
    """Told of every look. What was created before this process's first look is not measured: it was listed long ago.

    The lag is by the API's clock and up to one poll interval too long. `doubt_wait` must be far above it.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._listed: set[int] = set()
        self._has_looked = False

    def saw(self, batch_id: int, remote: RemoteBatch, date: datetime | None) -> None:
        """A page of the list, answered at *date*, shows a batch of ours."""
        if batch_id in self._listed:
            return
        self._listed.add(batch_id)
        if self._has_looked and date is not None:
            self._meter.listed(date - remote.created_at)

    def looked(self, watched: Iterable[int]) -> None:
        """The look is over; it was for *watched*, and no other batch need be remembered."""
        self._has_looked = True
        self._listed.intersection_update(watched)
