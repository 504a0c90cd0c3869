"""`python -m benchmarks.against COMMIT`: the hot path on SQLite in this tree and in that of COMMIT, taking turns.

Each side is a process of its own, the other tree's with its own harness: `hot_path_side ours`, then `body_side`. For
each step the ratio of this tree's time to the other's in the same round is taken; printed are the median of these, and
where half of them lie. `--cpu` takes processor time in place of the clock's, for a machine that others use as well. The
CPU of a whole process is that of `hot_path_side`, imports included. HEAD as COMMIT shows what chance does.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import hot_path, inputs
from benchmarks.measure import ROOT, clean_env
from benchmarks.report import table

_LOOKS: Final = 3
_COLUMNS: Final = ("requests", "step", "that commit", "this tree", "this / that", "half of the rounds lie in", "rounds")
#: Runs the module that is named next with another clock for its steps; either tree's own knows but one.
_BY_CPU: Final = (
    "import runpy, sys, time; time.perf_counter = time.process_time; sys.argv = sys.argv[1:]; "
    "runpy.run_module(sys.argv[0], run_name='__main__')"
)
Times = dict[str, float]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=__doc__, allow_abbrev=False)
    parser.add_argument("commit")
    parser.add_argument("--size", type=int, default=50_000, help="requests (50000)")
    parser.add_argument("--rounds", type=int, default=15, help="of two sides each (15)")
    parser.add_argument("--cpu", action="store_true", help="processor time of each step, not the clock's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _tree(options.commit, Path(folder) / "tree") as that:
        work = Path(folder)
        inputs.usual(work / "usual.jsonl", options.size)
        hot_path.make_answers(work / "answers.jsonl", options.size)
        start = ["-c", _BY_CPU] if options.cpu else ["-m"]
        rounds = [_round(that, work, start, turn) for turn in range(options.rounds + 1)][1:]  # the first one warms up
    print(table(_COLUMNS, [[f"{options.size:,}", *row] for row in _rows(rounds)]), end="")


@contextmanager
def _tree(commit: str, folder: Path) -> Iterator[Path]:
    """The files of *commit*, for the block."""
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(folder), commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=True)


def _round(that: Path, work: Path, start: list[str], turn: int) -> tuple[Times, Times]:
    """That tree's times and this one's; who begins changes from turn to turn."""
    if turn % 2:
        mine = _times(ROOT, work, start)
        return _times(that, work, start), mine
    return _times(that, work, start), _times(ROOT, work, start)


def _times(tree: Path, work: Path, start: list[str]) -> Times:
    usual, answers, folder = (str(work / name) for name in ("usual.jsonl", "answers.jsonl", "side"))
    before = _children_cpu_s()
    found = _side(tree, work, [*start, "benchmarks.hot_path_side", "ours", usual, answers, folder])
    found["the whole process, CPU"] = _children_cpu_s() - before
    body = _side(tree, work, [*start, "benchmarks.body_side", usual, folder, str(_LOOKS)])
    return {**found, "body": body["body_s"]}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _side(tree: Path, work: Path, words: list[str]) -> Times:
    """What a module of *tree* prints."""
    folder = work / "side"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    env = clean_env() | {"PYTHONPATH": str(tree)}
    said = subprocess.run([sys.executable, *words], cwd=tree, env=env, check=True, stdout=subprocess.PIPE).stdout
    times: Times = json.loads(said)
    return times


def _rows(rounds: list[tuple[Times, Times]]) -> Iterator[list[str]]:
    for step in rounds[0][0]:
        that, this = ([side[step] for side in sides] for sides in zip(*rounds, strict=True))
        ratios = [mine / its for its, mine in zip(that, this, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        seconds = [f"{statistics.median(side):.3f} s" for side in (that, this)]
        yield [step, *seconds, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", str(len(rounds))]


if __name__ == "__main__":
    main()
