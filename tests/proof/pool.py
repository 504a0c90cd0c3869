"""Worlds side by side: a pool of processes that run them, for so many seeds or for so long."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from multiprocessing.util import Finalize
from typing import Final

from support.postgres import PostgresServer

from proof.chronicle import Cell
from proof.deaths import Death
from proof.profiles import PROFILES
from proof.tally import Tally
from proof.world import Outcome, run_world

_CHUNK: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One world to run. deaths: how each life ends; None: drawn from the seed. crashes: instead of the profile's.

    server: the URL of the server that its store lies on; None: it is a file.
    """

    profile: str
    seed: int
    deaths: tuple[Death, ...] | None = None
    crashes: int | None = None
    server: str | None = None

    def run(self) -> Outcome:
        """Run it here."""
        profile = PROFILES[self.profile]
        if self.crashes is not None:
            profile = replace(profile, crashes=self.crashes)
        # A death counts its own events down: each run has its own.
        deaths = None if self.deaths is None else iter([replace(death) for death in self.deaths])
        return run_world(profile, self.seed, deaths=deaths, server=None if self.server is None else _at(self.server))

    def replay(self) -> str:
        """The one command that runs this world again and prints what happened."""
        points = "" if self.deaths is None else "".join(f" --step {death.step}" for death in self.deaths)
        store = "" if self.server is None else " STORE=postgres"
        return f'make proof-replay WORLD="{self.profile}" SEED={self.seed} STEPS="{points.strip()}"{store}'


@cache
def _at(url: str) -> PostgresServer:
    """The server, for all worlds of this process, which takes its databases away when it ends."""
    server = PostgresServer(url)
    Finalize(None, server.clear, exitpriority=1)
    return server


@dataclass(slots=True)
class Seen:
    """What many worlds came to."""

    worlds: int = 0
    crashes: int = 0
    posts: int = 0
    commits: int = 0
    snapshots: int = 0
    requests: int = 0
    duplicates: int = 0
    virtual_s: float = 0.0
    slowest_s: float = 0.0
    cells: Counter[Cell] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    failed: list[Task] = field(default_factory=list)

    def add(self, task: Task, outcome: Outcome) -> None:
        """One more."""
        self.worlds += 1
        for name in ("crashes", "posts", "commits", "snapshots", "requests", "duplicates", "virtual_s"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.slowest_s = max(self.slowest_s, outcome.settle_s)
        self.cells += outcome.cells
        if outcome.violations:
            self.failed.append(task)
            self.violations.append(f"{outcome.violations[0]} — {task.replay()}")

    def tally(self, test: str, unit: str, seconds: float, **more: float | str) -> Tally:
        """As the report wants it."""
        facts: dict[str, int | float | str] = {
            "crashes": self.crashes,
            "POSTs": self.posts,
            "snapshots judged": self.snapshots,
            "requests": self.requests,
            "virtual days": round(self.virtual_s / 86400, 1),
            "longest settling, virtual h": round(self.slowest_s / 3600, 1),
            **more,
        }
        return Tally(
            test=test,
            unit=unit,
            trials=self.worlds,
            violations=tuple(self.violations),
            seconds=seconds,
            facts=facts,
        )


@contextmanager
def workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool with a process for each core. Nothing is left running after the block."""
    spawn = multiprocessing.get_context("spawn")
    chosen = os.cpu_count() if count is None else count
    with ProcessPoolExecutor(chosen, mp_context=spawn, initializer=prepare_process) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def prepare_process() -> None:
    """Once in a process that runs worlds.

    The engine's log would tell of every fault that was asked for, and frames of dead lives cannot be put away cleanly.
    """
    for name in ("orchestrator", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda _args: None


def run_all(
    pool: ProcessPoolExecutor, tasks: Iterable[Task], *, until: float | None = None, stop_at_first: bool = False
) -> Iterator[tuple[Task, Outcome]]:
    """Run *tasks* as workers become free, until there are none left, or it is *until* (monotonic seconds)."""
    left = iter(tasks)
    running: set[Future[list[tuple[Task, Outcome]]]] = set()
    stopped = False
    while True:
        while not stopped and len(running) < 2 * (os.cpu_count() or 1):
            chunk = _chunk(left)
            if not chunk or (until is not None and time.monotonic() >= until):
                stopped = True
                break
            running.add(pool.submit(run_chunk, chunk))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            for task, outcome in future.result():
                yield task, outcome
                stopped = stopped or (stop_at_first and bool(outcome.violations))


def _chunk(left: Iterator[Task]) -> list[Task]:
    """What a worker is given at once: one world on a server, which takes a minute, or a few others."""
    return [first, *islice(left, 0 if first.server else _CHUNK - 1)] if (first := next(left, None)) else []


def run_chunk(tasks: Sequence[Task]) -> list[tuple[Task, Outcome]]:
    """In a worker: some worlds, one after the other."""
    return [(task, task.run()) for task in tasks]
