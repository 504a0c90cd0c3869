"""The battery tests itself (T98): every bug of `planted.py`, in a copy of the tree, is caught by its named test.

`python -m proof.selftest [NAME ...]` (`make proof-selftest`) prints bug, how many cases it took, and test. It fails
unless every bug is caught by an assertion of its test and the unpatched copy passes the same tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from proof.planted import PLANTED, Edit, Planted
from proof.tally import Tally
from proof.witness import Seen

ROOT: Final = Path(__file__).resolve().parents[2]
COPIED: Final = ("orchestrator", "migrations", "tests")
SIDE_BY_SIDE: Final = 2
WITHIN_S: Final = 240
HUNT_SEEDS: Final = 400
#: `pytest.raises` that met nothing fails with pytest's own class; it is an assertion, too.
ASSERTIONS: Final = frozenset({"AssertionError", "Failed"})


class MovedOn(Exception):
    """An edit does not fit the tree any more: the planted bug has to be written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one bug. took: cases (or seeds, where it was hunted) until it was caught."""

    name: str
    test: str
    caught: bool
    how: str
    took: int | None


def patched(text: str, edit: Edit, name: str) -> str:
    """*text* with *edit* applied. Raises MovedOn unless what it replaces is there exactly once."""
    file, before, after = edit
    found = text.count(before)
    if found != 1:
        raise MovedOn(f"{name}: the code moved on: {found} places in {file} read {before!r}; mend proof/planted.py")
    return text.replace(before, after)


def plant(planted: Planted, tree: Path) -> None:
    """Apply a bug's edits to *tree*."""
    for edit in planted.edits:
        path = tree / edit[0]
        path.write_text(patched(path.read_text(encoding="utf-8"), edit, planted.name), encoding="utf-8")


def copy_tree(source: Path, target: Path) -> Path:
    """A copy of what the tests need of *source*."""
    for folder in COPIED:
        shutil.copytree(source / folder, target / folder)
    shutil.copy2(source / "pyproject.toml", target / "pyproject.toml")
    return target


def _python(tree: Path, *argv: str, witness: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'tests'}", "PROOF_ROOT": str(tree)}
    if witness is not None:
        env["PROOF_WITNESS"] = str(witness)
    command = [sys.executable, *argv]
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def _pytest(tree: Path, tests: Sequence[str], *more: str) -> tuple[int, Seen, str]:
    """Run *tests* in *tree*: the exit code, what was seen, and what was printed."""
    witness = tree / "witness.json"
    done = _python(
        tree, "-m", "pytest", "-p", "proof.witness", "-p", "no:cacheprovider", *more, *tests, witness=witness
    )
    seen = Seen(**json.loads(witness.read_text(encoding="utf-8"))) if witness.exists() else Seen()
    return done.returncode, seen, done.stdout + done.stderr


def judge(planted: Planted, code: int, seen: Seen) -> Verdict:
    """Caught means: the named test ran and an assertion in it (or the error that is named) failed."""
    verdict = partial(Verdict, name=planted.name, test=planted.test)
    if code == 0:
        return verdict(caught=False, how="the test passes", took=None)
    if code != 1 or seen.phase != "call":
        return verdict(caught=False, how=f"the test did not run: pytest exit {code}, {seen.error}", took=None)
    wanted = ASSERTIONS if planted.raises is None else frozenset({planted.raises})
    if seen.error not in wanted:
        return verdict(caught=False, how=f"failed for another reason: {seen.error}", took=None)
    return verdict(caught=True, how=str(seen.error), took=seen.cases)


def _hunted(planted: Planted, tree: Path, verdict: Verdict) -> Verdict:
    """The same bug in simulated worlds: how many seeds it lives."""
    done = _python(tree, "-m", "proof", "hunt", "--profile", str(planted.hunt), "--seeds", str(HUNT_SEEDS))
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Verdict(
            name=planted.name, test=verdict.test, caught=False, how=f"no hunt: {done.stderr[-300:]}", took=None
        )
    how = verdict.how if found["caught"] else f"not caught in {found['seeds']} seeds of {planted.hunt}"
    return Verdict(
        name=planted.name, test=verdict.test, caught=verdict.caught and found["caught"], how=how, took=found["seeds"]
    )


def try_one(pristine: Path, planted: Planted) -> Verdict:
    """Plant one bug in a copy of its own and run its test there."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = copy_tree(pristine, Path(folder))
        plant(planted, tree)
        try:
            code, seen, _ = _pytest(tree, [planted.test], "-x")
            verdict = judge(planted, code, seen)
            return verdict if planted.hunt is None or not verdict.caught else _hunted(planted, tree, verdict)
        except subprocess.TimeoutExpired:
            how = f"no end within {WITHIN_S} s"
            return Verdict(name=planted.name, test=planted.test, caught=False, how=how, took=None)


def selftest(bugs: Sequence[Planted] = PLANTED) -> tuple[Tally, list[Verdict]]:
    """Try every bug, two side by side, after the unpatched copy has passed the same tests."""
    start = time.monotonic()
    violations: list[str] = []
    with tempfile.TemporaryDirectory(prefix="unpatched-") as folder:
        pristine = copy_tree(ROOT, Path(folder))
        for bug in bugs:  # before anything runs: a table that moved on is told at once
            for file, before, after in bug.edits:
                patched((pristine / file).read_text(encoding="utf-8"), (file, before, after), bug.name)
        code, seen, said = _pytest(pristine, sorted({bug.test for bug in bugs}))
        if code != 0:
            violations.append(f"the unpatched copy fails {seen.failed}: {said[-2000:]}")
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            verdicts = list(pool.map(partial(try_one, pristine), bugs))
    violations += [
        f"{v.name} lives: {v.how}; PYTHONPATH=tests python -m proof.selftest {v.name}" for v in verdicts if not v.caught
    ]
    caught = sum(verdict.caught for verdict in verdicts)
    tally = Tally(
        test="T98 planted bugs",
        unit="bugs",
        trials=len(verdicts),
        violations=tuple(violations),
        seconds=time.monotonic() - start,
        facts={"caught": caught, "unpatched_cases": seen.cases},
    )
    return tally, verdicts


def table(verdicts: Sequence[Verdict]) -> str:
    """Bug, how many cases (or seeds) it took, test."""
    width = max((len(verdict.name) for verdict in verdicts), default=0)
    return "\n".join(
        f"{v.name:{width}}  {'-' if v.took is None else v.took:>4}  {v.test}{'' if v.caught else '  LIVES: ' + v.how}"
        for v in verdicts
    )


def main(names: Sequence[str]) -> int:
    """The command."""
    if names and names[0] in {"-h", "--help"}:
        sys.stdout.write(f"{__doc__}\nNAMEs: {', '.join(bug.name for bug in PLANTED)}\n")
        return 0
    known = {bug.name for bug in PLANTED}
    if unknown := set(names) - known:
        sys.stderr.write(f"no such bug: {', '.join(sorted(unknown))}\n")
        return 2
    tally, verdicts = selftest([bug for bug in PLANTED if not names or bug.name in names])
    sys.stdout.write(f"{table(verdicts)}\n\n{tally.facts['caught']} of {tally.trials} planted bugs caught, ")
    sys.stdout.write(f"{tally.facts['unpatched_cases']} cases pass without them; {tally.seconds:.0f} s\n")
    for violation in tally.violations:
        sys.stdout.write(f"{violation}\n")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
