"""Batches as a person and as a program read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestrator.cli import words

if TYPE_CHECKING:
    from orchestrator.domain.model import Batch, Event, Job


def remote_table(remotes: Sequence[Mapping[str, Any]]) -> str:
    """The table of `batches ls`, of `details.remote_view`s."""
    rows: list[tuple[str, ...]] = [("BATCH", "STATUS", "REQUESTS", "CREATED", "WHOSE")]
    for remote in remotes:
        owner = str(remote["owner"])
        if remote["batch"] is not None:
            owner = f"ours: batch {remote['batch']} of {remote['job']}, {remote['state']}"
        elif remote["may_be"]:
            owner = f"may be ours: batch {', '.join(map(str, remote['may_be']))} in doubt"
        created = str(remote["created_at"])[:19].replace("T", " ")
        row = (remote["id"], remote["status"], f"{remote['requests']['total']:,}", created, owner)
        rows.append(tuple(words.plain(str(cell)) for cell in row))
    return words.table(rows, right=(2,))


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
