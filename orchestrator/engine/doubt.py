"""Stage doubt: finds out what became of a POST without a clear answer, and never guesses (promise 2).

Wait until a created batch must be listed; walk the list; every remote batch of the same size that is not known to be
ours or foreign is a candidate; when a candidate has ended, its results prove whose it is. Nobody, twice: void.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.account import OTHER_ACCOUNT
from orchestrator.domain.answers import Meta, RemoteBatch, RemoteStatus
from orchestrator.domain.errors import ProviderError
from orchestrator.domain.model import Batch, Remote
from orchestrator.domain.states import BatchState
from orchestrator.domain.waiting import DATE_MARGIN, UNREADABLE_AFTER, WALK_MARGIN, poll_pause
from orchestrator.engine.context import Context
from orchestrator.engine.proof import Foreign, Ours, Unsure, look_up, prove
from orchestrator.engine.reading import READ_GATE, Gates, asked, pause_for, same_account, shut_after, walk
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

UNPROVABLE = "unprovable"
IN_DOUBT = "in_doubt"


class DoubtStage:
    """Moves batches `in_doubt → in_progress | void`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._gates = Gates(context=context)
        self._next_look: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """Look after every batch in doubt; how many left that state."""
        batches = await self._context.store.doubt.in_doubt()
        if not batches:
            self._next_look = None
            return 0
        if self._next_look is not None and now < self._next_look:
            return 0
        if await self._gates.is_shut(READ_GATE, now):
            return 0
        pace = self._context.settings.poll
        self._next_look = now + poll_pause(self._context.settings.doubt_wait, pace, self._context.entropy.jitter())
        try:
            return await self._look(batches, now)
        except ProviderError as exc:
            await shut_after(self._context, exc, now)
            return 0

    async def _look(self, batches: list[Batch], now: datetime) -> int:
        top = await asked(self._context, self._context.provider.page(after_id=None, limit=1))
        date = top.meta.date
        if date is None:
            return 0
        await self._context.store.doubt.note_date([b for b in batches if b.doubt_date is None], date)
        moved = 0
        for batch in batches:
            if not same_account(top.meta, batch.organization, batch.workspace):
                await _other_account(self._context, batch, top.meta, now)
            elif batch.doubt_until is not None or await self._wait_is_over(batch, date, now):
                moved += await self._advance(batch.id, now)
        return moved

    async def _wait_is_over(self, batch: Batch, date: datetime, now: datetime) -> bool:
        """By our own clock, or by the API's: whichever proves it first. Closes the set of candidates at *date*."""
        wait = self._context.settings.doubt_wait
        since = now if batch.doubt_since is None else batch.doubt_since
        first = date if batch.doubt_date is None else batch.doubt_date
        if now - since < wait and date - first < wait + DATE_MARGIN:
            return False
        return await self._context.store.doubt.end_wait(batch, date)

    async def _advance(self, batch_id: int, now: datetime) -> int:
        """One whole look at the list for one batch whose wait is over."""
        for batch in await self._context.store.doubt.in_doubt():
            if batch.id == batch_id and batch.doubt_until is not None:
                return await self._search(batch, batch.doubt_until, now)
        return 0

    async def _search(self, batch: Batch, until: datetime, now: datetime) -> int:
        context = self._context
        listed, meta = await self._same_size(batch, until)
        await context.store.evidence.add_candidates(batch, await context.store.evidence.unclaimed(listed))
        by_id = {remote.id: remote for remote in listed}
        open_ones = 0
        for candidate in await context.store.evidence.candidates(batch):
            if candidate.verdict in {"ours", "foreign"}:
                continue
            if await self._judge(candidate, by_id.get(candidate.remote_id), batch, meta, now):
                open_ones += 1
        if await _left(context, batch):
            return 1
        return await self._conclude(batch, found=open_ones > 0, date=meta.date, now=now)

    async def _same_size(self, batch: Batch, until: datetime) -> tuple[list[RemoteBatch], Meta]:
        """Remote batches of the batch's size that were created between the cursor and *until* (API time)."""
        start = batch.cursor_created_at if batch.cursor_created_at is not None else batch.cursor_date
        bottom = (until if start is None else start) - WALK_MARGIN
        found: list[RemoteBatch] = []
        last = Meta()
        async for page, meta in walk(self._context, bottom):
            last = meta
            found += [r for r in page.batches if r.counts.total == batch.count and bottom <= r.created_at <= until]
        return found, last

    async def _judge(
        self, candidate: Remote, listed: RemoteBatch | None, batch: Batch, meta: Meta, now: datetime
    ) -> bool:
        """True if *candidate* is still open: it may be the batch, and cannot be told yet."""
        context = self._context
        remote = listed if listed is not None else await look_up(context, candidate.remote_id)
        if remote is not None and remote.status is not RemoteStatus.ENDED:
            return True
        verdict = Unsure(why="the API does not show it", gone=True) if remote is None else await prove(context, remote)
        match verdict:
            case Ours():
                await self._ours(verdict.batch, remote, now)
                return verdict.batch.id == batch.id and verdict.batch.state is BatchState.IN_DOUBT
            case Foreign():
                await context.store.evidence.judge(candidate.remote_id, "foreign", None)
                return False
            case Unsure():
                await self._unreadable(candidate, batch, verdict.why, meta, now)
                return True

    async def _ours(self, owner: Batch, remote: RemoteBatch | None, now: datetime) -> None:
        """A remote batch carries the nonce of *owner*: claim it, or report a purchase that should not exist."""
        if remote is None:
            return
        if owner.state is BatchState.IN_DOUBT:
            if await self._context.store.doubt.claim(owner, remote, now):
                await self._context.store.attention.unattend(owner.job_id, UNPROVABLE, owner.id)
                log.info("batch.claimed", batch_id=owner.id, remote_id=remote.id)
        elif owner.remote_id != remote.id:
            await self._context.store.sweep.duplicate(owner, remote.id, now)
            log.error("batch.duplicate", batch_id=owner.id, remote_id=remote.id)

    async def _unreadable(self, candidate: Remote, batch: Batch, why: str, meta: Meta, now: datetime) -> None:
        """Not read this time. After a day of the API's time a person decides; nothing is voided meanwhile."""
        evidence = self._context.store.evidence
        if meta.date is None:
            return
        await evidence.readable(candidate.remote_id, unreadable_at=meta.date)
        since = candidate.unreadable_since
        if since is None or meta.date - since < UNREADABLE_AFTER:
            return
        await evidence.judge(candidate.remote_id, "unprovable", None)
        words = (
            f"batch {batch.id} may be {candidate.remote_id} at the API, which cannot be read ({why}): "
            f"decide with `orchestrator batches adopt|disown {candidate.remote_id}`"
        )
        await self._context.store.attention.attend(batch.job_id, UNPROVABLE, batch.id, words, now)

    async def _conclude(self, batch: Batch, *, found: bool, date: datetime | None, now: datetime) -> int:
        """After a whole look: nobody, for the second time in a row, means that it was never created."""
        store = self._context.store.doubt
        if found or batch.doubt_looks == 0 or date is None:
            await store.looked(batch, found=found)
            return 0
        voided = await store.void(batch, date, "not at the API, in two looks after the wait", now)
        if voided:
            await self._context.store.attention.unattend(batch.job_id, UNPROVABLE, batch.id)
            log.info("batch.void", batch_id=batch.id)
        return int(voided)


async def _left(context: Context, batch: Batch) -> bool:
    """True if the batch is not in doubt any more."""
    return all(other.id != batch.id for other in await context.store.doubt.in_doubt())


async def _other_account(context: Context, batch: Batch, meta: Meta, now: datetime) -> None:
    needed = f"organization {batch.organization}, workspace {batch.workspace}"
    words = f"batch {batch.id} was sent with {needed}; the key in use is of {meta.organization}, {meta.workspace}"
    await pause_for(context, batch.job_id, OTHER_ACCOUNT, words, now)
