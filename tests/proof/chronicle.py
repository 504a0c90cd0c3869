"""What happened in a world: its trace, the states that its faults met, how much of everything there was."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Cell = tuple[str, str]


@dataclass(slots=True)
class Chronicle:
    """Written by everybody in a world. time: the loop's; states: those of the batches and jobs that are stored now.

    tell: where a replay prints each mark; nowhere else.
    """

    time: Callable[[], float]
    states: Callable[[], Iterable[str]] = lambda: ()
    tell: Callable[[str], None] | None = None
    crashes: int = 0
    posts: int = 0
    commits: int = 0
    cells: Counter[Cell] = field(default_factory=Counter)
    _trace: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=12))

    def mark(self, what: str) -> None:
        """Something happened, at this instant: it is part of the trace, which one seed gives every time."""
        line = f"{self.time():.6f} {what}"
        self._trace.update(f"{line}\n".encode())
        if self.tell is not None:
            self.tell(line)

    def note(self, fault: str) -> None:
        """A fault strikes; it meets the states that are there."""
        self.mark(f"fault: {fault}")
        for state in self.states():
            self.cells[fault, state] += 1

    def trace(self) -> str:
        """The hash of everything that was marked so far."""
        return self._trace.hexdigest()
