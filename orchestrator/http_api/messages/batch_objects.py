"""Jobs as batch objects of the Message Batches API, and their public ids, which need no column in the store.

An id is `msgbatch_01` and 22 characters of base 62: 8 bytes that prove it (an HMAC of the job's number, keyed by the
store's lineage) and the number, masked by 8 bytes derived from the proof. An id of another store, or one that was made
up, is unknown.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final, Literal, assert_never

from orchestrator.domain import batches_api, ids, model, states
from orchestrator.ports.job_store import BY_PERSON

if TYPE_CHECKING:
    from orchestrator.ports.reads import Reads

#: How long the API works on one attempt of a request. Source: Message Batches API reference.
_ATTEMPT: Final = timedelta(hours=24)
_EVENTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """What a batch object needs beside its job. max_attempts: of a request. base_url: as the client knows us."""

    batch_id: str
    base_url: str
    max_attempts: int
    now: datetime


def is_shown(job: model.JobRow) -> bool:
    """True if the job is visible as a batch: its upload is complete, and nobody deleted it."""
    return job.state is not states.JobState.IMPORTING and job.purged_by != BY_PERSON


def is_over(job: model.JobSnapshot) -> bool:
    """Every request is settled."""
    return job.state in {states.JobState.FINISHED, states.JobState.CANCELED}


def has_results(job: model.JobSnapshot) -> bool:
    """The results can be read now."""
    return is_over(job) and job.purged_at is None


def batch_view(job: model.JobSnapshot, reads: Reads, context: BatchContext) -> batches_api.MessageBatchObject:
    """*job* as a batch object, in the snapshot of *reads*."""
    return batches_api.MessageBatchObject(
        id=context.batch_id,
        processing_status=_status(job.state),
        request_counts=_counts(job, reads),
        created_at=job.created_at,
        expires_at=_expires_at(job, context),
        ended_at=job.finished_at if is_over(job) else None,
        cancel_initiated_at=_canceled_at(job, reads),
        archived_at=job.purged_at,
        results_url=f"{context.base_url}/v1/messages/batches/{context.batch_id}/results" if has_results(job) else None,
    )


def _status(state: states.JobState) -> Literal["in_progress", "canceling", "ended"]:
    match state:
        case states.JobState.IMPORTING | states.JobState.RUNNING | states.JobState.PAUSED:
            return "in_progress"
        case states.JobState.CANCELING:
            return "canceling"
        case states.JobState.FINISHED | states.JobState.CANCELED:
            return "ended"
        case _:
            assert_never(state)


def _counts(job: model.JobSnapshot, reads: Reads) -> batches_api.RequestCountsObject:
    """They always add up, and change while the job runs; the API documents zeros until the end."""
    requests = job.requests
    expired = reads.failed_of_type(job.id, "expired") if requests.failed else 0
    return batches_api.RequestCountsObject(
        processing=requests.queued + requests.batched,
        succeeded=requests.succeeded,
        errored=requests.failed - expired,
        canceled=requests.canceled,
        expired=expired,
    )


def _expires_at(job: model.JobSnapshot, context: BatchContext) -> datetime:
    """When the last attempt of a request would expire, if every attempt did and the next began at once.

    A job that outlives this (it was paused, or the account's queue was full) may need another attempt from now on.
    """
    planned = job.created_at + context.max_attempts * _ATTEMPT
    return planned if is_over(job) or planned > context.now else context.now + _ATTEMPT


def _canceled_at(job: model.JobSnapshot, reads: Reads) -> datetime | None:
    """The time of the last cancel, from the event log: its first step leaves a state that is not final."""
    if job.state not in {states.JobState.CANCELING, states.JobState.CANCELED}:
        return None
    before: int | None = None
    while events := reads.newest_events(job.id, limit=_EVENTS, before=before):
        for event in events:
            if event.kind == "job.moved" and event.new == states.JobState.CANCELING:
                return event.at
        before = events[-1].id
    return None


_PREFIX: Final = "msgbatch_01"
_ALPHABET: Final = digits + ascii_letters
_WORD_BYTES: Final = 8
_WORD_CHARS: Final = 11  #: 62**11 > 2**64
_WORD_END: Final = 1 << 64


class BatchIds:
    """Encodes and decodes the ids of one store."""

    def __init__(self, lineage: str) -> None:
        self._key = lineage.encode()

    def of(self, job: ids.JobId) -> str:
        """The public id of *job*."""
        proof = self._word(b"proof", job)
        return f"{_PREFIX}{_text(proof)}{_text(job ^ self._word(b'mask', proof))}"

    def job(self, batch_id: str) -> ids.JobId | None:
        """The job that *batch_id* encodes, whether or not it exists; None if it is no id of this store."""
        text = batch_id.removeprefix(_PREFIX)
        if len(text) != 2 * _WORD_CHARS or len(batch_id) == len(text) or not set(text) <= set(_ALPHABET):
            return None
        proof = _number(text[:_WORD_CHARS])
        if proof >= _WORD_END:
            return None
        job = _number(text[_WORD_CHARS:]) ^ self._word(b"mask", proof)
        if not 0 < job < _WORD_END >> 1:
            return None
        is_ours = hmac.compare_digest(self.of(ids.JobId(job)).encode(), batch_id.encode())
        return ids.JobId(job) if is_ours else None

    def _word(self, purpose: bytes, number: int) -> int:
        message = purpose + number.to_bytes(_WORD_BYTES, "big")
        return int.from_bytes(hmac.digest(self._key, message, "sha256")[:_WORD_BYTES], "big")


def _text(number: int) -> str:
    characters: list[str] = []
    for _ in range(_WORD_CHARS):
        number, place = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[place])
    return "".join(reversed(characters))


def _number(text: str) -> int:
    number = 0
    for character in text:
        number = number * len(_ALPHABET) + _ALPHABET.index(character)
    return number
