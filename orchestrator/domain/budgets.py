"""Limits on what may be spent: of a job, and of all jobs together in a day, in a month, and in all.

For each scope, always: billed <= spent + reserved <= cap. Days and months are UTC's; a batch belongs to those of its
creation at the API, so until that is known it counts for every day on which it may have been created.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

from orchestrator.domain.money import shown, shown_cap

#: A batch may be created so long after its intent: the upload takes its time, and clocks differ.
_MAY_TAKE: Final = timedelta(minutes=30)
_RAISING: Final = re.compile(r"orchestrator budget set \S+ AMOUNT(?: --sandbox)?")
#: Below this part of a cap nothing is sent while something may still be freed: else it would go out row by row.
_DRIBBLE: Final = 50


class Scope(StrEnum):
    """What a cap holds for."""

    JOB = "job"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


#: Scopes of all jobs together.
SHARED: Final = (Scope.DAY, Scope.MONTH, Scope.TOTAL)
#: The attention of a job that waits until a limit has room again by itself.
BUDGET_WAITS: Final = "budget_waits"
#: The attention of a job of which a batch cost more than its bound.
BUDGET_EXCEEDED: Final = "budget_exceeded"
_WORDS: Final = MappingProxyType(
    {
        Scope.JOB: "the job's cap",
        Scope.DAY: "the budget of a day",
        Scope.MONTH: "the budget of a month",
        Scope.TOTAL: "the budget of all jobs together",
    }
)


class Book(NamedTuple):
    """Where an amount of all jobs together is kept. key: `2026-11-28`, `2026-11`, or "" of the total."""

    scope: Scope
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A cap that is in force, and what is taken of it.

    planned: what batches that are not sent yet will reserve. Of what is reserved, late: for batches that were given up
    and may turn up yet, for a day; unknown: for answers whose cost is not known. unpriced: answers without a price,
    which are in no amount here; counted for people alone.
    """

    scope: Scope
    key: str
    cap: int
    spent: int
    reserved: int
    planned: int = 0
    late: int = 0
    unknown: int = 0
    unpriced: int = 0

    @property
    def headroom(self) -> int:
        """Nano-dollars that may still be planned; below 0 if the cap was lowered."""
        return self.cap - self.spent - self.reserved - self.planned

    @property
    def is_busy(self) -> bool:
        """Whether batches in flight may free some of it."""
        return self.reserved + self.planned > self.late + self.unknown

    @property
    def may_heal(self) -> bool:
        """Whether some of it may be freed without a person, or another day."""
        return self.is_busy or self.late > 0

    @property
    def heals_at(self) -> datetime | None:
        """When another day or month begins; None: it never does."""
        if self.scope not in {Scope.DAY, Scope.MONTH}:
            return None
        first = datetime.strptime(self.key[:7], "%Y-%m").replace(tzinfo=UTC)
        if self.scope is Scope.DAY:
            return first + timedelta(days=int(self.key[8:]))
        return (first + timedelta(days=32)).replace(day=1)


class Room(Enum):
    """What a job whose next request does not fit has to do."""

    WAIT = auto()  #: what is in flight may free enough
    LATE = auto()  #: what may turn up yet may free enough, within a day
    NEXT_DAY = auto()  #: until the day, or the month, is over
    PAUSE = auto()  #: until a person raises a cap


def days_of(at: datetime) -> tuple[str, ...]:
    """The days on which a batch may be created whose intent is stored at *at*, by the API's clock."""
    days = (_day(at), _day(at + _MAY_TAKE))
    return days[:1] if days[0] == days[1] else days


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def books_of(days: Sequence[str]) -> list[Book]:
    """Where an amount of *days* is kept, in the order in which they are written: nobody waits in a circle."""
    months = sorted({day[:7] for day in days})
    return [
        *(Book(Scope.DAY, day) for day in sorted(days)),
        *(Book(Scope.MONTH, month) for month in months),
        Book(Scope.TOTAL, ""),
    ]


def headroom(limits: Sequence[Limit]) -> int:
    """What may still be planned under every one of *limits*, of which there is at least one."""
    return min(limit.headroom for limit in limits)


def is_dribble(limits: Sequence[Limit], worst: int) -> bool:
    """Whether a part of a batch that costs *worst* at most had better wait until something is freed."""
    return any(limit.is_busy and worst <= limit.headroom < limit.cap // _DRIBBLE for limit in limits)


def room_for(limits: Sequence[Limit], worst: int) -> tuple[Room, Limit]:
    """What to do about a request that costs *worst* at most, which does not fit, and the limit that decides it."""
    for limit in limits:
        if limit.cap < worst:
            return Room.PAUSE, limit
    tight = [limit for limit in limits if limit.headroom < worst]
    for limit in tight:
        if not limit.may_heal and limit.heals_at is None:
            return Room.PAUSE, limit
    for limit in tight:
        if limit.is_busy:
            return Room.WAIT, limit
    for limit in tight:
        if limit.late:
            return Room.LATE, limit
    return Room.NEXT_DAY, max(tight, key=lambda limit: limit.key)


def reached(limit: Limit, worst: int) -> str:
    """Why nothing more is sent under *limit*, for a person: with both numbers."""
    name = f"{_WORDS[limit.scope]} is {shown_cap(limit.cap)}"
    if limit.cap < worst:
        return f"{name}, and the next request alone may cost {shown(worst)}"
    unknown = f", {shown(limit.unknown)} is kept for answers whose cost is not known" if limit.unknown else ""
    late = f", {shown(limit.late)} is held for batches that may turn up yet" if limit.late else ""
    left = f"{shown(max(limit.headroom, 0))} of it is left"
    return f"{name}, {left}{late}{unknown}, and the next request may cost {shown(worst)}"


def is_raised(before: int | None, cap: int | None) -> bool:
    """Whether *cap* in place of *before* allows more; None is no cap."""
    return before is not None and (cap is None or cap > before)


def scope_of(reason: str) -> Scope:
    """What stops a job that is paused with *reason*, or waits with these words, which are those of `reached`."""
    return next((scope for scope in SHARED if reason.startswith(_WORDS[scope])), Scope.JOB)


def raising(scope: Scope, job: str, *, sandbox: bool) -> str:
    """The command that raises a cap; *job*: whose it is, if it is that of a job."""
    what = job if scope is Scope.JOB else scope.value
    return f"orchestrator budget set {what} AMOUNT{' --sandbox' if sandbox else ''}"


def raising_in(reason: str) -> str | None:
    """The command of `raising` in *reason*, as it was stored: without what leads its reader to the store."""
    found = _RAISING.search(reason)
    return None if found is None else found[0]


def without_raising(reason: str) -> str:
    """*reason* without that command, for who does it in another way."""
    command = raising_in(reason)
    return reason if command is None else reason.replace(f": {command}", "")


def warning(limit: Limit) -> str:
    """That most of *limit* is spent, for a person."""
    return f"{shown(limit.spent)} of {_WORDS[limit.scope]}, {shown_cap(limit.cap)}, is spent"


def set_by_person(scope: Scope, cap: int | None) -> str:
    """What a person made of a budget."""
    return f"{_WORDS[scope]} is {'none' if cap is None else shown_cap(cap)}"


def by_settings(scope: Scope, cap: int | None) -> str:
    """What the settings of the process that plans made of a budget, for a person."""
    return f"{set_by_person(scope, cap)} by the settings of the process that plans"
