"""Stage poll: one list call sees every batch; asks the API to cancel what a person canceled (promise 5)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from datetime import datetime, timedelta

from orchestrator.domain import api_answers, errors
from orchestrator.domain.model import BatchRow
from orchestrator.domain.states import BatchState
from orchestrator.domain.waiting import STUCK_AFTER, UNREADABLE_AFTER, WALK_MARGIN, poll_pause
from orchestrator.engine import api_calls
from orchestrator.engine.batch_list import EndlessList
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger
from orchestrator.ports.runtime import Meter

log = get_logger(__name__)
STUCK = "stuck"
MISSING = "missing"
#: Source: the API's error for what cannot be done to a batch as it is (Message Batches API reference, errors).
_ENDED_ALREADY = 400


class PollStage:
    """Takes batches in `in_progress` and `canceling`, and leaves them in `ended` once the API says so.

    Counts or a failed call decide nothing. What was seen is written batch by batch; a crash only makes the next poll
    earlier.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.poll
        self._attention = context.store.attention
        self._gates = api_calls.Gates(context)
        self._lag = ListLag(context.meter)
        self._next_scan: datetime | None = None
        self._next_cancel: datetime | None = None
        self._unseen_since: dict[int, datetime] = {}  # by the API's Date; a hint for attention, nothing acts on it

    async def tick(self, now: datetime) -> int:
        """Poll if it is time. Returns how many batches moved."""
        self._lag.begin(now)
        moved = await self._cancel(now)
        if self._next_scan is not None and now < self._next_scan:  # a thousand batches are not read to find that out
            if not await self._store.is_watching():
                self._next_scan = None
            return moved
        batches = await self._store.watched()
        if not batches:
            self._next_scan = None
            return moved
        if await self._gates.is_shut(api_calls.READ_GATE, now):
            return moved
        try:
            moved += await self._scan(batches, now)
        except errors.ProviderError as exc:
            await api_calls.back_off(self._context, exc, jobs=[batch.job_id for batch in batches])
        else:
            await self._gates.open(api_calls.READ_GATE)
        self._next_scan = now + self._pause(batches, now)
        return moved

    def _pause(self, batches: list[BatchRow], now: datetime) -> timedelta:
        """The youngest batch sets the pace: the others are seen by the same call."""
        youngest = max(batch.sent_at if batch.sent_at is not None else now for batch in batches)
        return poll_pause(now - youngest, self._context.settings.poll, self._context.entropy.jitter())

    async def _scan(self, batches: list[BatchRow], now: datetime) -> int:
        waiting = {str(batch.remote_id): batch for batch in batches}
        bottom = min(batch.created_at for batch in batches if batch.created_at is not None) - WALK_MARGIN
        moved, meta = 0, api_answers.ResponseMeta()
        try:
            async with aclosing(api_calls.walk_list(self._context, bottom)) as pages:
                async for page, meta in pages:  # noqa: B007 - the last one is used below
                    moved += await self._shown(page, waiting, now)
                    if not waiting:
                        break
        except (errors.ProviderRefused, EndlessList) as exc:
            if isinstance(exc, errors.ProviderRefused) and exc.blocked is not None:
                raise
            log.warning("list.unusable", why=exc.message, asked_one_by_one=len(waiting))
        self._lag.looked(batch.id for batch in batches)
        for batch in waiting.values():
            moved += await self._unlisted(batch, meta, now)
        return moved

    async def _shown(self, page: api_answers.BatchPage, waiting: dict[str, BatchRow], now: datetime) -> int:
        """Apply one page to the batches in *waiting*, and take those it shows out of there."""
        moved = 0
        for remote in page.batches:
            batch = waiting.pop(remote.id, None)
            if batch is not None:
                self._lag.saw(batch, remote, page.meta.date)
                moved += await self._seen(batch, remote, page.meta, now)
        return moved

    async def _seen(
        self, batch: BatchRow, remote: api_answers.RemoteBatch, meta: api_answers.ResponseMeta, now: datetime
    ) -> int:
        """Apply one batch's entry in the list. An unchanged batch writes nothing."""
        if self._unseen_since.pop(batch.id, None) is not None:
            await self._attention.unattend(batch.job_id, MISSING, batch.id)
        if remote.status is api_answers.RemoteStatus.ENDED:
            await self._attention.unattend(batch.job_id, STUCK, batch.id)
            if batch.cancel_asked_at is not None:
                await api_calls.forget_trouble(self._context, batch.job_id)
            return int(await self._ended(batch, remote, now))
        if meta.date is not None and meta.date - remote.created_at > STUCK_AFTER:
            words = f"batch {remote.id} should have ended by {remote.expires_at:%Y-%m-%d %H:%M} UTC and has not"
            await self._attention.attend(batch.job_id, STUCK, batch.id, words, now)
        if remote.status is api_answers.RemoteStatus.CANCELING and batch.state is BatchState.IN_PROGRESS:
            return int(await self._store.seen_canceling(batch, now))
        return 0

    async def _ended(self, batch: BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> bool:
        moved = await self._store.ended(batch, remote, now)
        if moved and remote.ended_at is not None:
            self._context.meter.turned_around(remote.ended_at - remote.created_at)
        return moved

    async def _unlisted(self, batch: BatchRow, meta: api_answers.ResponseMeta, now: datetime) -> int:
        """The list did not show *batch*: retrieve it alone. A 404 proves nothing; a day of them needs a person."""
        if not api_calls.same_account(meta, batch.organization, batch.workspace):
            await api_calls.pause_for_account(self._context, batch, meta, now)
            return 0
        try:
            remote = await api_calls.call(self._context, self._context.provider.retrieve(str(batch.remote_id)))
        except errors.ProviderUnreadable as exc:
            await self._unreadable(batch, meta, exc.message, now)
            return 0
        except (errors.ProviderNotFound, errors.ProviderRefused) as exc:
            if isinstance(exc, errors.ProviderRefused) and exc.blocked is not None:
                raise
            await self._missing(batch, meta, exc.message, now)
            return 0
        return await self._seen(batch, remote, meta, now)

    async def _missing(self, batch: BatchRow, meta: api_answers.ResponseMeta, why: str, now: datetime) -> None:
        if meta.date is None:
            return
        since = self._unseen_since.setdefault(batch.id, meta.date)
        if meta.date - since >= UNREADABLE_AFTER:
            words = f"the API has not shown batch {batch.remote_id} for a day ({why}); it is still looked for"
            await self._attention.attend(batch.job_id, MISSING, batch.id, words, now)

    async def _unreadable(self, batch: BatchRow, meta: api_answers.ResponseMeta, why: str, now: datetime) -> None:
        """The API's answer cannot be read, so the state is unknown: a person is told at once; it is polled again."""
        self._unseen_since.setdefault(batch.id, now if meta.date is None else meta.date)
        words = f"what the API says of batch {batch.remote_id} cannot be read ({why}); it is asked for again"
        await self._attention.attend(batch.job_id, MISSING, batch.id, words, now)

    async def _cancel(self, now: datetime) -> int:
        """Ask the API to cancel the batches of canceled jobs."""
        if (self._next_cancel is not None and now < self._next_cancel) or await self._gates.is_shut(
            api_calls.READ_GATE, now
        ):
            return 0
        moved = 0
        for batch in await self._store.to_cancel():
            try:
                moved += await self._cancel_one(batch, now)
            except errors.ProviderError as exc:
                await api_calls.back_off(self._context, exc, jobs=[batch.job_id])
                break
        return moved

    async def _cancel_one(self, batch: BatchRow, now: datetime) -> int:
        """Ask once. A plain 400 means that it ended: it stays watched as `canceling` until the API says so.

        A 404 cannot be relied on (the batch may exist, and run on at our cost): it is asked again after a poll
        interval; any other refusal is a failure.
        """
        try:
            await api_calls.call(self._context, self._context.provider.cancel(str(batch.remote_id)))
        except errors.ProviderNotFound:
            self._next_cancel = now + self._context.settings.poll.shortest
            return 0
        except errors.ProviderRefused as exc:
            if exc.blocked is not None or exc.status != _ENDED_ALREADY:
                raise
            log.info("batch.cancel_refused", batch_id=batch.id, why=exc.message)
            self._next_scan = now
        return int(await self._store.asked_to_cancel(batch, now))


class ListLag:
    """Measures how long a created batch takes to appear in the list. `doubt_wait` must be far above it.

    By the API's clock, and up to one poll interval too long. Batches sent by an earlier process are not measured: they
    may have been listed long ago.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._listed: set[int] = set()
        self._begun: datetime | None = None

    def begin(self, now: datetime) -> None:
        """Measure batches sent from now on; only the first call counts."""
        if self._begun is None:
            self._begun = now

    def saw(self, batch: BatchRow, remote: api_answers.RemoteBatch, date: datetime | None) -> None:
        """A page of the list, answered at *date*, shows a batch of ours."""
        if batch.id in self._listed:
            return
        self._listed.add(batch.id)
        if self._is_of_this_process(batch) and date is not None:
            self._meter.listed(date - remote.created_at)

    def looked(self, watched: Iterable[int]) -> None:
        """A poll for *watched* is over; no other batch need be remembered."""
        self._listed.intersection_update(watched)

    def _is_of_this_process(self, batch: BatchRow) -> bool:
        return batch.sent_at is not None and self._begun is not None and batch.sent_at >= self._begun
