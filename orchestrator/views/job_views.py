"""What a face shows of a job, as JSON: the socket, `status --json` and `ls --json` say the very same."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.humanize import IMPORT_ENDS
from orchestrator.domain.states import JobState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.domain.model import Attention, Job, JobStatus
    from orchestrator.domain.notices import Delivery, Endpoint
    from orchestrator.ports.engine import EngineHealth
    from orchestrator.ports.streams import InputProblem

_DONE: Final = {"pause": "paused", "resume": "resumed", "cancel": "canceled"}


def job_view(status: JobStatus) -> dict[str, object]:
    """One job; `id` is what people call it. Times are RFC 3339 in UTC, or null."""
    job = status.job
    return {
        "id": job.public_id,
        "name": job.name,
        "state": job.state.value,
        "reason": job.reason,
        "reason_code": job.reason_code,
        "asked_again_at": time_text(status.asked_again_at),
        "requests": asdict(job.requests),
        "batches": dict(status.batches),
        "stop_reasons": dict(status.stop_reasons),
        "resubmitted": job.resubmitted,
        "created_at": time_text(job.created_at),
        "finished_at": time_text(job.finished_at),
        "purged_at": time_text(job.purged_at),
        "next_expiry": time_text(status.next_expiry),
        "sweep_until": time_text(status.sweep_until),
        "attention": [_attention_view(attention) for attention in status.attention],
        "source": job.source,
        "content_hash": job.content_hash or None,
        "api_version": job.api_version,
        "betas": list(job.betas),
        "priority": job.priority,
        "still_open": job.still_open,
        "sandbox": status.sandbox,
    }


def jobs_view(statuses: Iterable[JobStatus]) -> dict[str, object]:
    """Several jobs, in the order given."""
    return {"jobs": [job_view(status) for status in statuses]}


def problem_view(problem: InputProblem) -> dict[str, object]:
    """One thing that is wrong with an input."""
    return {"line": problem.line, "field": problem.field, "problem": problem.message, "remedy": problem.remedy}


def endpoint_view(endpoint: Endpoint) -> dict[str, object]:
    """A program that is told by webhook."""
    return {"url": endpoint.url, "events": list(endpoint.events), "active": endpoint.active}


def delivery_view(delivery: Delivery) -> dict[str, object]:
    """One notice on its way to one endpoint."""
    return {
        "id": delivery.id,
        "url": delivery.url,
        "event": delivery.event_id,
        "type": delivery.type,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "created_at": time_text(delivery.created_at),
        "next_at": time_text(delivery.next_at),
        "last_at": time_text(delivery.last_at),
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    }


def health_view(health: EngineHealth) -> dict[str, object]:
    """How the API treats the engine."""
    return {
        "api_worked": health.api_worked,
        "last_trouble": health.last_trouble,
        "reads_blocked": health.reads_blocked,
    }


def time_text(at: datetime | None) -> str | None:
    """`2026-11-23T06:18:52.123Z`; *at* must be aware."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def does_not_apply(verb: str, job: Job) -> GuardRefused:
    """The refusal of a "pause", "resume" or "cancel" that *job* is in no state for."""
    hint = IMPORT_ENDS if job.state is JobState.IMPORTING else None
    message = f"job {job.public_id} is {job.state.value}: it cannot be {_DONE[verb]}; nothing was changed"
    return GuardRefused(message, hint=hint)


def _attention_view(attention: Attention) -> dict[str, object]:
    return {
        "kind": attention.kind,
        "batch": attention.batch_id,
        "message": attention.message,
        "since": time_text(attention.since),
    }
