"""The simulated parts of the proof, each a Tally: worlds of every kind, every crash point, pairs, traces twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from typing import Final

from support.postgres import PostgresServer

from proof.chronicle import Cell
from proof.deaths import MOMENTS, Death
from proof.pool import Seen, Task, run_all
from proof.tally import Tally, suffix

TITLES: Final = {
    "everything": "T1 everything at once",
    "twins": "T4 equal counts in doubt at once, neighbours' twins",
    "odd answers": "T1 answers that are not as documented: entries, lines, pages, statuses",
    "crash loop": "T6 a crash every five minutes, for ever",
    "restored": "T61 an earlier copy of the store is put back, again and again",
    "primed": "T82 jobs whose requests share a prompt, one of which goes ahead, and everything at once",
    "primed batches": "T82 a crash at every await, and both sides of every commit, of a job with one that goes ahead",
    "capped": "T80 jobs with caps, and everything at once",
    "capped late": "T80 the same with a list later than doubt_wait: duplicates are paid for within the cap",
    "budgeted": "T80 jobs under budgets of a day and of all together, over a midnight",
    "fleet budgeted": "T80 the same with several engines on one store",
    "fleet capped": "T80 the same with several engines on one store",
    "piloted": "T81 jobs with pilots and trials, and everything at once",
    "identical": "T83 jobs with identical requests that are sent once, and everything at once",
    "structured": "T84 answers that do not match their schema, under caps, and everything at once",
    "mended": "T85 answers that were cut are asked for again with more tokens, and everything at once",
    "late list": "T3 a list later than doubt_wait: every duplicate is reported",
    "fleet": "T70 several engines on one store, units handed out twice, late and to the frozen, and everything at once",
    "fleet twins": "T70 the same with equal counts in doubt at once",
    "fleet alone": "T70 the same with an API that only loses answers",
    "three batches": "T2 a crash at every await and both sides of every commit",
    "lost answers": "T2 the same in a life that resolves doubts",
}
#: Seeds that broke a promise once: (profile, seed, what they found).
FOUND: Final = (
    ("twins", 139, "of two unprovable candidates the second was asked about only a day after the first"),
    (
        "everything",
        1001711,
        "one spoilt reading of a candidate's results gave our own batch away, and it was bought again",
    ),
    ("restored", 4, "a resume dropped planned batches which had been sent after the copy was made"),
    ("restored", 28, "a doubt took what its own store had sent after the copy for a neighbour's"),
    ("restored", 3016, "a copy that had been adopted was put back once more, and was not seen to be older"),
    ("everything", 53, "an engine that started on a full disk ended"),
    ("fleet capped", 3, "an engine ended because another had planned what it was about to cut to a cap"),
    ("fleet alone", 8, "with a planted bug: who stood still before its last bytes made a second batch of a void one"),
)
_POINTS: Final = "three batches"
_BATCHES: Final = 3
_TRANSACTIONS: Final = 63  #: that such a life begins; half of them commit


def worlds(
    pool: ProcessPoolExecutor,
    profile: str,
    *,
    first: int = 1,
    worlds: int | None = None,
    seconds: float | None = None,
    cells: Counter[Cell] | None = None,
    server: PostgresServer | None = None,
) -> Tally:
    """Worlds of one kind: *worlds* of them, or for *seconds*. *cells* collects which fault met which state.

    server: where their stores lie; None: in files.
    """
    began = time.monotonic()
    seeds: Iterable[int] = count(first) if worlds is None else range(first, first + worlds)
    seen = Seen()
    url = None if server is None else server.url
    tasks = (Task(profile=profile, seed=seed, server=url) for seed in seeds)
    for task, outcome in run_all(pool, tasks, until=None if seconds is None else began + seconds):
        seen.add(task, outcome)
    if cells is not None:
        cells += seen.cells
    more: dict[str, float | str] = {"first seed": first, "last seed": first + seen.worlds - 1}
    if profile == "late list":
        more["duplicates, all reported"] = seen.duplicates
    return _rated(seen, f"{TITLES[profile]}{suffix(server)}", "worlds", began, **more)


def every_point(pool: ProcessPoolExecutor, profile: str = _POINTS, *, seed: int = 1) -> Tally:
    """T2: one job of three batches; the engine is killed after every single callback of its life, one by one.

    A callback is what runs between two awaits that suspend; each commit has one before it and one after it. profile:
    "three batches", or "lost answers", in which the answers to creates get lost and doubts are resolved.
    """
    began = time.monotonic()
    points = _length_of_a_life(profile, seed)
    tasks = [Task(profile=profile, seed=seed, deaths=(Death(step=step),)) for step in range(1, points + 1)]
    seen = _judged(pool, tasks, None)
    if seen.crashes != points:
        seen.violations.append(f"T2 {seen.crashes} crashes at {points} points: some were not reached")
    return _rated(seen, TITLES[profile], "points", began)


def points_of_each_kind(
    pool: ProcessPoolExecutor, *, every: int, slices: int, number: int, seed: int = 1, profile: str = _POINTS
) -> Tally:
    """T2, a part of `every_point` in which each kind of point is met.

    Both sides of every commit, all that the network does around each POST and download, and one callback in *every*,
    each time at another place of the row, so that no rhythm of the engine hides any. number: which of *slices*.
    """
    began = time.monotonic()
    points = _length_of_a_life(profile, seed)
    deaths = [
        *(Death(commit=one, before=before) for one in range(1, _TRANSACTIONS + 1) for before in (True, False)),
        *(Death(moment=moment, times=times) for moment in MOMENTS for times in range(1, _BATCHES + 1)),
        *(Death(step=row + 1 + row // every * 7 % every) for row in range(0, points - every, every)),
    ]
    tasks = [Task(profile=profile, seed=seed, deaths=(death,)) for death in deaths[number::slices]]
    return _rated(_judged(pool, tasks, None), "T2 points of each kind", "points", began)


def pairs_of_points(
    pool: ProcessPoolExecutor, *, seed: int = 1, pairs: int | None = None, seconds: float | None = None
) -> Tally:
    """T2: the next life is killed as well, at a point of its own; a sample of all pairs."""
    began = time.monotonic()
    points = _length_of_a_life(_POINTS, seed)
    chance = random.Random(f"pairs {seed}")
    drawn = (
        Task(
            profile=_POINTS,
            seed=seed,
            crashes=2,
            deaths=(Death(step=chance.randint(1, points)), Death(step=int(10 ** chance.uniform(0, 3.2)))),
        )
        for _ in (count() if pairs is None else range(pairs))
    )
    seen = _judged(pool, drawn, None if seconds is None else began + seconds)
    return _rated(seen, "T2 pairs of crash points, sampled", "pairs", began)


def traces_twice(pool: ProcessPoolExecutor, *, first: int = 1, worlds: int) -> Tally:
    """I14: the same seeds, run twice in processes of different age: the same traces."""
    began = time.monotonic()
    tasks = [Task(profile=name, seed=seed) for seed in range(first, first + worlds) for name in ("everything", "twins")]
    traces: dict[tuple[str, int], str] = {}
    seen = Seen()
    for task, outcome in [*run_all(pool, tasks), *run_all(pool, reversed(tasks))]:
        seen.add(task, outcome)
        if traces.setdefault((task.profile, task.seed), outcome.trace) != outcome.trace:
            seen.violations.append(f"I14 one seed gave two traces — {task.replay()}")
    return _rated(seen, "I14 the same seed twice, the same trace", "worlds", began)


def _judged(pool: ProcessPoolExecutor, tasks: Iterable[Task], until: float | None) -> Seen:
    """Worlds of three batches: beside what the oracle says, there are never more than three at the API."""
    seen = Seen()
    for task, outcome in run_all(pool, tasks, until=until):
        seen.add(task, outcome)
        if outcome.batches != _BATCHES:
            seen.violations.append(f"I2 {outcome.batches} batches at the API instead of {_BATCHES} — {task.replay()}")
    return seen


def _length_of_a_life(profile: str, seed: int) -> int:
    """Callbacks of a life that nobody ends."""
    outcome = Task(profile=profile, seed=seed, deaths=()).run()
    assert not outcome.violations, outcome.violations
    return outcome.steps[0]


def _rated(seen: Seen, test: str, unit: str, began: float, **more: float | str) -> Tally:
    seconds = time.monotonic() - began
    return seen.tally(test, unit, seconds, **{f"{unit} per s": round(seen.worlds / max(seconds, 0.001), 2)}, **more)
