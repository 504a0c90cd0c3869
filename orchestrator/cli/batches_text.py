"""Batches as a person and as a program read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.cli import words
from orchestrator.http_api.views import time_text

if TYPE_CHECKING:
    from orchestrator.domain.answers import RemoteBatch
    from orchestrator.domain.model import Batch, Event, Job

Owned = tuple["Batch", "Job"]


def remote_view(remote: RemoteBatch, owned: Owned | None, in_doubt: Sequence[Owned]) -> dict[str, object]:
    """A batch at the API, and whose it is: `owner` is "ours", "elsewhere" or "in_doubt"."""
    owner, candidates = _owner(remote, owned, in_doubt)
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


def remote_table(remotes: Sequence[RemoteBatch], ours: Mapping[str, Owned], in_doubt: Sequence[Owned]) -> str:
    """The table of `batches ls`."""
    rows: list[tuple[str, ...]] = [("BATCH", "STATUS", "REQUESTS", "CREATED", "WHOSE")]
    for remote in remotes:
        owned = ours.get(remote.id)
        owner, candidates = _owner(remote, owned, in_doubt)
        if owned is not None:
            owner = f"ours: batch {owned[0].id} of {owned[1].public_id}, {owned[0].state.value}"
        elif candidates:
            owner = f"may be ours: batch {', '.join(map(str, candidates))} in doubt"
        created = remote.created_at.strftime("%Y-%m-%d %H:%M:%S")
        rows.append((words.plain(remote.id), remote.status.value, f"{remote.counts.total:,}", created, owner))
    return words.table(rows, right=(2,))


def _owner(remote: RemoteBatch, owned: Owned | None, in_doubt: Sequence[Owned]) -> tuple[str, list[int]]:
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


def batch_lines(batch: Batch, job: Job, events: Sequence[Event], *, now: datetime) -> Iterator[str]:
    """The screen of `batches show`."""
    yield f"batch      {batch.id}" + ("" if batch.remote_id is None else f"  {words.plain(batch.remote_id)}")
    yield f"job        {job.public_id}"
    yield f"state      {batch.state.value}"
    yield f"size       {words.count(batch.count, 'request')}, {batch.size_bytes:,} bytes"
    betas = f", betas {', '.join(batch.betas)}" if batch.betas else ""
    yield f"sent with  API version {batch.api_version}{betas}"
    if batch.organization is not None or batch.workspace is not None:
        yield f"account    organization {batch.organization}, workspace {batch.workspace}"
    if batch.sent_at is not None:
        yield f"sent       {words.span(now - batch.sent_at)} ago"
    if batch.api_counts is not None:
        found = batch.api_counts
        parts = (f"{found.succeeded:,} succeeded, {found.errored:,} errored", f"{found.expired:,} expired")
        yield f"results    {', '.join(parts)}, {found.canceled:,} canceled"
    yield "history"
    for event in events:
        step = event.kind if event.new is None else f"{event.kind} -> {event.new}"
        why = "" if event.why is None else f"  {words.plain(event.why)}"
        yield f"  {event.at.strftime('%Y-%m-%d %H:%M:%S')}  {step}{why}"
