"""The kinds of worlds: what is wanted in them, what goes wrong, and how their engines die."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from proof.people import Moods, Wish

ALL: Final = ("phase", "storm", "hide", "delay", "twins", "jump", "disk", "delete_cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of world.

    crashes: how often the engine is killed before things calm down. kinds: what else goes wrong, see `Mischief`; none
    of it: an API that does nothing wrong. accepted_rate: how many creates are accepted without an answer that says so.
    lags: list lags, at most, in seconds. every_s: kill by the clock too, that often. down_s: how long nothing runs
    between two lives, at most. batch_s: the least a batch takes. acting_s: how long, at most, the API takes to act on a
    body. cancel_s: how long a cancel takes. idle: how many times longer than asked a pause may take. faults_s: how long
    faults last at most. late: the list lags more than `doubt_wait`, the assumption of promise 2 is broken: duplicates
    are allowed and must be reported, every one. must_settle: all must be over while crashes go on. deletes: how likely
    a world deletes batches at the API once they are collected. odd: what the API says is often not what it documents.
    restores: how likely an earlier copy of the store is in
    its place when a life begins, of some without its mark (nothing is hidden by the API then: what it does not list for
    an hour cannot be found).
    """

    name: str
    wishes: Callable[[random.Random, int], list[Wish]]
    per_batch: Sequence[int] = (5, 7, 10)
    crashes: int = 25
    kinds: Sequence[str] = ALL
    accepted_rate: float = 0.0
    lags: Sequence[float] = (0, 5, 60, 900)
    moods: Moods = Moods(pause=0.02, cancel=0.01, retry=0.02, slow_import=0.1)  # noqa: RUF009 - a tuple
    every_s: float = math.inf
    down_s: Sequence[float] = (0.01, 1, 1, 20, 20, 600, 7200)
    batch_s: Sequence[float] = (5, 60, 600)
    acting_s: Sequence[float] = (1, 1, 45)
    cancel_s: Sequence[float] = (25, 600)
    clocks_are_wrong: bool = True
    idle: float = 1000.0
    faults_s: float = 40_000.0
    late: bool = False
    must_settle: bool = False
    deletes: float = 0.0
    odd: bool = False
    restores: float = 0.0


def _some(chance: random.Random, seed: int) -> list[Wish]:
    """Two to four jobs of all sizes, the later ones handed in by later lives, so that no life finds nothing to do."""
    count = chance.randint(2, 4)
    return [
        Wish(
            name=f"world {seed} job {i}",
            count=chance.randint(1, 24),
            arrives=1 + i * chance.randint(5, 24 // (count - 1)),
        )
        for i in range(count)
    ]


def _equal(chance: random.Random, seed: int) -> list[Wish]:
    """Jobs with the same number of requests: their batches cannot be told apart by their counts."""
    size = chance.randint(3, 14)
    return [Wish(name=f"world {seed} job {i}", count=size, arrives=1 + i * chance.choice((0, 0, 7))) for i in range(3)]


def _three_batches(_chance: random.Random, seed: int) -> list[Wish]:
    return [Wish(name=f"world {seed} job", count=15)]


def _one(_chance: random.Random, seed: int) -> list[Wish]:
    return [Wish(name=f"world {seed} job", count=25)]


_EVERYTHING: Final = Profile(name="everything", wishes=_some, accepted_rate=0.15, deletes=0.3)
_TWINS: Final = Profile(
    name="twins",
    wishes=_equal,
    per_batch=(3, 5, 7),
    accepted_rate=0.5,
    kinds=("phase", "twins", "twins", "delete_cursor", "storm"),
)
#: Nobody retries here: what was paid for and cannot be used would be bought again, as a person may want.
_ODD_ANSWERS: Final = Profile(
    name="odd answers",
    wishes=_some,
    accepted_rate=0.3,
    moods=Moods(pause=0.02, cancel=0.01, slow_import=0.1),
    odd=True,
)
_LATE_LIST: Final = Profile(
    name="late list",
    wishes=_one,
    kinds=("phase",),
    lags=(3000, 6000),
    accepted_rate=0.4,
    crashes=4,
    moods=Moods(),
    late=True,
)
#: An API that does nothing wrong, and one job of three batches: the short life that is killed at every point of it.
_THREE_BATCHES: Final = Profile(
    name="three batches",
    wishes=_three_batches,
    per_batch=(5,),
    batch_s=(5,),
    kinds=(),
    lags=(0,),
    crashes=1,
    acting_s=(1,),
    down_s=(1,),
    moods=Moods(),
    clocks_are_wrong=False,
)
_LOST_ANSWERS: Final = replace(_THREE_BATCHES, name="lost answers", accepted_rate=0.6)
_RESTORED: Final = Profile(
    name="restored",
    wishes=_some,
    accepted_rate=0.15,
    kinds=("phase", "storm", "delay", "twins", "jump", "disk"),
    moods=Moods(pause=0.02, slow_import=0.1),
    crashes=12,
    restores=0.3,
)
_CRASH_LOOP: Final = Profile(
    name="crash loop",
    wishes=_one,
    kinds=(),
    lags=(0,),
    every_s=300.0,
    must_settle=True,
    crashes=400,
    clocks_are_wrong=False,
    down_s=(1,),
    accepted_rate=0.3,
    moods=Moods(),
)

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            _EVERYTHING,
            _TWINS,
            _ODD_ANSWERS,
            _CRASH_LOOP,
            _LATE_LIST,
            _RESTORED,
            _LOST_ANSWERS,
            _THREE_BATCHES,
        )
    }
)
