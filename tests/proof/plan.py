"""The sandbox's plan of faults, with somebody who is told of each that strikes."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.sandbox import FaultPlan
from orchestrator.sandbox.faults import RowFault


class NotingPlan(FaultPlan):
    """See `FaultPlan`. *note* is called with the fault's name when it strikes."""

    def __init__(self, note: Callable[[str], None], seed: int) -> None:
        super().__init__(seed=seed)
        self._note = note

    def draw(self, endpoint: str) -> str | None:
        """What this call meets."""
        fault = super().draw(endpoint)
        if fault is not None:
            self._note(f"{endpoint}.{fault}")
        return fault

    def row(self, chance: float) -> RowFault | None:
        """What this row meets."""
        fault = super().row(chance)
        if fault is not None:
            self._note(f"row {fault.kind or fault.fate}{' hidden' if fault.hidden else ''}")
        return fault

    def happens(self, name: str, *about: object) -> bool:
        """True when the event happens."""
        if not super().happens(name, *about):
            return False
        self._note(name)
        return True
