"""`python -m proof`: the long tier, its report, the hunt for planted bugs, and the replay of one world.

Run with PYTHONPATH=tests:. from the project's folder; `make proof`, `proof-report`, `proof-replay` do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from proof import report, tier
from proof.deaths import Death
from proof.pool import Task, prepare_process, run_all, workers
from proof.profiles import PROFILES
from proof.world import run_world


def hunt(profile: str, seeds: int, first: int) -> int:
    """Worlds of one kind until one breaks a promise; one line of JSON; 0 if one did."""
    began = time.monotonic()
    tasks = [Task(profile=profile, seed=seed) for seed in range(first, first + seeds)]
    found: list[tuple[int, str]] = []
    with workers() as pool:
        for task, outcome in run_all(pool, tasks, stop_at_first=True):
            if outcome.violations:
                found.append((task.seed, outcome.violations[0]))
    seed, words = min(found, default=(first + seeds - 1, ""))
    said = {
        "caught": bool(found),
        "seeds": seed - first + 1,
        "violation": words,
        "seconds": round(time.monotonic() - began, 1),
    }
    sys.stdout.write(f"{json.dumps(said)}\n")
    return 0 if found else 1


def replay(profile: str, seed: int, steps: Sequence[int]) -> int:
    """One world again, with everything that happens in it."""
    prepare_process()
    chosen = replace(PROFILES[profile], crashes=len(steps)) if steps else PROFILES[profile]
    deaths = iter([Death(step=step) for step in steps]) if steps else None
    outcome = run_world(chosen, seed, deaths=deaths, tell=_say)
    sys.stdout.write(f"{outcome.batches} batches at the API, trace {outcome.trace}\n")
    for violation in outcome.violations:
        sys.stdout.write(f"VIOLATION {violation}\n")
    return 1 if outcome.violations else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main(argv: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    long = commands.add_parser("run", help="the long tier")
    long.add_argument("--minutes", type=float, required=True, help="how long, by the clock")
    long.add_argument("--seed", type=int, default=1_000_000, help="of the first world")
    commands.add_parser("report", help="write docs/proof.md and docs/proof.json from the last long tier")
    one = commands.add_parser("replay", help="run one world again and print what happens in it")
    hunted = commands.add_parser("hunt", help="run worlds until one breaks a promise")
    for command in (one, hunted):
        command.add_argument("--profile", choices=sorted(PROFILES), required=True)
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--step", type=int, action="append", default=[], help="kill the next life after so many callbacks")
    hunted.add_argument("--seeds", type=int, required=True)
    hunted.add_argument("--first", type=int, default=1)
    chosen = parser.parse_args(argv)
    match chosen.command:
        case "run":
            return tier.run(chosen.minutes, chosen.seed)
        case "report":
            return report.write()
        case "replay":
            return replay(chosen.profile, chosen.seed, chosen.step)
        case _:
            return hunt(chosen.profile, chosen.seeds, chosen.first)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
