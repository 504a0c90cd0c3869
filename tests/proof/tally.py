"""What a part of the proof reports: how often it tried, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from support.postgres import PostgresServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One part's account.

    test: its name in the report ("T10 kill -9 at random"). trials: N, counted in *unit* ("worlds", "kills", "points").
    violations: sentences, each ending with the one command that replays it. facts: further figures to print.
    """

    test: str
    unit: str
    trials: int
    violations: tuple[str, ...]
    seconds: float
    facts: Mapping[str, int | float | str] = field(default_factory=dict)

    @property
    def upper_bound(self) -> float | None:
        """With no violation in N trials, the rate is below 3/N with 95 % confidence (rule of three)."""
        return None if self.violations or not self.trials else 3 / self.trials


def suffix(server: PostgresServer | None) -> str:
    """What the name of a part ends with, by where its stores lie; None: in files."""
    return "" if server is None else " (PostgreSQL)"
