"""A batch that was bought twice: reported, counted, and its results kept apart from the job's. Never silent."""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import split_wire_id
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_lines import ResultLine
from orchestrator.domain.states import BatchState
from orchestrator.engine.context import Context
from orchestrator.engine.result_file import ResultFile
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

DUPLICATE = "duplicate"
#: The batch may still turn out to be the remote one: nothing is twice.
_OPEN = frozenset({BatchState.PLANNED, BatchState.SUBMITTING, BatchState.IN_DOUBT})


async def report_duplicate(context: Context, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
    """Report *remote*, which has the nonce of a closed *batch*, or of one with another remote id.

    False if that is not so, or is known already. The count is written last: whatever a crash cuts off before it is done
    again. Raises ProviderError if the results of *remote* cannot be read.
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
    """Store every result of *remote* beside the job."""
    kept: set[int] = set()
    async with context.provider.results(remote.id) as download:
        file = ResultFile(download)
        async for lines in file:
            results = [line for line in lines if isinstance(line, ResultLine)]
            rows = [(own[1], line.result) for line in results if (own := split_wire_id(line.wire_id)) is not None]
            if rows:
                await context.store.sweep.keep_duplicate_results(remote.id, rows)
            before = len(kept)
            kept |= {number for number, _ in rows}
            if len(kept) > before:
                file.found_new()
