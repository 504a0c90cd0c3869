"""What the engine and the faces need of the store, cut by consumer. `store/` keeps them; nothing else knows columns.

`batch` arguments are values as they were read: the write is fenced by their `fence`, and does nothing if the row moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.ids import BatchId, JobId, Nonce
from orchestrator.domain.model import BatchRow, Gate, JobRow, JudgedLine
from orchestrator.domain.packing import Pack
from orchestrator.domain.result_outcome import Outcome, Settlement
from orchestrator.ports.doubts import DoubtStore, EvidenceStore, ReconcileStore, StrayStore, SweepStore
from orchestrator.ports.job_store import IngestStore, NoticeStore, PurgeStore, SampleStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plannable:
    """A job that has queued requests, and how much of the account's queue it already uses."""

    job: JobRow
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """What all jobs together have at the API or about to be: batches and requests that have not ended."""

    batches: int
    requests: int
    waiting_batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """How much of an ended batch the store has: requests by the API's result type."""

    count: int
    by_kind: dict[str, int]

    @property
    def seen(self) -> int:
        """How many of the batch's requests were seen in its results."""
        return sum(self.by_kind.values())


class PlanStore(Protocol):
    """What waits, and how full the API's queue is."""

    async def load(self) -> QueueLoad:
        """How full the API's queue is, by our own doing."""

    async def plannable(self, *, limit: int, skip: int = 0) -> list[Plannable]:
        """Running jobs with queued requests, up to *limit* behind the first *skip*.

        The one with the least in flight for its priority comes first, among equals the older one.
        """

    async def queued(self, job: JobId, limit: int, cut: Callable[[Iterator[tuple[int, int]]], T]) -> T:
        """What *cut* makes of the next *limit* queued requests, (number, params bytes) in file order.

        It runs where the rows are read, one by one: a batch's worth of them is never held.
        """

    async def nonce(self, job: JobId, chance: Nonce) -> Nonce:
        """The nonce of a new batch of *job*: of *chance*, with the store's MAC, which proves later whose it is."""

    async def plan(self, job: JobRow, pack: Pack, nonce: Nonce, now: datetime) -> BatchId | None:
        """Make a planned batch of *pack*; None, and nothing stored, if the job or a request moved meanwhile."""

    async def fail_queued(self, job: JobId, number: int, error: tuple[str, str], body: bytes, now: datetime) -> bool:
        """Settle a queued request as failed with *error* (type, message) and its result *body*."""

    async def size_jitter(self) -> int:
        """The store's own random number (1–999) that makes its full batches differ from everybody else's."""


class SubmitStore(Protocol):
    """Intent, clear yes, clear no, doubt. Each step is guarded: False or None means that the row moved meanwhile."""

    async def sendable(self, limit: int) -> list[BatchRow]:
        """Planned batches of running jobs, the most urgent first."""

    async def intend(
        self, batch: BatchRow, cursor: RemoteBatch | None, meta: ResponseMeta, now: datetime
    ) -> BatchRow | None:
        """Commit the intent to POST: afterwards only a clear answer or doubt can follow. None: it moved meanwhile."""

    async def accept(self, batch: BatchRow, remote: RemoteBatch, meta: ResponseMeta, now: datetime) -> bool:
        """A clear yes: the batch is in progress. False: it moved meanwhile, or the id is another batch's."""

    async def give_back(self, batch: BatchRow, why: str, now: datetime, *, cut: bool) -> bool:
        """A clear no: it waits to be sent again, under its nonce. `cut`: the connection broke inside the body."""

    async def doubt(self, batch: BatchRow, why: str, now: datetime) -> bool:
        """No clear answer: the batch may or may not exist."""

    async def stranded(self) -> list[BatchRow]:
        """Batches in `submitting`; at the start all of them, later those whose task was cancelled."""


class BisectStore(Protocol):
    """A refused batch is narrowed down until the request at fault is found (promise 4)."""

    async def abandon(
        self, batch: BatchRow, why: str, now: datetime, *, failed: tuple[int, str, str, bytes] | None = None
    ) -> bool:
        """Never sent: its requests are queued again, but the one in *failed*, which is settled.

        failed: (place in the batch from 0, error type, message, result body).
        """

    async def halve(self, batch: BatchRow, nonces: tuple[Nonce, Nonce], why: str, now: datetime) -> bool:
        """Abandon *batch* and plan its two halves. It has at least two requests."""

    async def park(self, batch: BatchRow, words: str, now: datetime) -> bool:
        """Keep the unnamed refusal of a half until its sibling's word is known."""

    async def parked(self) -> list[tuple[BatchRow, BatchRow | None]]:
        """Parked halves, each with its sibling."""


class ParamsStore(Protocol):
    """The params of a batch, streamed."""

    async def slice(self, batch: BatchId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        """(number, params) of the members with a number above *above*, in order; ends with a block of payload.

        Empty at the end; else at least *limit_bytes* of params, if there are as many, and at most a block more.
        """


class GateStore(Protocol):
    """Waits that the API asked for."""

    async def get(self, name: str) -> Gate | None:
        """The gate, if it is shut or was shut without a success since."""

    async def among(self, names: Sequence[str]) -> list[Gate]:
        """Those of *names* that are shut, or were shut without a success since."""

    async def shut(self, name: str, until: datetime, why: str, now: datetime) -> None:
        """No call of this kind before *until*; counts the refusals in a row."""

    async def open(self, name: str) -> None:
        """A call worked."""


class PollStore(Protocol):
    """Batches that the API works on."""

    async def watched(self) -> list[BatchRow]:
        """Batches the API works on, newest first."""

    async def is_watching(self) -> bool:
        """Whether there is any such batch."""

    async def to_cancel(self) -> list[BatchRow]:
        """Batches of canceled jobs that the API has not been asked to cancel yet."""

    async def uncollected(self) -> list[BatchRow]:
        """Ended batches whose results are not all stored."""

    async def asked_to_cancel(self, batch: BatchRow, now: datetime) -> bool:
        """The API was asked, by us."""

    async def seen_canceling(self, batch: BatchRow, now: datetime) -> bool:
        """The API says it is canceling the batch, and not because we asked."""

    async def ended(self, batch: BatchRow, remote: RemoteBatch, now: datetime) -> bool:
        """The API stopped: its results can be collected. The counts are the API's last word."""


class AttentionStore(Protocol):
    """What a person should look at."""

    async def attend(self, job: JobId, kind: str, batch: BatchId | None, message: str, now: datetime) -> None:
        """Show *message* with the job until `unattend`; the first time it is also an event."""

    async def unattend(self, job: JobId, kind: str, batch: BatchId | None) -> None:
        """The cause is gone."""


class CollectStore(Protocol):
    """Every line once, whatever the download does (promise 3)."""

    async def numbers(self, job: JobId, custom_ids: Sequence[str]) -> dict[str, int]:
        """The numbers of these requests by the user's own ids: for a batch that was made elsewhere."""

    async def to_collect(self, now: datetime, limit: int) -> list[BatchRow]:
        """Ended batches whose download is due, the oldest first."""

    async def store_lines(self, batch: BatchRow, lines: Sequence[JudgedLine], now: datetime) -> int:
        """Store a chunk of a download; lines of requests that do not wait for one any more change nothing."""

    async def progress(self, batch: BatchRow) -> DownloadProgress:
        """How much of the batch is here, by the API's result types."""

    async def again(self, batch: BatchRow, due: datetime, date: datetime | None, *, full: bool) -> bool:
        """Repeat the download at *due*. full: it came to a clean end; *date*: the API's Date of it."""

    async def collected(self, batch: BatchRow, now: datetime) -> bool:
        """Every wire id was seen and the counts agree."""

    async def give_up(self, batch: BatchRow, error: tuple[str, str], body: bytes, now: datetime) -> int:
        """Settle the members that never came as failed with *error* (type, message), and call the batch collected."""


class SettleStore(Protocol):
    """The requests' last word, and the jobs'."""

    async def to_settle(self) -> list[BatchRow]:
        """Collected batches."""

    async def outcomes(self, batch: BatchRow) -> dict[Outcome, int]:
        """How many undecided attempts of a collected batch had which outcome."""

    async def settle(self, batch: BatchRow, max_attempts: int, now: datetime) -> dict[Settlement, int] | None:
        """Decide a slice of what did not succeed, and say of how many requests what; None: the batch is settled."""

    async def finish_jobs(self, now: datetime) -> list[JobRow]:
        """Jobs with nothing left to do end: `finished`, or `canceled` after a cancel. Returns them as they were."""

    async def to_delete(self, limit: int) -> list[BatchRow]:
        """Settled batches that still exist at the API, as far as we know."""

    async def deleted(self, batch: BatchRow, now: datetime) -> None:
        """It is gone at the API."""


class CommandStore(Protocol):
    """What a person commands."""

    async def pause(self, job: JobId, code: str, reason: str, now: datetime) -> bool:
        """Plan and send nothing new; what is in flight is still collected. False: it does not run."""

    async def resume(self, job: JobId, now: datetime) -> bool:
        """Go on after a pause. False: it is not paused."""

    async def cancel(self, job: JobId, now: datetime) -> bool:
        """Cancel a job: nothing new is sent, what is planned is dropped, what is at the API is asked to stop.

        False: it is over, or being canceled already.
        """

    async def cancel_queued(self, job: JobId) -> int:
        """Settle the queued requests of a canceled job, slice by slice; returns how many."""

    async def canceling(self) -> list[JobRow]:
        """Jobs being canceled that have queued requests left (a batch was given up meanwhile, or a crash came)."""

    async def retry(self, job: JobId, only: str | None, now: datetime) -> int:
        """Queue failed and canceled requests again (of one error type, or all); returns how many."""

    async def paused(self) -> list[JobRow]:
        """Jobs that wait for a person."""

    async def get(self, job: JobId) -> JobRow:
        """The job as it is now."""

    async def disown(self, remote_id: str) -> bool:
        """A person says that a remote batch is not ours; False: it is not a candidate, or proven already."""

    async def adopt(self, job: JobRow, remote: RemoteBatch, meta: ResponseMeta, nonce: Nonce, now: datetime) -> bool:
        """Take *remote*, made elsewhere, for all of *job*. False: the numbers differ, or some are planned."""

    async def doubts_about(self, remote_id: str) -> list[BatchRow]:
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

    async def check_files(self) -> None:
        """Raise StoreLost if a file of the store was removed or replaced since it was opened."""
