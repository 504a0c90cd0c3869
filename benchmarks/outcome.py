"""What a part is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measure import Cost

#: From here on a run is long enough to be its own warm-up, and is done once.
_LARGE: Final = 1_000_000


class LeftOut(Exception):
    """What a part needs is not on this machine: says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a part is asked for. work: a folder of its own for inputs, stores and outputs."""

    work: Path
    sizes: tuple[int, ...]
    rounds: int = 5
    ids: str = "sequential"
    only: tuple[str, ...] = ()  #: which of the peers, or of a part's questions; empty: all
    db: str | None = None  #: a PostgreSQL database to compare with

    def rounds_at(self, size: int) -> int:
        """How often a run over *size* requests is measured."""
        return self.rounds if size < _LARGE else 1

    def warm_ups_at(self, size: int) -> int:
        """How many runs come before them and do not count: none where only one is measured."""
        return int(self.rounds_at(size) > 1)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """One part's table (cells as shown) and its figures by name, which the targets are held against.

    A figure that was measured at several sizes has one entry per size: `peak_bytes@100000`.
    """

    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def put(self, name: str, value: float, *, size: int | None = None) -> float:
        """Note a figure, and give it back for the table."""
        self.figures[name if size is None else f"{name}@{size}"] = value
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One benchmark. sizes: in numbers of requests, of a whole run; quick: of `make bench-quick`."""

    name: str
    measure: Callable[[Options], Outcome]
    sizes: tuple[int, ...]
    quick: tuple[int, ...]


def cost_cells(cost: Cost) -> list[str]:
    """Wall, CPU and peak memory, for a table."""
    return [f"{cost.wall_s:.2f} s", f"{cost.cpu_s:.2f} s", f"{cost.peak_bytes / 1e6:.0f} MB"]
