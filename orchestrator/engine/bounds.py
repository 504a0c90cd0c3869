"""Bounds of planned batches that still hold: those by other prices or days are found anew before they are reserved."""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.ids import BatchId
from orchestrator.engine.worst_costs import WorstCosts
from orchestrator.ports.runtime import Prices


class KnownBounds:
    """What this process went by, batch by batch. Of the bounds of others, and of earlier lives, nothing is known."""

    def __init__(self) -> None:
        self._found: dict[BatchId, WorstCosts] = {}

    def found(self, batch: BatchId, costs: WorstCosts) -> None:
        """*costs* said what *batch* can cost at most. Those of other days are forgotten: they hold no more."""
        if self._found and not next(iter(self._found.values())).is_of(costs):
            self._found.clear()
        self._found[batch] = costs

    def holds(self, batch: BatchId, prices: Prices, now: datetime) -> bool:
        """Whether the bound of *batch* is the one that *prices* give at *now*."""
        costs = self._found.get(batch)
        return costs is not None and costs.holds(prices, now)
