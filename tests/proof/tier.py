"""The long tier: every part of the proof, the sampled ones as long as there is time.

What is exhaustive or named is never scaled down; the rest of the minutes goes to the sampled parts, by their shares.
Each part is written down as soon as it is done (`.proof/parts.json`), so that a tier that is cut keeps what it has.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from proof import simulated
from proof.cancellations import cancellations
from proof.cases import run_named_cases
from proof.chronicle import Cell
from proof.endings import dead_tasks, signals
from proof.pool import workers
from proof.processes import random_kills, six_windows
from proof.selftest import selftest
from proof.sequences import state_machine
from proof.tally import Tally

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ROOT / ".proof" / "parts.json"
#: Of the time that the fixed parts leave.
SHARES: Final = {"everything": 0.52, "twins": 0.14, "late list": 0.05, "crash loop": 0.05, "pairs": 0.09, "kills": 0.15}
_KILLS_AT_ONCE: Final = 50


@dataclass(slots=True)
class Notes:
    """What the parts said so far."""

    minutes: float
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    tallies: list[Tally] = field(default_factory=list)
    planted: list[dict[str, Any]] = field(default_factory=list)
    cells: Counter[Cell] = field(default_factory=Counter)

    def add(self, tally: Tally) -> None:
        """Keep it, on the disk too, and say it."""
        self.tallies.append(tally)
        self.save()
        words = "ok" if not tally.violations else f"{len(tally.violations)} VIOLATIONS: {tally.violations[0]}"
        sys.stdout.write(f"{tally.test}: {tally.trials} {tally.unit} in {tally.seconds:.0f} s, {words}\n")
        sys.stdout.flush()

    def save(self) -> None:
        """Write everything down."""
        PARTS.parent.mkdir(exist_ok=True)
        cells = [[*cell, times] for cell, times in sorted(self.cells.items())]
        said = {
            "minutes": self.minutes,
            "began": self.began,
            "cores": os.cpu_count(),
            "parts": [asdict(tally) | {"upper_bound": tally.upper_bound} for tally in self.tallies],
            "planted": self.planted,
            "cells": cells,
        }
        PARTS.write_text(json.dumps(said, indent=1), encoding="utf-8")


def run(minutes: float, seed: int) -> int:
    """Run the tier; 0 if nothing was violated."""
    ends_at = time.monotonic() + minutes * 60
    notes = Notes(minutes)
    with workers() as pool:
        for part in _fixed(pool, seed):
            notes.add(part())
        verdicts = selftest()
        notes.planted = [asdict(verdict) for verdict in verdicts[1]]
        notes.add(verdicts[0])
        left_s = max(ends_at - time.monotonic(), 0)
        for name, share in SHARES.items():
            notes.add(_sampled(pool, name, left_s * share, seed, notes.cells))
    notes.save()
    return 1 if any(tally.violations for tally in notes.tallies) else 0


def _fixed(pool: ProcessPoolExecutor, seed: int) -> Iterator[Callable[[], Tally]]:
    """Never scaled down."""
    yield lambda: simulated.every_point(pool)
    yield lambda: simulated.every_point(pool, "lost answers", seed=5)
    yield lambda: simulated.traces_twice(pool, first=seed, worlds=20)
    yield run_named_cases
    yield lambda: six_windows(rounds=12, seed=seed)
    yield lambda: signals(count=20, seed=seed)
    yield lambda: dead_tasks(seed=seed)
    yield lambda: cancellations(count=20_000, seed=seed)
    yield lambda: state_machine(150, 50, seed)


def _sampled(pool: ProcessPoolExecutor, name: str, seconds: float, seed: int, cells: Counter[Cell]) -> Tally:
    """As much of one part as fits into *seconds*."""
    if name == "pairs":
        return simulated.pairs_of_points(pool, seed=1, seconds=seconds)
    if name == "kills":
        return _kills(seconds, seed)
    return simulated.worlds(pool, name, first=seed, seconds=seconds, cells=cells)


def _kills(seconds: float, seed: int) -> Tally:
    """Campaigns of random kills, one after the other, until the time is over; one at least."""
    began = time.monotonic()
    done: list[Tally] = []
    while not done or time.monotonic() - began < seconds:
        done.append(random_kills(kills=_KILLS_AT_ONCE, seed=seed + len(done)))
    facts: Counter[str] = Counter()
    for tally in done:
        facts.update({name: value for name, value in tally.facts.items() if isinstance(value, int)})
    return Tally(
        test=done[0].test,
        unit=done[0].unit,
        trials=sum(tally.trials for tally in done),
        violations=tuple(violation for tally in done for violation in tally.violations),
        seconds=time.monotonic() - began,
        facts=dict(facts),
    )
