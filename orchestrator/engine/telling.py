"""What a person is told about results that are not as documented: of a kind nobody knows, or not to be read at all."""

from __future__ import annotations

from typing import Final

from orchestrator.domain.model import Batch, Progress
from orchestrator.domain.outcome import KINDS, UNKNOWN_RESULT, UNREADABLE_RESULT
from orchestrator.engine.context import Context
from orchestrator.engine.sieve import Sieve

_BOUGHT: Final = "they may have been paid for, so only `orchestrator retry` sends them again"


async def tell_of_odd_results(context: Context, batch: Batch, sieve: Sieve, progress: Progress) -> None:
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


def _unreadable(batch: Batch, sieve: Sieve, progress: Progress) -> str | None:
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
