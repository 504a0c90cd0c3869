"""The long tier of the proof, its report, hunts for a broken promise, and the replay of one world.

Run from the project's folder with PYTHONPATH=tests:. ; `make proof`, `proof-report` and `proof-replay` do.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import NoReturn

from support.postgres import PostgresServer, brief_server

from proof import report, tier
from proof.deaths import Death
from proof.pool import Task, prepare_process, run_all, workers
from proof.profiles import PROFILES
from proof.world import run_world


def hunt(profile: str, seeds: int, first: int, server: PostgresServer | None) -> int:
    """Worlds of one kind until one breaks a promise; one line of JSON; 0 if one did, 1 if none."""
    began = time.monotonic()
    url = None if server is None else server.url
    tasks = [Task(profile=profile, seed=seed, server=url) for seed in range(first, first + seeds)]
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


def replay(profile: str, seed: int, steps: Sequence[int], server: PostgresServer | None) -> int:
    """One world again, with everything that happens in it; 1 if it breaks a promise."""
    prepare_process()
    chosen = replace(PROFILES[profile], crashes=len(steps)) if steps else PROFILES[profile]
    deaths = iter([Death(step=step) for step in steps]) if steps else None
    outcome = run_world(chosen, seed, deaths=deaths, tell=_say, server=server)
    _say(f"{outcome.batches} batches at the API, {outcome.crashes} crashes, trace {outcome.trace}")
    for violation in outcome.violations:
        _say(f"VIOLATION {violation}")
    if not outcome.violations:
        _say("no promise was broken")
    return 1 if outcome.violations else 0


def main(argv: Sequence[str]) -> int:
    """The command line."""
    signal.signal(signal.SIGTERM, _stop)  # so that the workers end with us
    chosen = _parser().parse_args(argv)
    try:
        match chosen.command:
            case "run":
                return _run(chosen.again, chosen.store, chosen.minutes, chosen.seed)
            case "report":
                return report.write()
            case "replay":
                with _server(chosen.store) as server:
                    return replay(chosen.profile, chosen.seed, chosen.step, server)
            case _:
                with _server(chosen.store) as server:
                    return hunt(chosen.profile, chosen.seeds, chosen.first, server)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; parts of a long tier that are done are kept in {tier.PARTS.parent.name}/\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    worlds = ", ".join(f'"{name}"' for name in sorted(PROFILES))
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    long = commands.add_parser("run", help="the long tier")
    long.add_argument(
        "--minutes",
        type=_minutes,
        required=True,
        help="by the clock; fixed parts take some ten minutes on two cores; planted bugs come after it, 90 more",
    )
    long.add_argument("--seed", type=int, default=1_000_000, help="of the first world")
    long.add_argument(
        "--again", choices=sorted(tier.SHARES), metavar="PART", help="only this part of the last tier, anew"
    )
    commands.add_parser("report", help="write docs/proof.md and docs/proof.json from the last long tier")
    one = commands.add_parser("replay", help="run one world again and print what happens in it")
    hunted = commands.add_parser("hunt", help="look for a world that breaks a promise; exit code 0: found, 1: none did")
    for command in (long, one, hunted):
        command.add_argument(
            "--store", choices=("sqlite", "postgres"), default="sqlite", help="postgres: on a server of its own"
        )
    for command in (one, hunted):
        command.add_argument("--profile", choices=sorted(PROFILES), metavar="WORLD", required=True, help=worlds)
    one.add_argument("--seed", type=int, required=True, help="as the violation says")
    one.add_argument(
        "--step", type=int, action="append", default=[], help="kill the next life after so many callbacks; repeatable"
    )
    hunted.add_argument("--seeds", type=int, required=True, help="how many, at most")
    hunted.add_argument("--first", type=int, default=1, help="the first seed")
    return parser


def _run(part: str | None, store: str, minutes: float, seed: int) -> int:
    if part is not None:
        return tier.again(part, minutes, seed)
    return (tier.run if store == "sqlite" else tier.run_on_server)(minutes, seed)


def _server(store: str) -> AbstractContextManager[PostgresServer | None]:
    return nullcontext() if store == "sqlite" else brief_server()


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError("a number of minutes above 0")
    return minutes


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
