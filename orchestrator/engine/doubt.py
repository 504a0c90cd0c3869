"""Stage doubt: finds out what became of a POST without a clear answer, and never guesses (promise 2).

It waits until a created batch must be listed, and scans the list. Every remote batch of the same size that is not known
to be ours or foreign is a candidate; once a candidate has ended, its results prove whose it is. No candidate in two
scans: void.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain import api_answers, errors, waiting
from orchestrator.domain.ids import BatchId
from orchestrator.domain.model import BatchRow, Candidate
from orchestrator.domain.states import BatchState
from orchestrator.engine import api_calls, attribution
from orchestrator.engine.affording import Affording
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

UNPROVABLE = "unprovable"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ListScan:
    """One scan of the whole list: the batches by id, the unreadable entries by mark, and the API's Date at its end.

    An unreadable entry may be any batch that its readable fields do not rule out.
    """

    remotes: dict[str, api_answers.RemoteBatch]
    malformed: dict[str, api_answers.MalformedEntry]
    date: datetime | None
    now: datetime


class DoubtStage:
    """Takes batches in `in_doubt`, and leaves them in `in_progress` or, with their requests queued again, in `void`.

    Candidates, verdicts and the API's first Date are rows: a crash in between costs at most one more scan, and the wait
    by our own clock, which every process counts from its own first sight.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.doubt
        self._evidence = context.store.evidence
        self._commands = context.store.commands
        self._attention = context.store.attention
        self._affording = Affording(context)
        self._gates = api_calls.Gates(context)
        self._next_scan: datetime | None = None
        self._seen = waiting.FirstSight[BatchId]()
        self._second = attribution.SecondOpinion()

    async def tick(self, now: datetime) -> int:
        """Examine every batch in doubt. Returns how many left that state."""
        batches = await self._store.in_doubt()
        self._seen.note((batch.id for batch in batches), now)
        if not batches:
            self._next_scan = None
            return 0
        if (self._next_scan is not None and now < self._next_scan) or await self._gates.is_shut(
            api_calls.READ_GATE, now
        ):
            return 0
        pace = self._context.settings.poll
        self._next_scan = now + waiting.poll_pause(
            self._context.settings.doubt_wait, pace, self._context.entropy.jitter()
        )
        try:
            moved = await self._examine(batches, now)
        except errors.ProviderError as exc:
            await api_calls.back_off(self._context, exc, jobs=[batch.job_id for batch in batches])
            return 0
        await self._gates.open(api_calls.READ_GATE)
        return moved

    async def _examine(self, batches: list[BatchRow], now: datetime) -> int:
        top = await api_calls.first_page(self._context)
        if top.meta.date is None:
            return 0
        await self._store.note_date([b for b in batches if b.doubt_date is None], top.meta.date)
        ready = [batch for batch in batches if await self._is_ready(batch, top.meta, top.meta.date, now)]
        if not ready:
            return 0
        scan = await self._scan_list(ready, now)
        return sum([await self._advance(batch, scan) for batch in ready])

    async def _is_ready(self, batch: BatchRow, meta: api_answers.ResponseMeta, date: datetime, now: datetime) -> bool:
        if not api_calls.same_account(meta, batch.organization, batch.workspace):
            await api_calls.pause_for_account(self._context, batch, meta, now)
            return False
        return batch.doubt_until is not None or await self._wait_is_over(batch, date, now)

    async def _wait_is_over(self, batch: BatchRow, date: datetime, now: datetime) -> bool:
        """Whether our own clock or the API's says so, the first that does. Closes the set of candidates at *date*."""
        by_date = timedelta(0) if batch.doubt_date is None else date - batch.doubt_date
        ours = self._seen.age(batch.id, now)
        is_over = waiting.must_be_listed(self._context.settings.doubt_wait, ours=ours, by_date=by_date)
        return is_over and await self._store.end_wait(batch, date)

    async def _scan_list(self, ready: list[BatchRow], now: datetime) -> _ListScan:
        """One scan for every batch whose wait was over before it began.

        An unreadable entry that may be one of them is retrieved by its id, if it has one.
        """
        remotes: dict[str, api_answers.RemoteBatch] = {}
        malformed: dict[str, api_answers.MalformedEntry] = {}
        date: datetime | None = None
        async with aclosing(api_calls.walk_list(self._context, min(map(api_calls.search_from, ready)))) as pages:
            async for page, meta in pages:
                date = meta.date
                remotes |= {remote.id: remote for remote in page.batches}
                malformed |= {
                    entry.mark: entry for entry in page.malformed if any(_may_be(batch, entry) for batch in ready)
                }
        remotes |= {
            remote.id: remote for remote in await attribution.retrieve_malformed(self._context, malformed.values())
        }
        still = {mark: entry for mark, entry in malformed.items() if mark not in remotes}
        return _ListScan(remotes=remotes, malformed=still, date=date, now=now)

    async def _advance(self, was: BatchRow, scan: _ListScan) -> int:
        """Apply *scan* to one batch, read anew: proof for another batch, or a person, may have moved it meanwhile."""
        batch = await self._still_in_doubt(was)
        if batch is None or batch.doubt_until is None:
            return 0
        until = batch.doubt_until
        fitting = [
            remote
            for remote in scan.remotes.values()
            if remote.counts.total == batch.count and api_calls.search_from(batch) <= remote.created_at <= until
        ]
        fitting += [attribution.placeholder(entry, until) for entry in scan.malformed.values() if _may_be(batch, entry)]
        await self._evidence.add_candidates(batch, await self._evidence.unclaimed(fitting))
        undecided = 0
        for candidate in await self._evidence.candidates(batch):
            if candidate.verdict not in {"ours", "foreign"}:
                undecided += await self._judge(candidate, batch, scan)
        after = await self._still_in_doubt(batch)
        if after is None:
            return 1
        # Two engines may look at the same moment: only what was counted before this look began is another look.
        looks = min(was.doubt_looks, after.doubt_looks)
        return await self._conclude(after, scan, found=undecided > 0, looks=looks)

    async def _still_in_doubt(self, batch: BatchRow) -> BatchRow | None:
        return next((b for b in await self._store.in_doubt() if b.id == batch.id), None)

    async def _judge(self, candidate: Candidate, batch: BatchRow, scan: _ListScan) -> bool:
        """True if *candidate* may still be *batch* and cannot be told yet."""
        if candidate.remote_id.startswith(api_answers.NAMELESS) and candidate.remote_id not in scan.malformed:
            await self._withdraw_question(candidate)  # it is shown no more, or can be read by now
            return False
        verdict, remote = await self._verdict(candidate, scan)
        match verdict:
            case attribution.Ours():
                await self._withdraw_question(candidate)
                await self._ours(verdict.batch, remote or _named(candidate), scan.now)
                return verdict.batch.id == batch.id
            case attribution.Foreign() if not self._second.agrees(candidate.remote_id):
                return True
            case attribution.Foreign() | attribution.Lost():
                await self._withdraw_question(candidate)
                await attribution.record_foreign(self._context, remote or _named(candidate), verdict)
                return False
            case attribution.Unsure() if remote is not None and remote.status is not api_answers.RemoteStatus.ENDED:
                await self._waits_for(candidate, batch)
                return True
            case attribution.Unsure():
                await self._unreadable(candidate, batch, verdict.why, scan)
                return True

    async def _verdict(
        self, candidate: Candidate, scan: _ListScan
    ) -> tuple[attribution.Verdict, api_answers.RemoteBatch | None]:
        """The verdict on *candidate*, and the batch as the API shows it; None if that cannot be read."""
        entry, remote = scan.malformed.get(candidate.remote_id), scan.remotes.get(candidate.remote_id)
        why = "the API does not show it" if entry is None else entry.why
        if remote is None and entry is None:
            try:
                remote = await attribution.retrieve(self._context, candidate.remote_id)
            except errors.ProviderUnreadable as exc:
                why = exc.message
        if remote is not None:
            return await attribution.attribute(self._context, remote), remote
        if entry is None or entry.id is None:
            return attribution.Unsure(why=why), None
        by_lines = await attribution.attribute_by_lines(self._context, entry.id, entry.total)
        return (attribution.Unsure(why=why) if isinstance(by_lines, attribution.Unsure) else by_lines), None

    async def _withdraw_question(self, candidate: Candidate) -> None:
        """Withdraw the question, which is decided after all, from every batch that the candidate may have been."""
        if candidate.verdict == "unprovable":
            for batch in await self._commands.doubts_about(candidate.remote_id):
                await self._attention.unattend(batch.job_id, UNPROVABLE, batch.id)

    async def _ours(self, owner: BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> None:
        """*remote* has the nonce of *owner*: claim it, or report a purchase that should not exist."""
        if owner.state is not BatchState.IN_DOUBT:
            await attribution.report_duplicate(self._context, owner, remote, now)
        elif await self._store.claim(owner, remote, now):
            await self._attention.unattend(owner.job_id, UNPROVABLE, owner.id)
            await self._gates.forget_streak(api_calls.CREATE_GATE)  # the create worked: only its answer was lost
            log.info("batch.claimed", batch_id=owner.id, remote_id=remote.id)

    async def _waits_for(self, candidate: Candidate, batch: BatchRow) -> None:
        """Still running, so there are no results yet. Resets the 24-hour "unreadable" timer."""
        if candidate.unreadable_since is not None:
            await self._evidence.readable(candidate.remote_id, unreadable_at=None)
        if candidate.verdict == "unprovable":
            await self._attention.unattend(batch.job_id, UNPROVABLE, batch.id)

    async def _unreadable(self, candidate: Candidate, batch: BatchRow, why: str, scan: _ListScan) -> None:
        """Not readable this time. After a day of the API's time a person is asked; nothing is voided meanwhile."""
        if scan.date is None:
            return
        await self._evidence.readable(candidate.remote_id, unreadable_at=scan.date)
        since = candidate.unreadable_since
        if since is None or scan.date - since < waiting.UNREADABLE_AFTER:
            return
        await self._attention.attend(batch.job_id, UNPROVABLE, batch.id, _question(candidate, batch, why), scan.now)
        await self._evidence.judge(candidate.remote_id, "unprovable")

    async def _conclude(self, batch: BatchRow, scan: _ListScan, *, found: bool, looks: int) -> int:
        """After a whole scan: no candidate for the second time in a row means that the batch was never created."""
        if found or looks == 0 or scan.date is None:
            await self._store.looked(batch, found=found)
            return 0
        await self._affording.hold(batch, scan.now)
        voided = await self._store.void(batch, scan.date, "not at the API, in two looks after the wait", scan.now)
        if voided:
            await self._attention.unattend(batch.job_id, UNPROVABLE, batch.id)
            log.info("batch.void", batch_id=batch.id)
        return int(voided)


def _may_be(batch: BatchRow, entry: api_answers.MalformedEntry) -> bool:
    """False only if a readable field of *entry* rules *batch* out."""
    if entry.total is not None and entry.total != batch.count:
        return False
    until = batch.doubt_until
    if entry.created_at is None:
        return True
    return api_calls.search_from(batch) <= entry.created_at and (until is None or entry.created_at <= until)


def _named(candidate: Candidate) -> api_answers.RemoteBatch:
    """A stand-in, made of what the list showed, for a batch of which only the results can be read."""
    entry = api_answers.MalformedEntry(
        mark=candidate.remote_id,
        id=candidate.remote_id,
        total=candidate.count,
        created_at=candidate.created_at,
        why="",
    )
    return attribution.placeholder(entry, candidate.created_at)


def _question(candidate: Candidate, batch: BatchRow, why: str) -> str:
    """The question put to a person about a candidate that cannot be read."""
    if candidate.remote_id.startswith(api_answers.NAMELESS):
        return (
            f"batch {batch.id} may be an entry of the API's list that has no id and cannot be read ({why}): "
            f"if it is not, `orchestrator batches disown {candidate.remote_id}`"
        )
    return (
        f"batch {batch.id} may be {candidate.remote_id} at the API, which cannot be read ({why}): "
        f"decide with `orchestrator batches adopt|disown {candidate.remote_id}`"
    )
