"""Stage plan: packs queued requests into batches, as far as the account's queue has room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum, auto

from orchestrator.domain import limits, result_lines
from orchestrator.domain.ids import request_id
from orchestrator.domain.model import JobRow
from orchestrator.domain.packing import Caps
from orchestrator.domain.priming import PrefixTake
from orchestrator.domain.waiting import CLOCKS_DIFFER
from orchestrator.engine.affording import Affording, Cut
from orchestrator.engine.context import Context
from orchestrator.engine.sending_ahead import Priming
from orchestrator.observability.logs import get_logger
from orchestrator.ports.store import Plannable, QueueLoad

log = get_logger(__name__)

#: Planned batches waiting to be sent, per upload slot: enough that an upload never waits for the planner.
_AHEAD = 2
#: Jobs that are looked at together; nearly always the first one is planned.
_PAGE = 32


class _Step(Enum):
    """What an attempt to plan came to."""

    MOVED = auto()  #: a batch was planned, or a request that is too large failed
    NOTHING = auto()  #: there is nothing to plan now
    MUST_WAIT = auto()  #: a full batch waits for room in the account's queue


class PlanStage:
    """Takes requests in `queued`, and leaves them `batched` in new `planned` batches.

    Admission is a sliding window over the requests that have not ended, across all jobs: the account's queue limit.
    Room goes to the job that uses the least of it for its priority. It waits until a full batch of its own fits, so
    that smaller batches of others cannot overtake it for ever. A batch is planned in one transaction: a crash leaves
    all of it or nothing.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store, self._submit = context.store.plan, context.store.submit
        self._affording, self._priming = Affording(context), Priming(context)
        self._max_requests: int | None = None
        self._waited: tuple[int, int, int] | None = None

    async def tick(self, now: datetime) -> int:
        """Plan until nothing fits. Returns how many batches were planned."""
        planned = 0
        await self._affording.follow_settings(now)
        candidates = await self._begin(now)
        while candidates:
            load = await self._store.queue_load()
            if not await self._has_room(load):
                break
            if await self._plan_first(candidates, load, now) is not _Step.MOVED:
                break
            planned += 1
            candidates = await self._store.plannable(limit=_PAGE)
        return planned

    async def _begin(self, now: datetime) -> list[Plannable]:
        """The first jobs that may be planned, once it is known what all batches under a cap can cost."""
        seen = await self._store.look(limit=_PAGE)
        if await self._affording.price_batches(seen.to_price, now):
            return await self._store.plannable(limit=_PAGE)
        return seen.first

    async def _plan_first(self, candidates: list[Plannable], load: QueueLoad, now: datetime) -> _Step:
        """Plan a batch of the fairest job that has one."""
        skip = 0
        while candidates:
            for candidate in candidates:
                step = await self._plan_one(candidate, load, now)
                if step is not _Step.NOTHING:
                    return step
            skip += len(candidates)
            candidates = await self._store.plannable(limit=_PAGE, skip=skip)
        return _Step.NOTHING

    async def _has_room(self, load: QueueLoad) -> bool:
        """Whether to plan ahead. Only sendable batches count: those of a paused job must not stop the others."""
        settings = self._context.settings
        prefetch = _AHEAD * settings.max_uploads
        waiting = await self._submit.sendable(prefetch)
        return len(waiting) < prefetch and load.batches < settings.max_in_flight_batches

    async def _plan_one(self, candidate: Plannable, load: QueueLoad, now: datetime) -> _Step:
        settings, job = self._context.settings, candidate.job
        caps = Caps(requests=await self._most(), size_bytes=settings.max_bytes)
        room = max(settings.max_in_flight_requests - load.requests, 0)
        situation = (job.id, job.to_send, room)
        if situation == self._waited:  # nothing changed: a batch's worth of rows is too dear for every tick
            return _Step.MUST_WAIT
        if await self._affording.is_stopped(job, now):
            return _Step.NOTHING
        # One row more than fits tells that there is more.
        offer = await self._priming.offer(job, min(caps.requests, room) + 1, caps, now)
        found = offer.pack
        if not found.numbers:
            return await self._fail(job, offer.first, now) if offer.first is not None else _Step.NOTHING
        if self._lingers(job, now) and not found.full and job.to_send <= caps.requests:
            return _Step.NOTHING
        if len(found.numbers) > room:
            self._waited = situation
            return _Step.MUST_WAIT
        cut = await self._affording.cut(job, found, offer.marks, now)
        return _Step.NOTHING if cut is None else await self._plan(job, cut, offer.uses(cut.pack), now)

    async def _plan(self, job: JobRow, cut: Cut, uses: Sequence[PrefixTake], now: datetime) -> _Step:
        found = cut.pack
        nonce = await self._store.nonce(job.id, self._context.entropy.nonce())
        batch = await self._store.plan(job, found, nonce, self._context.settings.window, now, uses)
        if batch is None:
            return _Step.NOTHING
        self._affording.planned(batch, cut)
        log.info(
            "batch.planned", job=job.public_id, batch_id=batch, requests=len(found.numbers), bytes=found.size_bytes
        )
        return _Step.MOVED

    def _lingers(self, job: JobRow, now: datetime) -> bool:
        """Whether more may come soon. A time far ahead of us means that the clock was set back: no reason to wait."""
        return job.still_open and -CLOCKS_DIFFER <= now - job.added_at < self._context.settings.linger

    async def _most(self) -> int:
        """How many requests a batch may have."""
        if self._max_requests is None:
            settings = self._context.settings
            most = settings.max_requests
            if most is None:
                most = limits.API_MAX_REQUESTS - await self._store.size_jitter()
            self._max_requests = min(most, settings.max_in_flight_requests)
        return self._max_requests

    async def _fail(self, job: JobRow, row: tuple[int, int], now: datetime) -> _Step:
        """Fail a queued request, which alone is over the byte limit (that was lowered since ingest)."""
        number, size = row
        words = f"the request has {size} bytes of params; a batch may have {self._context.settings.max_bytes}"
        error = ("request_too_large", words)
        failed = await self._store.fail_queued(job.id, number, error, result_lines.errored_result(*error), now)
        log.warning("request.too_large", job=job.public_id, request=request_id(job.id, number), bytes=size)
        return _Step.MOVED if failed else _Step.NOTHING
