"""Bisects a refused batch, so that one bad request does not sink the others (promise 4).

- A 400 that names a request fails that one; the others are planned again.
- An unnamed 400 is halved once. If both halves are refused in the same words, the cause is not in a request: the job
  pauses with these words, and nothing is failed. Otherwise halving goes on, down to the request at fault.
- A 413 is halved, down to one request, which fails as too large.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from orchestrator.domain.account import REFUSED
from orchestrator.domain.api_answers import Invalid
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_lines import errored_result
from orchestrator.domain.states import BatchState
from orchestrator.engine.api_calls import pause_job
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

_INVALID: Final = "invalid_request_error"
_TOO_LARGE: Final = "request_too_large"
#: The halves of a batch that was refused as a whole: here the two are compared before anything is failed.
_FIRST_HALVES: Final = 1
_PENDING: Final = frozenset({BatchState.SUBMITTING, BatchState.IN_DOUBT})
#: Where a refused half is: waiting for its sibling, or (a crash, or a resume, came in between) given up already.
_REFUSED: Final = frozenset({BatchState.PLANNED, BatchState.ABANDONED})


class Bisection:
    """Handles a batch that the API refused because of its content. A parked half waits in the store for its sibling."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.bisect
        self._plan = context.store.plan

    async def too_large(self, batch: BatchRow, why: str, now: datetime) -> None:
        """Handle a 413."""
        await self._split_or_fail(batch, _TOO_LARGE, why, now)

    async def invalid(self, batch: BatchRow, answer: Invalid, now: datetime) -> None:
        """Handle a 400 or 422, with or without the index of the request at fault."""
        if answer.index is not None and answer.index < batch.count:
            await self._fail(batch, answer.index, _INVALID, answer.why, now)
        elif batch.depth == _FIRST_HALVES:
            await self._store.park(batch, answer.why, now)
            await self.settle_parked(now)
        else:
            await self._split_or_fail(batch, _INVALID, answer.why, now)

    async def settle_parked(self, now: datetime) -> None:
        """Decide the parked halves whose siblings are decided."""
        for batch, sibling in await self._store.parked():
            if sibling is not None and _undecided(sibling):
                continue
            if sibling is not None and sibling.state in _REFUSED and sibling.refusal == batch.refusal:
                await self._same_words(batch, sibling, now)
            else:
                words = "" if batch.refusal is None else batch.refusal
                await self._split_or_fail(batch, _INVALID, words, now)

    async def _same_words(self, batch: BatchRow, sibling: BatchRow, now: datetime) -> None:
        words = "" if batch.refusal is None else batch.refusal
        if await pause_job(self._context, batch.job_id, REFUSED, words, now):
            log.error("job.refused", job_id=batch.job_id, why=words)
        for half in (batch, sibling):
            await self._store.abandon(half, words, now)

    async def _split_or_fail(self, batch: BatchRow, error_type: str, why: str, now: datetime) -> None:
        if batch.count == 1:
            await self._fail(batch, 0, error_type, why, now)
            return
        chance = self._context.entropy.nonce
        nonces = (await self._plan.nonce(batch.job_id, chance()), await self._plan.nonce(batch.job_id, chance()))
        await self._store.halve(batch, nonces, why, now)
        log.warning("batch.halved", batch_id=batch.id, requests=batch.count, why=why)

    async def _fail(self, batch: BatchRow, index: int, error_type: str, why: str, now: datetime) -> None:
        failed = (index, error_type, why, errored_result(error_type, why))
        await self._store.abandon(batch, why, now, failed=failed)
        log.warning("request.refused", batch_id=batch.id, place=index, why=why)


def _undecided(sibling: BatchRow) -> bool:
    """Whether the sibling was not sent yet, or has no clear answer."""
    return sibling.state in _PENDING or (sibling.state is BatchState.PLANNED and sibling.refusal is None)
