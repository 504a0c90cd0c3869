"""Stage mend: makes whole what a crash, or a wrong clock, left half done in the store."""

from __future__ import annotations

from datetime import datetime

from orchestrator.engine.collect import LONGEST_PAUSE
from orchestrator.engine.context import Context
from orchestrator.engine.submit import Bisection


class MendStage:
    """Takes requests that a canceled job still has `queued`, and halves that wait for a sibling which is decided.

    Each step is a transaction, so a crash in between leaves the rest to the next tick. Once, when it begins: pulls in
    the downloads that a wrong clock put off.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._commands = context.store.commands
        self._bisection = Bisection(context)
        self._has_pulled_in = False

    async def tick(self, now: datetime) -> int:
        """Returns how many rows were made whole."""
        moved = 0 if self._has_pulled_in else await self._pull_in(now)
        for job in await self._commands.canceling():
            moved += await self._commands.cancel_queued(job.id)
        return moved + await self._bisection.settle_parked(now)

    async def _pull_in(self, now: datetime) -> int:
        """Downloads due later than any pause of ours: a clock that was wrong must have set them."""
        store, moved = self._context.store, 0
        for batch in await store.poll.uncollected():
            due = batch.download_due_at
            if not batch.collected and due is not None and due - now > LONGEST_PAUSE:
                moved += await store.collect.again(batch, now, None, full=False)
        self._has_pulled_in = True
        return moved
