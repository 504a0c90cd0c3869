"""What a person is told about results that do not come, are of a kind nobody knows, or cannot be read."""

from __future__ import annotations

from typing import Final

from orchestrator.domain.errors import ProviderError, ProviderRefused
from orchestrator.domain.model import Batch, DownloadProgress
from orchestrator.domain.result_outcome import KINDS, UNKNOWN_RESULT, UNREADABLE_RESULT
from orchestrator.engine.context import Context
from orchestrator.engine.line_matcher import Sieve
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

#: The results of a batch cannot be downloaded, or nothing in them can be used.
DOWNLOAD_FAILS: Final = "download_fails"
#: One failure or two pass by themselves; a person is told of so many in a row.
_TOLD_FROM: Final = 3
_MOST_WORDS: Final = 300
_BOUGHT: Final = "they may have been paid for, so only `orchestrator retry` sends them again"


async def tell_of_failure(context: Context, batch: Batch, exc: ProviderError) -> None:
    """A download failed: the log says so, and from the third time in a row the job, unless it is paused for that."""
    is_told = isinstance(exc, ProviderRefused) and exc.blocked is not None
    await _tell(context, batch, exc.message, at_once=False, shown=not is_told)


async def tell_of_barren(context: Context, batch: Batch, sieve: Sieve) -> None:
    """A whole download gave no result: told at once where it has lines, unless they are told as unreadable ones."""
    is_told = bool(sieve.unreadable or sieve.nameless)
    why = f"not one of {sieve.odd} lines is a result of this batch" if sieve.odd else "the answer has no lines"
    await _tell(context, batch, f"{why} ({sieve.why})" if sieve.why else why, at_once=sieve.odd > 0, shown=not is_told)


async def take_back_failure(context: Context, batch: Batch) -> None:
    """The download works, or is given up."""
    if batch.download_tries:
        await context.store.attention.unattend(batch.job_id, DOWNLOAD_FAILS, batch.id)


async def _tell(context: Context, batch: Batch, why: str, *, at_once: bool, shown: bool) -> None:
    failures, why = batch.download_tries + 1, why[:_MOST_WORDS]
    log.warning("batch.download_failed", batch_id=batch.id, failures=failures, why=why)
    if not shown or not (at_once or failures >= _TOLD_FROM):
        return
    words = (
        f"the results of {batch.remote_id} cannot be downloaded: {why}; it is tried again and again, "
        "but the API deletes them 29 days after the batch was made"
    )
    await context.store.attention.attend(batch.job_id, DOWNLOAD_FAILS, batch.id, words, context.clock.now())


async def tell_of_odd_results(context: Context, batch: Batch, sieve: Sieve, progress: DownloadProgress) -> None:
    """After a download: attention for what is odd in it, and none any more for what turned out well."""
    unknown = {kind: number for kind, number in progress.by_kind.items() if kind not in {*KINDS, UNREADABLE_RESULT}}
    if unknown:
        kinds = ", ".join(f"{number} {kind!r}" for kind, number in sorted(unknown.items()))
        words = (
            f"results of {batch.remote_id} are of a kind that this program does not know ({kinds}): "
            f"each is kept as it came and counts as failed; {_BOUGHT}"
        )
        await context.store.attention.attend(batch.job_id, UNKNOWN_RESULT, batch.id, words, context.clock.now())
    unread = _unreadable(batch, sieve, progress)
    if unread is not None:
        await context.store.attention.attend(batch.job_id, UNREADABLE_RESULT, batch.id, unread, context.clock.now())
    elif batch.download_tries:  # the download before may have shown some
        await context.store.attention.unattend(batch.job_id, UNREADABLE_RESULT, batch.id)


def _unreadable(batch: Batch, sieve: Sieve, progress: DownloadProgress) -> str | None:
    kept = progress.by_kind.get(UNREADABLE_RESULT, 0)
    if progress.seen < progress.count and (sieve.unreadable or sieve.nameless):
        lines = len(sieve.unreadable) + sieve.nameless - kept
        return (
            f"{max(lines, 1)} result lines of {batch.remote_id} cannot be read ({sieve.why}): "
            f"they are downloaded again, and kept as they are if that does not help"
        )
    if kept:
        return (
            f"{kept} result lines of {batch.remote_id} cannot be read: "
            f"each is kept as it came (raw_base64 in its result) and counts as failed; {_BOUGHT}"
        )
    return None
