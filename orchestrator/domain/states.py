"""The three state machines: closed sets of states, and one transition table each.

The schema enforces them: CHECKs hold the states, triggers refuse a step that its table `step` does not have. Tests
compare both with what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class JobState(StrEnum):
    """Where a job is; every member says what is true while a row is there."""

    IMPORTING = "importing"  #: its file is being read; nothing of it may be planned; a crash discards it
    RUNNING = "running"  #: its requests are planned, sent and collected
    PAUSED = "paused"  #: nothing new is planned or sent; `reason` says why; what is in flight is still collected
    CANCELING = "canceling"  #: a person canceled it; batches in flight still bring what had succeeded
    FINISHED = "finished"  #: every request is settled; terminal until `retry`
    CANCELED = "canceled"  #: every request is settled after a cancel; terminal until `retry`


class BatchState(StrEnum):
    """Where a batch is; every member says what is true while a row is there."""

    PLANNED = "planned"  #: packed, with its nonce; nothing of it is at the API
    SUBMITTING = "submitting"  #: intent and cursor stored; the POST may be under way; a crash makes it `in_doubt`
    IN_DOUBT = "in_doubt"  #: the POST went out and no clear answer came: it may or may not exist at the API
    IN_PROGRESS = "in_progress"  #: the API gave an id (or the batch was proven ours); it works on it
    CANCELING = "canceling"  #: the API was asked to cancel it; its finished requests keep their results
    ENDED = "ended"  #: the API stopped; results are being collected; not all are ours yet
    SETTLED = "settled"  #: every wire id was seen and the counts agree; terminal
    VOID = "void"  #: was in doubt and never appeared; its requests are queued again; terminal
    ABANDONED = "abandoned"  #: never sent, by a clear no; its requests are queued again; terminal


class RequestState(StrEnum):
    """Where a request is; every member says what is true while a row is there."""

    QUEUED = "queued"  #: waits to be planned into a batch
    BATCHED = "batched"  #: belongs to the batch named in its row
    SUCCEEDED = "succeeded"  #: its result is stored; frozen until `retry`
    FAILED = "failed"  #: the last word was an error or an expiry; frozen until `retry`
    CANCELED = "canceled"  #: canceled with its job; frozen until `retry`


JOB_STEPS: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.IMPORTING: frozenset({JobState.RUNNING}),
        JobState.RUNNING: frozenset({JobState.PAUSED, JobState.CANCELING, JobState.FINISHED}),
        JobState.PAUSED: frozenset({JobState.RUNNING, JobState.CANCELING, JobState.FINISHED}),
        JobState.CANCELING: frozenset({JobState.CANCELED}),
        JobState.FINISHED: frozenset({JobState.RUNNING}),
        JobState.CANCELED: frozenset({JobState.RUNNING}),
    }
)

BATCH_STEPS: Final[Mapping[BatchState, frozenset[BatchState]]] = MappingProxyType(
    {
        BatchState.PLANNED: frozenset({BatchState.SUBMITTING, BatchState.ABANDONED}),
        BatchState.SUBMITTING: frozenset(
            {BatchState.PLANNED, BatchState.IN_PROGRESS, BatchState.IN_DOUBT, BatchState.ABANDONED}
        ),
        BatchState.IN_DOUBT: frozenset({BatchState.IN_PROGRESS, BatchState.VOID}),
        BatchState.IN_PROGRESS: frozenset({BatchState.CANCELING, BatchState.ENDED}),
        BatchState.CANCELING: frozenset({BatchState.ENDED}),
        BatchState.ENDED: frozenset({BatchState.SETTLED}),
        BatchState.SETTLED: frozenset(),
        BatchState.VOID: frozenset(),
        BatchState.ABANDONED: frozenset(),
    }
)

REQUEST_STEPS: Final[Mapping[RequestState, frozenset[RequestState]]] = MappingProxyType(
    {
        RequestState.QUEUED: frozenset({RequestState.BATCHED, RequestState.FAILED, RequestState.CANCELED}),
        RequestState.BATCHED: frozenset(
            {RequestState.QUEUED, RequestState.SUCCEEDED, RequestState.FAILED, RequestState.CANCELED}
        ),
        RequestState.SUCCEEDED: frozenset({RequestState.QUEUED}),  # only by `retry`
        RequestState.FAILED: frozenset({RequestState.QUEUED}),  # only by `retry`
        RequestState.CANCELED: frozenset({RequestState.QUEUED}),  # only by `retry`
    }
)

#: The API holds, or may hold, requests of these batches that have not ended: they count against its queue limit.
IN_FLIGHT: Final = frozenset({BatchState.SUBMITTING, BatchState.IN_DOUBT, BatchState.IN_PROGRESS, BatchState.CANCELING})
OVER: Final = frozenset({JobState.FINISHED, JobState.CANCELED})
SETTLED_REQUESTS: Final = frozenset({RequestState.SUCCEEDED, RequestState.FAILED, RequestState.CANCELED})
