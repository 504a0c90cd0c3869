"""Calls of the API by the stages: here every failed read becomes a wait, a pause of jobs, or attention."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, TypeVar

from orchestrator.domain import account, errors, waiting
from orchestrator.domain.api_answers import BatchPage, RemoteBatch, ResponseMeta
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import BatchRow, Gate
from orchestrator.domain.states import JobState
from orchestrator.engine.batch_list import walk_pages
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)
T = TypeVar("T")

READ_GATE: Final = "read"
CREATE_GATE: Final = "create"
#: Beside each gate another for what the API asked for: not a failure, so it does not lengthen our backoff.
_REQUESTED: Final = ".asked"
GATE_PACE: Final = waiting.Pace(shortest=timedelta(seconds=1), longest=timedelta(minutes=2))


class Gates:
    """Backoff for one kind of call: shut for a while, then open again. Gates are rows and survive a restart."""

    def __init__(self, context: Context) -> None:
        self._store = context.store.gates
        self._clock = context.clock
        self._entropy = context.entropy

    async def is_shut(self, name: str, now: datetime) -> bool:
        """Whether this kind of call must wait."""
        return await self.shut_for(name, now) is not None

    async def shut_for(self, name: str, now: datetime) -> timedelta | None:
        """How long this kind of call must wait still; None: it need not."""
        waits = [gate.until - now for gate in await self._among(name) if now < gate.until]
        return max(waits, default=None)

    async def tries(self, name: str) -> int:
        """How many calls of this kind in a row failed or were put off."""
        return sum(gate.tries for gate in await self._among(name))

    async def shut(self, name: str, why: str, retry_after_s: float | None) -> None:
        """Wait as long as the API asks, or with growing pauses of our own, counted from now and not from the call."""
        now = self._clock.now()
        jitter = self._entropy.jitter()
        asked_for = waiting.asked_pause(retry_after_s, jitter)
        if asked_for is not None:
            await self._store.shut(name + _REQUESTED, now + asked_for, why, now)
            return
        streak = await self._store.get(name)
        own = waiting.backoff(1 if streak is None else streak.tries + 1, GATE_PACE, jitter)
        await self._store.shut(name, now + own, why, now)

    async def open(self, name: str) -> None:
        """A call worked: forget the failures in a row. Writes nothing if there were none.

        A pause that the API asked for is kept to its end: a call that works during it was sent before it. So is one
        that another daemon stores meanwhile.
        """
        now = self._clock.now()
        for gate in await self._among(name):
            if gate.name == name or gate.until <= now:
                await self._store.open(gate.name, gate.set_at)

    async def forget_streak(self, name: str) -> None:
        """A call that seemed to fail had worked: end our own pauses, but not one that the API asked for."""
        if await self._store.get(name) is not None:
            await self._store.open(name)

    async def _among(self, name: str) -> list[Gate]:
        """The gates of this kind. One from the future (the clock was set back) is removed: it would last too long.

        The time is asked after the gates: one that was shut while this process stood still is not from the future.
        """
        gates = await self._store.among((name, name + _REQUESTED))
        latest = self._clock.now() + waiting.CLOCKS_DIFFER
        for gate in gates:
            if gate.set_at > latest:
                await self._store.open(gate.name, gate.set_at)
        return [gate for gate in gates if gate.set_at <= latest]


async def pause_job(context: Context, job: JobId, code: str, words: str, now: datetime) -> bool:
    """Pause *job* until a person acts; the reason shown is the API's *words* and the remedy for *code*.

    A job that is being canceled cannot be paused: it shows the reason as attention instead.
    """
    text = f"{words} — {account.REMEDIES[code]}"
    if await context.store.commands.pause(job, code, text, now):
        return True
    if (await context.store.commands.get(job)).state is JobState.CANCELING:
        await context.store.attention.attend(job, code, None, text, now)
    return False


async def forget_trouble(context: Context, job: JobId) -> None:
    """Clear the account troubles shown with *job*: the account works again."""
    for code in account.REMEDIES:
        await context.store.attention.unattend(job, code, None)


def note_failure(context: Context, exc: errors.ProviderError) -> None:
    """Report a failed read to the API's health."""
    if isinstance(exc, errors.ProviderRefused):
        context.health.note_refusal(exc.message, blocked=exc.blocked is not None)
    else:
        context.health.note_trouble(exc.message)


async def call(context: Context, request: Awaitable[T]) -> T:
    """Await *request* and report to the API's health whether it was answered. Raises what *request* raises."""
    try:
        answer = await request
        if isinstance(answer, BatchPage) and answer.meta.date is None:
            raise errors.ProviderUnreachable("the API's answer has no readable Date header, which doubt is measured by")
    except errors.ProviderError as exc:
        note_failure(context, exc)
        raise
    context.health.note_answer()
    if isinstance(answer, BatchPage):
        context.malformed.note(answer.malformed, context.clock.now())
        context.api_ahead = timedelta(0) if answer.meta.date is None else answer.meta.date - context.clock.now()
    return answer


async def first_page(context: Context) -> BatchPage:
    """The newest batch alone, if there is any, with the API's Date and the account that answers."""
    return await call(context, context.provider.page(after_id=None, limit=1))


async def back_off(context: Context, exc: errors.ProviderError, *, jobs: Iterable[JobId] = ()) -> None:
    """After a failed read: shut the gate of reads; if only a person can help, pause *jobs* as well."""
    if isinstance(exc, errors.ProviderRefused) and exc.blocked is not None:
        for job in set(jobs):
            await pause_job(context, job, exc.blocked, exc.message, context.clock.now())
    await Gates(context).shut(READ_GATE, exc.message, exc.retry_after_s)


async def walk_list(context: Context, until: datetime) -> AsyncGenerator[tuple[BatchPage, ResponseMeta], None]:
    """Walk the list from the newest batch down, page by page, to the first created before *until* (the API's time).

    Raises ProviderUnreachable for a list that cannot be walked to there.
    """

    def ask(after_id: str | None, limit: int) -> Awaitable[BatchPage]:
        return context.provider.page(after_id=after_id, limit=limit)

    def below(after_id: str | None) -> Awaitable[BatchPage]:  # a page that is only too large is not reported
        return call(context, context.page_size.page(ask, after_id))

    async with aclosing(walk_pages(below, context.page_size, context.clock.sleep)) as walked:
        async for page in walked:
            yield page, page.meta
            if page.batches and page.batches[-1].created_at < until:
                return


def reload_key(context: Context) -> errors.NeedsPerson | None:
    """Read the key again if it comes from a file: a person may have replaced it.

    Returns why the file cannot be used, and keeps the old key then; else None.
    """
    try:
        if context.provider.renew():
            log.info("key.renewed")
    except errors.NeedsPerson as exc:
        log.warning("key.unusable", why=exc.message, cause=exc.cause)
        return exc
    return None


def same_account(meta: ResponseMeta, organization: str | None, workspace: str | None) -> bool:
    """False only where both sides name an organization, or a workspace, and the names differ."""
    for seen, known in ((meta.organization, organization), (meta.workspace, workspace)):
        if seen is not None and known is not None and seen != known:
            return False
    return True


def search_from(batch: BatchRow) -> datetime:
    """The earliest `created_at` (the API's clock) that *batch* can have: the cursor before its POST, less a margin.

    That is the cursor's own `created_at` or the Date of the answer that gave it, whichever is earlier: one wrong time
    must not hide a batch.
    """
    times = [at for at in (batch.cursor_created_at, batch.cursor_date) if at is not None]
    return min(times, default=batch.planned_at) - waiting.WALK_MARGIN


def newest(page: BatchPage) -> RemoteBatch | None:
    """The newest batch on the first page of the list."""
    return page.batches[0] if page.batches else None


async def pause_for_account(context: Context, batch: BatchRow, meta: ResponseMeta, now: datetime) -> bool:
    """Pause the job of *batch*, sent with a different account than the current key's; the reason names both."""
    needed = f"organization {batch.organization}, workspace {batch.workspace}"
    words = f"batch {batch.id} was sent with {needed}; the key in use is of {meta.organization}, {meta.workspace}"
    return await pause_job(context, batch.job_id, account.OTHER_ACCOUNT, words, now)
