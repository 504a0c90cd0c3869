"""Part `end_to_end`: the whole command against the guide's loop and against the bytes alone, process by process."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import inputs, program
from benchmarks.measure import ROOT, Cost, api, client_env, run, taking_turns
from benchmarks.outcome import Options, Outcome, Part, cost_cells

_OURS: Final = "orchestrator run"
_GUIDE: Final = "the guide's loop"
_BYTES: Final = "the bytes alone"


def measure(options: Options) -> Outcome:
    """Every size, the three sides taking turns."""
    outcome = Outcome(columns=("requests", "", "wall", "CPU", "peak memory"))
    for size in options.sizes:
        source = inputs.usual(options.work / f"usual-{size}.jsonl", size)
        target = options.work / "out.jsonl"
        sides = {
            _OURS: partial(_ours, source, target, size),
            _GUIDE: partial(_theirs, [sys.executable, str(ROOT / "benchmarks/guide_loop.py")], source, target, size),
            _BYTES: partial(_theirs, [sys.executable, "-m", "benchmarks.bytes_only"], source, target, size),
        }
        _note(outcome, size, taking_turns(sides, rounds=options.rounds_at(size), warm_ups=options.warm_ups_at(size)))
        source.unlink()
    return outcome


def _ours(source: Path, target: Path, size: int) -> Cost:
    store = program.fresh(source.parent / "store")
    with api() as base_url:
        cost = run(program.run_command(source, target), env=program.env(base_url, store))
    assert program.count_lines(target) == size, "results are missing"
    return cost


def _theirs(command: list[str], source: Path, target: Path, size: int) -> Cost:
    with api() as base_url:
        cost = run([*command, str(source), str(target)], env=client_env(base_url))
    assert program.count_lines(target) == size, "results are missing"
    return cost


def _note(outcome: Outcome, size: int, costs: dict[str, Cost]) -> None:
    for name, cost in costs.items():
        outcome.rows.append([f"{size:,}", name, *cost_cells(cost)])
    ours, guide = costs[_OURS], costs[_GUIDE]
    wall = outcome.put("wall_vs_guide", ours.wall_s / guide.wall_s, size=size)
    cpu = outcome.put("cpu_vs_guide", ours.cpu_s / guide.cpu_s, size=size)
    peak = outcome.put("peak_vs_guide", ours.peak_bytes / guide.peak_bytes, size=size)
    outcome.put("peak_bytes", ours.peak_bytes, size=size)
    outcome.put("wall_vs_bytes", ours.wall_s / costs[_BYTES].wall_s, size=size)
    outcome.rows.append([f"{size:,}", "ours / the guide's", f"{wall:.2f}", f"{cpu:.2f}", f"{peak:.2f}"])


PART: Final = Part(name="end_to_end", measure=measure, sizes=(1_000, 10_000, 100_000), quick=(50_000,))
