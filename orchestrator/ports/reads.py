"""What faces read of the store: every method sees one committed snapshot, whoever owns the store.

A list is a page by key: it costs what it shows, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from orchestrator.domain.ids import BatchId, JobId, RemoteId
from orchestrator.domain.model import (
    Attention,
    Batch,
    BatchRow,
    Candidate,
    Event,
    Gate,
    Job,
    JobRow,
    JobStatus,
    StoreMeta,
)
from orchestrator.domain.notices import Delivery, DeliveryState, Endpoint
from orchestrator.domain.queries import (
    ALL_JOBS,
    ALL_REQUESTS,
    ErrorGroup,
    JobFilter,
    RequestDetails,
    RequestFilter,
    RequestRow,
    ResultRow,
    Sample,
    SettledCursor,
    Totals,
)
from orchestrator.domain.states import BatchState
from orchestrator.ports.streams import InputProblem

T = TypeVar("T")


class StoreIdentity(Protocol):
    """Who a store is."""

    @property
    def lineage(self) -> str:
        """Random, made once."""
        ...

    @property
    def sandbox(self) -> bool:
        """Nothing of it is real."""
        ...


class RemoteJobReads(Protocol):
    """Jobs; see `ports.reads.JobReads`."""

    def meta(self) -> StoreIdentity:
        """Who this store is."""
        ...

    def find(self, ref: str) -> Job:
        """The job that *ref* means. Raises NoSuchThing."""
        ...

    def sole(self, ref: str) -> Job:
        """The same for who changes something. Raises GuardRefused for a name that several jobs have."""
        ...

    def get(self, job: JobId) -> Job:
        """The job as it is now."""
        ...

    def jobs(self, *, limit: int) -> Sequence[Job]:
        """The newest *limit* jobs."""
        ...

    def unfinished(self) -> list[Job]:
        """Jobs that are not over, the oldest first."""
        ...

    def status(self, job: Job) -> JobStatus:
        """Everything that `status` shows."""
        ...

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        """Lines that `--skip-bad` left out, with their reasons, in file order."""
        ...


class RemoteDetailReads(Protocol):
    """What is inside a job; see `ports.reads`."""

    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[ErrorGroup]:
        """Failed requests grouped by cause, the largest group first."""
        ...

    def results(self, job: JobId, *, above: int, limit: int) -> list[ResultRow]:
        """The next settled requests after the number *above*, in input order."""
        ...

    def request(self, job: JobId, custom_id: str) -> RequestDetails:
        """One request with every trip that did not succeed. Raises NoSuchThing."""
        ...

    def events(self, job: JobId | None, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The job's history and its batches', oldest first; None: of every job."""
        ...

    def batches(self, job: JobId) -> list[Batch]:
        """Every batch of the job, in the order they were planned."""
        ...

    def batch(self, ref: str) -> Batch:
        """A batch by its remote id or its own number. Raises NoSuchThing."""
        ...

    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        """(created, ended) of the job's last ended batches, by the API's clock."""
        ...


class RemoteReads(RemoteJobReads, RemoteDetailReads, Protocol):
    """Everything that can be read from afar."""

    def over_since(self, until: datetime) -> list[Job]:
        """Jobs that were over at *until* and have their requests and results still, the oldest first."""
        ...

    def endpoints(self) -> list[Endpoint]:
        """Who is told of what happens."""
        ...

    def deliveries(self, *, limit: int, state: DeliveryState | None = None) -> list[Delivery]:
        """The newest notices on their way to somebody."""
        ...


class RemoteReader(Protocol):
    """Reading at any time."""

    async def read(self, look: Callable[[RemoteReads], T]) -> T:
        """Run *look* away from the loop."""
        ...


class StoreReads(Protocol):
    """The store as a whole; one snapshot."""

    def meta(self) -> StoreMeta:
        """Who this store is."""
        ...

    def totals(self) -> Totals:
        """Sums over all jobs."""
        ...

    def asked_again_at(self, job: Job) -> datetime | None:
        """When a daemon sees whether the account works again for *job*; None: nobody does."""
        ...

    def gates(self) -> list[Gate]:
        """The waits that the API asked for, or that followed its refusals, and that no success has ended."""
        ...

    def attentions(self) -> list[tuple[Job, Attention]]:
        """Everything that a person should look at, of all jobs, the oldest first."""
        ...

    def over_since(self, until: datetime) -> list[Job]:
        """Jobs that were over at *until* and have their requests and results still, the oldest first."""
        ...

    def samples(self, *, since: datetime, step: timedelta) -> list[Sample]:
        """The last sample of each *step* since *since*, oldest first; steps without one are left out.

        Steps are counted from 1970, so that two looks cut time alike.
        """
        ...

    def sample_at(self, at: datetime) -> Sample | None:
        """The last sample at *at* or before; None where there is none so old."""
        ...


class JobReads(Protocol):
    """Jobs, as faces show them; one snapshot."""

    def find(self, ref: str) -> Job:
        """The job that *ref* means: an id, a unique prefix of one, a name (the newest so called), or `@last`.

        Raises NoSuchThing with near names as the hint.
        """
        ...

    def sole(self, ref: str) -> Job:
        """The same for who changes something. Raises GuardRefused for a name that several jobs have."""
        ...

    def get(self, job: JobId) -> Job:
        """The job as it is in this snapshot."""
        ...

    def jobs(self, *, limit: int, before: JobId | None = None, where: JobFilter = ALL_JOBS) -> list[JobRow]:
        """The newest *limit* jobs that *where* lets through, older than *before* if given."""
        ...

    def newer_jobs(self, job: JobId, *, limit: int) -> list[JobRow]:
        """The next *limit* jobs after *job*, in the order they were made."""
        ...

    def known(self, ids: Collection[JobId]) -> dict[JobId, Job]:
        """Those of *ids* that are there: an import that was discarded left only its events."""
        ...

    def unfinished(self) -> list[Job]:
        """Jobs that are not over."""
        ...

    def status(self, job: Job) -> JobStatus:
        """Everything that `status` shows; constant time, however large the job."""
        ...

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        """Lines that `--skip-bad` left out, with their reasons, in file order; `raw` is empty in a purged job."""
        ...


class RequestReads(Protocol):
    """The requests of a job; one snapshot."""

    def requests(
        self, job: JobId, *, above: int = 0, limit: int, where: RequestFilter = ALL_REQUESTS
    ) -> list[RequestRow]:
        """The next requests after the number *above* that *where* lets through, in input order."""
        ...

    def request(self, job: JobId, custom_id: str) -> RequestDetails:
        """One request with every trip that did not succeed. Raises NoSuchThing."""
        ...

    def request_at(self, job: JobId, number: int) -> RequestDetails:
        """The same by its number. Raises NoSuchThing."""
        ...

    def neighbours(self, job: JobId, number: int) -> tuple[int | None, int | None]:
        """The numbers of the requests before and after this one; None where there is none."""
        ...


class ResultReads(Protocol):
    """What became of the requests of a job; one snapshot."""

    def results(self, job: JobId, *, above: int, limit: int) -> list[ResultRow]:
        """The next settled requests after the number *above*, in input order. Raises Purged."""
        ...

    def settled_results(self, job: JobId, *, after: SettledCursor, limit: int) -> tuple[list[ResultRow], SettledCursor]:
        """The next results in the order in which batches settled, and where to go on. Raises Purged.

        What no batch brought comes last, when the job is over. No results and the job is over: that was all. A request
        that is retried comes once more when it is settled again.
        """
        ...

    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[ErrorGroup]:
        """Failed requests grouped by cause, the largest group first."""
        ...

    def failed_of_type(self, job: JobId, error_type: str) -> int:
        """How many requests failed for this reason."""
        ...


class BatchReads(Protocol):
    """Batches, ours and those that might be; one snapshot."""

    def batches(self, job: JobId) -> list[Batch]:
        """Every batch of the job, in the order they were planned."""
        ...

    def batches_page(
        self,
        *,
        limit: int,
        before: BatchId | None = None,
        states: frozenset[BatchState] = frozenset(),
        job: JobId | None = None,
    ) -> list[BatchRow]:
        """The newest *limit* batches, older than *before* if given; in *states*, if any are given, and of *job*."""
        ...

    def batch(self, ref: str) -> Batch:
        """A batch by its remote id or its own number. Raises NoSuchThing."""
        ...

    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, Batch]:
        """Our batches among these remote ids."""
        ...

    def candidates(self, batch: BatchId) -> list[Candidate]:
        """The remote batches that *batch*, which is or was in doubt, may be; in the order they were created."""
        ...

    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        """(created, ended) of the job's last ended batches, by the API's clock."""
        ...


class EventReads(Protocol):
    """Who moved what, when and why; one snapshot."""

    def events(self, job: JobId | None, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The job's history and its batches', oldest first; None: of every job."""
        ...

    def newest_events(self, job: JobId | None, *, limit: int, before: int | None = None) -> list[Event]:
        """The same, newest first, older than the event *before* if given."""
        ...

    def batch_histories(self, batches: Sequence[BatchId]) -> dict[BatchId, list[tuple[datetime, BatchState]]]:
        """When each of *batches* came into which state, in order."""
        ...

    def last_event(self) -> int:
        """The number of the newest event; 0 before the first."""
        ...


class NoticeReads(Protocol):
    """Notices, as faces show them; one snapshot."""

    def endpoints(self) -> list[Endpoint]:
        """Every endpoint that was ever set, those of today first."""
        ...

    def deliveries(
        self, *, limit: int, before: int | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Notices, the newest first, older than *before* if given."""
        ...

    def delivery(self, number: int) -> Delivery:
        """One of them. Raises NoSuchThing."""
        ...

    def delivery_counts(self) -> dict[DeliveryState, int]:
        """How many there are in each state."""
        ...


class Reads(StoreReads, JobReads, RequestReads, ResultReads, BatchReads, EventReads, NoticeReads, Protocol):
    """Everything that can be read, in one snapshot."""


class Reader(Protocol):
    """Reading at any time, from one committed snapshot per call."""

    async def read(self, look: Callable[[Reads], T]) -> T:
        """Run *look* on the reader's thread."""
        ...


class StoreLocation(Protocol):
    """Where a store is, for people and programs that ask how it fares; looked up anew each time."""

    def __str__(self) -> str:
        """What a person calls it: a path."""
        ...

    @property
    def name(self) -> str:
        """The same, short."""
        ...

    @property
    def size_bytes(self) -> int:
        """What its data takes; 0 where nothing is."""
        ...

    @property
    def log_bytes(self) -> int:
        """What its log takes beside that; 0 where there is none, as in a store that nobody has open."""
        ...

    @property
    def folder(self) -> Path:
        """The folder whose disk it fills; a folder above where that is yet to be made."""
        ...
