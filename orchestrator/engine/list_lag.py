"""How long a batch that was created takes to show up in the API's list, as the looks of `poll` see it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.model import Batch
from orchestrator.ports.runtime import Meter


class ListLag:
    """Told of every look. What an earlier process sent is not measured: it may have been listed long ago.

    The lag is by the API's clock and up to one poll interval too long. `doubt_wait` must be far above it.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._listed: set[int] = set()
        self._begun: datetime | None = None

    def begin(self, now: datetime) -> None:
        """The process looks from now on; only the first call counts."""
        if self._begun is None:
            self._begun = now

    def saw(self, batch: Batch, remote: RemoteBatch, date: datetime | None) -> None:
        """A page of the list, answered at *date*, shows a batch of ours."""
        if batch.id in self._listed:
            return
        self._listed.add(batch.id)
        if self._is_of_this_process(batch) and date is not None:
            self._meter.listed(date - remote.created_at)

    def looked(self, watched: Iterable[int]) -> None:
        """The look is over; it was for *watched*, and no other batch need be remembered."""
        self._listed.intersection_update(watched)

    def _is_of_this_process(self, batch: Batch) -> bool:
        return batch.sent_at is not None and self._begun is not None and batch.sent_at >= self._begun
