"""What a job can afford: cuts a batch to what is left under its caps, or says what the job has to wait for.

Only jobs under a cap come here. What their requests can cost is not kept: it is computed anew from their params, at the
prices of the day, whenever a batch is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from orchestrator.domain import account, humanize
from orchestrator.domain.budgets import Limit, Room, Scope, headroom, is_dribble, raising, reached, room_for
from orchestrator.domain.cache_marker import with_marker
from orchestrator.domain.cache_prefix import Part
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import BatchRow, JobRow
from orchestrator.domain.packing import Affordable, Pack
from orchestrator.domain.states import BatchState
from orchestrator.domain.waiting import SWEEP_FOR
from orchestrator.engine import api_calls
from orchestrator.engine.context import Context
from orchestrator.engine.worst_costs import SLICE_BYTES, NoBound, WorstCosts
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

#: Where markers are added to requests, by their numbers.
Marks = Mapping[int, Part]

#: Why a batch that was planned before the cap was set is planned anew.
_ANEW: Final = "not every request of it has a known bound on its cost"


class Cut(NamedTuple):
    """What a job can afford. costs: what it was bounded by; None: no cap is in force."""

    pack: Pack
    costs: WorstCosts | None


class Affording:
    """Cuts batches. In memory: what the last cut of each job came to, so that nothing is read twice for one answer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.budgets
        self._stopped: dict[JobId, tuple[object, ...]] = {}
        self._going: set[JobId] = set()
        self._unknown: set[BatchId] = set()
        self._followed: Mapping[Scope, int | None] | None = None

    async def is_stopped(self, job: JobRow, now: datetime) -> bool:
        """Whether the last cut came to nothing, and nothing has changed since."""
        if job.id not in self._stopped:
            return False
        return self._stopped[job.id] == _situation(job, await self._limits(job, now))

    async def _limits(self, job: JobRow, now: datetime) -> list[Limit]:
        """A batch belongs to the day by the API's clock: by another one it would be planned, and not sent."""
        return await self._store.limits(job.id, self._context.api_time(now))

    async def cut(self, job: JobRow, found: Pack, marks: Marks, now: datetime) -> Cut | None:
        """As much of *found* as *job* can afford; None: nothing for now, or until a person acts.

        marks: where markers are added, by number: what is marked costs as if all of it were written.
        """
        limits = await self._limits(job, now)
        if not limits:
            return Cut(found, None)
        costs = await self._context.worst_costs(job, self._context.api_time(now))
        pack = await self._cut(job, found, marks, limits, costs, now)
        if pack is None:
            self._stopped[job.id] = _situation(job, limits)
            self._going.discard(job.id)
        elif job.id not in self._going:
            await self._store.goes_on(job.id)
            self._going.add(job.id)
            self._stopped.pop(job.id, None)
        return None if pack is None else Cut(pack, costs)

    async def _cut(
        self, job: JobRow, found: Pack, marks: Marks, limits: Sequence[Limit], costs: WorstCosts, now: datetime
    ) -> Pack | None:
        taken = Affordable(headroom(limits))
        try:
            await self._take(job.id, found, marks, taken, costs)
        except NoBound as exc:
            if not taken.pack(full=True).numbers:
                await self._refuse(job.id, limits, exc, now)
                return None
        pack = taken.pack(full=found.full)
        if len(pack.numbers) == len(found.numbers):
            return pack
        pack = taken.pack(full=True)
        if pack.numbers:
            return None if taken.first_left is not None and is_dribble(limits, pack.nanos or 0) else pack
        if taken.first_left is not None:  # else another engine took them meanwhile
            await self._stop(job, limits, taken.first_left, now)
        return None

    def planned(self, batch: BatchId, cut: Cut) -> None:
        """*cut* is planned as *batch*."""
        if cut.costs is not None:
            self._context.bounds.found(batch, cut.costs)

    async def _refuse(self, job: JobId, limits: Sequence[Limit], why: NoBound, now: datetime) -> None:
        """Pause *job*, unless something of it is planned still: that is sent first, and a pause would hold it back."""
        if not any(limit.planned for limit in limits):
            await api_calls.pause_job(self._context, job, why.code, why.words, now)

    async def _take(self, job: JobId, found: Pack, marks: Marks, taken: Affordable, costs: WorstCosts) -> None:
        """Take what fits of *found*, from its first request on. Raises NoBound at one that has none."""
        above, last, wanted = found.numbers[0] - 1, found.numbers[-1], frozenset(found.numbers)
        while above < last:
            some = await self._store.queued_params(job, above, SLICE_BYTES)
            for number, stored in some:
                if number not in wanted and number <= last:
                    continue  # it waits for another batch
                params = with_marker(stored, marks[number]) if number in marks else stored
                if number > last or not taken.take(number, len(params), costs.of(params)):
                    return
            if not some:
                return
            above = some[-1][0]

    async def _stop(self, job: JobRow, limits: Sequence[Limit], worst: int, now: datetime) -> None:
        """Not even one request fits: wait, or pause the job."""
        room, limit = room_for(limits, worst)
        words = reached(limit, worst)
        if room is Room.PAUSE:
            log.warning("budget.reached", job=job.public_id, scope=limit.scope.value, why=words)
            command = raising(limit.scope, job.public_id, sandbox=self._context.sandbox)
            reason = f"{words} — {account.REMEDIES[account.BUDGET]}: {command}"
            await self._store.reached(job.id, limit, reason, now)
        elif room is Room.NEXT_DAY and limit.heals_at is not None:
            told = f"{words}; goes on at {limit.heals_at:%Y-%m-%d %H:%M} UTC by itself"
            log.info("budget.waits", job=job.public_id, scope=limit.scope.value, why=told)
            await self._store.waits(job.id, limit, told, now)
        elif room is Room.LATE:
            told = f"{words}; goes on when they cannot turn up any more, within {humanize.span(SWEEP_FOR)}"
            log.info("budget.waits", job=job.public_id, scope=limit.scope.value, why=told)
            await self._store.waits(job.id, limit, told, now)

    async def follow_settings(self, now: datetime) -> None:
        """Set the budgets of the settings, when a stage begins, and when they were loaded again."""
        budgets = self._context.settings.budgets
        if budgets != self._followed:
            await self._store.follow_settings(budgets, now)
            self._followed = budgets

    async def price_batches(self, batches: Sequence[BatchRow], now: datetime) -> int:
        """Find what *batches* can cost, which were planned, or sent, before there was a cap; how many moved."""
        return sum([await self._price(batch, now) for batch in batches if batch.id not in self._unknown])

    async def _price(self, batch: BatchRow, now: datetime) -> bool:
        worst = await self._bound(batch, now)
        return True if worst is None else await self._store.price(batch, worst)

    async def hold(self, batch: BatchRow, now: datetime) -> None:
        """Before the void: *batch* may turn up yet, under a cap that is set by then, when its requests have left it."""
        if batch.worst_nanos is None and batch.id not in self._unknown:
            await self._price(batch, now)

    async def bound_anew(self, batch: BatchRow, now: datetime) -> None:
        """Before the intent: let *batch* have the bound of these prices and days, whoever found the one it has."""
        prices, context = await self._context.loaded_prices(), self._context
        if batch.worst_nanos is None or context.bounds.holds(batch.id, prices, context.api_time(now)):
            return
        worst = await self._bound(batch, now)
        if worst is not None and worst != batch.worst_nanos:
            await self._store.price_anew(batch, worst)

    async def _bound(self, batch: BatchRow, now: datetime) -> int | None:
        """What *batch* can cost at most; None: nobody knows, and it is given up if it was not sent."""
        context = self._context
        costs = await context.worst_costs(await context.store.commands.get(batch.job_id), context.api_time(now))
        try:
            worst = await costs.of_batch(context.store.params, batch.id)
        except NoBound as exc:
            log.warning("batch.no_bound", batch_id=batch.id, why=exc.words)
            is_planned = batch.state is BatchState.PLANNED  # what is being sent must not be planned beside it
            if not (is_planned and await context.store.bisect.abandon(batch, _ANEW, now)):
                self._unknown.add(batch.id)
            return None
        context.bounds.found(batch.id, costs)
        return worst


def _situation(job: JobRow, limits: Sequence[Limit]) -> tuple[object, ...]:
    """What the answer depends on."""
    return (
        job.to_send,
        job.resumes,
        *((limit.key, limit.headroom, limit.is_busy, limit.late) for limit in limits),
    )
