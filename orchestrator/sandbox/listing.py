"""The list of batches: who is in it at an instant, and where a page begins. Late, with gaps, as the plan says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.batches_api import batch_not_found
from orchestrator.sandbox.batch import Batch
from orchestrator.sandbox.chance import unit
from orchestrator.sandbox.faults import FaultPlan

#: A batch that one listing misses is missed in one of its first so many.
_MISSED_WITHIN: Final = 6


class Listing:
    """What the list shows of a workspace's batches."""

    def __init__(self, *, seed: int, plan: FaultPlan) -> None:
        self._seed = seed
        self._plan = plan
        self._listings: Counter[str] = Counter()

    def shows(self, batch: Batch, now: datetime) -> bool:
        """True if a list of *now* has *batch*. To be asked once for each listing."""
        gone = batch.deleted or batch.is_hidden(now)
        return not gone and batch.created_at + self._lag(batch) <= now and not self._misses(batch)

    def _lag(self, batch: Batch) -> timedelta:
        """How long after its creation the list shows *batch*. A batch's own share is mostly small, as lags are."""
        same, own = self._plan.amount("list_lag"), self._plan.amount("list_lag_each")
        return timedelta(seconds=same + own * unit(self._seed, "lag", batch.id) ** 4 if own else same)

    def _misses(self, batch: Batch) -> bool:
        """True in one single listing, among the first ones, for the share of batches that `list_miss` says."""
        share = self._plan.amount("list_miss")
        if not share or unit(self._seed, "missed", batch.id) >= share:
            return False
        self._listings[batch.id] += 1
        return self._listings[batch.id] == 1 + int(unit(self._seed, "missed in", batch.id) * _MISSED_WITHIN)


def place_of(shown: Sequence[Batch], cursor: str) -> int:
    """Where *cursor* stands in *shown*. Raises ApiError 404."""
    for place, batch in enumerate(shown):
        if batch.id == cursor:
            return place
    raise batch_not_found(cursor)
