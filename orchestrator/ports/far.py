"""What commands and programs read, of a store of this machine and of a server's alike.

A part of `ports.reads`, so whatever reads a store reads this, too. Over a network each call is a snapshot of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import Batch, ErrorGroup, Event, Job, JobStatus, RequestView, ResultRow
from orchestrator.domain.notices import Delivery, DeliveryState, Endpoint
from orchestrator.ports.source import Problem

T = TypeVar("T")


class Meta(Protocol):
    """Who a store is."""

    @property
    def lineage(self) -> str:
        """Random, made once."""
        ...

    @property
    def sandbox(self) -> bool:
        """Nothing of it is real."""
        ...


class FarJobs(Protocol):
    """Jobs; see `ports.reads.JobReads`."""

    def meta(self) -> Meta:
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

    def jobs(self, *, limit: int) -> list[Job]:
        """The newest *limit* jobs."""
        ...

    def unfinished(self) -> list[Job]:
        """Jobs that are not over, the oldest first."""
        ...

    def status(self, job: Job) -> JobStatus:
        """Everything that `status` shows."""
        ...

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[Problem]:
        """Lines that `--skip-bad` left out, with their reasons, in file order."""
        ...


class FarDetails(Protocol):
    """What is inside a job; see `ports.reads`."""

    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[ErrorGroup]:
        """Failed requests grouped by cause, the largest group first."""
        ...

    def results(self, job: JobId, *, above: int, limit: int) -> list[ResultRow]:
        """The next settled requests after the number *above*, in input order."""
        ...

    def request(self, job: JobId, custom_id: str) -> RequestView:
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


class FarReads(FarJobs, FarDetails, Protocol):
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


class FarReader(Protocol):
    """Reading at any time."""

    async def read(self, look: Callable[[FarReads], T]) -> T:
        """Run *look* away from the loop."""
        ...
