"""Attribution of a remote batch: only its results tell whose it is; a wire id with our nonce is proof (promise 2).

One that turns out to be bought twice is reported and counted, its results kept apart from the job's: never silent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain import api_answers, errors, waiting
from orchestrator.domain.ids import BatchId, JobId, Nonce, split_wire_id
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_lines import BadLine, ResultLine, wire_ids_of
from orchestrator.domain.states import BatchState
from orchestrator.engine import api_calls
from orchestrator.engine.context import Context
from orchestrator.engine.pricing import Pricing
from orchestrator.engine.result_file import ResultFile, payment_of
from orchestrator.observability.logs import get_logger
from orchestrator.ports.doubts import DuplicateResult

log = get_logger(__name__)

_MOST_ASKED_FOR: Final = 20
#: Source: `expires_at` is `created_at` + 24 h.
_LIFE: Final = timedelta(hours=24)
DUPLICATE: Final = "duplicate"
#: Such a batch may still turn out to be the remote one: so it is not a duplicate.
_OPEN: Final = frozenset({BatchState.PLANNED, BatchState.SUBMITTING, BatchState.IN_DOUBT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A line has the nonce of *batch*."""

    batch: BatchRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A line has a nonce signed for *job* that no batch has: a later version of this store, since lost, sent it."""

    nonce: Nonce
    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Enough complete lines, or all of them, and none with a nonce of ours.

    nonce: one of our form, but of no job in this store; the job may be lost, and be handed in again.
    """

    nonce: Nonce | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """Not known yet: it still runs, or too little of its results could be read."""

    why: str


Verdict = Ours | Lost | Foreign | Unsure


class SecondOpinion:
    """Lets a batch be called foreign only by two readings: the verdict is final, and one download may be garbage.

    Kept in memory: after a crash the first reading is done again.
    """

    def __init__(self) -> None:
        self._once: set[str] = set()

    def agrees(self, remote_id: str) -> bool:
        """True at the second reading in which *remote_id* looks foreign."""
        if remote_id in self._once:
            self._once.discard(remote_id)
            return True
        self._once.add(remote_id)
        return False


async def attribute(context: Context, remote: api_answers.RemoteBatch) -> Verdict:
    """Read the results of *remote* until they tell whose it is.

    Raises ProviderBusy and ProviderRefused: they are about us, not about this batch.
    """
    if remote.status is not api_answers.RemoteStatus.ENDED:
        return Unsure(why="it has not ended")
    return await attribute_by_lines(context, remote.id, remote.counts.total)


async def attribute_by_lines(context: Context, remote_id: str, total: int | None) -> Verdict:
    """Attribute a batch by its results alone. total: how many lines it must have, None if unknown."""
    try:
        return await _read(context, remote_id, total)
    except (errors.ProviderNotFound, errors.ProviderUnreachable) as exc:
        return Unsure(why=exc.message)


async def record_foreign(context: Context, remote: api_answers.RemoteBatch, verdict: Lost | Foreign) -> None:
    """Record that *remote* is no batch of this store. One with a nonce of our form is kept as a stray of its job."""
    if verdict.nonce is not None:
        job = verdict.job if isinstance(verdict, Lost) else None
        await context.store.strays.keep(remote, verdict.nonce, job, None)
    await context.store.sweep.see([remote])
    await context.store.evidence.judge(remote.id, "foreign")


async def _read(context: Context, remote_id: str, total: int | None) -> Verdict:
    """The verdict of one reading. An end short of *total* lines proves nothing: a cut download looks the same."""
    seen = 0
    strange: Counter[Nonce] = Counter()
    async with aclosing(wire_ids(context, remote_id)) as wires:
        async for wire in wires:
            seen += 1
            if (parts := split_wire_id(wire)) is not None:
                if parts[0] not in strange and (own := await _owner(context, parts[0])) is not None:
                    return own
                strange[parts[0]] += 1
            if seen >= waiting.PROOF_LINES:
                return _foreign(strange)
    if total is not None and seen >= total:
        return _foreign(strange)
    return Unsure(why=f"the results ended after {seen} of {'unknown' if total is None else total} lines")


def _foreign(strange: Counter[Nonce]) -> Foreign:
    """The most frequent nonce is the batch's own: a batch of ours has one, others came in with a corrupted download."""
    return Foreign(nonce=next((nonce for nonce, _ in strange.most_common(1)), None))


async def wire_ids(context: Context, remote_id: str, nonce: Nonce | None = None) -> AsyncGenerator[str, None]:
    """The custom ids in the complete lines of a result file; with *nonce*, also in unreadable lines of its batch."""
    pattern = None if nonce is None else wire_ids_of(nonce)
    async with context.provider.results(remote_id) as download:
        file = ResultFile(download)
        async for lines in file:
            found = _ids_of(lines, pattern)
            if found:
                file.found_new()
            for own in found:
                yield own


def _ids_of(lines: Iterable[ResultLine | BadLine], pattern: re.Pattern[bytes] | None) -> list[str]:
    ids = [
        line.wire_id if isinstance(line, ResultLine) else None if pattern is None else line.wire_id(pattern)
        for line in lines
    ]
    return [own for own in ids if own is not None]


async def _owner(context: Context, nonce: Nonce) -> Ours | Lost | None:
    if (batch := await context.store.evidence.by_nonce(nonce)) is not None:
        return Ours(batch=batch)
    job = await context.store.strays.owner(nonce)
    return None if job is None else Lost(nonce=nonce, job=job)


async def retrieve(context: Context, remote_id: str) -> api_answers.RemoteBatch | None:
    """One remote batch; None if the API does not show it now, which proves nothing."""
    try:
        return await api_calls.call(context, context.provider.retrieve(remote_id))
    except errors.ProviderNotFound:
        return None


async def retrieve_malformed(
    context: Context, entries: Iterable[api_answers.MalformedEntry]
) -> list[api_answers.RemoteBatch]:
    """The batches behind *entries* of the list, each retrieved by its id and readable there; 20 at most.

    Those that are ours already, or known to be foreign, are not retrieved.
    """
    named = {entry.mark: placeholder(entry, context.clock.now()) for entry in entries if entry.id is not None}
    if not named:
        return []
    unclaimed = await context.store.evidence.unclaimed(list(named.values()))
    found: list[api_answers.RemoteBatch] = []
    for entry in unclaimed[:_MOST_ASKED_FOR]:
        try:
            remote = await retrieve(context, entry.id)
        except errors.ProviderUnreadable:
            continue
        if remote is not None:
            found.append(remote)
    return found


def placeholder(entry: api_answers.MalformedEntry, at: datetime) -> api_answers.RemoteBatch:
    """A batch in place of an unreadable entry: what is unknown is 0, *at*, or the API's own life span of 24 hours."""
    created_at = at if entry.created_at is None else entry.created_at
    return api_answers.RemoteBatch(
        id=entry.mark,
        status=api_answers.RemoteStatus.IN_PROGRESS,
        counts=api_answers.ApiCounts(processing=0 if entry.total is None else entry.total),
        created_at=created_at,
        expires_at=created_at + _LIFE,
    )


async def report_duplicate(context: Context, batch: BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> bool:
    """Report *remote*, which has the nonce of a closed *batch*, or of one with another remote id.

    False if that is not so, or is known already. The count is written last: whatever a crash cuts off before it is done
    again. Raises ProviderError if the results of *remote* cannot be read.
    """
    if batch.state in _OPEN or batch.remote_id == remote.id:
        return False
    await keep_results(context, batch.id, remote)
    return await _tell_duplicate(context, batch, remote, "its results are kept as spare", now)


async def stop_duplicate(context: Context, batch: BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> None:
    """Report *remote*, which the API has just made for *batch*: it was given up, or has another remote id, meanwhile.

    The API is asked to cancel that of a void batch: what it has not processed yet is not billed. There are no results
    yet; the late sweep keeps them.
    """
    what = "its results will be kept as spare"
    if batch.state is BatchState.VOID:
        asked = "was asked" if await ask_to_cancel(context, remote.id) else "could not be asked yet"
        what = f"the API {asked} to cancel it, and {what}"
    await context.store.sweep.see([remote])
    await _tell_duplicate(context, batch, remote, what, now)


async def ask_to_cancel(context: Context, remote_id: str) -> bool:
    """Whether the API was asked to cancel a duplicate."""
    try:
        await api_calls.call(context, context.provider.cancel(remote_id))
    except errors.ProviderError as exc:
        log.warning("batch.duplicate_not_canceled", remote_id=remote_id, why=exc.message)
        return False
    return True


async def _tell_duplicate(
    context: Context, batch: BatchRow, remote: api_answers.RemoteBatch, what: str, now: datetime
) -> bool:
    words = (
        f"batch {batch.id} was {batch.state} when it turned out to exist as {remote.id}: {batch.count} requests may be "
        f"paid for twice; {what}"
    )
    await context.store.attention.attend(batch.job_id, DUPLICATE, batch.id, words, now)
    if not await context.store.sweep.duplicate(batch, remote.id, now):
        return False
    log.error("batch.duplicate", batch_id=batch.id, remote_id=remote.id)
    return True


async def keep_results(context: Context, batch: BatchId, remote: api_answers.RemoteBatch) -> None:
    """Store every result of a duplicate of *batch* beside the job. Raises ProviderError if they cannot be read."""
    kept: set[int] = set()
    pricing = Pricing(await context.loaded_prices(), remote.created_at)
    async with context.provider.results(remote.id) as download:
        file = ResultFile(download)
        async for lines in file:
            results = [line for line in lines if isinstance(line, ResultLine)]
            rows = [
                DuplicateResult(own[1], line.result, payment_of(line, pricing))
                for line in results
                if (own := split_wire_id(line.wire_id)) is not None
            ]
            if rows:
                await context.store.sweep.keep_duplicate_results(batch, remote.id, rows)
            before = len(kept)
            kept |= {row.number for row in rows}
            if len(kept) > before:
                file.found_new()
