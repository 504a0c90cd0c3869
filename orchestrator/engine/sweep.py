"""Stage sweep: for 25 hours of the API's time, looks for batches given up that may exist after all.

If the assumption behind the wait is wrong, or a 529 created a batch, the purchase is found, counted and reported, and
its results are kept.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime

from orchestrator.domain import errors, waiting
from orchestrator.domain.api_answers import RemoteBatch, RemoteStatus
from orchestrator.domain.model import BatchRow
from orchestrator.engine import api_calls, attribution
from orchestrator.engine.context import Context


class SweepStage:
    """Takes void and abandoned batches, and lets go of each once its time is over and no suspect of its size is open.

    Verdicts are rows: a crash in between costs another walk.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store.sweep
        self._evidence = context.store.evidence
        self._gates = api_calls.Gates(context)
        self._next_scan: datetime | None = None
        self._second = attribution.SecondOpinion()
        self._kept: set[str] = set()

    async def tick(self, now: datetime) -> int:
        """Sweep every `poll_interval_max`. Returns how many duplicates were found."""
        if self._next_scan is not None and now < self._next_scan:
            return 0
        given_up = await self._store.to_sweep()
        self._next_scan = now + self._context.settings.poll.longest
        if not given_up or await self._gates.is_shut(api_calls.READ_GATE, now):
            return 0
        try:
            found = await self._scan(given_up, now)
        except errors.ProviderError as exc:
            await api_calls.back_off(self._context, exc)
            return 0
        await self._gates.open(api_calls.READ_GATE)
        return found

    async def _scan(self, given_up: list[BatchRow], now: datetime) -> int:
        found = 0
        date: datetime | None = None
        undecided: set[int] = set()
        async with aclosing(
            api_calls.walk_list(self._context, min(map(api_calls.search_from, given_up), default=now))
        ) as pages:
            async for page, meta in pages:
                date = meta.date
                mine = [
                    batch for batch in given_up if api_calls.same_account(meta, batch.organization, batch.workspace)
                ]
                sizes = {None, *(batch.count for batch in mine)}
                odd = [entry for entry in page.malformed if entry.total in sizes]
                shown = [*page.batches, *await attribution.retrieve_malformed(self._context, odd)]
                suspects = [remote for remote in shown if any(_may_be(batch, remote) for batch in mine)]
                found += await self._examine(suspects, undecided, now)
                await self._keep(shown)
        if date is not None:
            await self._retire(given_up, undecided, date)
        return found

    async def _examine(self, suspects: list[RemoteBatch], undecided: set[int], now: datetime) -> int:
        """Attribute the suspects; adds the sizes of those that cannot be told yet to *undecided*."""
        found = 0
        unclaimed = await self._evidence.unclaimed(suspects)
        await self._store.see(unclaimed)
        for remote in unclaimed:
            verdict = await attribution.attribute(self._context, remote)
            match verdict:
                case attribution.Lost():
                    await attribution.record_foreign(self._context, remote, verdict)
                case attribution.Foreign() if self._second.agrees(remote.id):
                    await attribution.record_foreign(self._context, remote, verdict)
                case attribution.Ours():  # in doubt still: the doubt stage claims it
                    found += await attribution.report_duplicate(self._context, verdict.batch, remote, now)
                case attribution.Unsure() | attribution.Foreign():
                    undecided.add(remote.counts.total)
        return found

    async def _keep(self, shown: list[RemoteBatch]) -> None:
        """Duplicates that a late answer told of before they had results: cancelled, then kept, once by this process."""
        unkept = await self._store.unkept()
        for remote in shown:
            batch = None if remote.id in self._kept else unkept.get(remote.id)
            if batch is not None and remote.status is RemoteStatus.ENDED:
                await attribution.keep_results(self._context, batch, remote)
                self._kept.add(remote.id)
            elif batch is not None and remote.status is RemoteStatus.IN_PROGRESS:
                await attribution.ask_to_cancel(self._context, remote.id)

    async def _retire(self, given_up: list[BatchRow], undecided: set[int], date: datetime) -> None:
        """Let go of batches whose time is over, unless a suspect of their size is undecided."""
        for batch in given_up:
            age = None if batch.closed_date is None else date - batch.closed_date
            if age is None or age <= waiting.SWEEP_FOR or (batch.count in undecided and age <= waiting.RETENTION):
                continue
            await self._store.swept(batch)


def _may_be(batch: BatchRow, remote: RemoteBatch) -> bool:
    """Whether it has the size, and was created between the cursor and the end of the sweep."""
    in_time = batch.closed_date is None or remote.created_at <= batch.closed_date + waiting.SWEEP_FOR
    return remote.counts.total == batch.count and remote.created_at >= api_calls.search_from(batch) and in_time
