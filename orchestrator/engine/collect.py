"""Stage collect: downloads the results of ended batches and stores each line exactly once (promise 3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.domain import errors, result_lines, result_outcome, waiting
from orchestrator.domain.api_answers import RemoteStatus, ResponseMeta
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.engine import api_calls
from orchestrator.engine.context import Context
from orchestrator.engine.download_failures import RETENTION_NEAR, DownloadFailures
from orchestrator.engine.pricing import Pricing, worst_of
from orchestrator.engine.result_file import LineMatcher, LineReading, ResultFile
from orchestrator.observability.logs import get_logger
from orchestrator.ports.results import DownloadProgress

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema

log = get_logger(__name__)

#: However long the API asks us to wait: a download is never put off for longer (results are gone after 29 days).
LONGEST_PAUSE: Final = timedelta(hours=1)
COUNTS: Final = "counts_disagree"
#: So many jobs' schemas are kept in memory.
_MOST_SCHEMAS: Final = 1000


class CollectStage:
    """Takes batches in `ended`, and marks one collected once every wire id was seen and the counts are the API's own.

    A download that breaks, ends early or has bad lines is repeated from its start; stored lines never change, so a
    crash in the middle costs one more download. What the API still omits after ten full downloads over a day becomes
    `failed: missing_result`.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.collect
        self._attention = context.store.attention
        self._failures = DownloadFailures(context)
        self._running = 0
        #: The unreadable lines of the last download, by batch and number; a crash only means one download more.
        self._unreadable: dict[int, dict[int, LineReading]] = {}
        #: By job: what its answers have to match, which never changes.
        self._schemas: dict[JobId, AnswerSchema | None] = {}

    async def advance(self, batch: BatchRow) -> int:
        """Download one batch and act on the outcome. 1 if the batch is complete now."""
        self._running += 1
        try:
            return await self._advance(batch)
        finally:
            self._running -= 1

    async def _advance(self, batch: BatchRow) -> int:
        try:
            meta, matcher = await self._download(batch)
        except errors.ProviderError as exc:
            api_calls.note_failure(self._context, exc)
            if await self._failures.handle(batch, exc):
                return 1
            await self._again(batch, None, exc)
            return 0
        self._context.health.note_answer()
        progress = await self._store.progress(batch)
        await self._failures.report(batch, matcher, progress)
        self._unreadable[batch.id] = matcher.unreadable
        if complete(progress, batch) or await self._recounted(batch, progress):
            return await self._complete(batch, progress, matcher)
        log.warning("batch.incomplete", batch_id=batch.id, seen=progress.seen, count=batch.count, odd_lines=matcher.odd)
        return await self._incomplete(batch, progress, meta, self._context.clock.now())

    async def _recounted(self, batch: BatchRow, progress: DownloadProgress) -> bool:
        """Every id came, but the counts differ: those seen when the batch ended may have been stale, so ask again."""
        if progress.seen != progress.count:
            return False
        try:
            remote = await api_calls.call(self._context, self._context.provider.retrieve(str(batch.remote_id)))
        except errors.ProviderError:
            return False
        return remote.status is RemoteStatus.ENDED and complete(progress, replace(batch, api_counts=remote.counts))

    async def _complete(self, batch: BatchRow, progress: DownloadProgress, matcher: LineMatcher) -> int:
        moved = await self._store.collected(batch, self._context.clock.now())
        self._unreadable.pop(batch.id, None)
        for kind in (COUNTS, RETENTION_NEAR):
            await self._attention.unattend(batch.job_id, kind, batch.id)
        for kind, tokens in matcher.tokens.items():
            self._context.meter.spent(kind, tokens)
        log.info("batch.collected", batch_id=batch.id, **progress.by_kind)
        return int(moved)

    async def _download(self, batch: BatchRow) -> tuple[ResponseMeta, LineMatcher]:
        """Stream one result file into the store. Returns its headers, and the matcher with what it counted."""
        made = self._context.clock.now() if batch.created_at is None else batch.created_at
        pricing = Pricing(await self._context.loaded_prices(), made)
        schema = await self._schema(batch.job_id)
        matcher = LineMatcher(batch, self._unreadable.get(batch.id, {}), pricing, schema)
        async with self._context.provider.results(str(batch.remote_id)) as download:
            file = ResultFile(download)
            async for lines in file:
                await self._take(matcher, batch, lines, whole=not file.ended)
                if matcher.is_full(self._running):
                    await self._write(batch, matcher.drain())
                if matcher.has_new():
                    file.found_new()
                    if await self._is_all_here(matcher, batch):
                        break
            if file.is_endless:
                log.warning("batch.endless_results", batch_id=batch.id, found=matcher.found)
            await self._write(batch, matcher.drain())
            return file.meta, matcher

    async def _schema(self, job: JobId) -> AnswerSchema | None:
        """What answers of *job* have to match; None: anything will do."""
        if job not in self._schemas:
            if len(self._schemas) >= _MOST_SCHEMAS:
                self._schemas.clear()
            text = (await self._context.store.commands.get(job)).schema
            self._schemas[job] = None if text is None else _read_schema(text)
        return self._schemas[job]

    async def _is_all_here(self, matcher: LineMatcher, batch: BatchRow) -> bool:
        """Whether the batch is complete already, so that the download can stop: the stream may not have an end."""
        if matcher.found < batch.count:
            return False
        await self._write(batch, matcher.drain())
        return complete(await self._store.progress(batch), batch)

    async def _take(
        self,
        matcher: LineMatcher,
        batch: BatchRow,
        lines: list[result_lines.ResultLine | result_lines.BadLine],
        *,
        whole: bool,
    ) -> None:
        """Match lines by nonce, or by the user's own ids if the batch was made elsewhere."""
        numbers: dict[str, int] | None = None
        if batch.adopted:
            ids = [own for line in lines if (own := matcher.id_of(line)) is not None]
            numbers = await self._store.numbers(batch.job_id, ids)
        matcher.take(lines, numbers, whole=whole)

    async def _write(self, batch: BatchRow, lines: list[JudgedLine]) -> None:
        if lines:
            await self._store.store_lines(batch, lines, self._context.clock.now())

    async def _again(self, batch: BatchRow, meta: ResponseMeta | None, exc: errors.ProviderError | None) -> None:
        """Schedule the next download: from `poll_interval`, doubling to 10 minutes, or when the API asks for it."""
        now = self._context.clock.now()
        first = self._context.settings.poll.shortest
        pace = waiting.Pace(shortest=first, longest=max(waiting.DOWNLOAD_AGAIN_MAX, first))
        jitter = self._context.entropy.jitter()
        pause = None if exc is None else waiting.asked_pause(exc.retry_after_s, 0)
        own = waiting.backoff(batch.download_tries + 1, pace, jitter)
        due = now + min(own if pause is None else pause, LONGEST_PAUSE)
        date = None if meta is None else meta.date
        await self._store.again(batch, due, date, full=meta is not None)

    async def _incomplete(self, batch: BatchRow, progress: DownloadProgress, meta: ResponseMeta, now: datetime) -> int:
        if not _patience_is_over(batch, meta):
            await self._failures.watch(batch, meta.date, now)
            await self._again(batch, meta, None)
            return 0
        missing = batch.count - progress.seen
        words = f"the API left out {missing} of {batch.count} results of {batch.remote_id}, download after download"
        if missing == 0:
            words = f"{batch.remote_id}: the results are all here, but the API's counts disagree with them"
            await self._attention.attend(batch.job_id, COUNTS, batch.id, words, now)
            return int(await self._store.collected(batch, now))
        await self._failures.clear(batch)
        await self._attention.attend(batch.job_id, result_outcome.MISSING_RESULT, batch.id, words, now)
        error = (result_outcome.MISSING_RESULT, "the API never returned a result for this request")
        assumed = await self._assumed(batch, now)
        await self._store.give_up(batch, error, result_lines.errored_result(*error), now, assumed)
        log.error("batch.results_missing", batch_id=batch.id, missing=missing)
        return 1

    async def _assumed(self, batch: BatchRow, now: datetime) -> int | None:
        """What the requests that never came are taken to have cost, under a cap: as much as they may. None: unknown."""
        if batch.worst_nanos is None:
            return None
        return await worst_of(self._context, batch, await self._store.unseen(batch), now)


def complete(progress: DownloadProgress, batch: BatchRow) -> bool:
    """Promise 3: every wire id was seen, and the counts by type are the API's, or below if there are unknown types."""
    counts = batch.api_counts
    if counts is None or progress.seen != progress.count:
        return False
    wanted = Counter(
        succeeded=counts.succeeded, errored=counts.errored, canceled=counts.canceled, expired=counts.expired
    )
    # A kind that the API has no count for may hide in any of them: then those that have one must not exceed theirs.
    counted = Counter({kind: number for kind, number in progress.by_kind.items() if kind in wanted})
    return counted <= wanted if batch.partial or counted.total() < progress.seen else +counted == +wanted


def _read_schema(text: str) -> AnswerSchema:
    from orchestrator.domain.answer_schema import AnswerSchema  # late: few jobs have one

    return AnswerSchema(text)


def _patience_is_over(batch: BatchRow, meta: ResponseMeta) -> bool:
    if batch.first_download_date is None or meta.date is None:
        return False
    enough = batch.downloads + 1 >= waiting.PATIENCE_DOWNLOADS
    return enough and meta.date - batch.first_download_date >= waiting.PATIENCE_TIME
