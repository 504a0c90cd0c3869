"""The store's facets of doubt: POSTs without a clear answer, the batches they may have created, lost intents."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from orchestrator.domain import api_answers, ids, model
from orchestrator.domain.billing import Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The search at the API for what a store lacks, because it was put back from a copy.

    cause: 'behind' (its mark knows of more intents) or 'copied' (a person took a copy into use). missing: how many
    intents it lacks, as far as is known. Times are by the API's clock, but `wait_since`: it names
    the wait, which begins anew when more is found missing. looks: whole
    looks in a row that left nothing open. organization, workspace: of the account that its batches were sent with.
    """

    cause: str
    missing: int
    since: datetime | None
    wait_since: datetime
    first_date: datetime | None
    until: datetime | None
    looks: int
    organization: str | None
    workspace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A remote batch with a nonce of ours that no batch of the store has. numbers: of its requests, once read."""

    remote_id: str
    nonce: ids.Nonce
    count: int
    created_at: datetime
    expires_at: datetime
    job_id: ids.JobId
    numbers: bytes | None
    up_to: int | None


class StrayOutcome(StrEnum):
    """What became of a stray."""

    TAKEN = "taken"  #: it is a batch of the store, with the requests that wait for a result
    WAITS = "waits"  #: some of its requests are in a batch that is not settled yet
    DROPPED = "dropped"  #: none of its requests waits for a result


class DuplicateResult(NamedTuple):
    """A result of a batch that was given up, and existed. number: of the request."""

    number: int
    body: bytes
    payment: Payment | None


class DoubtStore(Protocol):
    """Batches in doubt (promise 2)."""

    async def in_doubt(self) -> list[model.BatchRow]:
        """Batches in doubt: their POST got no clear answer."""

    async def note_date(self, batches: Iterable[model.BatchRow], date: datetime) -> None:
        """Commit the API's first Date after the doubt began, so that a crash loop does not restart the wait."""

    async def end_wait(self, batch: model.BatchRow, until: datetime) -> bool:
        """End the wait: only a batch that the API created up to *until* (its Date) can be this one."""

    async def looked(self, batch: model.BatchRow, *, found: bool) -> bool:
        """Count a complete search of the API's list. found: some candidate is not proven foreign."""

    async def void(self, batch: model.BatchRow, date: datetime, why: str, now: datetime) -> bool:
        """The batch was never created: its requests are queued again, and no attempt is burnt."""

    async def claim(self, batch: model.BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> bool:
        """*remote* is proven to be *batch*, which is now in progress."""

    async def claim_late(self, batch: model.BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> model.BatchRow:
        """*remote* is the API's own answer to the POST of *batch*, which was taken over before it came: claim it.

        Only if it is in doubt still, and *remote* is no other's. Returns the row as it is then.
        """


class EvidenceStore(Protocol):
    """Candidates: remote batches that may be ours, and what was proven of each."""

    async def unclaimed(self, remotes: Sequence[api_answers.RemoteBatch]) -> list[api_answers.RemoteBatch]:
        """Of *remotes*, those that are not ours already and not proven foreign."""

    async def add_candidates(self, batch: model.BatchRow, remotes: Sequence[api_answers.RemoteBatch]) -> None:
        """Store which remote batches may be *batch*; one that disappears from the list stays a candidate."""

    async def candidates(self, batch: model.BatchRow) -> list[model.Candidate]:
        """Every remote batch that was ever a candidate for *batch*, with its verdict."""

    async def judge(self, remote_id: str, verdict: str) -> bool:
        """Store a verdict: "foreign" or "unprovable". False: it is proven already, which is final."""

    async def readable(self, remote_id: str, *, unreadable_at: datetime | None) -> None:
        """Note since when (API's Date) a candidate cannot be read, or that it can be (None)."""

    async def by_nonce(self, nonce: ids.Nonce) -> model.BatchRow | None:
        """Our batch with this nonce, or None: the nonce proves whose a remote batch is."""


class SweepStore(Protocol):
    """Closed batches that are still searched for at the API (promise 2, late sweep)."""

    async def to_sweep(self) -> list[model.BatchRow]:
        """Void and abandoned batches that are still searched for."""

    async def swept(self, batch: model.BatchRow) -> None:
        """Search for *batch* no longer."""

    async def see(self, remotes: Sequence[api_answers.RemoteBatch]) -> None:
        """Store remote batches that may turn out to be ours."""

    async def duplicate(self, batch: model.BatchRow, remote_id: str, now: datetime) -> bool:
        """Count and log, once, that *batch*, which was closed, exists at the API.

        What is not kept of its results by now may have been billed: its cost is not known.
        """

    async def unkept(self) -> dict[str, ids.BatchId]:
        """Duplicates of closed batches, by remote id, whose results are not all kept, and may not be there yet."""

    async def keep_duplicate_results(self, batch: ids.BatchId, remote_id: str, rows: Sequence[DuplicateResult]) -> None:
        """Store results of a duplicate of *batch* apart from those of its requests, each once, and their cost."""


class ReconcileStore(Protocol):
    """The search for batches that a restored store does not know; until it ends, nothing is planned or sent."""

    async def open(self) -> Reconciliation | None:
        """The search that is under way; None: there is none."""

    async def begin(self, now: datetime) -> None:
        """Begin a search, or begin it anew: commits that were seen here are not there any more."""

    async def pending(self) -> tuple[Reconciliation | None, list[Stray]]:
        """The search that is under way, and the strays of jobs that may need them, the oldest first."""

    async def note_date(self, date: datetime) -> None:
        """Commit the API's first Date since the search began, so that a crash loop does not restart the wait."""

    async def end_wait(self, until: datetime) -> None:
        """End the wait: only what the API created up to *until* (its Date) can be missing here."""

    async def looked(self, *, is_open: bool) -> None:
        """Count a complete search. is_open: it showed batches whose owner is not known yet."""

    async def close(self, now: datetime) -> bool:
        """Nothing is missing: plan and send again."""

    async def unfinished(self) -> list[ids.JobId]:
        """Jobs that wait for the search."""

    async def jobs_with_attention(self, kind: str) -> list[ids.JobId]:
        """Jobs that show attention of *kind*."""


class StrayStore(Protocol):
    """Strays: remote batches that are ours by their nonce, and that this copy of the store does not know."""

    async def owner(self, nonce: ids.Nonce) -> ids.JobId | None:
        """The job for which this store made *nonce*, by its MAC; None: no job that is here."""

    async def keep(
        self, remote: api_answers.RemoteBatch, nonce: ids.Nonce, job: ids.JobId | None, numbers: array[int] | None
    ) -> None:
        """Store *remote* as a stray. numbers: of the requests of *job* that it has, once they were read."""

    async def absorb(self, stray: Stray, now: datetime) -> StrayOutcome:
        """Make *stray*, whose numbers are known, a batch of its job, with those of its requests that have no result."""

    async def claim_planned(self, batch: model.BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> bool:
        """*remote* is proven to be *batch*, which is only planned here: it is in progress."""
