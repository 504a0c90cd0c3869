"""What failed downloads and unusable results mean for a job: attention, a pause, or results that are gone for good."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain import errors, result_lines, result_outcome, waiting
from orchestrator.domain.api_answers import ResponseMeta
from orchestrator.domain.model import BatchRow
from orchestrator.engine import api_calls
from orchestrator.engine.context import Context
from orchestrator.engine.result_file import LineMatcher
from orchestrator.observability.logs import get_logger
from orchestrator.ports.results import DownloadProgress

log = get_logger(__name__)

RETENTION_NEAR: Final = "retention"
#: The results of a batch cannot be downloaded, or nothing in them can be used.
DOWNLOAD_FAILS: Final = "download_fails"
#: Failures in a row after which the list is asked what the download does not say: the date, and the account.
_ASK_AFTER: Final = 3
#: One failure or two pass by themselves; a person is told of so many in a row.
_TOLD_FROM: Final = 3
#: Results are called lost this long after their last day: "29 days" is not documented to the hour.
_LOST_AFTER: Final = waiting.RETENTION + timedelta(days=1)
_MOST_WORDS: Final = 300
_BOUGHT: Final = "they may have been paid for, so only `orchestrator retry` sends them again"


class DownloadFailures:
    """Sees to it that results are not lost in silence.

    What it raises and clears is attention, which is written again by the next download: a crash in between costs none.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._attention = context.store.attention
        self._collect = context.store.collect

    async def handle(self, batch: BatchRow, exc: errors.ProviderError) -> bool:
        """What a failed download means besides trying again. True if the results are gone for good and settled so."""
        now = self._context.clock.now()
        blocked = exc.blocked if isinstance(exc, errors.ProviderRefused) else None
        if blocked is not None:
            await api_calls.pause_job(self._context, batch.job_id, blocked, exc.message, now)
        if await self._is_lost(batch, gone=isinstance(exc, errors.ProviderNotFound), now=now):
            await self.clear(batch)
            return True
        await self._tell(batch, exc.message, at_once=False, shown=blocked is None)
        return False

    async def watch(self, batch: BatchRow, date: datetime | None, now: datetime) -> None:
        """Raise attention while there is still time. *date*: the API's."""
        if date is None or batch.created_at is None or date - batch.created_at <= waiting.RETENTION_ALARM:
            return
        words = f"the results of {batch.remote_id} are deleted at the API 29 days after {batch.created_at:%Y-%m-%d}"
        await self._attention.attend(batch.job_id, RETENTION_NEAR, batch.id, words, now)

    async def report(self, batch: BatchRow, matcher: LineMatcher, progress: DownloadProgress) -> None:
        """After a whole download: attention for what is odd in it, and none any more for what turned out well."""
        now = self._context.clock.now()
        unknown = _unknown_kinds(batch, progress)
        if unknown is not None:
            await self._attention.attend(batch.job_id, result_outcome.UNKNOWN_RESULT, batch.id, unknown, now)
        unread = _unreadable_lines(batch, matcher, progress)
        if unread is not None:
            await self._attention.attend(batch.job_id, result_outcome.UNREADABLE_RESULT, batch.id, unread, now)
        elif batch.download_tries:  # the download before may have shown some
            await self._attention.unattend(batch.job_id, result_outcome.UNREADABLE_RESULT, batch.id)
        if progress.seen > 0:
            await self.clear(batch)
            return
        why = f"not one of {matcher.odd} lines is a result of this batch" if matcher.odd else "the answer has no lines"
        why = f"{why} ({matcher.why})" if matcher.why else why
        is_told = bool(matcher.unreadable or matcher.nameless)  # as unreadable lines
        await self._tell(batch, why, at_once=matcher.odd > 0, shown=not is_told)

    async def clear(self, batch: BatchRow) -> None:
        """The download works, or is given up."""
        if batch.download_tries:
            await self._attention.unattend(batch.job_id, DOWNLOAD_FAILS, batch.id)

    async def _is_lost(self, batch: BatchRow, *, gone: bool, now: datetime) -> bool:
        """Whether the account that holds the batch says, past their last day, that the results are gone."""
        meta = await self._meta() if gone or batch.download_tries >= _ASK_AFTER else ResponseMeta()
        if not api_calls.same_account(meta, batch.organization, batch.workspace):
            await api_calls.pause_for_account(self._context, batch, meta, now)
            return False
        age = None if meta.date is None or batch.created_at is None else meta.date - batch.created_at
        if gone and age is not None and age > _LOST_AFTER:
            await self._lost(batch, now)
            return True
        await self.watch(batch, meta.date, now)
        return False

    async def _meta(self) -> ResponseMeta:
        try:
            return (await api_calls.first_page(self._context)).meta
        except errors.ProviderError:
            return ResponseMeta()  # the download itself is tried again, and tells again

    async def _lost(self, batch: BatchRow, now: datetime) -> None:
        """Deleted before they could be read: failed, loudly, and never bought again in silence."""
        words = f"the results of {batch.remote_id} were deleted at the API, 29 days after it was made, before they came"
        await self._attention.attend(batch.job_id, result_outcome.MISSING_RESULT, batch.id, words, now)
        error = (result_outcome.MISSING_RESULT, "the API deleted the result of this request before it could be read")
        await self._collect.give_up(batch, error, result_lines.errored_result(*error), now)
        log.error("batch.results_lost", batch_id=batch.id, remote_id=batch.remote_id)

    async def _tell(self, batch: BatchRow, why: str, *, at_once: bool, shown: bool) -> None:
        """The log hears of every failure; the job shows it from the third in a row on, or at once."""
        failures, why = batch.download_tries + 1, why[:_MOST_WORDS]
        log.warning("batch.download_failed", batch_id=batch.id, failures=failures, why=why)
        if not shown or not (at_once or failures >= _TOLD_FROM):
            return
        words = (
            f"the results of {batch.remote_id} cannot be downloaded: {why}; it is tried again and again, "
            "but the API deletes them 29 days after the batch was made"
        )
        await self._attention.attend(batch.job_id, DOWNLOAD_FAILS, batch.id, words, self._context.clock.now())


def _unknown_kinds(batch: BatchRow, progress: DownloadProgress) -> str | None:
    unknown = {
        kind: number
        for kind, number in progress.by_kind.items()
        if kind not in {*result_outcome.KINDS, result_outcome.UNREADABLE_RESULT}
    }
    if not unknown:
        return None
    kinds = ", ".join(f"{number} {kind!r}" for kind, number in sorted(unknown.items()))
    return (
        f"results of {batch.remote_id} are of a kind that this program does not know ({kinds}): "
        f"each is kept as it came and counts as failed; {_BOUGHT}"
    )


def _unreadable_lines(batch: BatchRow, matcher: LineMatcher, progress: DownloadProgress) -> str | None:
    kept = progress.by_kind.get(result_outcome.UNREADABLE_RESULT, 0)
    if progress.seen < progress.count and (matcher.unreadable or matcher.nameless):
        lines = len(matcher.unreadable) + matcher.nameless - kept
        return (
            f"{max(lines, 1)} result lines of {batch.remote_id} cannot be read ({matcher.why}): "
            f"they are downloaded again, and kept as they are if that does not help"
        )
    if kept:
        return (
            f"{kept} result lines of {batch.remote_id} cannot be read: "
            f"each is kept as it came (raw_base64 in its result) and counts as failed; {_BOUGHT}"
        )
    return None
