"""The long tier: every part of the proof, the sampled ones as long as there is time.

What is exhaustive or named is never scaled down (some ten minutes on two cores); what is left of the time goes to the
sampled parts, by their shares. The planted bugs come last, and take what they take: an hour and a half. Each part is
written down as soon as it is done (`.proof/parts.json`), so that a tier that is cut keeps what it has, and the report
says what is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from support.postgres import PostgresServer, brief_server

from proof import simulated
from proof.cancellations import cancellations
from proof.cases import run_in_full, run_long, run_named_cases
from proof.chronicle import Cell
from proof.endings import dead_tasks, signals
from proof.pool import prepare_process, workers
from proof.processes import random_kills, six_windows
from proof.selftest import selftest
from proof.sequences import state_machine
from proof.tally import Tally

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ROOT / ".proof" / "parts.json"
#: Of the time that the fixed parts leave.
SHARES: Final = {
    "everything": 0.10,
    "structured": 0.02,
    "mended": 0.02,
    "piloted": 0.02,
    "identical": 0.02,
    "primed": 0.02,
    "capped": 0.05,
    "capped late": 0.03,
    "fleet capped": 0.02,
    "budgeted": 0.04,
    "fleet budgeted": 0.02,
    "twins": 0.10,
    "odd answers": 0.08,
    "restored": 0.06,
    "late list": 0.05,
    "crash loop": 0.05,
    "fleet": 0.08,
    "fleet twins": 0.03,
    "fleet alone": 0.03,
    "pairs": 0.07,
    "kills": 0.09,
}
#: Of a tier on PostgreSQL, where a world takes some eight times as long.
SHARES_ON_SERVER: Final = {
    "everything": 0.2,
    "fleet": 0.15,
    "fleet twins": 0.1,
    "fleet alone": 0.1,
    "fleet capped": 0.1,
    "kills": 0.35,
}
_KILLS_AT_ONCE: Final = 50

Part = Callable[[], Tally]


@dataclass(slots=True)
class Notes:
    """What the parts said so far. missing: those that are still to come."""

    missing: list[str]
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    tallies: list[Tally] = field(default_factory=list)
    planted: list[dict[str, Any]] = field(default_factory=list)
    cells: Counter[Cell] = field(default_factory=Counter)

    def run(self, name: str, part: Part) -> None:
        """Run one part and keep what it says, on the disk too."""
        sys.stdout.write(f"{name} …\n")
        sys.stdout.flush()
        tally = part()
        self.tallies.append(tally)
        self.missing.remove(name)
        self._save()
        words = "ok" if not tally.violations else f"{len(tally.violations)} VIOLATIONS: {tally.violations[0]}"
        sys.stdout.write(f"  {tally.trials:,} {tally.unit} in {tally.seconds:.0f} s: {words}\n")
        sys.stdout.flush()

    def _save(self) -> None:
        PARTS.parent.mkdir(exist_ok=True)
        said = {
            "began": self.began.isoformat(timespec="seconds"),
            "minutes": round((datetime.now(UTC) - self.began).total_seconds() / 60, 1),
            "cores": os.cpu_count(),
            "missing": self.missing,
            "parts": [asdict(tally) | {"upper_bound": tally.upper_bound, "commit": commit()} for tally in self.tallies],
            "planted": self.planted,
            "cells": [[*cell, times] for cell, times in sorted(self.cells.items())],
        }
        PARTS.write_text(json.dumps(said, indent=1), encoding="utf-8")


def run(minutes: float, seed: int) -> int:
    """Run the tier; 0 if nothing was violated."""
    ends_at = time.monotonic() + minutes * 60
    prepare_process()
    with workers() as pool:
        fixed = _fixed(pool, seed)
        notes = Notes([*fixed, *SHARES, "planted bugs"])
        for name, part in fixed.items():
            notes.run(name, part)
        left_s = max(ends_at - time.monotonic(), 0)
        for name, share in SHARES.items():
            notes.run(name, partial(_sampled, pool, name, left_s * share, seed, notes.cells))
    notes.run("planted bugs", partial(_planted, notes))
    return 1 if any(tally.violations for tally in notes.tallies) else 0


def again(name: str, minutes: float, seed: int) -> int:
    """Run one sampled part again, for example after a defect was mended, and put it in the place of the earlier one."""
    prepare_process()
    said = json.loads(PARTS.read_text(encoding="utf-8"))
    cells = Counter({(fault, state): times for fault, state, times in said["cells"]})
    with workers() as pool:
        tally = _sampled(pool, name, minutes * 60, seed, cells)
    said["cells"] = [[*cell, times] for cell, times in sorted(cells.items())]
    _take_in(tally, said)
    return 1 if tally.violations else 0


def run_on_server(minutes: float, seed: int) -> int:
    """What meets the store, with stores on a PostgreSQL server; beside what the last tier said, which must be there."""
    if not PARTS.exists():
        sys.stderr.write("there is nothing to put it beside yet: `make proof MINUTES=60` comes first\n")
        return 2
    prepare_process()
    told = 0
    with brief_server() as server, workers() as pool:
        parts: dict[str, Part] = {"six windows": partial(six_windows, rounds=3, seed=seed, server=server)}
        for name, share in SHARES_ON_SERVER.items():
            parts[name] = partial(_sampled, pool, name, minutes * 60 * share, seed, Counter(), server)
        version = {"postgres": server.execute("SHOW server_version")[0][0].split()[0]}
        for name, part in parts.items():
            tally = part()
            _take_in(tally, json.loads(PARTS.read_text(encoding="utf-8")) | version)
            sys.stdout.write(f"{name}: {tally.trials:,} {tally.unit}, {len(tally.violations)} violations\n")
            told += len(tally.violations)
    return 1 if told else 0


def _take_in(tally: Tally, said: dict[str, Any]) -> None:
    """Put a part into what was *said*, in the place of the earlier one if there is one."""
    part = asdict(tally) | {"upper_bound": tally.upper_bound, "commit": commit()}
    parts = [part if old["test"] == tally.test else old for old in said["parts"]]
    said["parts"] = parts if part in parts else [*parts, part]
    said["minutes"] = round(said["minutes"] + tally.seconds / 60, 1)
    PARTS.write_text(json.dumps(said, indent=1), encoding="utf-8")


def commit() -> str:
    """Of the tree that is run; "unknown" where there is no repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _fixed(pool: ProcessPoolExecutor, seed: int) -> dict[str, Part]:
    """Never scaled down."""
    return {
        "every crash point": lambda: simulated.every_point(pool),
        "every crash point of a life that resolves doubts": lambda: simulated.every_point(pool, "lost answers", seed=5),
        "traces twice": lambda: simulated.traces_twice(pool, first=seed, worlds=20),
        "named cases": run_named_cases,
        "tests in full": run_in_full,
        "long tests": run_long,
        "six windows": lambda: six_windows(rounds=12, seed=seed),
        "signals": lambda: signals(count=20, seed=seed),
        "dead tasks": lambda: dead_tasks(seed=seed),
        "cancellations": lambda: cancellations(count=20_000, seed=seed),
        "state machine": lambda: state_machine(150, 50, seed),
    }


def _planted(notes: Notes) -> Tally:
    tally, verdicts = selftest()
    notes.planted = [asdict(verdict) for verdict in verdicts]
    return tally


def _sampled(
    pool: ProcessPoolExecutor,
    name: str,
    seconds: float,
    seed: int,
    cells: Counter[Cell],
    server: PostgresServer | None = None,
) -> Tally:
    """As much of one part as fits into *seconds*."""
    if name == "pairs":
        return simulated.pairs_of_points(pool, seed=1, seconds=seconds)
    if name == "kills":
        return _kills(seconds, seed, server)
    return simulated.worlds(pool, name, first=seed, seconds=seconds, cells=cells, server=server)


def _kills(seconds: float, seed: int, server: PostgresServer | None) -> Tally:
    """Campaigns of random kills, one after the other, until the time is over; one at least."""
    began = time.monotonic()
    done: list[Tally] = []
    while not done or time.monotonic() - began < seconds:
        done.append(random_kills(kills=_KILLS_AT_ONCE, seed=seed + len(done), server=server))
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
