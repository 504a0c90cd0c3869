"""What the engine and the faces need of the store, cut by consumer. `store/` keeps them; nothing else knows columns.

`batch` arguments are values as they were read: the write is fenced by their `fence`, and does nothing if the row moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.answers import Meta, RemoteBatch
from orchestrator.domain.ids import BatchId, JobId, Nonce, RemoteId
from orchestrator.domain.model import (
    Batch,
    Concluded,
    Duplicate,
    ErrorGroup,
    Event,
    Gate,
    Job,
    JobStatus,
    Load,
    NewJob,
    Plannable,
    Progress,
    Remote,
    RequestView,
    ResultRow,
    Settled,
    StoreMeta,
)
from orchestrator.domain.packing import Pack
from orchestrator.ports.source import InputLine, Problem


class IntakeStore(Protocol):
    """A job and its requests come in, whole or not at all."""

    async def begin(self, new: NewJob, public_id: str, now: datetime) -> Job:
        """A new job, importing; nothing of it is planned before `finish`."""
        ...

    async def add(self, job: JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        """Store the next requests of *job*; lines whose custom_id it has already are left out and returned."""
        ...

    async def extend(self, job: JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        """Add *lines* to an open job, all or none: with duplicates, which are returned, nothing is added."""
        ...

    async def close_open(self, job: JobId, now: datetime) -> bool:
        """No more requests will come: the job may finish."""
        ...

    async def add_refused(self, job: JobId, problems: Sequence[Problem]) -> None:
        """Keep refused lines with their reasons."""
        ...

    async def finish(self, job: JobId, content_hash: str | None, size_bytes: int, now: datetime) -> Job:
        """The whole input is in: the job runs from here on."""
        ...

    async def conclude(
        self, job: JobId, new: NewJob, content_hash: str, size_bytes: int, now: datetime
    ) -> tuple[Concluded, Job]:
        """As `finish`, unless a job of the same content is there, or one made from the same file when it was another.

        Looking and finishing are one transaction: of two that bring the same content at once, one runs. Returns what
        it came to, and the job that ran before (the import is then the caller's to discard) or runs now.
        """
        ...

    async def discard(self, job: JobId) -> None:
        """Take an import away without a trace; safe to repeat."""
        ...


class PlanStore(Protocol):
    """What waits, and how full the API's queue is."""

    async def load(self) -> Load:
        """How full the API's queue is, by our own doing."""
        ...

    async def plannable(self) -> list[Plannable]:
        """Running jobs with queued requests."""
        ...

    async def queued(self, job: JobId, limit: int) -> list[tuple[int, int]]:
        """(number, params bytes) of the next *limit* queued requests, in file order."""
        ...

    async def plan(self, job: Job, pack: Pack, nonce: Nonce, now: datetime) -> BatchId | None:
        """Make a planned batch of *pack*; None, and nothing stored, if the job or a request moved meanwhile."""
        ...

    async def fail_queued(self, job: JobId, number: int, error: tuple[str, str], body: bytes, now: datetime) -> bool:
        """Settle a queued request as failed with *error* (type, message) and its result *body*."""
        ...

    async def spread(self) -> int:
        """The store's own random number (1–999) that makes its full batches differ from everybody else's."""
        ...


class SubmitStore(Protocol):
    """Intent, clear yes, clear no, doubt. Each step is guarded: False or None means that the row moved meanwhile."""

    async def sendable(self, limit: int) -> list[Batch]:
        """Planned batches of running jobs, the most urgent first."""
        ...

    async def intend(self, batch: Batch, cursor: RemoteBatch | None, meta: Meta, now: datetime) -> Batch | None:
        """Commit the intent to POST: afterwards only a clear answer or doubt can follow. None: it moved meanwhile."""
        ...

    async def accept(self, batch: Batch, remote: RemoteBatch, meta: Meta, now: datetime) -> bool:
        """A clear yes: the batch is in progress at the API."""
        ...

    async def give_back(self, batch: Batch, why: str, now: datetime, *, cut: bool) -> bool:
        """A clear no: it waits to be sent again, under its nonce. `cut`: the connection broke inside the body."""
        ...

    async def doubt(self, batch: Batch, why: str, now: datetime) -> bool:
        """No clear answer: the batch may or may not exist."""
        ...

    async def stranded(self) -> list[Batch]:
        """Batches in `submitting`; at the start all of them, later those whose task was cancelled."""
        ...


class NarrowStore(Protocol):
    """A refused batch is narrowed down until the request at fault is found (promise 4)."""

    async def abandon(
        self, batch: Batch, why: str, now: datetime, *, failed: tuple[int, str, str, bytes] | None = None
    ) -> bool:
        """Never sent: its requests are queued again, but the one in *failed*, which is settled.

        failed: (place in the batch from 0, error type, message, result body).
        """
        ...

    async def halve(self, batch: Batch, nonces: tuple[Nonce, Nonce], why: str, now: datetime) -> bool:
        """Abandon *batch* and plan its two halves. It has at least two requests."""
        ...

    async def park(self, batch: Batch, words: str, now: datetime) -> bool:
        """Keep the unnamed refusal of a half until its sibling's word is known."""
        ...

    async def parked(self) -> list[tuple[Batch, Batch | None]]:
        """Parked halves, each with its sibling."""
        ...


class BodyStore(Protocol):
    """The params of a batch, streamed."""

    async def slice(self, batch: BatchId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        """(number, params) of the members with a number above *above*, in order; ends with a block of payload.

        Empty at the end; else at least *limit_bytes* of params, if there are as many, and at most a block more.
        """
        ...


class GateStore(Protocol):
    """Waits that the API asked for."""

    async def get(self, name: str) -> Gate | None:
        """The gate, if it is shut or was shut without a success since."""
        ...

    async def shut(self, name: str, until: datetime, why: str, now: datetime) -> None:
        """No call of this kind before *until*; counts the refusals in a row."""
        ...

    async def open(self, name: str) -> None:
        """A call worked."""
        ...


class PollStore(Protocol):
    """Batches that the API works on."""

    async def watched(self) -> list[Batch]:
        """Batches the API works on, newest first."""
        ...

    async def to_cancel(self) -> list[Batch]:
        """Batches of canceled jobs that the API has not been asked to cancel yet."""
        ...

    async def uncollected(self) -> list[Batch]:
        """Ended batches whose results are not all stored."""
        ...

    async def asked_to_cancel(self, batch: Batch, now: datetime) -> bool:
        """The API was asked, by us."""
        ...

    async def seen_canceling(self, batch: Batch, now: datetime) -> bool:
        """The API says it is canceling the batch, and not because we asked."""
        ...

    async def ended(self, batch: Batch, remote: RemoteBatch, now: datetime) -> bool:
        """The API stopped: its results can be collected. The counts are the API's last word."""
        ...


class AttentionStore(Protocol):
    """What a person should look at."""

    async def attend(self, job: JobId, kind: str, batch: BatchId | None, message: str, now: datetime) -> None:
        """Show *message* with the job until `unattend`; the first time it is also an event."""
        ...

    async def unattend(self, job: JobId, kind: str, batch: BatchId | None) -> None:
        """The cause is gone."""
        ...


class DoubtStore(Protocol):
    """Batches in doubt (promise 2)."""

    async def in_doubt(self) -> list[Batch]:
        """Batches whose POST got no clear answer."""
        ...

    async def restart_waits(self, now: datetime) -> int:
        """At the start: a wait by our own clock begins again; what the API's Date proved stays."""
        ...

    async def note_date(self, batches: Iterable[Batch], date: datetime) -> None:
        """Commit the API's first Date after discovery, so that a crash loop does not start the wait again."""
        ...

    async def end_wait(self, batch: Batch, until: datetime) -> bool:
        """The wait is over: only what the API created up to *until* (its Date) can be this batch."""
        ...

    async def looked(self, batch: Batch, *, found: bool) -> bool:
        """One whole look at the list is done; `found`: some candidate is not proven foreign."""
        ...

    async def void(self, batch: Batch, date: datetime, why: str, now: datetime) -> bool:
        """It never appeared: its requests are queued again, with no attempt burnt."""
        ...

    async def claim(self, batch: Batch, remote: RemoteBatch, now: datetime) -> bool:
        """*remote* is proven to be *batch*: it is in progress."""
        ...


class EvidenceStore(Protocol):
    """Remote batches that may be ours, and what was proven of each."""

    async def unclaimed(self, remotes: Sequence[RemoteBatch]) -> list[RemoteBatch]:
        """Of *remotes*, those that are not ours already and not proven foreign."""
        ...

    async def add_candidates(self, batch: Batch, remotes: Sequence[RemoteBatch]) -> None:
        """Remember which remote batches may be *batch*: one that vanishes from the list is still waited for."""
        ...

    async def candidates(self, batch: Batch) -> list[Remote]:
        """Every remote batch that was ever a candidate for *batch*, with its verdict."""
        ...

    async def judge(self, remote_id: str, verdict: str, owner: Batch | None) -> bool:
        """Store a verdict: 'foreign', 'unprovable', or 'ours' with its owner. A proof is final."""
        ...

    async def readable(self, remote_id: str, *, unreadable_at: datetime | None) -> None:
        """Note since when (API's Date) a candidate cannot be read, or that it can be (None)."""
        ...

    async def by_nonce(self, nonce: Nonce) -> Batch | None:
        """Our batch with this nonce, or None: the nonce proves whose a remote batch is."""
        ...


class SweepStore(Protocol):
    """Closed batches that are still looked for (promise 2, late sweep)."""

    async def to_sweep(self) -> list[Batch]:
        """Void and abandoned batches that are still looked for."""
        ...

    async def swept(self, batch: Batch) -> None:
        """Its time is over."""
        ...

    async def see(self, remotes: Sequence[RemoteBatch]) -> None:
        """Remember remote batches that are watched."""
        ...

    async def duplicate(self, batch: Batch, remote_id: str, now: datetime) -> bool:
        """A batch that was closed turned out to exist: count it, once, and log it."""
        ...

    async def keep_spare(self, remote_id: str, rows: Sequence[tuple[int, bytes]]) -> None:
        """Keep results of such a batch: (number, result)."""
        ...


class CollectStore(Protocol):
    """Every line once, whatever the download does (promise 3)."""

    async def numbers(self, job: JobId, custom_ids: Sequence[str]) -> dict[str, int]:
        """The numbers of these requests by the user's own ids: for a batch that was made elsewhere."""
        ...

    async def to_collect(self, now: datetime, limit: int) -> list[Batch]:
        """Ended batches whose download is due, the oldest first."""
        ...

    async def store_lines(self, batch: Batch, lines: Sequence[Settled], now: datetime) -> int:
        """Store a chunk of a download; lines of requests that do not wait for one any more change nothing."""
        ...

    async def progress(self, batch: Batch) -> Progress:
        """How much of the batch is here, by the API's result types."""
        ...

    async def again(self, batch: Batch, due: datetime, date: datetime | None, *, full: bool) -> bool:
        """Repeat the download at *due*. full: it came to a clean end; *date*: the API's Date of it."""
        ...

    async def collected(self, batch: Batch, now: datetime) -> bool:
        """Every wire id was seen and the counts agree."""
        ...

    async def give_up(self, batch: Batch, error: tuple[str, str], body: bytes, now: datetime) -> int:
        """Settle the members that never came as failed with *error* (type, message), and call the batch collected."""
        ...


class SettleStore(Protocol):
    """The requests' last word, and the jobs'."""

    async def to_settle(self) -> list[Batch]:
        """Collected batches."""
        ...

    async def outcomes(self, batch: Batch) -> dict[str, int]:
        """How many undecided trips of a collected batch ask for what ('again', 'credit', 'canceled')."""
        ...

    async def settle(self, batch: Batch, max_attempts: int, now: datetime) -> dict[str, int] | None:
        """Decide a slice of what did not succeed; None when nothing is left and the batch is settled.

        Returns how many requests had each outcome ('again', 'credit', 'canceled', 'failed').
        """
        ...

    async def finish_jobs(self, now: datetime) -> list[Job]:
        """Jobs with nothing left to do end: `finished`, or `canceled` after a cancel. Returns them as they were."""
        ...

    async def to_delete(self, limit: int) -> list[Batch]:
        """Settled batches that still exist at the API, as far as we know."""
        ...

    async def deleted(self, batch: Batch, now: datetime) -> None:
        """It is gone at the API."""
        ...


class ControlStore(Protocol):
    """What a person commands."""

    async def pause(self, job: JobId, code: str, reason: str, now: datetime) -> bool:
        """Plan and send nothing new; what is in flight is still collected. False: it does not run."""
        ...

    async def resume(self, job: JobId, now: datetime) -> bool:
        """Go on after a pause. False: it is not paused."""
        ...

    async def cancel(self, job: JobId, now: datetime) -> bool:
        """Cancel a job: nothing new is sent, what is planned is dropped, what is at the API is asked to stop.

        False: it is over, or being canceled already.
        """
        ...

    async def cancel_queued(self, job: JobId) -> int:
        """Settle the queued requests of a canceled job, slice by slice; returns how many."""
        ...

    async def canceling(self) -> list[Job]:
        """Jobs being canceled that have queued requests left (a batch was given up meanwhile, or a crash came)."""
        ...

    async def retry(self, job: JobId, only: str | None, now: datetime) -> int:
        """Queue failed and canceled requests again (of one error type, or all); returns how many."""
        ...

    async def paused(self) -> list[Job]:
        """Jobs that wait for a person."""
        ...

    async def get(self, job: JobId) -> Job:
        """The job as it is now."""
        ...

    async def disown(self, remote_id: str) -> bool:
        """A person says that a remote batch is not ours; False: it is not a candidate, or proven already."""
        ...

    async def adopt(self, job: Job, remote: RemoteBatch, meta: Meta, nonce: Nonce, now: datetime) -> bool:
        """Take *remote*, made elsewhere, for all of *job*. False: the numbers differ, or some are planned."""
        ...

    async def doubts_about(self, remote_id: str) -> list[Batch]:
        """Batches in doubt that *remote_id* is a candidate for."""
        ...


class JobReads(Protocol):
    """Jobs, as faces show them; one snapshot."""

    def meta(self) -> StoreMeta:
        """Who this store is."""
        ...

    def find(self, ref: str) -> Job:
        """The job that *ref* means: an id, a unique prefix of one, a name (the newest so called), or `@last`.

        Raises NoSuchThing with near names as the hint.
        """
        ...

    def get(self, job: JobId) -> Job:
        """The job as it is in this snapshot."""
        ...

    def jobs(self, *, limit: int, before: JobId | None = None) -> list[Job]:
        """The newest *limit* jobs, older than *before* if given."""
        ...

    def unfinished(self) -> list[Job]:
        """Jobs that are not over."""
        ...

    def status(self, job: Job) -> JobStatus:
        """Everything that `status` shows; constant time, however large the job."""
        ...


class DetailReads(Protocol):
    """What is inside a job; one snapshot."""

    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[ErrorGroup]:
        """Failed requests grouped by cause, the largest group first."""
        ...

    def results(self, job: JobId, *, above: int, limit: int) -> list[ResultRow]:
        """The next settled requests after the number *above*, in input order."""
        ...

    def batches(self, job: JobId) -> list[Batch]:
        """Every batch of the job, in the order they were planned."""
        ...

    def batch(self, ref: str) -> Batch:
        """A batch by its remote id or its own number. Raises NoSuchThing."""
        ...

    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, Batch]:
        """Our batches among these remote ids."""
        ...

    def events(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The job's history and its batches', oldest first."""
        ...

    def request(self, job: JobId, custom_id: str) -> RequestView:
        """One request with every trip that did not succeed. Raises NoSuchThing."""
        ...

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[Problem]:
        """Lines that `--skip-bad` left out, with their reasons, in file order."""
        ...

    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        """(created, ended) of the job's last ended batches, by the API's clock."""
        ...


class EngineStore(Protocol):
    """Every facet that the stages use."""

    @property
    def plan(self) -> PlanStore:
        """See PlanStore."""
        ...

    @property
    def submit(self) -> SubmitStore:
        """See SubmitStore."""
        ...

    @property
    def narrow(self) -> NarrowStore:
        """See NarrowStore."""
        ...

    @property
    def body(self) -> BodyStore:
        """See BodyStore."""
        ...

    @property
    def gates(self) -> GateStore:
        """See GateStore."""
        ...

    @property
    def doubt(self) -> DoubtStore:
        """See DoubtStore."""
        ...

    @property
    def evidence(self) -> EvidenceStore:
        """See EvidenceStore."""
        ...

    @property
    def sweep(self) -> SweepStore:
        """See SweepStore."""
        ...

    @property
    def poll(self) -> PollStore:
        """See PollStore."""
        ...

    @property
    def collect(self) -> CollectStore:
        """See CollectStore."""
        ...

    @property
    def settle(self) -> SettleStore:
        """See SettleStore."""
        ...

    @property
    def control(self) -> ControlStore:
        """See ControlStore."""
        ...

    @property
    def attention(self) -> AttentionStore:
        """See AttentionStore."""
        ...

    @property
    def intake(self) -> IntakeStore:
        """See IntakeStore."""
        ...
