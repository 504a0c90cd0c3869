"""Stage reconcile: a store restored from a copy takes in what was sent since, before it sends anything (promise 2).

It works as for a POST in doubt: wait until everything created must be listed, walk the list, and let results prove
whose each batch is. A nonce that this store knows is a batch of it; one that it signed for a job is taken in as a batch
of that job. Nothing open in two walks: the search is over.
"""

from __future__ import annotations

from array import array
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.api_answers import MalformedEntry, RemoteBatch, RemoteStatus, ResponseMeta
from orchestrator.domain.ids import Nonce, number_in
from orchestrator.domain.model import BatchRow
from orchestrator.domain.states import BatchState
from orchestrator.domain.waiting import RETENTION, UNREADABLE_AFTER, WALK_MARGIN, FirstSight, must_be_listed, poll_pause
from orchestrator.engine import api_calls, attribution
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger
from orchestrator.ports.doubts import Reconciliation, Stray, StrayOutcome

log = get_logger(__name__)

RECONCILING: Final = "reconciling"
_OWN_ROAD: Final = frozenset({BatchState.SUBMITTING, BatchState.IN_DOUBT})


@dataclass(slots=True, kw_only=True)
class _ReconcileScan:
    """One walk of the list, with what it left open.

    malformed: unreadable entries, by mark. undecided: how many batches cannot be told yet. why: for the first that was
    unreadable for a day.
    """

    date: datetime
    now: datetime
    malformed: dict[str, MalformedEntry] = field(default_factory=dict)
    undecided: int = 0
    why: str | None = None


class ReconcileStage:
    """Finds remote batches that this store lacks: `planned → in_progress`, or a new batch of their job.

    Search, strays and verdicts are rows: after a crash it goes on with another walk.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.reconcile
        self._evidence = context.store.evidence
        self._strays = context.store.strays
        self._sweep = context.store.sweep
        self._attention = context.store.attention
        self._gates = api_calls.Gates(context)
        self._next_scan: datetime | None = None
        self._seen = FirstSight[datetime]()
        self._second = attribution.SecondOpinion()
        self._told = True  # of an earlier process, perhaps
        self._unreadable: dict[str, datetime] = {}

    async def tick(self, now: datetime) -> int:
        """Returns how many batches were taken in."""
        search, strays = await self._store.pending()
        self._seen.note([] if search is None else [search.wait_since], now)
        moved = sum([await self._take_in(stray, now) for stray in strays])
        if search is None:
            if not strays:
                await self._untell()
            return moved
        if (self._next_scan is not None and now < self._next_scan) or await self._gates.is_shut(
            api_calls.READ_GATE, now
        ):
            return moved
        settings = self._context.settings
        self._next_scan = now + poll_pause(settings.doubt_wait, settings.poll, self._context.entropy.jitter())
        try:
            moved += await self._scan(search, now)
        except errors.ProviderError as exc:
            await self._tell(search, f"the API does not answer: {exc.message}", now)
            await api_calls.back_off(self._context, exc, jobs=await self._store.unfinished())
            return moved
        await self._gates.open(api_calls.READ_GATE)
        return moved

    # --- one scan -------------------------------------------------------------------------------------------------

    async def _scan(self, was: Reconciliation, now: datetime) -> int:
        top = await api_calls.first_page(self._context)
        if top.meta.date is None:
            return 0
        search = await self._waited(was, top.meta, top.meta.date, now)
        if search is None or search.until is None:
            return 0
        scan = _ReconcileScan(date=top.meta.date, now=now)
        moved = 0
        for remote in await self._unknown(search, search.until, scan):
            moved += await self._judge(remote, scan)
        await self._conclude(search, scan)
        return moved

    async def _waited(
        self, search: Reconciliation, meta: ResponseMeta, date: datetime, now: datetime
    ) -> Reconciliation | None:
        """The search, once the wait is over and its own account answers; None before."""
        if not api_calls.same_account(meta, search.organization, search.workspace):
            needed = f"organization {search.organization}, workspace {search.workspace}"
            await self._tell(search, f"use a key of {needed}, which its batches were sent with", now)
            return None
        if search.first_date is None:
            await self._store.note_date(date)
        if search.until is None:
            by_date = timedelta(0) if search.first_date is None else date - search.first_date
            ours = self._seen.age(search.wait_since, now)
            if not must_be_listed(self._context.settings.doubt_wait, ours=ours, by_date=by_date):
                await self._tell(search, "what was sent last may not be listed yet", now)
                return None
            await self._store.end_wait(date)
        return await self._store.open()

    async def _unknown(self, search: Reconciliation, until: datetime, scan: _ReconcileScan) -> list[RemoteBatch]:
        """The batches listed from the time this store knows nothing of, less those known to be ours or foreign."""
        bottom = scan.date - RETENTION  # the results of anything older are gone
        if search.since is not None:
            bottom = max(bottom, search.since - WALK_MARGIN)
        listed: dict[str, RemoteBatch] = {}
        async with aclosing(api_calls.walk_list(self._context, bottom)) as pages:
            async for page, _ in pages:
                listed |= {remote.id: remote for remote in page.batches if bottom <= remote.created_at <= until}
                scan.malformed |= {
                    one.mark: one for one in page.malformed if bottom <= (one.created_at or until) <= until
                }
        listed |= {
            remote.id: remote for remote in await attribution.retrieve_malformed(self._context, scan.malformed.values())
        }
        for mark in listed.keys() & scan.malformed.keys():
            del scan.malformed[mark]
        stand_ins = [attribution.placeholder(entry, until) for entry in scan.malformed.values()]
        unclaimed = await self._evidence.unclaimed([*listed.values(), *stand_ins])
        await self._sweep.see(unclaimed)  # so that a person can disown one
        return unclaimed

    async def _judge(self, remote: RemoteBatch, scan: _ReconcileScan) -> int:
        """1 if *remote* was taken in; what cannot be told yet is counted in *scan*."""
        entry = scan.malformed.get(remote.id)
        verdict = await attribution.attribute(self._context, remote) if entry is None else await self._by_lines(entry)
        match verdict:
            case attribution.Ours():
                return await self._known(verdict.batch, remote, scan)
            case attribution.Unsure() if entry is not None or remote.status is RemoteStatus.ENDED:
                self._cannot_read(remote.id, verdict.why, scan)
            case attribution.Foreign() if not self._second.agrees(remote.id):
                scan.undecided += 1
            case attribution.Lost() | attribution.Foreign():
                await attribution.record_foreign(self._context, remote, verdict)
            case attribution.Unsure():
                scan.undecided += 1
        return 0

    async def _by_lines(self, entry: MalformedEntry) -> attribution.Verdict:
        if entry.id is None:
            return attribution.Unsure(why=entry.why)
        by_lines = await attribution.attribute_by_lines(self._context, entry.id, entry.total)
        return attribution.Unsure(why=entry.why) if isinstance(by_lines, attribution.Unsure) else by_lines

    async def _known(self, batch: BatchRow, remote: RemoteBatch, scan: _ReconcileScan) -> int:
        """*remote* has the nonce of *batch*, which is here and did not know of it."""
        if batch.state in _OWN_ROAD:  # the doubt stage finds it
            scan.undecided += 1
            return 0
        if batch.state is BatchState.PLANNED:
            claimed = await self._strays.claim_planned(batch, remote, scan.now)
            log.info("batch.claimed", batch_id=batch.id, remote_id=remote.id)
            return int(claimed)
        await attribution.report_duplicate(self._context, batch, remote, scan.now)
        return 0

    def _cannot_read(self, remote_id: str, why: str, scan: _ReconcileScan) -> None:
        """Not readable this time. After a day of the API's time a person is asked; nothing is sent meanwhile."""
        scan.undecided += 1
        since = self._unreadable.setdefault(remote_id, scan.date)
        if scan.date - since >= UNREADABLE_AFTER and scan.why is None:
            scan.why = (
                f"{remote_id} cannot be read ({why}); if it is not one of its batches: "
                f"orchestrator batches disown {remote_id}"
            )

    async def _conclude(self, search: Reconciliation, scan: _ReconcileScan) -> None:
        """After a whole walk: nothing open for the second time in a row means that nothing is missing."""
        if scan.undecided == 0 and search.looks > 0 and await self._store.close(scan.now):
            log.info("store.reconciled", cause=search.cause)
            return
        await self._store.looked(is_open=scan.undecided > 0)
        words = (
            "it looks once more" if scan.undecided == 0 else f"batches there that cannot be told yet: {scan.undecided}"
        )
        await self._tell(search, scan.why if scan.why is not None else words, scan.now)

    # --- strays ---------------------------------------------------------------------------------------------------

    async def _take_in(self, stray: Stray, now: datetime) -> int:
        """1 if *stray* became a batch of its job. The oldest first: a later one may hold the requests it leaves."""
        if stray.numbers is None:
            return await self._read_stray(stray, now)
        taken = await self._strays.absorb(stray, now)
        log.debug("stray.looked_at", remote_id=stray.remote_id, job_id=stray.job_id, taken=taken)
        return int(taken is StrayOutcome.TAKEN)

    async def _read_stray(self, stray: Stray, now: datetime) -> int:
        """Read the request numbers of *stray*, for which its job waits. 1 if that worked."""
        if await self._gates.is_shut(api_calls.READ_GATE, now):
            return 0
        try:
            remote = await attribution.retrieve(self._context, stray.remote_id)
            if remote is None:
                raise errors.ProviderUnreachable("the API does not show it")
            numbers = await self._numbers(remote, stray.nonce)
        except errors.ProviderError as exc:
            words = (
                f"the job waits for {stray.remote_id}, which was sent for it before the store was put back; it cannot "
                f"be read now ({exc.message}). To go on without it: orchestrator batches disown {stray.remote_id}"
            )
            await self._attention.attend(stray.job_id, RECONCILING, None, words, now)
            await api_calls.back_off(self._context, exc, jobs=[stray.job_id])
            self._told = True
            return 0
        await self._strays.keep(remote, stray.nonce, stray.job_id, numbers)
        return 1

    async def _numbers(self, remote: RemoteBatch, nonce: Nonce) -> array[int]:
        """The numbers of all requests of *remote*. Raises ProviderUnreachable if some are missing."""
        numbers: set[int] = set()
        async with aclosing(attribution.wire_ids(self._context, remote.id, nonce)) as wires:
            async for wire in wires:
                number = number_in(wire, nonce)
                if number is not None:
                    numbers.add(number)
        if len(numbers) != remote.counts.total:
            raise errors.ProviderUnreachable(f"its results have {len(numbers)} of {remote.counts.total} lines")
        return array("I", sorted(numbers))

    # --- for people -----------------------------------------------------------------------------------------------

    async def _tell(self, search: Reconciliation, state: str, now: datetime) -> None:
        """Show on every job that waits for the search why it does."""
        what = (
            "is older than what was sent from it" if search.cause == "behind" else "is a copy that was taken into use"
        )
        some = f" (batches missing: {search.missing})" if search.missing else ""
        words = f"this store {what}{some}: nothing is sent until the API was asked what became of that; {state}"
        waiting = await self._store.unfinished()
        for job in waiting:
            await self._attention.attend(job, RECONCILING, None, words, now)
        for job in set(await self._store.jobs_with_attention(RECONCILING)) - set(waiting):
            await self._attention.unattend(job, RECONCILING, None)
        self._told = True

    async def _untell(self) -> None:
        if not self._told:
            return
        for job in await self._store.jobs_with_attention(RECONCILING):
            await self._attention.unattend(job, RECONCILING, None)
        self._told = False
