"""Stage submit: the protocol of promise 2. Intent first, one POST, and only a clear answer moves a batch on."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, assert_never

from orchestrator.domain.answers import (
    Accepted,
    Blocked,
    Busy,
    CreateAnswer,
    Invalid,
    NotSent,
    TooLarge,
    Unclear,
)
from orchestrator.domain.errors import ProviderBusy, ProviderError, ProviderRefused, ProviderUnreachable
from orchestrator.domain.ids import BatchId
from orchestrator.domain.model import Batch
from orchestrator.engine.body import BatchBody
from orchestrator.engine.context import Context
from orchestrator.engine.narrow import Narrowing
from orchestrator.engine.reading import CREATE_GATE, Gates, asked, newest, pause_for
from orchestrator.observability.logs import get_logger
from orchestrator.ports.provider import Headers

log = get_logger(__name__)

#: Bodies in a row that were cut before their last byte count as a 413: the CDN refuses early, and all that the client
#: sees of it is a reset (measured with a 50 MB body against an early 413).
CUTS_ARE_TOO_LARGE: Final = 3


class SubmitStage:
    """Moves batches `planned → submitting → in_progress | planned | in_doubt | abandoned`.

    Uploads run side by side, up to `max_uploads`. After a create that failed, one at a time until one works: a storm
    at the API leaves at most one batch in doubt. `active` names the batches whose POST a task of ours is watching.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._gates = Gates(context=context)
        self._narrow = Narrowing(context)
        self.active: set[BatchId] = set()

    async def tick(self, now: datetime) -> int:
        """Send what is planned until nothing is left or the API wants us to wait; how many POSTs were made."""
        await self._narrow.settle_parked(now)
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(self._work(number), name=f"upload-{number}")
                for number in range(self._context.settings.max_uploads)
            ]
        return sum(worker.result() for worker in workers)

    async def _work(self, number: int) -> int:
        """One upload slot: takes batches until there is none. Only slot 0 works while a streak of failures lasts."""
        sent = 0
        while (batch := await self._next(number)) is not None:
            try:
                sent += await self.advance(batch)
            finally:
                self.active.discard(batch.id)
        return sent

    async def _next(self, number: int) -> Batch | None:
        now = self._context.clock.now()
        if await self._gates.is_shut(CREATE_GATE, now) or (number > 0 and await self._gates.tries(CREATE_GATE)):
            return None
        for batch in await self._context.store.submit.sendable(self._context.settings.max_uploads + 1):
            if batch.id not in self.active:
                self.active.add(batch.id)
                return batch
        return None

    async def advance(self, batch: Batch) -> int:
        """Send one batch: cursor, intent, POST, answer. 1 if a POST was made.

        If this is cancelled or dies after the intent, the batch stays `submitting`, and recovery calls it in doubt.
        """
        submitting = await self._prepare(batch)
        if submitting is None:
            return 0
        headers = Headers(api_version=batch.api_version, betas=batch.betas)
        log.info("batch.sending", batch_id=batch.id, requests=batch.count, bytes=batch.size_bytes)
        answer = await self._context.provider.create(BatchBody(self._context.store.body, submitting), headers)
        await self._apply(submitting, answer, self._context.clock.now())
        return 1

    async def _prepare(self, batch: Batch) -> Batch | None:
        """The cursor, then the intent, committed. None if the API cannot be asked now or the batch moved."""
        now = self._context.clock.now()
        try:
            page = await asked(self._context, self._context.provider.page(after_id=None, limit=1))
            if page.meta.date is None:
                raise ProviderUnreachable("the API's answer has no Date header")
        except ProviderRefused as exc:
            await self._refused(batch, exc, now)
            return None
        except ProviderError as exc:
            retry_after = exc.retry_after_s if isinstance(exc, ProviderBusy) else None
            await self._gates.shut(CREATE_GATE, exc.message, retry_after, now)
            return None
        return await self._context.store.submit.intend(batch, newest(page), page.meta, now)

    async def _refused(self, batch: Batch, exc: ProviderRefused, now: datetime) -> None:
        """The list was refused. Trouble of the account pauses the job; anything else waits."""
        if exc.blocked is not None:
            await pause_for(self._context, batch.job_id, exc.blocked, exc.message, now)
        await self._gates.shut(CREATE_GATE, exc.message, None, now)

    async def _apply(self, batch: Batch, answer: CreateAnswer, now: datetime) -> None:
        """Write down what the POST ended in, by the table of `domain.submission`."""
        store, context = self._context.store.submit, self._context
        log.info("batch.answered", batch_id=batch.id, answer=type(answer).__name__)
        match answer:
            case Accepted():
                context.health.note_answer()
                await store.accept(batch, answer.batch, answer.meta, now)
                await self._gates.open(CREATE_GATE)
            case NotSent():
                context.health.note_trouble(answer.why)
                await self._not_sent(batch, answer, now)
            case Busy():
                context.health.note_answer()
                await store.give_back(batch, answer.why, now, cut=False)
                await self._gates.shut(CREATE_GATE, answer.why, answer.retry_after_s, now)
            case Blocked():
                context.health.note_trouble(answer.why)
                await store.give_back(batch, answer.why, now, cut=False)
                await pause_for(context, batch.job_id, answer.code, answer.why, now)
            case TooLarge():
                await self._narrow.too_large(batch, answer.why, now)
            case Invalid():
                await self._narrow.invalid(batch, answer, now)
            case Unclear():
                context.health.note_trouble(answer.why)
                await store.doubt(batch, answer.why, now)
                await self._gates.shut(CREATE_GATE, answer.why, None, now)
            case _:
                assert_never(answer)

    async def _not_sent(self, batch: Batch, answer: NotSent, now: datetime) -> None:
        if answer.cut and batch.cuts + 1 >= CUTS_ARE_TOO_LARGE:
            await self._narrow.too_large(batch, f"cut {CUTS_ARE_TOO_LARGE} times: {answer.why}", now)
            return
        await self._context.store.submit.give_back(batch, answer.why, now, cut=answer.cut)
        await self._gates.shut(CREATE_GATE, answer.why, None, now)
