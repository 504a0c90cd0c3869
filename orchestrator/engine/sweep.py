"""Stage sweep: for 25 hours of the API's time, looks for batches that were closed and may exist after all.

If the assumption behind the wait ever breaks, or a 529 created a batch, the purchase is found, counted and reported,
and its results are kept as spare: never silent, never mixed into a job.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.answers import RemoteBatch, RemoteStatus
from orchestrator.domain.errors import ProviderError
from orchestrator.domain.ids import split_wire_id
from orchestrator.domain.line_splitter import LineSplitter
from orchestrator.domain.model import Batch
from orchestrator.domain.result_lines import MAX_LINE_BYTES, ResultLine, decode_split
from orchestrator.domain.states import BatchState
from orchestrator.domain.waiting import SWEEP_FOR, WALK_MARGIN
from orchestrator.engine.context import Context
from orchestrator.engine.proof import Foreign, Ours, Unsure, prove
from orchestrator.engine.reading import READ_GATE, Gates, same_account, shut_after, walk
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

DUPLICATE = "duplicate"


class SweepStage:
    """Watches what the API lists for batches with the size of a void or abandoned one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._gates = Gates(context=context)
        self._next_look: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """One look, every `poll_interval_max`; how many duplicates were found."""
        if self._next_look is not None and now < self._next_look:
            return 0
        closed = await self._context.store.sweep.to_sweep()
        self._next_look = now + self._context.settings.poll.longest
        if not closed or await self._gates.is_shut(READ_GATE, now):
            return 0
        try:
            return await self._look(closed, now)
        except ProviderError as exc:
            await shut_after(self._context, exc, now)
            return 0

    async def _look(self, closed: list[Batch], now: datetime) -> int:
        bottom = min(_bottom(batch, now) for batch in closed)
        found = 0
        date: datetime | None = None
        async for page, meta in walk(self._context, bottom):
            date = meta.date
            mine = [batch for batch in closed if same_account(meta, batch.organization, batch.workspace)]
            sizes = {batch.count for batch in mine}
            suspects = [r for r in page.batches if r.counts.total in sizes and r.created_at >= bottom]
            found += await self._suspects(suspects, now)
        if date is not None:
            await self._retire(closed, date)
        return found

    async def _suspects(self, suspects: list[RemoteBatch], now: datetime) -> int:
        store, found = self._context.store, 0
        unclaimed = await store.evidence.unclaimed(suspects)
        await store.sweep.see(unclaimed)
        for remote in unclaimed:
            if remote.status is not RemoteStatus.ENDED:
                continue
            verdict = await prove(self._context, remote)
            match verdict:
                case Foreign():
                    await store.evidence.judge(remote.id, "foreign", None)
                case Ours() if verdict.batch.state in (BatchState.VOID, BatchState.ABANDONED):
                    found += await self._report(verdict.batch, remote, now)
                case Ours() | Unsure():
                    pass  # in doubt: the doubt stage claims it; unreadable: the next look tries again
        return found

    async def _report(self, batch: Batch, remote: RemoteBatch, now: datetime) -> int:
        store = self._context.store
        if not await store.sweep.duplicate(batch, remote.id, now):
            return 0
        words = (
            f"batch {batch.id} was closed as never created, but exists as {remote.id}: {batch.count} requests may be "
            f"paid for twice; its results are kept as spare"
        )
        await store.attention.attend(batch.job_id, DUPLICATE, batch.id, words, now)
        log.error("batch.duplicate", batch_id=batch.id, remote_id=remote.id)
        await self._keep(remote)
        return 1

    async def _keep(self, remote: RemoteBatch) -> None:
        """Store the results as spare."""
        splitter = LineSplitter(MAX_LINE_BYTES)
        async with self._context.provider.results(remote.id) as download:
            async for chunk in download.chunks:
                rows: list[tuple[int, bytes]] = []
                for line in decode_split(splitter.feed(chunk)):
                    parts = split_wire_id(line.wire_id) if isinstance(line, ResultLine) else None
                    if isinstance(line, ResultLine) and parts is not None:
                        rows.append((parts[1], line.result))
                await self._context.store.sweep.keep_spare(remote.id, rows)

    async def _retire(self, closed: list[Batch], date: datetime) -> None:
        for batch in closed:
            if batch.closed_date is not None and date - batch.closed_date > SWEEP_FOR:
                await self._context.store.sweep.swept(batch)


def _bottom(batch: Batch, now: datetime) -> datetime:
    start = batch.cursor_created_at if batch.cursor_created_at is not None else batch.cursor_date
    return (now if start is None else start) - WALK_MARGIN
