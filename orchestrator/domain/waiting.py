"""How long to wait: between polls, after a refusal, before the next download. Pure: the caller passes the jitter."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Source: Message Batches API reference: results are readable for 29 days after `created_at`.
RETENTION: Final = timedelta(days=29)
#: From here on a batch that is not collected is shown as needing attention, and its download is never put off.
RETENTION_ALARM: Final = timedelta(days=27)
#: Source: `expires_at` is `created_at` + 24 h. One hour later a batch that has not ended needs attention.
STUCK_AFTER: Final = timedelta(hours=25)
#: How long a void or abandoned batch is looked for (promise 2, late sweep), in the API's time.
SWEEP_FOR: Final = timedelta(hours=25)
#: A batch is looked for from the cursor down to this much before it: the list's order and `created_at` may differ.
WALK_MARGIN: Final = timedelta(minutes=10)
#: The API's Date has second resolution: both ends of a wait measured by it may be off by one second.
DATE_MARGIN: Final = timedelta(seconds=2)
#: What a kernel holds of a body it sends without its process as well (`provider/sdk_clients`): 2 MiB, or 18 kB/s.
_DRAIN: Final = timedelta(minutes=2)
#: A candidate that could not be read for this long, in the API's time, is unprovable.
UNREADABLE_AFTER: Final = timedelta(hours=24)
#: What the API omits after so many full downloads over so long, in the API's time, is `missing_result`.
PATIENCE_DOWNLOADS: Final = 10
PATIENCE_TIME: Final = timedelta(hours=24)
#: A foreign batch is recognised after this many complete lines without a nonce of ours.
PROOF_LINES: Final = 100
DOWNLOAD_AGAIN_MAX: Final = timedelta(minutes=10)
#: The times of two daemons of a fleet differ by less; what is written further ahead of us is from before our clock was
#: set back.
CLOCKS_DIFFER: Final = timedelta(seconds=5)
_LONGEST_ASKED_S: Final = 86_400
_MOST_JITTER: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The bounds of a pause that grows."""

    shortest: timedelta
    longest: timedelta


def poll_pause(age: timedelta, pace: Pace, jitter: float) -> timedelta:
    """The pause before the next poll of a batch of *age*: a twentieth of the age, within *pace*.

    Most batches end within the hour, so a young batch is looked at often and an old one rarely.
    jitter: a number in [0, 1); the pause is lengthened by at most a tenth of itself.
    """
    pause = min(max(age / 20, pace.shortest), pace.longest)
    return pause * (1 + jitter / 10)


def must_be_listed(doubt_wait: timedelta, *, ours: timedelta, by_date: timedelta) -> bool:
    """Whether a batch must be in the API's list by now, whatever became of the one who sent it.

    ours: since this process first saw the doubt, by its own monotonic clock; by_date: since the API's first Date after
    the doubt began. The first that says so counts. What was sent may still have been on its way when the doubt began,
    out of a kernel whose process is gone: that is waited for on top of *doubt_wait*.
    """
    wait = listed_after(doubt_wait)
    return ours >= wait or by_date >= wait + DATE_MARGIN


def listed_after(doubt_wait: timedelta) -> timedelta:
    """How long a doubt lasts at least before the batch is looked for in the API's list."""
    return doubt_wait + min(doubt_wait, _DRAIN)


class FirstSight(Generic[K]):
    """Since when this process has seen each of some waits.

    In memory, and so begun anew by every process: how long another waited, by a clock of its own, nobody can know.
    """

    def __init__(self) -> None:
        self._since: dict[K, datetime] = {}

    def note(self, waits: Iterable[K], now: datetime) -> None:
        """These are the waits there are; what is not among them is forgotten."""
        self._since = {wait: self._since.get(wait, now) for wait in waits}

    def age(self, wait: K, now: datetime) -> timedelta:
        """How long *wait*, which was noted, has been seen."""
        return now - self._since[wait]


def backoff(tries: int, pace: Pace, jitter: float) -> timedelta:
    """The pause after *tries* (>= 1) failures in a row: doubling from the shortest, with up to a quarter of jitter."""
    doubled: timedelta = pace.shortest * 2 ** min(tries - 1, 20)
    return min(doubled, pace.longest) * (1 + jitter / 4)


def asked_pause(retry_after_s: float | None, jitter: float) -> timedelta | None:
    """The wait that the API asked for, at least a second, and a little jitter; None if it named none.

    Zero, a negative figure and more than a day count as unset. Our own backoff does not grow on a requested pause.
    """
    if retry_after_s is None or not 0 < retry_after_s <= _LONGEST_ASKED_S:
        return None
    pause = timedelta(seconds=max(retry_after_s, 1.0))
    return pause + min(pause / 10, _MOST_JITTER) * jitter
