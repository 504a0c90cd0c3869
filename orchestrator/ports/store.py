"""The store as the stages see it: one facet for each, and `EngineStore`, which has them all.

A `batch` or `job` argument is the row as it was read. A write is guarded by its `fence`: if the row changed meanwhile,
nothing is written, and the method returns False or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from orchestrator.domain import api_answers, ids, model
from orchestrator.domain.packing import Pack
from orchestrator.domain.priming import PrefixTake
from orchestrator.ports.budgets import BudgetStore
from orchestrator.ports.dispatch import UnitKind
from orchestrator.ports.doubts import DoubtStore, EvidenceStore, ReconcileStore, StrayStore, SweepStore
from orchestrator.ports.job_store import (
    IngestStore,
    NoticeStore,
    PrefixStore,
    PurgeStore,
    RepriceStore,
    RetryStore,
    SampleStore,
)
from orchestrator.ports.reads import Reader, Reads
from orchestrator.ports.results import CollectStore, SettleStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plannable:
    """A job that has queued requests, and how many of its requests the API already holds."""

    job: model.JobRow
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLook:
    """What stage plan begins with, in one read: whoever sets a cap, in whatever process, the next look is under it.

    to_price: batches under a cap of which nobody knows yet what they can cost at most; none is sent meanwhile.
    first: as `PlanStore.plannable`.
    """

    to_price: list[model.BatchRow]
    first: list[Plannable]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """Batches and requests of all jobs that have not ended at the API, or are about to be sent."""

    batches: int
    requests: int
    waiting_batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The most batches and requests that may be in the API's queue, or about to be sent there."""

    batches: int
    requests: int


class PlanStore(Protocol):
    """Queued requests, and how full the API's queue is."""

    async def queue_load(self) -> QueueLoad:
        """How much of the API's queue is ours."""

    async def look(self, *, limit: int) -> PlanLook:
        """What there is to do, with *limit* jobs at most."""

    async def plannable(self, *, limit: int, skip: int = 0) -> list[Plannable]:
        """Running jobs with queued requests, up to *limit* behind the first *skip*.

        Fewest requests in flight for its priority first; among equals the older job.
        """

    async def queued(self, job: ids.JobId, limit: int, cut: Callable[[Iterator[tuple[int, int]]], T]) -> T:
        """The answer of *cut* to the next *limit* queued requests, (number, params bytes) in file order.

        *cut* runs where the rows are read, one by one, so that a batch's worth of rows is never held.
        """

    async def nonce(self, job: ids.JobId, chance: ids.Nonce) -> ids.Nonce:
        """The nonce of a new batch of *job*: *chance* with the store's MAC, which later proves whose the batch is."""

    async def plan(
        self,
        job: model.JobRow,
        pack: Pack,
        nonce: ids.Nonce,
        window: Window,
        now: datetime,
        uses: Sequence[PrefixTake] = (),
    ) -> ids.BatchId | None:
        """Store a planned batch of *pack*, if it fits into *window* as the queue is now. uses: what it has of prefixes.

        None, and nothing is stored, if it does not, or if the job, a request or a prefix changed meanwhile.
        """

    async def fail_queued(
        self, job: ids.JobId, number: int, error: tuple[str, str], body: bytes, now: datetime
    ) -> bool:
        """Settle a queued request as failed with *error* (type, message) and its result *body*."""

    async def size_jitter(self) -> int:
        """The store's own random number (1–999) that makes its full batches differ from everybody else's."""


class SubmitStore(Protocol):
    """Sending a batch: the intent, then accepted, given back or in doubt."""

    async def sendable(self, limit: int) -> list[model.BatchRow]:
        """Planned batches of running jobs, the most urgent first."""

    async def find(self, batch: ids.BatchId) -> model.BatchRow | None:
        """The batch as it is now."""

    async def is_sendable(self, batch: model.BatchRow) -> bool:
        """Whether `sendable` would give *batch*, as it is now."""

    async def intend(
        self,
        batch: model.BatchRow,
        cursor: api_answers.RemoteBatch | None,
        meta: api_answers.ResponseMeta,
        now: datetime,
        most: int | None = None,
    ) -> model.BatchRow | None:
        """Commit the intent to POST; from here on only a clear answer or doubt can follow.

        None also if the gate of creates is shut; if *most* batches are at the API, or on their way to it, already; or
        if the last create failed and another batch is being sent: then one at a time, until one works.
        """

    async def accept(
        self, batch: model.BatchRow, remote: api_answers.RemoteBatch, meta: api_answers.ResponseMeta, now: datetime
    ) -> bool:
        """The API accepted: the batch is in progress. False also if the id is another batch's."""

    async def give_back(self, batch: model.BatchRow, why: str, now: datetime, *, cut: bool) -> bool:
        """Clearly refused: the batch is planned again, with its nonce. cut: the connection broke inside the body."""

    async def is_sending(self, batch: model.BatchRow) -> bool:
        """Whether the POST of *batch*, as `intend` gave it, is still its sender's. False: it was taken over."""

    async def doubt(self, batch: model.BatchRow, why: str, now: datetime) -> bool:
        """No clear answer: the batch may or may not exist."""

    async def stranded(self) -> list[model.BatchRow]:
        """Batches left in `submitting`: by a crash, or by a task that was cancelled."""

    async def due(self) -> Sequence[tuple[UnitKind, ids.BatchId, int]]:
        """Every batch that somebody must send, call in doubt or download, now or later, with its job's priority."""
        ...


class BisectStore(Protocol):
    """Bisection of a refused batch, until the request at fault is found (promise 4)."""

    async def abandon(
        self, batch: model.BatchRow, why: str, now: datetime, *, failed: tuple[int, str, str, bytes] | None = None
    ) -> bool:
        """Give up a batch that was never sent: its requests are queued again, except *failed*, which is settled.

        failed: (place in the batch from 0, error type, message, result body).
        """

    async def halve(self, batch: model.BatchRow, nonces: tuple[ids.Nonce, ids.Nonce], why: str, now: datetime) -> bool:
        """Abandon *batch* and plan its two halves. It has at least two requests."""

    async def park(self, batch: model.BatchRow, words: str, now: datetime) -> bool:
        """Keep the refusal of a half, which names no request, until the answer to its sibling is known."""

    async def parked(self) -> list[tuple[model.BatchRow, model.BatchRow | None]]:
        """Parked halves, each with its sibling, if there is one."""


class ParamsStore(Protocol):
    """The params of a batch, streamed."""

    async def slice(self, batch: ids.BatchId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        """(number, params as they are sent) of the batch's requests above *above*, up to the end of a payload block.

        Empty at the end; else at least *limit_bytes* of params, if so many are left, and at most one block more.
        """


class GateStore(Protocol):
    """Gates: kinds of calls that have to wait."""

    async def get(self, name: str) -> model.Gate | None:
        """The gate, if it is shut, or was shut and no call succeeded since."""

    async def among(self, names: Sequence[str]) -> list[model.Gate]:
        """The gates among *names* that `get` would return."""

    async def shut(self, name: str, until: datetime, why: str, now: datetime) -> None:
        """Allow no call of this kind before *until*; counts the refusals in a row."""

    async def open(self, name: str, set_at: datetime | None = None) -> None:
        """A call succeeded: remove the gate. set_at: only if it was not shut anew since then."""


class PollStore(Protocol):
    """Batches at the API."""

    async def watched(self) -> list[model.BatchRow]:
        """Batches in progress or canceling, newest first."""

    async def is_watching(self) -> bool:
        """Whether any batch is in progress or canceling."""

    async def to_cancel(self) -> list[model.BatchRow]:
        """Batches of canceled jobs that the API has not been asked to cancel yet."""

    async def uncollected(self) -> list[model.BatchRow]:
        """Batches that ended and are not settled yet."""

    async def asked_to_cancel(self, batch: model.BatchRow, now: datetime) -> bool:
        """Note that we asked the API to cancel *batch*."""

    async def seen_canceling(self, batch: model.BatchRow, now: datetime) -> bool:
        """Note that the API is canceling *batch* without our having asked."""

    async def ended(self, batch: model.BatchRow, remote: api_answers.RemoteBatch, now: datetime) -> bool:
        """The batch ended: its results can be collected. The counts in *remote* are final."""


class AttentionStore(Protocol):
    """Matters that need a person."""

    async def attend(self, job: ids.JobId, kind: str, batch: ids.BatchId | None, message: str, now: datetime) -> None:
        """Show *message* with the job until `unattend`; the first time it is also an event."""

    async def unattend(self, job: ids.JobId, kind: str, batch: ids.BatchId | None) -> None:
        """Remove the message: its cause is gone."""


class CommandStore(Protocol):
    """What a person asks for."""

    async def pause(self, job: ids.JobId, code: str, reason: str, now: datetime) -> bool:
        """Plan and send nothing new; what is in flight is still collected. False: the job is not running."""

    async def resume(self, job: ids.JobId, now: datetime) -> bool:
        """Resume a paused job. False: it is not paused."""

    async def cancel(self, job: ids.JobId, now: datetime) -> bool:
        """Cancel a job: nothing new is sent, what is planned is dropped, what is at the API is asked to stop.

        False: it is over, or being canceled already.
        """

    async def cancel_queued(self, job: ids.JobId) -> int:
        """Settle the queued requests of a canceled job, slice by slice; returns how many."""

    async def canceling(self) -> list[model.JobRow]:
        """Jobs being canceled that have queued requests left (a batch was given up meanwhile, or a crash came)."""

    async def paused(self) -> list[model.JobRow]:
        """Paused jobs."""

    async def get(self, job: ids.JobId) -> model.JobRow:
        """The job as it is now."""

    async def note(self, kind: str, why: str | None, now: datetime) -> None:
        """Write down an event of no job: something that a person had done."""

    async def disown(self, remote_id: str, now: datetime) -> bool:
        """Note a person's word that a remote batch is not ours. False: it is no candidate, or proven already."""

    async def adopt(
        self,
        job: model.JobRow,
        remote: api_answers.RemoteBatch,
        meta: api_answers.ResponseMeta,
        nonce: ids.Nonce,
        now: datetime,
    ) -> bool:
        """Make *remote*, created elsewhere, the only batch of *job*. False: the numbers differ, or some are planned."""

    async def doubts_about(self, remote_id: str) -> list[model.BatchRow]:
        """Batches in doubt that *remote_id* is a candidate for."""


class EngineStore(Protocol):
    """The store as the engine sees it: one facet for each stage or command."""

    ingest: IngestStore
    plan: PlanStore
    submit: SubmitStore
    bisect: BisectStore
    params: ParamsStore
    gates: GateStore
    doubt: DoubtStore
    evidence: EvidenceStore
    sweep: SweepStore
    reconcile: ReconcileStore
    strays: StrayStore
    poll: PollStore
    collect: CollectStore
    settle: SettleStore
    commands: CommandStore
    attention: AttentionStore
    notices: NoticeStore
    samples: SampleStore
    purge: PurgeStore
    budgets: BudgetStore
    reprice: RepriceStore
    retries: RetryStore
    prefixes: PrefixStore

    async def check_files(self) -> None:
        """Raise StoreLost if a file of the store was removed or replaced since it was opened."""

    async def discard_leftovers(self) -> int:
        """Take away what killed imports left; how many. In a store of one process: before any import begins."""
        ...


class Store(EngineStore, Reader, Protocol):
    """An open store, owned by this process: what the engine works on and the faces read."""

    @property
    def lost(self) -> str | None:
        """Why nothing can be stored any more, for a person. None: it can."""
        ...

    async def read_bulk(self, look: Callable[[Reads], T]) -> T:
        """As `read`, for results: never delays a `read`."""
        ...

    async def aclose(self) -> None:
        """Close it, and let another process own it."""
        ...
