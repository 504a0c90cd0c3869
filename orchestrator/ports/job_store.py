"""The store's facets beside the stages: ingest, purge, samples, notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from orchestrator.domain import ids, job_spec, model, notices
from orchestrator.ports.streams import InputLine, InputProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The SHA-256 (hex) and the size of a whole source, decompressed."""

    hash: str
    size_bytes: int


class IngestOutcome(StrEnum):
    """How an import ended."""

    MADE = "made"  #: a new job runs
    SAME = "same"  #: its content is a job already, or its key stands for this content
    CHANGED = "changed"  #: the file was another when a job was made from it


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesCursor:
    """Where a look for repeated custom ids goes on: above this id and request; `first` has the same id first."""

    custom_id: str = ""
    request: int = 0
    first: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A line whose custom_id the job has already, at `first_line`. params: the beginning of its own, to show it."""

    line: int
    custom_id: str
    first_line: int
    params: bytes


class IngestStore(Protocol):
    """Imports: a job and its requests are stored whole or not at all."""

    async def begin(self, new: job_spec.NewJob, public_id: str, now: datetime) -> model.JobRow:
        """Create a job in state importing; nothing of it is planned before `conclude`."""

    async def add(self, job: ids.JobId, lines: Sequence[InputLine], now: datetime) -> None:
        """Store the next requests of an import. Duplicate custom ids are found at its end, by `repeated`."""

    async def repeated(
        self, job: ids.JobId, after: DuplicatesCursor, *, leave_out: bool
    ) -> tuple[list[Duplicate], DuplicatesCursor | None]:
        """The next requests of an import whose custom_id an earlier one has, a few hundred above *after*.

        leave_out: they are taken out of the import. Returns them and where to go on; None: there are no more.
        """

    async def extend(self, job: ids.JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        """Add *lines* to an open job, all or none: with duplicates, which are returned, nothing is added."""

    async def close_open(self, job: ids.JobId, now: datetime) -> bool:
        """Close an open job: no more requests will come, so it may finish."""

    async def add_refused(self, job: ids.JobId, problems: Sequence[InputProblem]) -> None:
        """Store refused lines with the reasons."""

    async def conclude(
        self, job: ids.JobId, new: job_spec.NewJob, content: Content, now: datetime, *, force_new: bool
    ) -> tuple[IngestOutcome, model.JobRow]:
        """The whole input is in: the job runs, unless one of the same content is there, or one of the file as it was.

        The key of *new* comes first: it stands for one job, even *force_new*. Raises KeyReused if that job has other
        content. A job that is there gets the name that was chosen in *new*; raises GuardRefused where that name means
        another job. Looking and finishing are one transaction: of two that bring the same at once, one runs. Returns
        what it came to, and the job as it ran before (the import is then the caller's to discard) or runs now.
        """

    async def importing(self) -> list[model.JobRow]:
        """Jobs that are importing, once everything that was asked for before is written."""

    async def discard(self, job: ids.JobId) -> None:
        """Delete an import without a trace; may be repeated. One that was concluded stays."""


#: Who purges: `JobRow.purged_by`.
BY_PERSON: Final = "person"
BY_RETENTION: Final = "retention"


class PurgeStore(Protocol):
    """Marks jobs as purged, then deletes their params and results; counts, ids, errors and history stay."""

    async def mark(self, job: ids.JobId, by: str, now: datetime) -> bool:
        """Hide the params and results of *job* from now on. False: it was purged already.

        Raises GuardRefused while it is not over.
        """

    async def over_since(self, until: datetime) -> list[model.JobSnapshot]:
        """Jobs that were over at *until* and are not purged."""

    async def purge_some(self) -> bool:
        """Delete a slice of what marked jobs had; False when nothing is left. May run concurrently with itself."""


class SampleStore(Protocol):
    """Samples of the load, for charts."""

    async def take(self, now: datetime, *, keep_from: datetime, watched: bool) -> bool:
        """Store a sample of the load; False: nothing changed since the last. Deletes samples older than *keep_from*."""


class NoticeStore(Protocol):
    """The queue of webhook notices. The store enqueues them itself, with the event that they tell of."""

    async def mirror(self, endpoints: Sequence[notices.EndpointSpec], now: datetime) -> None:
        """Make the endpoints those of the settings. Notices for an endpoint that is gone are given up."""

    async def due(self, now: datetime, limit: int, *, each: int) -> list[notices.Notice]:
        """The notices to send now, the longest due first, at most *each* of an endpoint."""

    async def delivered(self, notice: notices.Notice, status: int, now: datetime) -> bool:
        """Note that the endpoint accepted *notice*. False: it was changed meanwhile."""

    async def put_off(
        self, notice: notices.Notice, outcome: notices.DeliveryResult, until: datetime | None, now: datetime
    ) -> bool:
        """Note a failed try: due again at *until*; None: given up."""

    async def replay(self, delivery: int, now: datetime) -> bool:
        """Send a finished delivery again, with all its tries. False: there is none, or it waits already."""

    async def test(self, url: str | None, now: datetime) -> list[int]:
        """Enqueue a test notice for the endpoint *url*, or for each; returns the deliveries' numbers."""

    async def delete_old(self, before: datetime) -> int:
        """Delete finished deliveries created before *before*; returns how many."""
