"""Webhook notices: their types, their retries, and when one is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class NoticeType(StrEnum):
    """The type of a notice, as the settings name it."""

    JOB_FINISHED = "job.finished"  #: every request has its last word
    JOB_CANCELED = "job.canceled"  #: canceled, and nothing is at the API any more
    JOB_ATTENTION = "job.attention"  #: a person is needed; `reason` says what for
    BATCH_EXPIRED = "batch.expired"  #: a batch ended with requests that expired; they are sent again
    BATCH_IN_DOUBT = "batch.in_doubt"  #: the API may or may not have a batch; it is being looked for
    BUDGET_WARNED = "budget.warned"  #: four fifths of a cap or a budget are spent
    BUDGET_REACHED = "budget.reached"  #: a cap or a budget stops the job: it is paused, or waits for room
    CACHE_POOR = "cache.poor"  #: a job is over whose markers made it dearer than it is without the prompt cache
    TEST = "webhook.test"  #: a person asked for it


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"  #: to be sent at `next_at`
    DELIVERED = "delivered"  #: the endpoint said 2xx
    FAILED = "failed"  #: given up; a person can have it sent again


#: What a setting may ask for; a test goes to everybody.
SUBSCRIBABLE: Final = tuple(kind.value for kind in NoticeType if kind is not NoticeType.TEST)

#: Pauses after the first, second, … failure. Source: Standard Webhooks 1.0.0, "Retries", with its first steps.
PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
#: How long a notice that is over stays visible.
KEPT_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """An endpoint of the settings. events: empty means all."""

    url: str
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint in the store. active: the settings still name it."""

    id: int
    url: str
    events: tuple[str, ...]
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notice on its way to one endpoint. event_id: None for a test. last_error: the last try's, or None."""

    id: int
    url: str
    event_id: int | None
    type: str
    state: DeliveryState
    tries: int
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_error: str | None

    @property
    def last_answer(self) -> str:
        """What came of the last try, in one line; empty before the first."""
        if self.last_error is not None:
            return self.last_error.split("\n")[0]
        return "" if self.last_status is None else str(self.last_status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is sent. message_id: the same at every try. payload: the exact bytes."""

    delivery_id: int
    message_id: str
    url: str
    payload: bytes
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """The result of one try. status: of the response, None without one. error: None if it was delivered."""

    status: int | None
    error: str | None
    is_final: bool = False  #: the endpoint wants no more of it (410)


def next_try(tries: int, now: datetime, jitter: float) -> datetime | None:
    """When a delivery that failed *tries* times (>= 1) is due again; None: it is given up.

    *jitter* in [0, 1) adds up to a tenth, so that what failed together does not come back together.
    """
    if tries > len(PAUSES):
        return None
    return now + PAUSES[tries - 1] * (1 + jitter / 10)
