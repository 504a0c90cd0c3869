"""When requests that share a marked prefix are sent: one of them goes ahead, the others once it was answered.

Source: the API's page on prompt caching, and public live runs: what a request writes can be read only once its answer
has begun. Requests of one batch run side by side, so a cold batch read nothing (0 of 138), and one that came after
another with that prefix had ended read everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple

from orchestrator.domain.billing import Rates
from orchestrator.domain.cache_gain import HOUR_S, write_rate
from orchestrator.domain.cache_prefix import Part
from orchestrator.domain.states import RequestState

__all__ = [
    "GROUPS_AT_ONCE",
    "LEAST_ROWS",
    "LEAST_SAVING",
    "PATIENCE",
    "CacheUse",
    "PrefixGroup",
    "PrefixTake",
    "Readiness",
    "SharedTokens",
    "readiness",
    "saving_of",
]

#: From so many requests on a prefix that is kept for an hour pays.
LEAST_ROWS: Final = 3
#: Nano-dollars that sending ahead must save in a job: it costs the time of a batch.
LEAST_SAVING: Final = 50_000_000
#: Prefixes that are looked at together. One is finished before the next is begun, as far as batches allow.
GROUPS_AT_ONCE: Final = 1_000
_PICOS: Final = 1_000
#: How long after its last use a prefix that is kept for an hour is taken to be there still.
_FRESH: Final = timedelta(minutes=50)
#: How long what went ahead is waited for. Most batches end within an hour.
PATIENCE: Final = timedelta(hours=3)
#: Requests that are sent ahead in vain before the others go without.
_MOST_TRIES: Final = 3


class CacheUse(StrEnum):
    """What a job does about the prompt cache."""

    OFF = "off"  #: requests are sent in their order
    PRIME = "prime"  #: of requests that mark the same prefix, one goes ahead
    AUTO = "auto"  #: so, and the marker is added where requests share a beginning, when they are sent


class SharedTokens(NamedTuple):
    """Tokens of the prefixes of a model that every request but the first of each would read."""

    model: str
    ttl_s: int
    tokens: int


class Readiness(Enum):
    """What may be sent of a prefix."""

    COLD = auto()  #: one request, ahead of the others
    WAITS = auto()  #: nothing until that is answered
    READY = auto()  #: all
    LATE = auto()  #: all, for the one that went ahead takes too long


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixGroup:
    """Requests of a job that share a prefix. waiting: how many were in no batch yet; next_id: the first of them.

    primer, primer_id: the request that was sent ahead last; None: none was. tries: how many were, since one had an
    answer. primer_sent_at, primer_ended_at: the start and the end of its batch; in_flight: the last batch with
    requests of it has not ended; used_at: the later end of both. By the API's clock.
    """

    id: int
    part: Part
    ttl_s: int
    waiting: int
    next_id: int
    primer: RequestState | None
    primer_id: int | None
    tries: int
    primer_sent_at: datetime | None = None
    primer_ended_at: datetime | None = None
    used_at: datetime | None = None
    in_flight: bool = False


class PrefixTake(NamedTuple):
    """What a batch takes of a prefix: *requests* that were in none, up to *last* (a number). is_primer: it goes ahead.

    next_id: of the prefix, as it was read. is_picked: those before *last* go on waiting.
    """

    prefix: int
    next_id: int
    requests: int
    last: int
    is_primer: bool
    is_picked: bool = False


def saving_of(shared: Sequence[SharedTokens], use: CacheUse, rates: Mapping[str, Rates]) -> int:
    """Nano-dollars that sending ahead saves: else each writes what it marked itself, and reads anew what it did not.

    Without the rates of a model that is not known, and it is done.
    """
    return sum(
        LEAST_SAVING
        if (priced := rates.get(each.model)) is None
        else each.tokens * (_else_rate(priced, each, use) - priced.read) // _PICOS
        for each in shared
    )


def _else_rate(rates: Rates, shared: SharedTokens, use: CacheUse) -> int:
    return rates.input if use is CacheUse.AUTO else write_rate(rates, shared.ttl_s)


def readiness(group: PrefixGroup, now: datetime) -> Readiness:
    """What may be sent of *group* at *now*."""
    if group.primer is None:
        return Readiness.COLD
    if group.primer is RequestState.BATCHED:
        return _while_ahead(group, now)
    if group.primer is RequestState.SUCCEEDED:
        return Readiness.READY if _is_kept(group, now) else Readiness.COLD
    return Readiness.READY if group.tries >= _MOST_TRIES else Readiness.COLD


def _while_ahead(group: PrefixGroup, now: datetime) -> Readiness:
    """A batch may take a day, and results may not be had at all: neither is waited for without end."""
    if not _is_fresh(group.primer_ended_at, now, unknown=True):
        return Readiness.READY
    is_late = group.primer_ended_at is None and group.primer_sent_at is not None
    return Readiness.LATE if is_late and now - (group.primer_sent_at or now) > PATIENCE else Readiness.WAITS


def _is_kept(group: PrefixGroup, now: datetime) -> bool:
    """Whether the prefix is there still, or too few requests are left to write it again.

    Five minutes are over before a batch is: who marks for so long has no second chance.
    """
    if group.ttl_s < HOUR_S or group.waiting < LEAST_ROWS:
        return True
    return group.in_flight or _is_fresh(group.used_at, now, unknown=False)


def _is_fresh(ended_at: datetime | None, now: datetime, *, unknown: bool) -> bool:
    return unknown if ended_at is None else now - ended_at <= _FRESH
