"""A purchase that should not exist: kept as spare, reported, counted. Never silent, never mixed into a job."""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import split_wire_id
from orchestrator.domain.line_splitter import LineSplitter
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_lines import MAX_LINE_BYTES, BadLine, ResultLine, decode_split
from orchestrator.domain.states import BatchState
from orchestrator.engine.context import Context
from orchestrator.engine.line_matcher import StallDetector
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

DUPLICATE = "duplicate"
#: The batch may still turn out to be the remote one: nothing is twice.
_OPEN = frozenset({BatchState.PLANNED, BatchState.SUBMITTING, BatchState.IN_DOUBT})


async def report_duplicate(context: Context, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
    """*remote* carries the nonce of *batch*, which is closed or is another remote batch. False: it is not, or is known.

    The count comes last: what a crash cuts off before it is done again. Raises ProviderError if the results of
    *remote* cannot be read.
    """
    if batch.state in _OPEN or batch.remote_id == remote.id:
        return False
    await _keep(context, remote)
    words = (
        f"batch {batch.id} was {batch.state} when it turned out to exist as {remote.id}: {batch.count} requests may be "
        f"paid for twice; its results are kept as spare"
    )
    await context.store.attention.attend(batch.job_id, DUPLICATE, batch.id, words, now)
    if not await context.store.sweep.duplicate(batch, remote.id, now):
        return False
    log.error("batch.duplicate", batch_id=batch.id, remote_id=remote.id)
    return True


async def _keep(context: Context, remote: RemoteBatch) -> None:
    """Keep every result of *remote*; a stream that goes on without a new one is left."""
    splitter, stall = LineSplitter(MAX_LINE_BYTES), StallDetector()
    kept: set[int] = set()
    async with context.provider.results(remote.id) as download:
        async for chunk in download.chunks:
            before = len(kept)
            kept |= await _keep_lines(context, remote, decode_split(splitter.feed(chunk)))
            if stall.is_stalled(len(chunk), chunk.count(b"\n"), news=len(kept) > before):
                return
    await _keep_lines(context, remote, decode_split(splitter.rest()))


async def _keep_lines(context: Context, remote: RemoteBatch, lines: list[ResultLine | BadLine]) -> set[int]:
    """Keep the results among *lines*; returns their numbers."""
    rows: list[tuple[int, bytes]] = []
    for line in lines:
        parts = split_wire_id(line.wire_id) if isinstance(line, ResultLine) else None
        if isinstance(line, ResultLine) and parts is not None:
            rows.append((parts[1], line.result))
    if rows:
        await context.store.sweep.keep_duplicate_results(remote.id, rows)
    return {number for number, _ in rows}
