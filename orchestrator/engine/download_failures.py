"""Downloads that keep failing: whose fault it may be, and the day on which the API deletes the results."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.api_answers import ResponseMeta
from orchestrator.domain.errors import ProviderError, ProviderNotFound, ProviderRefused
from orchestrator.domain.model import Batch
from orchestrator.domain.result_lines import errored_result
from orchestrator.domain.result_outcome import MISSING_RESULT
from orchestrator.domain.waiting import RETENTION, RETENTION_ALARM
from orchestrator.engine.api_calls import asked, pause_for, pause_for_account, same_account
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

RETENTION_NEAR: Final = "retention"
#: Failures in a row after which the list is asked what the download does not say: the date, and the account.
_ASK_AFTER: Final = 3
#: Results are called lost this long after their last day: "29 days" is not documented to the hour.
_LOST_AFTER: Final = RETENTION + timedelta(days=1)


class Retention:
    """Sees to it that results are not lost in silence."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def after_failure(self, batch: Batch, exc: ProviderError) -> bool:
        """What a failed download means besides trying again. True if the results are gone for good and settled so."""
        now = self._context.clock.now()
        if isinstance(exc, ProviderRefused) and exc.blocked is not None:
            await pause_for(self._context, batch.job_id, exc.blocked, exc.message, now)
        gone = isinstance(exc, ProviderNotFound)
        meta = await self._meta() if gone or batch.download_tries >= _ASK_AFTER else ResponseMeta()
        if not same_account(meta, batch.organization, batch.workspace):
            await pause_for_account(self._context, batch, meta, now)
            return False
        age = None if meta.date is None or batch.created_at is None else meta.date - batch.created_at
        if gone and age is not None and age > _LOST_AFTER:
            await self._lost(batch, now)
            return True
        await self.watch(batch, meta.date, now)
        return False

    async def watch(self, batch: Batch, date: datetime | None, now: datetime) -> None:
        """Raise attention while there is still time. *date*: the API's."""
        if date is None or batch.created_at is None or date - batch.created_at <= RETENTION_ALARM:
            return
        words = f"the results of {batch.remote_id} are deleted at the API 29 days after {batch.created_at:%Y-%m-%d}"
        await self._context.store.attention.attend(batch.job_id, RETENTION_NEAR, batch.id, words, now)

    async def _meta(self) -> ResponseMeta:
        try:
            page = await asked(self._context, self._context.provider.page(after_id=None, limit=1))
        except ProviderError:
            return ResponseMeta()  # the download itself is tried again, and tells again
        return page.meta

    async def _lost(self, batch: Batch, now: datetime) -> None:
        """Deleted before they could be read: failed, loudly, and never bought again in silence."""
        words = f"the results of {batch.remote_id} were deleted at the API, 29 days after it was made, before they came"
        await self._context.store.attention.attend(batch.job_id, MISSING_RESULT, batch.id, words, now)
        error = (MISSING_RESULT, "the API deleted the result of this request before it could be read")
        await self._context.store.collect.give_up(batch, error, errored_result(*error), now)
        log.error("batch.results_lost", batch_id=batch.id, remote_id=batch.remote_id)
