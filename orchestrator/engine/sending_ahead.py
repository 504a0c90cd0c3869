"""Which queued requests go next: in file order, or, where requests mark a prefix that they share, one of each ahead.

While a job has a pilot, only that: likewise one of each prefix first.

What was sent ahead, and what came of it, is in the store's rows, which the transaction that plans a batch reads and
writes: a crash, or another daemon, changes nothing about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from orchestrator.domain import priming
from orchestrator.domain.cache_marker import MARKER_BYTES
from orchestrator.domain.cache_prefix import Part
from orchestrator.domain.ids import JobId, RequestId, number_of
from orchestrator.domain.model import JobRow
from orchestrator.domain.packing import Caps, Pack, pack
from orchestrator.engine.context import Context
from orchestrator.ports.job_store import Members
from orchestrator.ports.runtime import Prices, rates_on

_MOST_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Requests that may be sent now. first: the first of them, if it alone does not fit a batch.

    groups: whose they are, with the numbers of each; is_primer: they go ahead of the others; is_marked: those of groups
    get a marker when they are sent; is_pilot: all are of a pilot.
    """

    pack: Pack
    first: tuple[int, int] | None = None
    groups: Sequence[tuple[priming.PrefixGroup, Sequence[int]]] = ()
    is_primer: bool = False
    is_marked: bool = False
    is_pilot: bool = False

    @property
    def marks(self) -> Mapping[int, Part]:
        """Where those of the offer get a marker that get one, by their numbers."""
        groups = self.groups if self.is_marked else ()
        return {number: group.part for group, numbers in groups for number in numbers}

    def uses(self, taken: Pack) -> list[priming.PrefixTake]:
        """What *taken*, a part of the offer, has of each prefix."""
        numbers = frozenset(taken.numbers) if self.groups else frozenset()
        mine = [(group, [number for number in some if number in numbers]) for group, some in self.groups]
        return [self._use(group, some) for group, some in mine if some]

    def _use(self, group: priming.PrefixGroup, numbers: Sequence[int]) -> priming.PrefixTake:
        first = number_of(RequestId(group.next_id))
        new = sum(number >= first for number in numbers)
        return priming.PrefixTake(group.id, group.next_id, new, numbers[-1], self.is_primer, self.is_pilot)


class Priming:
    """Offers requests. In memory: of which jobs it pays, as of so many requests."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.prefixes
        self._pays: dict[JobId, tuple[int, bool]] = {}

    async def offer(self, job: JobRow, limit: int, caps: Caps, now: datetime) -> Offer:
        """What of *job* may go next, of *limit* requests at most."""
        is_primed = await self._is_primed(job, now)
        found = await self._found(job, limit, caps, now, is_primed=is_primed)
        is_too_large = found.is_marked and found.first is not None  # with its marker, at least
        return await self._found(job, limit, caps, now, is_primed=False) if is_too_large else found

    async def _found(self, job: JobRow, limit: int, caps: Caps, now: datetime, *, is_primed: bool) -> Offer:
        if job.pilot_goes:
            return await self._of_pilot(job, limit, caps, now, is_primed=is_primed)
        return await (self._by_prefix(job, limit, caps, now) if is_primed else self._in_order(job, limit, caps))

    async def _is_primed(self, job: JobRow, now: datetime) -> bool:
        if job.cache is priming.CacheUse.OFF or not await self._does_pay(job, now):
            return False
        return job.cache is not priming.CacheUse.AUTO or await self._store.loss(job.id) is None

    async def _by_prefix(self, job: JobRow, limit: int, caps: Caps, now: datetime) -> Offer:
        is_marked = job.cache is priming.CacheUse.AUTO
        groups = await self._store.groups(job.id, priming.LEAST_ROWS, priming.GROUPS_AT_ONCE)
        by_readiness = _by_readiness(groups, now)
        ahead = await self._members(by_readiness[priming.Readiness.COLD], limit, each=1)
        if ahead:
            return _offer([], ahead, caps, is_primer=True, is_marked=is_marked)
        late = by_readiness[priming.Readiness.LATE]
        if late and is_marked:  # nobody knows whether it is written: then a marker may cost twice, for nothing
            return await self._in_order(job, limit, caps)
        ready = await self._members([*by_readiness[priming.Readiness.READY], *late], limit)
        waits = by_readiness[priming.Readiness.WAITS]
        free: Members = []
        if not waits or job.to_send > sum(group.waiting for group in groups):
            left = limit - sum(len(rows) for _, rows in ready)
            free = await self._store.free(job.id, priming.LEAST_ROWS, left, list) if left else []
        if ready or free or waits:
            return _offer(free, ready, caps, is_marked=is_marked)
        return await self._in_order(job, limit, caps)

    async def _of_pilot(self, job: JobRow, limit: int, caps: Caps, now: datetime, *, is_primed: bool) -> Offer:
        """What of the pilot may go: the others wait until all of it has ended."""
        is_marked = is_primed and job.cache is priming.CacheUse.AUTO
        members: dict[int | None, Members] = {}
        for number, size, prefix in await self._store.piloted(job.id, limit):
            members.setdefault(prefix if is_primed else None, []).append((number, size))
        shared = [prefix for prefix in members if prefix is not None]
        groups = await self._store.groups(job.id, priming.LEAST_ROWS, len(shared), among=shared) if shared else []
        by_readiness = _by_readiness(groups, now)
        if cold := by_readiness[priming.Readiness.COLD]:
            first = [(group, members[group.id][:1]) for group in cold[:limit]]
            return _offer([], first, caps, is_primer=True, is_marked=is_marked, is_pilot=True)
        grouped = {group.id for group in groups}
        free = [row for prefix, rows in members.items() if prefix not in grouped for row in rows]
        ready = [(group, members[group.id]) for group in by_readiness[priming.Readiness.READY]]
        return _offer(free[:limit], ready, caps, is_marked=is_marked, is_pilot=True)

    async def _in_order(self, job: JobRow, limit: int, caps: Caps) -> Offer:
        found = await self._context.store.plan.queued(job.id, limit, lambda rows: pack(rows, caps))
        if found.numbers or not found.full:
            return Offer(pack=found)
        ((number, size),) = await self._context.store.plan.queued(job.id, 1, list)
        return Offer(pack=found, first=(number, size))

    async def _members(
        self, groups: Sequence[priming.PrefixGroup], limit: int, *, each: int | None = None
    ) -> list[tuple[priming.PrefixGroup, Members]]:
        """The requests of *groups* that may go, without groups that have none."""
        if not groups:
            return []
        found = list(zip(groups, await self._store.waiting(groups, each=each, limit=limit), strict=True))
        taken = sum(len(rows) for _, rows in found)
        if taken < limit and (empty := [group for group, rows in found if not rows]):
            await self._store.emptied(empty)
        return [(group, rows) for group, rows in found if rows]

    async def _does_pay(self, job: JobRow, now: datetime) -> bool:
        """Whether sending ahead saves enough; without a price that is not known, and it is done."""
        total, pays = self._pays.get(job.id, (-1, False))
        if total != job.requests.total:
            shared = await self._store.shared(job.id, priming.LEAST_ROWS)
            prices = await self._context.loaded_prices()
            pays = bool(shared) and does_save(shared, job.cache, prices, now)
            if len(self._pays) >= _MOST_KNOWN:
                self._pays.clear()
            self._pays[job.id] = job.requests.total, pays
        return pays


def does_save(shared: Sequence[priming.SharedTokens], use: priming.CacheUse, prices: Prices, now: datetime) -> bool:
    """Whether sending ahead saves enough at the *prices* of now."""
    rates = rates_on(prices, {each.model for each in shared}, now.astimezone(UTC).date())
    return priming.saving_of(shared, use, rates) >= priming.LEAST_SAVING


def _by_readiness(
    groups: Sequence[priming.PrefixGroup], now: datetime
) -> dict[priming.Readiness, list[priming.PrefixGroup]]:
    found: dict[priming.Readiness, list[priming.PrefixGroup]] = {each: [] for each in priming.Readiness}
    for group in groups:
        found[priming.readiness(group, now)].append(group)
    return found


def _offer(
    free: Members,
    groups: Sequence[tuple[priming.PrefixGroup, Members]],
    caps: Caps,
    *,
    is_primer: bool = False,
    is_marked: bool,
    is_pilot: bool = False,
) -> Offer:
    more = MARKER_BYTES if is_marked else 0
    rows = [(number, size + more) for _, members in groups for number, size in members] + list(free)
    found = pack(iter(rows), caps)
    return Offer(
        pack=replace(found, numbers=sorted(found.numbers)),
        first=rows[0] if rows and not found.numbers else None,
        groups=[(group, [number for number, _ in members]) for group, members in groups],
        is_primer=is_primer,
        is_marked=is_marked,
        is_pilot=is_pilot,
    )
