"""Every peer at every size, taking turns; medians of the rounds; what fails is a row with its reason.

`orchestrator` always runs along. From 100,000 requests on, a peer runs once, and `orchestrator` in all rounds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measure import Cost, median
from benchmarks.outcome import Options, Outcome, cost_cells
from benchmarks.peers.environments import NotInstalled, interpreter
from benchmarks.peers.table import OURS, PEERS, Peer
from benchmarks.peers.trial import Done, Failed, attempt

COLUMNS: Final = ("requests", "program", "version", "wall", "CPU", "peak memory", "batches", "runs")
_ONE_RUN_FROM: Final = 100_000
_WARM_UP: Final = 50


@dataclass(slots=True)
class Row:
    """One peer at one size; all its runs, or why one of them failed."""

    peer: Peer
    size: int
    done: list[Done] = field(default_factory=list)
    failed: Failed | None = None

    @property
    def cost(self) -> Cost | None:
        """The medians; None if any run failed."""
        return None if self.failed is not None else median([done.cost for done in self.done])

    @property
    def cells(self) -> list[str]:
        """The row as shown."""
        head = [f"{self.size:,}", self.peer.name, self.peer.version]
        if self.failed is not None:
            return [*head, f"failed: {self.failed.why.replace('|', '/')}", "", "", "", ""]
        assert self.cost is not None
        return [*head, *cost_cells(self.cost), str(self.done[-1].batches), str(len(self.done))]


def measure(options: Options) -> Outcome:
    """Install and warm up who is asked for, then size by size; the smallest first."""
    if unknown := set(options.only) - {peer.name for peer in (OURS, *PEERS)}:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}")
    peers = [OURS, *(peer for peer in PEERS if not options.only or peer.name in options.only)]
    pythons, broken = _ready(peers, options.work)
    outcome = Outcome(columns=COLUMNS)
    for size in sorted(options.sizes):
        rows = [Row(peer, size, failed=broken.get(peer.name)) for peer in peers]
        for turn in range(options.rounds):
            for row in rows:
                _one_more(row, turn, pythons, options.work)
        outcome.rows += [row.cells for row in rows]
        _compare(outcome, rows)
        # Who ran out of time is not asked for more.
        broken |= {row.peer.name: row.failed for row in rows if row.failed is not None and row.failed.timed_out}
    return outcome


def _ready(peers: Sequence[Peer], work: Path) -> tuple[dict[str, Path], dict[str, Failed]]:
    """The interpreters, and who does not work at all. A small run of each writes its byte code."""
    pythons: dict[str, Path] = {}
    broken: dict[str, Failed] = {}
    for peer in peers:
        try:
            pythons[peer.name] = interpreter(peer)
        except NotInstalled as exc:
            broken[peer.name] = Failed(why=str(exc))
            continue
        if isinstance(tried := attempt(peer, pythons[peer.name], _WARM_UP, work), Failed):
            broken[peer.name] = tried
    return pythons, broken


def _one_more(row: Row, turn: int, pythons: Mapping[str, Path], work: Path) -> None:
    once = row.peer is not OURS and row.size >= _ONE_RUN_FROM
    if row.failed is not None or (once and turn > 0):
        return
    result = attempt(row.peer, pythons[row.peer.name], row.size, work)
    if isinstance(result, Failed):
        row.failed = result
    else:
        row.done.append(result)
    said = f"failed: {result.why}" if isinstance(result, Failed) else ", ".join(cost_cells(result.cost))
    print(f"{row.peer.name}, {row.size:,}: {said}", file=sys.stderr, flush=True)


def _compare(outcome: Outcome, rows: Sequence[Row]) -> None:
    """The best peer of each figure against ours; the peers that failed are not counted."""
    ours, *others = (row.cost for row in rows)
    peers = [cost for cost in others if cost is not None]
    if ours is None or not peers:
        return
    size = rows[0].size
    outcome.put("wall_speedup", min(cost.wall_s for cost in peers) / ours.wall_s, size=size)
    outcome.put("cpu_speedup", min(cost.cpu_s for cost in peers) / ours.cpu_s, size=size)
    outcome.put("peak_share", ours.peak_bytes / min(cost.peak_bytes for cost in peers), size=size)
