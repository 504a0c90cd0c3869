"""`python -m benchmarks`, from the top of the repository: one part, all of them, or a quick look.

all: every part, each in a process of its own; writes results.json and the tables. quick: small sizes, one round;
prints how the targets are met and writes nothing. render: the tables once more. A part's name: that part alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.measure import ROOT
from benchmarks.outcome import LeftOut, Options, Part
from benchmarks.targets import verdicts_at_any_size

#: In the order of the README. `peers` lives in a folder of its own.
PARTS: Final = (
    "end_to_end",
    "peers",
    "hot_path",
    "tables",
    "body",
    "scaling",
    "store_size",
    "idle",
    "face",
    "service",
    "fleet",
)
#: Not in a quick look: they need other programs.
_NOT_QUICK: Final = frozenset({"peers", "fleet"})


def main() -> None:
    """Parse, and do one of the above."""
    options = _parsed()
    if options.what == "render":
        report.render()
    elif options.what == "all":
        for name in PARTS:
            _child(name, *_passed_on(options))
    elif options.what == "quick":
        _quick(options.work)
    else:
        _one(options)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=("all", "quick", "render", *PARTS))
    parser.add_argument("--sizes", help="numbers of requests, as 10000,100000 (for `idle`: of batches)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ids", choices=("sequential", "uuid"), default="sequential", help="custom_ids in `scaling`")
    parser.add_argument("--work", type=Path, help="a folder on a large disk for temporary files")
    parser.add_argument(
        "--only", default="", help="in `peers`: names; in `fleet`: steps,job,stored,failed; writes nothing"
    )
    parser.add_argument("--db", help="in `hot_path`, `fleet`: an empty PostgreSQL database (URL); writes nothing")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round; print figures, write nothing")
    return parser.parse_args()


def _passed_on(options: argparse.Namespace) -> list[str]:
    work = [] if options.work is None else ["--work", str(options.work)]
    return [*work, "--rounds", str(options.rounds), "--ids", options.ids]


def _child(name: str, *arguments: str) -> str:
    """Run one part in a process of its own, which must be small when it starts what it measures."""
    command = [sys.executable, "-m", "benchmarks", name, *arguments]
    print(f"== {name}", file=sys.stderr, flush=True)
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _one(options: argparse.Namespace) -> None:
    part = _part(options.what)
    if part is None:
        print(f"{options.what} is not here", file=sys.stderr)
        return
    sizes = part.quick if options.quick else part.sizes
    if options.sizes is not None:
        sizes = tuple(int(size) for size in options.sizes.split(","))
    rounds = 1 if options.quick else options.rounds
    only = tuple(name for name in options.only.split(",") if name)
    started = time.monotonic()
    try:
        with _folder(options.work) as work:
            outcome = part.measure(
                Options(work=work, sizes=sizes, rounds=rounds, ids=options.ids, only=only, db=options.db)
            )
    except LeftOut as why:
        print(f"{options.what} is left out: {why}", file=sys.stderr)
        return
    if options.quick:
        print(json.dumps(outcome.figures))
    elif not only and options.db is None:  # a part of a table does not replace the whole
        report.write(part.name, outcome, rounds=rounds, command=_command())
        report.render()
    print(report.table(outcome.columns, outcome.rows), file=sys.stderr)
    print(f"({time.monotonic() - started:.0f} s)", file=sys.stderr)


def _command() -> str:
    """As it was given, without what only concerns this machine."""
    words = list(sys.argv[1:])
    if "--work" in words:
        place = words.index("--work")
        del words[place : place + 2]
    return f"python -m benchmarks {' '.join(words)}"


def _part(name: str) -> Part | None:
    """The part's own module, loaded when it runs. None if it is not part of this tree."""
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as exc:
        if exc.name == f"benchmarks.{name}":
            return None
        raise
    part = module.PART
    assert isinstance(part, Part), f"benchmarks/{name} has no PART"
    return part


@contextlib.contextmanager
def _folder(parent: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=parent, prefix="bench-") as folder:
        yield Path(folder)


def _quick(work: Path | None) -> None:
    """Each part small, then one table of the targets, held against what was measured at those sizes."""
    arguments = ["--quick"] + ([] if work is None else ["--work", str(work)])
    found = {name: json.loads(_child(name, *arguments)) for name in PARTS if name not in _NOT_QUICK}
    rows = [verdict.cells for verdict in verdicts_at_any_size(found)]
    print(report.table(("measure", "value", "target", "met?"), rows))
    print("One round at small sizes: a direction, not a figure. The targets are meant for the sizes in the README.")


if __name__ == "__main__":
    main()
