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
    spoils: answers of a schema are often not what it says.
    restores: how likely an earlier copy of the store is in
    its place when a life begins, of some without its mark (nothing is hidden by the API then: what it does not list for
    an hour cannot be found). engines: how many share the store; more than one have the worst dispatcher
    (`proof.worst`). window: batches at the API, at most. caps: what each job may cost at most, as a part of what its
    requests can cost at most together; a person raises it when it is reached. None: they have no caps. budgets: the
    same of a day, and of all jobs together. pilots: how many requests of each job go first, or are tried.
    is_primed: the order of batches is judged: what goes ahead, and what follows.
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
    spoils: bool = False
    restores: float = 0.0
    engines: int = 1
    window: int = 12
    caps: Sequence[float] = ()
    pilots: Sequence[int] = ()
    budgets: Sequence[float] = ()
    is_primed: bool = False


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


def _many(chance: random.Random, seed: int) -> list[Wish]:
    """Four to six jobs, enough for several engines and for a narrow window."""
    count = chance.randint(4, 6)
    return [
        Wish(name=f"world {seed} job {i}", count=chance.randint(8, 40), arrives=1 + i * chance.randint(0, 3))
        for i in range(count)
    ]


def _equal(chance: random.Random, seed: int) -> list[Wish]:
    """Jobs with the same number of requests: their batches cannot be told apart by their counts."""
    size = chance.randint(3, 14)
    return [Wish(name=f"world {seed} job {i}", count=size, arrives=1 + i * chance.choice((0, 0, 7))) for i in range(3)]


def _alike(chance: random.Random, seed: int) -> list[Wish]:
    """Jobs whose requests share a long prompt: marked by their person, or to be marked on the way."""
    return [
        Wish(
            name=f"world {seed} job {i}",
            count=chance.randint(4, 24),
            arrives=1 + i * chance.randint(0, 5),
            cache=chance.choice(("prime", "auto")),
        )
        for i in range(chance.randint(2, 3))
    ]


def _identical(chance: random.Random, seed: int) -> list[Wish]:
    """Jobs with fewer questions than requests: identical ones are sent once."""
    return [
        Wish(
            name=f"world {seed} job {i}",
            count=(count := chance.randint(6, 24)),
            kinds=chance.randint(1, count),
            arrives=1 + i * chance.randint(0, 5),
        )
        for i in range(chance.randint(2, 3))
    ]


def _structured(chance: random.Random, seed: int) -> list[Wish]:
    """Jobs whose answers have to match a schema, and one whose need not."""
    return [
        Wish(
            name=f"world {seed} job {i}",
            count=chance.randint(4, 24),
            arrives=1 + i * chance.randint(0, 5),
            retry_invalid=chance.choice((0, 1, 2)) if i else None,
        )
        for i in range(3)
    ]


def _to_mend(chance: random.Random, seed: int) -> list[Wish]:
    """Jobs whose answers are cut, and asked for again with more tokens; of one with identical requests."""
    return [
        Wish(
            name=f"world {seed} job {i}",
            count=(count := chance.randint(4, 24)),
            kinds=chance.randint(1, count) if i else None,
            arrives=1 + i * chance.randint(0, 5),
            mends=chance.randint(1, 3),
        )
        for i in range(chance.randint(2, 3))
    ]


def _primed_batches(_chance: random.Random, seed: int) -> list[Wish]:
    """One goes ahead, and the others fill two batches."""
    return [Wish(name=f"world {seed} job", count=11, cache="auto")]


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
_CAPPED: Final = replace(
    _EVERYTHING, name="capped", accepted_rate=0.25, caps=(0.2, 0.35, 0.5, 0.8, 1.1), crashes=15, deletes=0.0
)
#: The cap is what stops a purchase of a void batch and of what followed it together.
_CAPPED_LATE: Final = replace(
    _LATE_LIST, name="capped late", wishes=_one, caps=(0.5, 0.8, 1.0, 1.2), accepted_rate=0.5, per_batch=(5, 8, 25)
)
#: No copy is put back: what was sent since is of the job, whatever the pilot in the copy says.
_PILOTED: Final = replace(_EVERYTHING, name="piloted", accepted_rate=0.25, pilots=(2, 3, 8), crashes=15, deletes=0.0)
_IDENTICAL: Final = replace(_EVERYTHING, name="identical", wishes=_identical, accepted_rate=0.25, crashes=15)
#: Long enough for a midnight among the faults.
_BUDGETED: Final = replace(
    _EVERYTHING,
    name="budgeted",
    accepted_rate=0.25,
    budgets=(0.15, 0.3, 0.6),
    crashes=15,
    deletes=0.0,
    faults_s=90_000.0,
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
#: Nobody retries: how many answers a request may have is told by its job alone.
_STRUCTURED: Final = replace(
    _EVERYTHING,
    name="structured",
    wishes=_structured,
    accepted_rate=0.25,
    caps=(0.8, 2.0),
    crashes=15,
    deletes=0.0,
    moods=Moods(pause=0.02, cancel=0.01, slow_import=0.1),
    spoils=True,
)
#: Nobody cancels, and nothing is tried again but what was cut.
_MENDED: Final = replace(
    _EVERYTHING,
    name="mended",
    wishes=_to_mend,
    accepted_rate=0.25,
    crashes=15,
    deletes=0.0,
    moods=Moods(pause=0.02, slow_import=0.1),
    spoils=True,
)
_PRIMED: Final = replace(_EVERYTHING, name="primed", wishes=_alike, accepted_rate=0.25, crashes=15)
#: The same short life, with one request that goes ahead of the others.
_PRIMED_BATCHES: Final = replace(_THREE_BATCHES, name="primed batches", wishes=_primed_batches, is_primed=True)
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

_FLEET: Final = replace(_EVERYTHING, name="fleet", wishes=_many, engines=3, window=4, crashes=15)
_FLEET_CAPPED: Final = replace(_FLEET, name="fleet capped", caps=(0.2, 0.5, 0.8), deletes=0.0)
_FLEET_BUDGETED: Final = replace(_BUDGETED, name="fleet budgeted", wishes=_many, engines=3, window=4)
_FLEET_TWINS: Final = replace(_TWINS, name="fleet twins", engines=2, window=4, crashes=12)
#: An API that only loses answers: whatever comes of it, the fleet did it.
_FLEET_ALONE: Final = replace(
    _EVERYTHING, name="fleet alone", wishes=_many, engines=3, window=4, kinds=(), lags=(0,), crashes=8, deletes=0.0
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
            _STRUCTURED,
            _MENDED,
            _PRIMED,
            _PRIMED_BATCHES,
            _CAPPED,
            _CAPPED_LATE,
            _PILOTED,
            _IDENTICAL,
            _BUDGETED,
            _FLEET,
            _FLEET_CAPPED,
            _FLEET_BUDGETED,
            _FLEET_TWINS,
            _FLEET_ALONE,
        )
    }
)
