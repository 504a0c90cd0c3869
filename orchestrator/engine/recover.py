"""Stage recover: makes whole what a crash left, at the start and then in turn; there is no other way to start."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import datetime

from orchestrator.domain.ids import BatchId
from orchestrator.engine.context import Context
from orchestrator.engine.ingest import discard_left
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)


class RecoverStage:
    """Takes batches in `submitting` whose POST no task watches, and leaves them in `in_doubt`.

    Also cancels what a canceled job still has queued, and discards what failed imports left. Each step is a
    transaction, so a crash in between leaves the rest to the next start. active: the batches whose POST a task of this
    process watches.
    """

    def __init__(self, context: Context, active: Callable[[], AbstractSet[BatchId]]) -> None:
        self._context = context
        self._submit = context.store.submit
        self._doubt = context.store.doubt
        self._reconcile = context.store.reconcile
        self._commands = context.store.commands
        self._active = active

    async def start(self, now: datetime) -> int:
        """At the start no task watches anything: every intent without an answer is in doubt."""
        await self._reconcile.restart_wait(now)
        restarted = await self._doubt.restart_waits(now)
        if restarted:
            log.info("doubt.waits_restarted", batches=restarted)
        return await self.tick(now)

    async def tick(self, now: datetime) -> int:
        """Returns how many rows were made whole."""
        moved = 0
        for batch in await self._submit.stranded():
            if batch.id not in self._active():
                moved += await self._submit.doubt(batch, "the POST was interrupted", now)
                log.warning("batch.in_doubt", batch_id=batch.id)
        for job in await self._commands.canceling():
            moved += await self._commands.cancel_queued(job.id)
        return moved + await discard_left(self._context)
