"""Stage settle: decides what did not succeed, and ends jobs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

from orchestrator.domain import account, errors, humanize
from orchestrator.domain.budgets import warning
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_outcome import Outcome, Settlement
from orchestrator.engine import api_calls, attribution
from orchestrator.engine.context import Context
from orchestrator.engine.pricing import worst_of
from orchestrator.observability.logs import get_logger
from orchestrator.ports.budgets import UnknownCosts

log = get_logger(__name__)

_DELETES_PER_TICK: Final = 20
_DELETE_GATE: Final = "delete"


class SettleStage:
    """Takes collected batches, and leaves them `settled`, their requests `queued | failed | canceled`, jobs over.

    It goes slice by slice, each a transaction: a crash in between leaves the rest for the next tick.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.settle
        self._commands = context.store.commands
        self._gates = api_calls.Gates(context)

    async def tick(self, now: datetime) -> int:
        """Returns how many batches and jobs moved, and twins that no batch has to do with."""
        moved = 0
        for batch in await self._store.to_settle():
            moved += await self.advance(batch, now)
        while count := await self._store.follow_left_over():
            moved += count
        for job in await self._store.finish_jobs(now):
            self._context.meter.job_over(job, now)
            if (ratio := await self._store.cost_ratio(job.id)) is not None:
                self._context.meter.cost_known(ratio)
            log.info("job.over", job=job.public_id, succeeded=job.requests.succeeded, failed=job.requests.failed)
            moved += 1
        for job in await self._store.end_pilots(now):
            log.info("pilot.over", job=job.public_id, waiting=job.to_send)
            moved += 1
        if self._context.settings.delete_after_collect:
            await self._delete(now)
        return moved

    async def advance(self, batch: BatchRow, now: datetime) -> int:
        """Settle one collected batch, slice by slice; a pause that its results ask for comes before anything is queued.

        So a crash in between leaves a paused job, never one that sends again what a person stopped.
        """
        await self._pause_first(batch, now)
        totals: Counter[str] = Counter()
        while (counts := await self._slice(batch, now)) is not None:
            totals.update({settlement.value: count for settlement, count in counts.items()})
        self._context.meter.batch_over(batch, now)
        log.info("batch.settled", batch_id=batch.id, **totals)
        if batch.worst_nanos is not None and (why := await self._store.exceeded(batch)) is not None:
            log.warning("budget.exceeded", job_id=batch.job_id, batch_id=batch.id, why=why)
        await self._warn(batch.job_id, now)
        return 1

    async def _warn(self, job: JobId, now: datetime) -> None:
        """Say once of each limit that most of it is spent."""
        store = self._context.store.budgets
        if not await store.limits(job, now):
            return
        for limit in await store.warn(job, now):
            log.warning("budget.warned", job_id=job, scope=limit.scope.value, why=warning(limit))

    async def _slice(self, batch: BatchRow, now: datetime) -> dict[Settlement, int] | None:
        return await self._store.settle(batch, self._context.settings.max_attempts, now)

    async def _pause_first(self, batch: BatchRow, now: datetime) -> None:
        outcomes = await self._store.outcomes(batch)
        job = await self._commands.get(batch.job_id)
        if outcomes.get(Outcome.CREDIT, 0) and batch.resumes == job.resumes:
            words = f"{outcomes[Outcome.CREDIT]} requests came back because the credit balance is too low"
            await api_calls.pause_job(self._context, batch.job_id, account.BILLING, words, now)
        unknown = await self._context.store.budgets.unknown_costs(batch)
        if unknown.answers:
            await self._hold_unknown(batch, unknown, now)
        if unknown.answers and batch.resumes == job.resumes:
            await api_calls.pause_job(self._context, batch.job_id, *_why_unknown(batch, unknown), now)
        if outcomes.get(Outcome.CANCELED, 0) and batch.cancel_asked_at is None:
            words = f"{outcomes[Outcome.CANCELED]} requests of {batch.remote_id} were canceled by somebody else"
            await api_calls.pause_job(self._context, batch.job_id, account.CANCELED_ELSEWHERE, words, now)

    async def _hold_unknown(self, batch: BatchRow, unknown: UnknownCosts, now: datetime) -> None:
        """Keep reserved what the answers may have cost that do not say it; the rest of the batch is known."""
        if len(unknown.numbers) == unknown.answers:
            worst = await worst_of(self._context, batch, unknown.numbers, now)
            if worst is not None:
                await self._context.store.budgets.hold_only(batch, worst)

    async def _delete(self, now: datetime) -> None:
        """For privacy: delete batches at the API once every result is stored."""
        if await self._gates.is_shut(_DELETE_GATE, now):
            return
        trouble: errors.ProviderError | None = None
        for batch in await self._store.to_delete(_DELETES_PER_TICK):
            try:
                await self._delete_one(batch, now)
            except errors.ProviderError as exc:
                trouble = exc
        if trouble is None:
            await self._gates.open(_DELETE_GATE)
            return
        await self._gates.shut(_DELETE_GATE, trouble.message, trouble.retry_after_s)

    async def _delete_one(self, batch: BatchRow, now: datetime) -> None:
        """A 404 means that it is gone (the answer to an earlier try was lost), if the same account says so twice."""
        try:
            await api_calls.call(self._context, self._context.provider.delete(str(batch.remote_id)))
        except errors.ProviderNotFound:
            page = await api_calls.first_page(self._context)
            held = api_calls.same_account(page.meta, batch.organization, batch.workspace)
            if not held or await attribution.retrieve(self._context, str(batch.remote_id)) is not None:
                raise
        await self._store.deleted(batch, now)


def _why_unknown(batch: BatchRow, unknown: UnknownCosts) -> tuple[str, str]:
    """The code and the words of a pause."""
    what = f"what {humanize.count(unknown.answers, 'answer')} of {batch.remote_id} cost is not known"
    if not unknown.models:
        return account.UNKNOWN_COST, what
    return account.UNKNOWN_PRICE, f"{what}: there is no price for {humanize.some(unknown.models)}"
