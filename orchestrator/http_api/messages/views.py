"""A job as the Message Batches API shows a batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, assert_never

from orchestrator.domain.batches_api import MessageBatchObject, RequestCountsObject
from orchestrator.domain.states import JobState
from orchestrator.ports.job_store import BY_PERSON

if TYPE_CHECKING:
    from orchestrator.domain.model import Job
    from orchestrator.ports.reads import Reads

#: How long the API works on one attempt of a request. Source: Message Batches API reference.
_ATTEMPT: Final = timedelta(hours=24)
_EVENTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a view needs beside the job. max_attempts: trips of a request at most. base_url: as the client knows us."""

    batch_id: str
    base_url: str
    max_attempts: int
    now: datetime


def is_shown(job: Job) -> bool:
    """There is such a batch: its body came whole, and nobody deleted it."""
    return job.state is not JobState.IMPORTING and job.purged_by != BY_PERSON


def is_over(job: Job) -> bool:
    """Every request has its last word."""
    return job.state in {JobState.FINISHED, JobState.CANCELED}


def has_results(job: Job) -> bool:
    """They can be read now."""
    return is_over(job) and job.purged_at is None


def batch_view(job: Job, reads: Reads, frame: Frame) -> MessageBatchObject:
    """*job* as it is in the snapshot of *reads*."""
    return MessageBatchObject(
        id=frame.batch_id,
        processing_status=_status(job.state),
        request_counts=_counts(job, reads),
        created_at=job.created_at,
        expires_at=_expires_at(job, frame),
        ended_at=job.finished_at if is_over(job) else None,
        cancel_initiated_at=_canceled_at(job, reads),
        archived_at=job.purged_at,
        results_url=f"{frame.base_url}/v1/messages/batches/{frame.batch_id}/results" if has_results(job) else None,
    )


def _status(state: JobState) -> Literal["in_progress", "canceling", "ended"]:
    match state:
        case JobState.IMPORTING | JobState.RUNNING | JobState.PAUSED:
            return "in_progress"
        case JobState.CANCELING:
            return "canceling"
        case JobState.FINISHED | JobState.CANCELED:
            return "ended"
        case _:
            assert_never(state)


def _counts(job: Job, reads: Reads) -> RequestCountsObject:
    """They add up at any time, and they move while the job runs: the API documents zeros until the end."""
    requests = job.requests
    expired = reads.failed_of_type(job.id, "expired") if requests.failed else 0
    return RequestCountsObject(
        processing=requests.queued + requests.batched,
        succeeded=requests.succeeded,
        errored=requests.failed - expired,
        canceled=requests.canceled,
        expired=expired,
    )


def _expires_at(job: Job, frame: Frame) -> datetime:
    """When the last attempt of a request that expires every time has expired, if it were sent at once each time.

    A job that outlives it (it was paused, or the account's queue was full) may take another attempt from now on.
    """
    planned = job.created_at + frame.max_attempts * _ATTEMPT
    return planned if is_over(job) or planned > frame.now else frame.now + _ATTEMPT


def _canceled_at(job: Job, reads: Reads) -> datetime | None:
    """When the last cancel came, out of the log: its first step goes from a state in which the job was not over."""
    if job.state not in {JobState.CANCELING, JobState.CANCELED}:
        return None
    before: int | None = None
    while events := reads.newest_events(job.id, limit=_EVENTS, before=before):
        for event in events:
            if event.kind == "job.moved" and event.new == JobState.CANCELING:
                return event.at
        before = events[-1].id
    return None
