"""What a face shows of what is inside a job, as JSON: batches, requests, failures, events; and of the whole store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from orchestrator.domain.queries import TOKENS
from orchestrator.views.job_views import problem_view, time_text

if TYPE_CHECKING:
    from orchestrator.domain.api_answers import RemoteBatch
    from orchestrator.domain.model import Batch, Candidate, Event, Gate, Job, JobStatus
    from orchestrator.domain.queries import Attempt, ErrorGroup, RequestDetails, RequestRow, Sample, Totals
    from orchestrator.views.check_report import Plan

Owned = tuple["Batch", "Job"]


def remote_view(remote: RemoteBatch, owned: Owned | None, in_doubt: Sequence[Owned]) -> dict[str, object]:
    """A batch at the API, and whose it is: `owner` is "ours", "elsewhere" or "in_doubt"."""
    owner, candidates = owner_of(remote, owned, in_doubt)
    return {
        "id": remote.id,
        "status": remote.status.value,
        "requests": {"total": remote.counts.total, **asdict(remote.counts)},
        "created_at": time_text(remote.created_at),
        "expires_at": time_text(remote.expires_at),
        "ended_at": time_text(remote.ended_at),
        "archived_at": time_text(remote.archived_at),
        "owner": owner,
        "batch": None if owned is None else owned[0].id,
        "state": None if owned is None else owned[0].state.value,
        "job": None if owned is None else owned[1].public_id,
        "may_be": candidates,
    }


def owner_of(remote: RemoteBatch, owned: Owned | None, in_doubt: Sequence[Owned]) -> tuple[str, list[int]]:
    """Whose *remote* is, and which of our batches in doubt it might be (they have the same size)."""
    if owned is not None:
        return "ours", []
    candidates = [int(batch.id) for batch, _ in in_doubt if batch.count == remote.counts.total]
    return ("in_doubt" if candidates else "elsewhere"), candidates


def batch_view(batch: Batch, job: Job) -> dict[str, object]:
    """One batch of ours."""
    return {
        "batch": batch.id,
        "job": job.public_id,
        "remote_id": batch.remote_id,
        "state": batch.state.value,
        "requests": batch.count,
        "bytes": batch.size_bytes,
        "api_version": batch.api_version,
        "betas": list(batch.betas),
        "organization": batch.organization,
        "workspace": batch.workspace,
        "planned_at": time_text(batch.planned_at),
        "sent_at": time_text(batch.sent_at),
        "created_at": time_text(batch.created_at),
        "expires_at": time_text(batch.expires_at),
        "ended_at": time_text(batch.ended_at),
        "settled_at": time_text(batch.settled_at),
        "results": None if batch.api_counts is None else asdict(batch.api_counts),
        "downloads": batch.downloads,
    }


def candidate_view(remote: Candidate) -> dict[str, object]:
    """A batch at the API that one of ours in doubt may be; `verdict` is what was proven of it."""
    return {
        "id": remote.remote_id,
        "requests": remote.count,
        "created_at": time_text(remote.created_at),
        "verdict": remote.verdict,
        "unreadable_since": time_text(remote.unreadable_since),
    }


def errors_view(status: JobStatus, groups: list[ErrorGroup]) -> dict[str, object]:
    """The failures of a job by cause, with examples."""
    return {
        "job": status.job.public_id,
        "requests": asdict(status.job.requests),
        "groups": [
            {
                "type": group.error_type,
                "cause": group.cause,
                "message": group.error_message,
                "count": group.count,
                "examples": [{"custom_id": custom_id, "line": line} for custom_id, line in group.examples],
            }
            for group in groups
        ],
        "source": status.job.source,
        "sandbox": status.sandbox,
    }


def check_view(name: str, plan: Plan, version: str, betas: Collection[str], *, sandbox: bool) -> dict[str, object]:
    """What `check` found, and the batches that would be made."""
    return {
        "source": name,
        "valid": plan.problem_count == 0,
        "requests": plan.requests,
        "bytes": plan.size_bytes,
        "batches": [{"requests": requests, "bytes": size_bytes} for requests, size_bytes in plan.batches],
        "problems": [problem_view(problem) for problem in plan.problems],
        "problem_count": plan.problem_count,
        "api_version": version,
        "betas": sorted(set(betas)),
        "sandbox": sandbox,
    }


def request_row_view(row: RequestRow) -> dict[str, object]:
    """One request in a list."""
    return {
        "number": row.number,
        "custom_id": row.custom_id,
        "line": row.line,
        "state": row.state.value,
        "attempts": row.attempts,
        "error_type": row.error_type,
        "error_message": row.error_message,
        "stop_reason": row.stop_reason,
        "batch": row.batch_id,
        "params_bytes": row.params_bytes,
    }


def request_view(job: Job, request: RequestDetails, around: tuple[int | None, int | None]) -> dict[str, object]:
    """One request with its prompt, its answer and every trip that did not succeed; both are null once purged.

    *around*: the numbers of its neighbours.
    """
    return {
        "job": job.public_id,
        "number": request.number,
        "previous": around[0],
        "following": around[1],
        "custom_id": request.custom_id,
        "line": request.line,
        "state": request.state.value,
        "attempts": request.attempts,
        "error_type": request.error_type,
        "error_message": request.error_message,
        "api_request_id": request.api_request_id,
        "stop_reason": request.stop_reason,
        "usage": {name: getattr(request, name) for name in TOKENS},
        "batch": request.batch_id,
        "params": _as_it_is(request.params),
        "result": _as_it_is(request.result),
        "trips": [_trip_view(trip) for trip in request.failed_attempts],
    }


def _trip_view(trip: Attempt) -> dict[str, object]:
    return {
        "batch": trip.batch_id,
        "kind": trip.kind,
        "error_type": trip.error_type,
        "error_message": trip.error_message,
        "api_request_id": trip.api_request_id,
        "at": time_text(trip.at),
    }


def _as_it_is(text: bytes | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text)


def event_view(event: Event, job: str | None) -> dict[str, object]:
    """One step of a job or a batch; *job*: its public id, if the job is there still."""
    return {
        "id": event.id,
        "at": time_text(event.at),
        "job": job,
        "batch": event.batch_id,
        "kind": event.kind,
        "old": event.old,
        "new": event.new,
        "why": event.why,
    }


def totals_view(totals: Totals) -> dict[str, object]:
    """Sums over all jobs."""
    return {
        "requests": asdict(totals.requests),
        "jobs": {state.value: count for state, count in totals.jobs.items()},
        "batches": {state.value: count for state, count in totals.batches.items()},
        "stop_reasons": dict(totals.stop_reasons),
        "in_flight_requests": totals.in_flight_requests,
        "next_expiry": time_text(totals.next_expiry),
        "resubmitted": totals.resubmitted,
        "duplicates_total": totals.duplicates_total,
        "oldest_unfinished_at": time_text(totals.oldest_unfinished_at),
    }


def samples_view(samples: Iterable[Sample]) -> list[dict[str, object]]:
    """How busy the engine was, step by step."""
    return [{**asdict(sample), "at": time_text(sample.at)} for sample in samples]


def gate_view(gate: Gate) -> dict[str, object]:
    """A wait that the API asked for; `tries`: how often in a row."""
    return {
        "name": gate.call,
        "set_at": time_text(gate.set_at),
        "until": time_text(gate.until),
        "tries": gate.tries,
        "why": gate.why,
    }
