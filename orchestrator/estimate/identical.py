"""How many requests of an input are identical to an earlier one, and what those alone would cost."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.domain.billing import Rates
from orchestrator.domain.fingerprint import SeenRequests
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.quick_tally import QuickTally
from orchestrator.ports.estimates import Identical

__all__ = ["IdenticalRequests"]


class IdenticalRequests:
    """Takes every request of an input once."""

    def __init__(self, seen: SeenRequests | None = None) -> None:
        self._seen = SeenRequests() if seen is None else seen
        self._taken = self._found = 0
        self._tally = QuickTally()

    def take(self, params: bytes) -> bool:
        """Count a request. True if an earlier one is known to have the same *params*."""
        self._taken += 1
        if not self._seen.take(params):
            return False
        self._found += 1
        self._tally.add_all((params,))
        return True

    def found(self, rates: Mapping[str, Rates], known: AnswersKnown, *, left_out: bool) -> Identical | None:
        """What was found, and its cost at these *rates*; None: no request is identical to another."""
        if not self._found:
            return None
        cost = self._tally.estimate(rates, known, {})
        return Identical(
            requests=self._found,
            total=self._taken,
            is_least=self._seen.is_full,
            left_out=left_out,
            low_nanos=cost.low_nanos,
            expected_nanos=cost.expected_nanos,
            high_nanos=cost.high_nanos,
        )
