"""Stage submit: the protocol of promise 2. Intent first, one POST, and only a clear answer moves a batch on.

A batch that is refused because of its content is bisected here as well.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final, assert_never

from orchestrator.domain import account, api_answers, errors
from orchestrator.domain.model import BatchRow
from orchestrator.domain.result_lines import errored_result
from orchestrator.domain.states import BatchState
from orchestrator.engine import api_calls, attribution
from orchestrator.engine.affording import Affording
from orchestrator.engine.context import Context
from orchestrator.engine.doubt import UNPROVABLE
from orchestrator.engine.request_body import BatchBody, TailFence, TakenOver
from orchestrator.observability.logs import get_logger
from orchestrator.ports.runtime import Headers

log = get_logger(__name__)

#: Bodies in a row that were cut before their last byte count as a 413: the CDN refuses early, and all that the client
#: sees of it is a reset (measured with a 50 MB body against an early 413).
CUTS_ARE_TOO_LARGE: Final = 3
#: A single request cannot be halved, only failed: where it is small enough to leave in one piece, a cut tells of the
#: network rather than of its size, so it takes many more of them.
MAX_CUTS_SMALL_REQUEST: Final = 10
_ONE_PIECE_BYTES: Final = 1024 * 1024
#: How often it is tried to store an answer while the database does not answer.
_STORE_AGAIN: Final = timedelta(seconds=1)


class SubmitStage:
    """Takes batches in `planned`, and leaves them in `in_progress | planned | in_doubt | abandoned`.

    A crash between the intent and the answer leaves `submitting`: whoever looks at the batch next calls it in doubt.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.submit
        self._plan = context.store.plan
        self._params = context.store.params
        self._poll = context.store.poll
        self._doubt = context.store.doubt
        self._gates = api_calls.Gates(context)
        self._affording = Affording(context)
        self._bisection = Bisection(context)
        self._fence = TailFence(self._store, context.clock)
        self._admission = asyncio.Lock()
        self._admitted = 0  #: batches of this process whose intent is not stored yet

    async def admit(self) -> bool:
        """Whether an intent would be taken; then a place is kept for it, which `advance` must be called to use.

        It would not if the limit is reached, or if a create failed and another is under way: after one that failed, one
        at a time until one works. In a storm at the API each pause of the gate then leaves at most one more batch in
        doubt. The planner keeps the limit, but halves or a lowered limit may pass it. `intend` asks again, over the
        whole fleet: this spares the calls before it.
        """
        async with self._admission:
            if await self._must_wait():
                return False
            self._admitted += 1
            return True

    async def _must_wait(self) -> bool:
        load = await self._plan.queue_load()
        on_their_way = load.batches - load.waiting_batches + self._admitted
        if on_their_way >= self._context.settings.max_in_flight_batches:
            return True
        others = self._admitted or await self._store.stranded()
        return bool(others and await self._gates.tries(api_calls.CREATE_GATE))

    async def advance(self, batch: BatchRow) -> int:
        """Send one batch that was admitted: cursor, intent, POST, answer. 1 if a POST was made.

        If this is cancelled or dies after the intent, the batch stays `submitting`.
        """
        try:
            submitting = await self._prepare(batch)
        finally:
            self._admitted -= 1  # from here on the store counts it
        if submitting is None:
            return 0
        headers = Headers(api_version=batch.api_version, betas=batch.betas)
        log.info("batch.sending", batch_id=batch.id, requests=batch.count, bytes=batch.size_bytes)
        answer = await self._post(submitting, headers)
        if answer is not None:
            await self._keep(submitting, answer)
        return 1

    async def _post(self, batch: BatchRow, headers: Headers) -> api_answers.CreateAnswer | None:
        """The answer to the one POST. None: taken over, so there is no batch of ours, and the row is another's.

        What the store raises, it raises before the last bytes of the body: a clear no.
        """
        try:
            return await self._context.provider.create(BatchBody(self._params, batch, self._fence.pass_by), headers)
        except TakenOver:
            log.warning("batch.taken_over", batch_id=batch.id)
            return None
        except errors.StoreUnreachable as exc:
            return api_answers.NotSent(why=exc.message, cut=False)

    async def _keep(self, batch: BatchRow, answer: api_answers.CreateAnswer) -> None:
        """Store an answer that is in hand, for as long as this process lives: dropped, it would be a doubt of minutes.

        Whether it still counts by then, and whether an earlier try was stored after all, the fence says.
        """
        while True:
            try:
                return await self._apply(batch, answer, self._context.clock.now())
            except (errors.StoreFull, errors.StoreUnreachable) as exc:
                log.warning("batch.answer_waits", batch_id=batch.id, why=exc.message)
            await self._context.clock.sleep(_STORE_AGAIN)

    async def _prepare(self, batch: BatchRow) -> BatchRow | None:
        """Commit the cursor and the intent. None if the API cannot be asked now, or the batch moved."""
        try:
            page = await api_calls.first_page(self._context)
        except errors.ProviderRefused as exc:
            await self._refused(batch, exc)
            return None
        except errors.ProviderError as exc:
            await self._gates.shut(api_calls.CREATE_GATE, exc.message, exc.retry_after_s)
            return None
        now = self._context.clock.now()
        if (held := await self._held_elsewhere(batch, page.meta)) is not None:
            await api_calls.pause_for_account(self._context, held, page.meta, now)
            return None
        await self._affording.bound_anew(batch, now)
        most = self._context.settings.max_in_flight_batches
        return await self._store.intend(batch, api_calls.newest(page), page.meta, now, most)

    async def _held_elsewhere(self, batch: BatchRow, meta: api_answers.ResponseMeta) -> BatchRow | None:
        """A batch of the same job that another account holds than the one that answers now."""
        live = [*await self._poll.watched(), *await self._poll.uncollected(), *await self._doubt.in_doubt()]
        mine = [other for other in live if other.job_id == batch.job_id]
        return next((b for b in mine if not api_calls.same_account(meta, b.organization, b.workspace)), None)

    async def _refused(self, batch: BatchRow, exc: errors.ProviderRefused) -> None:
        """The list was refused. Trouble with the account pauses the job; anything else waits."""
        if exc.blocked is not None:
            await api_calls.pause_job(self._context, batch.job_id, exc.blocked, exc.message, self._context.clock.now())
        await self._gates.shut(api_calls.CREATE_GATE, exc.message, None)

    async def _apply(self, batch: BatchRow, answer: api_answers.CreateAnswer, now: datetime) -> None:
        """Store the outcome of the POST, by the table of `domain.create_outcome`."""
        context = self._context
        log.info("batch.answered", batch_id=batch.id, answer=type(answer).__name__)
        match answer:
            case api_answers.Accepted():
                await self._accepted(batch, answer, now)
            case api_answers.NotSent():
                context.health.note_trouble(answer.why)
                await self._not_sent(batch, answer, now)
            case api_answers.Busy():
                context.health.note_answer()
                await self._store.give_back(batch, answer.why, now, cut=False)
                await self._gates.shut(api_calls.CREATE_GATE, answer.why, answer.retry_after_s)
            case api_answers.Blocked():
                context.health.note_trouble(answer.why)
                await self._store.give_back(batch, answer.why, now, cut=False)
                await api_calls.pause_job(context, batch.job_id, answer.code, answer.why, now)
            case api_answers.TooLarge():
                await self._bisection.too_large(batch, answer.why, now)
            case api_answers.Invalid():
                await self._bisection.invalid(batch, answer, now)
            case api_answers.Unclear():
                context.health.note_trouble(answer.why)
                await self._store.doubt(batch, answer.why, now)
                await self._gates.shut(api_calls.CREATE_GATE, answer.why, None)
            case _:
                assert_never(answer)

    async def _accepted(self, batch: BatchRow, answer: api_answers.Accepted, now: datetime) -> None:
        """A clear yes, unless the id is known as another batch's: then it is a doubt."""
        self._context.health.note_answer()
        if await self._store.accept(batch, answer.batch, answer.meta, now):
            await self._gates.open(api_calls.CREATE_GATE)
        elif not await self._store.doubt(
            batch, f"the API answered with {answer.batch.id}, which is another batch", now
        ):
            await self._late(batch, answer.batch, now)

    async def _late(self, batch: BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> None:
        """A yes for a row that is another's by now is proof all the same: it ends a doubt, or tells of a duplicate."""
        row = await self._doubt.claim_late(batch, remote, now)
        log.warning("batch.late_yes", batch_id=batch.id, remote_id=remote.id, state=row.state)
        if row.remote_id == remote.id:
            await self._context.store.attention.unattend(row.job_id, UNPROVABLE, row.id)
            await self._gates.forget_streak(api_calls.CREATE_GATE)
        elif row.state is not BatchState.IN_DOUBT:
            await attribution.stop_duplicate(self._context, row, remote, now)

    async def _not_sent(self, batch: BatchRow, answer: api_answers.NotSent, now: datetime) -> None:
        small = batch.count == 1 and batch.size_bytes <= _ONE_PIECE_BYTES
        most = MAX_CUTS_SMALL_REQUEST if small else CUTS_ARE_TOO_LARGE
        if answer.cut and batch.cuts + 1 >= most:
            await self._bisection.too_large(batch, f"cut {most} times: {answer.why}", now)
            return
        await self._store.give_back(batch, answer.why, now, cut=answer.cut)
        await self._gates.shut(api_calls.CREATE_GATE, answer.why, None)


_INVALID: Final = "invalid_request_error"
_TOO_LARGE: Final = "request_too_large"
#: The halves of a batch that was refused as a whole: here the two are compared before anything is failed.
_FIRST_HALVES: Final = 1
_PENDING: Final = frozenset({BatchState.SUBMITTING, BatchState.IN_DOUBT})
#: Where a refused half is: waiting for its sibling, or (a crash, or a resume, came in between) given up already.
_REFUSED: Final = frozenset({BatchState.PLANNED, BatchState.ABANDONED})


class Bisection:
    """Bisects a batch that the API refused because of its content, so that one bad request does not sink the others.

    - A 400 that names a request fails that one; the others are planned again.
    - An unnamed 400 is halved once. If both halves are refused in the same words, the cause is not in a request: the
      job pauses with these words, and nothing is failed. Otherwise halving goes on, down to the request at fault.
    - A 413 is halved, down to one request, which fails as too large.

    A parked half waits in the store for its sibling (promise 4).
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.bisect
        self._plan = context.store.plan

    async def too_large(self, batch: BatchRow, why: str, now: datetime) -> None:
        """Handle a 413."""
        await self._split_or_fail(batch, _TOO_LARGE, why, now)

    async def invalid(self, batch: BatchRow, answer: api_answers.Invalid, now: datetime) -> None:
        """Handle a 400 or 422, with or without the index of the request at fault."""
        if answer.index is not None and answer.index < batch.count:
            await self._fail(batch, answer.index, _INVALID, answer.why, now)
        elif batch.depth == _FIRST_HALVES:
            await self._store.park(batch, answer.why, now)
            await self.settle_parked(now)
        else:
            await self._split_or_fail(batch, _INVALID, answer.why, now)

    async def settle_parked(self, now: datetime) -> int:
        """Decide the parked halves whose siblings are decided; how many."""
        decided = [
            (batch, sibling)
            for batch, sibling in await self._store.parked()
            if sibling is None or not _undecided(sibling)
        ]
        for batch, sibling in decided:
            if sibling is not None and sibling.state in _REFUSED and sibling.refusal == batch.refusal:
                await self._pause_for_same_refusal(batch, sibling, now)
            else:
                refusal_text = "" if batch.refusal is None else batch.refusal
                await self._split_or_fail(batch, _INVALID, refusal_text, now)
        return len(decided)

    async def _pause_for_same_refusal(self, batch: BatchRow, sibling: BatchRow, now: datetime) -> None:
        refusal_text = "" if batch.refusal is None else batch.refusal
        if await api_calls.pause_job(self._context, batch.job_id, account.REFUSED, refusal_text, now):
            log.error("job.refused", job_id=batch.job_id, why=refusal_text)
        for half in (batch, sibling):
            await self._store.abandon(half, refusal_text, now)

    async def _split_or_fail(self, batch: BatchRow, error_type: str, why: str, now: datetime) -> None:
        if batch.count == 1:
            await self._fail(batch, 0, error_type, why, now)
            return
        chance = self._context.entropy.nonce
        nonces = (await self._plan.nonce(batch.job_id, chance()), await self._plan.nonce(batch.job_id, chance()))
        await self._store.halve(batch, nonces, why, now)
        log.warning("batch.halved", batch_id=batch.id, requests=batch.count, why=why)

    async def _fail(self, batch: BatchRow, index: int, error_type: str, why: str, now: datetime) -> None:
        failed = (index, error_type, why, errored_result(error_type, why))
        await self._store.abandon(batch, why, now, failed=failed)
        log.warning("request.refused", batch_id=batch.id, place=index, why=why)


def _undecided(sibling: BatchRow) -> bool:
    """Whether the sibling was not sent yet, or has no clear answer."""
    return sibling.state in _PENDING or (sibling.state is BatchState.PLANNED and sibling.refusal is None)
