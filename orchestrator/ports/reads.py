"""What faces read of the store: every method sees one committed snapshot, whoever owns the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.ids import JobId, RemoteId
from orchestrator.domain.model import (
    Batch,
    ErrorGroup,
    Event,
    Job,
    JobStatus,
    RequestView,
    ResultRow,
    StoreMeta,
)
from orchestrator.ports.source import Problem


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

    def events(self, job: JobId | None, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The job's history and its batches', oldest first; None: of every job."""
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
