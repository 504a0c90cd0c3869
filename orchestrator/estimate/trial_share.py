"""What a trial costs: its share of what all requests cost."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.job_spec import NewJob
from orchestrator.ports.estimates import CostEstimate, TrialEstimate

__all__ = ["TrialShare"]


class TrialShare:
    """How many requests the trial of *new* has, and how large they are, beside all."""

    def __init__(self, new: NewJob) -> None:
        self._new = new
        self._requests = self._bytes = self._first_bytes = 0

    def add_all(self, many: Sequence[bytes]) -> None:
        """Take the params of the next requests."""
        sizes = list(map(len, many))
        self._first_bytes += sum(sizes[: max(0, (self._new.limit or 0) - self._requests)])
        self._bytes += sum(sizes)
        self._requests += len(sizes)

    def of(self, cost: CostEstimate) -> TrialEstimate | None:
        """What of *cost*, that of all, is the trial's; None: there is no trial.

        Prompts cost by their bytes, where those of the trial are known, and answers by their number.
        """
        size = self._new.trial
        if size is None or size >= self._requests:
            return None
        of_answers = size / self._requests
        of_prompts = of_answers if self._new.limit is None else self._first_bytes / max(1, self._bytes)
        prompts = cost.prompts_nanos or 0

        def part(nanos: int | None) -> int | None:
            if nanos is None:
                return None
            return round(min(nanos, prompts) * of_prompts + max(0, nanos - prompts) * of_answers)

        amounts = map(part, (cost.low_nanos, cost.expected_nanos, cost.high_nanos))
        return TrialEstimate(size, self._requests, *amounts)
