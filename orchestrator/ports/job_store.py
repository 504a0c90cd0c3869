"""The store's facets beside the stages: ingest, retry, purge, samples, notices, and prefixes that requests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeVar

from orchestrator.domain import ids, job_spec, model, notices
from orchestrator.domain.billing import Payment
from orchestrator.domain.job_estimate import JobEstimate
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.param_change import ParamChange
from orchestrator.domain.priming import PrefixGroup, SharedTokens
from orchestrator.ports.streams import InputLine, InputProblem

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The SHA-256 (hex) and the size of a whole source, decompressed. estimate: kept with the job that it becomes."""

    hash: str
    size_bytes: int
    estimate: JobEstimate | None = None


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
    """A line whose custom_id the job has already, at `first_line`. params, row: the beginning of its own."""

    line: int
    custom_id: str
    first_line: int
    params: bytes
    row: bytes = b""


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

    def twins(self, job: ids.JobId, *, stays_open: bool) -> AsyncGenerator[Sequence[bytes], None]:
        """Make twins of those requests of a complete import that have the params of an earlier one, if it says dedupe.

        Yields their params, as handed in, slice by slice. To be walked to its end after the last `repeated`, before
        `conclude`. stays_open: later requests are held against these.
        """
        ...

    async def extend(self, job: ids.JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        """Add *lines* to an open job, all or none: with duplicates, which are returned, nothing is added."""

    async def close_open(self, job: ids.JobId, now: datetime) -> bool:
        """Close an open job: no more requests will come, so it may finish."""

    async def add_refused(self, job: ids.JobId, problems: Sequence[InputProblem]) -> None:
        """Store refused lines with the reasons."""

    async def conclude(
        self,
        job: ids.JobId,
        new: job_spec.NewJob,
        content: Content,
        now: datetime,
        *,
        force_new: bool,
        repeats_since: datetime | None = None,
    ) -> tuple[IngestOutcome, model.JobRow]:
        """The whole input is in: the job runs, unless one of the same content is there, or one of the file as it was.

        With *force_new* only one of the same content and source that was made since *repeats_since* is there.

        The key of *new* comes first: it stands for one job, even *force_new*. Raises KeyReused if that job has other
        content. A job that is there gets the name that was chosen in *new*; raises GuardRefused where that name means
        another job. Looking and finishing are one transaction: of two that bring the same at once, one runs. Returns
        what it came to, and the job as it ran before (the import is then the caller's to discard) or runs now.
        """

    async def known_answers(self, kind: str | None, models: Collection[str]) -> AnswersKnown:
        """The answers so far to requests of *kind* (`domain.job_estimate.KindOfRequests`), and of each of *models*."""

    async def shared(self, job: ids.JobId) -> list[SharedTokens]:
        """What the prefixes of *job* come to that enough of its requests share for one of them to go ahead."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriable:
    """A settled request that may be tried again. params: as handed in; change: what was changed of them before.

    retries: how often it was tried again: of a request that somebody else queues meanwhile it is another number.
    """

    number: int
    custom_id: str
    line: int
    retries: int
    params: bytes
    change: ParamChange


class ChangedRequest(NamedTuple):
    """A request that is queued again with params of *size_bytes*. spec: all that is changed of them (`ParamChange`)."""

    number: int
    retries: int
    spec: bytes
    size_bytes: int


class RetryStore(Protocol):
    """Queues settled requests again; their twins go with them. Raises GuardRefused for a purged job.

    only: `failed`, `canceled`, `invalid`, error types, and stop reasons of `result_outcome.RETRIED_STOPS`, which are
    of answers that were paid for: such an answer stays, as an attempt. causes: and what failed for one of these. None
    of either: all that failed or was canceled.
    """

    async def retry(self, job: ids.JobId, only: Collection[str], now: datetime, causes: Collection[str] = ()) -> int:
        """Queue requests as they were sent last, slice by slice, each a transaction; returns how many."""

    async def page(
        self, job: ids.JobId, only: Collection[str], above: int, limit_bytes: int, causes: Collection[str] = ()
    ) -> list[Retriable]:
        """The next such requests above a number, twins aside: some *limit_bytes* of params. Of a canceled job none."""

    async def retry_changed(self, job: ids.JobId, changed: Sequence[ChangedRequest], now: datetime) -> int:
        """Queue those of *changed* that are as they were read, in one transaction; returns how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """An answer whose cost is not known. price_id, extra: as stored; None of what an earlier version stored."""

    request_id: ids.RequestId
    result_id: int
    batch_id: ids.BatchId
    created_at: datetime  #: of the batch, by the API's clock
    price_id: int | None
    extra: str | None
    body: bytes


class RepriceStore(Protocol):
    """Prices answers later."""

    async def unpriced(self, job: ids.JobId, above: ids.RequestId, limit: int) -> list[Unpriced]:
        """The next successes of *job* above that request whose cost is not known, in input order."""

    async def priced(self, job: ids.JobId, found: Sequence[tuple[Unpriced, Payment]], now: datetime) -> int:
        """Store what these answers cost; how many had no cost until now. The ledger moves with them."""


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


#: Gets (number, params bytes) of requests, one by one.
Cut = Callable[[Iterator[tuple[int, int]]], T]
Members = list[tuple[int, int]]


class PilotMember(NamedTuple):
    """A queued request of a pilot. prefix: the number of the one that it has; None: it has none."""

    number: int
    size_bytes: int
    prefix: int | None


class PrefixStore(Protocol):
    """Prefixes of a job that enough requests share, and their requests."""

    async def shared(self, job: ids.JobId, least: int) -> list[SharedTokens]:
        """What those prefixes of *job* come to that at least *least* requests share; none: it has no such prefix."""

    async def groups(
        self, job: ids.JobId, least: int, limit: int, *, among: Collection[int] | None = None
    ) -> list[PrefixGroup]:
        """The first *limit* of them that have waiting requests, in the order of the input; only those *among*."""

    async def piloted(self, job: ids.JobId, limit: int) -> list[PilotMember]:
        """The first *limit* requests of the pilot of *job* that wait to be sent, in file order."""

    async def loss(self, job: ids.JobId) -> str | None:
        """Why the cache costs *job* more than none, by the answers to those that others went ahead of; None: not so."""

    async def waiting(self, groups: Sequence[PrefixGroup], *, each: int | None, limit: int) -> list[Members]:
        """(number, params bytes) of the waiting requests of each of *groups*, in file order, up to *limit* in all.

        each: at most so many of each group.
        """

    async def free(self, job: ids.JobId, least: int, limit: int, cut: Cut[T]) -> T:
        """The answer of *cut* to the next *limit* queued requests of *job* that do not wait for a prefix."""

    async def emptied(self, groups: Sequence[PrefixGroup]) -> None:
        """None of the waiting requests of *groups* is queued any more."""
