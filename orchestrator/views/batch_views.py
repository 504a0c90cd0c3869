"""Batches as JSON: our own, and those in the API's list with their owners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Self

from orchestrator.domain.api_answers import ApiCounts, RemoteBatch
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import Batch, Candidate, JobSnapshot
from orchestrator.domain.states import BatchState
from orchestrator.views.view import Count, Timestamp, View, parse_time, time_text

OwnedBatch = tuple[Batch, JobSnapshot]


class BatchView(View, frozen=True, kw_only=True):
    """A batch of ours; `batch` is our number of it."""

    batch: int
    job: str
    remote_id: str | None
    state: BatchState
    requests: Count
    bytes: Count
    api_version: str
    betas: list[str]
    organization: str | None
    workspace: str | None
    planned_at: Timestamp
    sent_at: Timestamp | None
    created_at: Timestamp | None
    expires_at: Timestamp | None
    ended_at: Timestamp | None
    settled_at: Timestamp | None
    results: ApiCounts | None
    downloads: Count

    @classmethod
    def of(cls, batch: Batch, job: JobSnapshot) -> BatchView:
        """The view of *batch*, which belongs to *job*."""
        return BatchView(
            batch=batch.id,
            job=job.public_id,
            remote_id=batch.remote_id,
            state=batch.state,
            requests=batch.count,
            bytes=batch.size_bytes,
            api_version=batch.api_version,
            betas=list(batch.betas),
            organization=batch.organization,
            workspace=batch.workspace,
            planned_at=time_text(batch.planned_at),
            sent_at=time_text(batch.sent_at),
            created_at=time_text(batch.created_at),
            expires_at=time_text(batch.expires_at),
            ended_at=time_text(batch.ended_at),
            settled_at=time_text(batch.settled_at),
            results=batch.api_counts,
            downloads=batch.downloads,
        )

    def to_batch(self, job: JobId) -> Batch:
        """Convert back to a `Batch`. job: the id that stands for its job on this side."""
        return Batch(
            id=BatchId(self.batch),
            job_id=job,
            state=self.state,
            count=self.requests,
            size_bytes=self.bytes,
            api_version=self.api_version,
            betas=tuple(self.betas),
            organization=self.organization,
            workspace=self.workspace,
            planned_at=parse_time(self.planned_at),
            sent_at=parse_time(self.sent_at),
            remote_id=self.remote_id,
            created_at=parse_time(self.created_at),
            expires_at=parse_time(self.expires_at),
            ended_at=parse_time(self.ended_at),
            settled_at=parse_time(self.settled_at),
            api_counts=self.results,
            downloads=self.downloads,
        )


class BatchesView(View, frozen=True, kw_only=True):
    """A page of batches."""

    batches: list[BatchView]
    next: str | None


class CandidateView(View, frozen=True, kw_only=True):
    """A batch at the API that may be the one in doubt. `verdict`: what has been proven about it."""

    id: str
    requests: Count
    created_at: Timestamp
    verdict: str
    unreadable_since: Timestamp | None

    @classmethod
    def of(cls, candidate: Candidate) -> Self:
        """The view of *candidate*."""
        return cls(
            id=candidate.remote_id,
            requests=candidate.count,
            created_at=time_text(candidate.created_at),
            verdict=candidate.verdict,
            unreadable_since=time_text(candidate.unreadable_since),
        )


class BatchInFullView(BatchView, frozen=True, kw_only=True):
    """A batch of ours with its candidates: batches at the API that it may be while it is in doubt."""

    candidates: list[CandidateView]

    @classmethod
    def with_candidates(cls, batch: Batch, job: JobSnapshot, candidates: Sequence[Candidate]) -> Self:
        """The view of *batch* with its candidates."""
        return cls(**BatchView.of(batch, job).fields(), candidates=[CandidateView.of(each) for each in candidates])


class RemoteCountsView(View, frozen=True, kw_only=True):
    """A batch's requests, as the API counts them."""

    total: Count
    processing: Count
    succeeded: Count
    errored: Count
    canceled: Count
    expired: Count


class RemoteBatchView(View, frozen=True, kw_only=True):
    """A batch at the API and its owner: "ours", "elsewhere" or "in_doubt" (then `may_be` has our batches)."""

    id: str
    status: str
    requests: RemoteCountsView
    created_at: Timestamp
    expires_at: Timestamp
    ended_at: Timestamp | None
    archived_at: Timestamp | None
    owner: str
    batch: int | None
    state: BatchState | None
    job: str | None
    may_be: list[int]

    @classmethod
    def of(cls, remote: RemoteBatch, owned: OwnedBatch | None, in_doubt: Sequence[OwnedBatch]) -> Self:
        """The view of *remote*. owned: our batch, if it is ours; in_doubt: our batches in doubt, which it may be."""
        owner, candidates = owner_of(remote, owned, in_doubt)
        return cls(
            id=remote.id,
            status=remote.status.value,
            requests=RemoteCountsView(total=remote.counts.total, **asdict(remote.counts)),
            created_at=time_text(remote.created_at),
            expires_at=time_text(remote.expires_at),
            ended_at=time_text(remote.ended_at),
            archived_at=time_text(remote.archived_at),
            owner=owner,
            batch=None if owned is None else owned[0].id,
            state=None if owned is None else owned[0].state,
            job=None if owned is None else owned[1].public_id,
            may_be=candidates,
        )


class RemoteBatchesView(View, frozen=True, kw_only=True):
    """What the API lists, and our batches in doubt."""

    batches: list[RemoteBatchView]
    in_doubt: list[BatchView]
    has_more: bool


def owner_of(remote: RemoteBatch, owned: OwnedBatch | None, in_doubt: Sequence[OwnedBatch]) -> tuple[str, list[int]]:
    """The owner of *remote*, and which of our batches in doubt it may be: those of the same size."""
    if owned is not None:
        return "ours", []
    candidates = [int(batch.id) for batch, _ in in_doubt if batch.count == remote.counts.total]
    return ("in_doubt" if candidates else "elsewhere"), candidates
