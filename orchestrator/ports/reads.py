"""What faces read: `RemoteReads` of any store, on this machine or behind a server; `Reads` of a store of this machine.

On this machine every method of one `look` sees the same committed snapshot, whoever owns the store; over a network each
call has a snapshot of its own. A list is a page by key: it costs what it shows, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from typing_extensions import override

from orchestrator.domain import model, notices, queries, spending
from orchestrator.domain.budgets import Limit
from orchestrator.domain.ids import BatchId, JobId, RemoteId
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.result_choice import ALL_OF_A_JOB, RequestChoice
from orchestrator.domain.row_columns import RowColumn
from orchestrator.domain.states import BatchState
from orchestrator.ports.streams import InputProblem

T = TypeVar("T")


class RemoteJobReads(Protocol):
    """Jobs."""

    def find(self, ref: str) -> model.JobSnapshot:
        """The job that *ref* means: an id, a unique prefix of one, a name (the newest so called), or `@last`.

        Raises NoSuchThing with similar names as the hint.
        """

    def sole(self, ref: str) -> model.JobSnapshot:
        """As `find`, for a command that changes the job. Raises GuardRefused for a name that several jobs have."""

    def get(self, job: JobId) -> model.JobSnapshot:
        """The job as it is in this snapshot."""

    def jobs(self, *, limit: int, where: queries.JobFilter = queries.ALL_JOBS) -> Sequence[model.JobSnapshot]:
        """The newest *limit* jobs that match *where*, newest first."""

    def unfinished(self) -> list[model.JobSnapshot]:
        """Jobs that are not over, the oldest first."""

    def over_since(self, until: datetime) -> list[model.JobSnapshot]:
        """Jobs that were over at *until* and are not purged, the oldest first."""

    def status(self, job: model.JobSnapshot) -> model.JobStatus:
        """The job with its counts and troubles, in constant time, however large the job.

        Only invalid answers beside other failures are counted, one entry of an index each.
        """

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        """Lines that `--skip-bad` left out, with the reasons, in file order; a page ends with a whole line.

        `raw` is empty in a purged job.
        """


class RemoteRequestReads(Protocol):
    """The requests of a job and their results."""

    def request(self, job: JobId, custom_id: str) -> queries.RequestDetails:
        """One request with every attempt that failed. Raises NoSuchThing."""

    def chosen_requests(self, job: JobId, choice: RequestChoice, *, above: int, limit: int) -> list[queries.RequestRow]:
        """The next requests after the number *above* that are wanted, in input order, with what their answers took."""

    def request_lines(
        self, job: JobId, choice: RequestChoice, *, after: str | None, limit: int, rows: bool = False
    ) -> list[queries.RequestLine]:
        """The next requests that are wanted as lines of an input, in its order. after: the custom_id of the last one.

        rows: each with the row that it was made of. There may be fewer than *limit* before the end, since a page has
        a few megabytes at most; none is the end. Raises Purged, and NoSuchThing for *after*.
        """

    def results(
        self,
        job: JobId,
        *,
        above: int,
        limit: int,
        rows: bool = False,
        trial: bool = False,
        choice: RequestChoice = ALL_OF_A_JOB,
    ) -> list[queries.ResultRow]:
        """The next settled requests after the number *above*, in input order. Raises Purged.

        rows: each with the row that it was made of. trial: only those of trials, or of a pilot; choice: only those
        that are wanted. There may be fewer than *limit* before the end; no results are the end.
        """

    def row_columns(self, job: JobId) -> tuple[RowColumn, ...]:
        """The columns of the rows of *job*, settled or not, in the order of the first row that has them.

        Raises Purged. It opens every row, and no answer.
        """

    def request_costs(self, job: JobId, *, above: int, limit: int) -> list[queries.RequestCost]:
        """What the next settled requests after the number *above* cost, in input order. Raises Purged."""

    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[queries.ErrorGroup]:
        """Failed requests grouped by cause, the largest group first."""


class RemoteBatchReads(Protocol):
    """Batches of this store."""

    def batches(self, job: JobId) -> list[model.Batch]:
        """Every batch of the job, in the order they were planned."""

    def batch(self, ref: str) -> model.Batch:
        """A batch by its remote id or its own number. Raises NoSuchThing."""

    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        """(created, ended) of the job's last ended batches, by the API's clock."""


class RemoteHistoryReads(Protocol):
    """The event log."""

    def events(self, job: JobId | None, *, after: int = 0, limit: int = 1000) -> list[model.Event]:
        """The job's history and its batches', oldest first; None: of every job."""


class RemoteNoticeReads(Protocol):
    """Webhook endpoints and deliveries."""

    def endpoints(self) -> list[notices.Endpoint]:
        """Every endpoint that was ever configured, those of today first."""

    def deliveries(self, *, limit: int, state: notices.DeliveryState | None = None) -> list[notices.Delivery]:
        """The newest deliveries, newest first; of *state*, if given."""


class CostReads(Protocol):
    """What was spent."""

    def cost(self, job: model.JobSnapshot) -> spending.JobCost:
        """What *job* has cost, by the models of its answers."""

    def spending(self, by: spending.SpendBy, *, since: date | None = None) -> list[spending.Spending]:
        """What was spent on batches that the API created on *since* (UTC) or later, in the order of names.

        Jobs are in the order in which they were made.
        """

    def budgets(self, now: datetime) -> list[Limit]:
        """The budgets of all jobs together, as they stand at *now*; shortly before midnight UTC those of both days.

        Where batches were made later than *now*, as in the sandbox, whose time runs ahead: on the day of the last one.
        """


class RemoteReads(
    RemoteJobReads, RemoteRequestReads, RemoteBatchReads, RemoteHistoryReads, RemoteNoticeReads, CostReads, Protocol
):
    """Everything that can also be read from a server."""

    def meta(self) -> model.StoreIdentity:
        """The identity of the store."""


class KindReads(CostReads, Protocol):
    """What was spent, in vain and day by day."""

    def spent_by_kind(self) -> list[spending.KindSpending]:
        """By model and kind, since ever; the most first."""

    def known_answers(self, kind: str | None, models: Collection[str]) -> AnswersKnown:
        """As `IngestStore.known_answers`."""

    def daily_spending(self, *, since: date) -> list[spending.DaySpending]:
        """As `spending`, each model on each day; in the order of days, then of models."""


class StoreReads(Protocol):
    """The store as a whole."""

    def meta(self) -> model.StoreMeta:
        """The identity of the store, and what it plans by."""

    def page_key(self) -> bytes:
        """A key for what pages carry from one daemon to another; by it nobody learns the secret that it is made of."""

    def totals(self) -> queries.Totals:
        """Sums over all jobs."""

    def asked_again_at(self, job: model.JobSnapshot) -> datetime | None:
        """When the API is next asked whether the account of a paused *job* works again; None: it is not asked."""

    def gates(self) -> list[model.Gate]:
        """Waits that the API asked for, or that followed its refusals, and that no success has ended."""

    def attentions(self) -> list[tuple[model.JobSnapshot, model.Attention]]:
        """Everything that needs a person, of all jobs, the oldest first."""


class JobReads(RemoteJobReads, Protocol):
    """Jobs, page by page."""

    @override
    def jobs(
        self, *, limit: int, before: JobId | None = None, where: queries.JobFilter = queries.ALL_JOBS
    ) -> list[model.JobRow]:
        """The newest *limit* jobs that match *where*, older than *before* if given; newest first."""

    def newer_jobs(self, job: JobId, *, limit: int, where: queries.JobFilter = queries.ALL_JOBS) -> list[model.JobRow]:
        """The next *limit* jobs after *job* that match *where*, in the order they were made."""

    def known(self, ids: Collection[JobId]) -> dict[JobId, model.JobSnapshot]:
        """Those of *ids* that exist: an import that was discarded left only its events."""


class RequestReads(RemoteRequestReads, Protocol):
    """Requests and results, page by page."""

    def requests(
        self, job: JobId, *, above: int = 0, limit: int, where: queries.RequestFilter = queries.ALL_REQUESTS
    ) -> list[queries.RequestRow]:
        """The next requests after the number *above* that match *where*, in input order."""

    def requests_before(
        self, job: JobId, *, below: int | None, limit: int, where: queries.RequestFilter = queries.ALL_REQUESTS
    ) -> list[queries.RequestRow]:
        """The requests before the number *below* that match *where*, the last first; None: from the end on."""

    def with_counts(self, job: JobId, rows: Sequence[queries.RequestRow]) -> list[queries.RequestRow]:
        """*rows*, a page of requests, with what their answers took, as in `chosen_requests`."""

    def bodies_of(self, job: JobId, rows: Sequence[queries.RequestRow], *, most: int) -> list[queries.RequestBodies]:
        """Params, as they are sent, and result of each of *rows*, a page; a body of more than *most* bytes is not read.

        Opens a block of some hundred kilobytes for each of them, at most, so it is for readers of long reads.
        """

    def request_at(self, job: JobId, number: int) -> queries.RequestDetails:
        """As `request`, by the number in the job."""

    def costs_of(self, job: JobId, numbers: Collection[int]) -> dict[int, int | None]:
        """What those of *numbers* that are settled cost, as in `ResultRow`; of a purged job nothing."""

    def neighbours(self, job: JobId, number: int) -> tuple[int | None, int | None]:
        """The numbers of the requests before and after this one; None where there is none."""

    def settled_results(
        self, job: JobId, *, after: queries.SettledCursor, limit: int, rows: bool = False
    ) -> tuple[list[queries.ResultRow], queries.SettledCursor]:
        """The next results in the order in which batches settled, and where to go on. Raises Purged.

        rows: as in `results`. Results that no batch brought come last, when the job is over. It is complete when
        nothing came and the job is over. A request that is retried comes once more when it settles again.
        """

    def failed_of_type(self, job: JobId, error_type: str) -> int:
        """How many requests failed with *error_type*."""


class BatchReads(RemoteBatchReads, Protocol):
    """Batches page by page, and remote batches that might be ours."""

    def batches_page(
        self,
        *,
        limit: int,
        before: BatchId | None = None,
        states: frozenset[BatchState] = frozenset(),
        job: JobId | None = None,
    ) -> list[model.BatchRow]:
        """The newest *limit* batches, newest first: older than *before*, in *states* and of *job*, where given."""

    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, model.Batch]:
        """Our batches among these remote ids."""

    def candidates(self, batch: BatchId) -> list[model.Candidate]:
        """Remote batches that *batch*, which is or was in doubt, may be; in the order they were created."""


class HistoryReads(RemoteHistoryReads, Protocol):
    """The event log, page by page, and the load over time."""

    def newest_events(self, job: JobId | None, *, limit: int, before: int | None = None) -> list[model.Event]:
        """As `events`, newest first, older than the event *before* if given."""

    def batch_histories(self, batches: Sequence[BatchId]) -> dict[BatchId, list[tuple[datetime, BatchState]]]:
        """When each of *batches* entered which state, in order."""

    def last_event(self) -> int:
        """The number of the newest event; 0 before the first."""

    def samples(self, *, since: datetime, step: timedelta) -> list[queries.Sample]:
        """The last sample of each *step* since *since*, oldest first; steps without one are left out.

        Steps are counted from 1970, so that two calls cut time alike.
        """

    def sample_at(self, at: datetime) -> queries.Sample | None:
        """The last sample at *at* or before; None where there is none so old."""

    def unwatched(self, *, since: datetime) -> list[queries.Leap]:
        """What was settled while no engine looked, found after *since*."""


class NoticeReads(RemoteNoticeReads, Protocol):
    """Webhook deliveries, page by page."""

    @override
    def deliveries(
        self, *, limit: int, state: notices.DeliveryState | None = None, before: int | None = None
    ) -> list[notices.Delivery]:
        """The newest deliveries, newest first: of *state* and older than *before*, where given."""

    def delivery(self, number: int) -> notices.Delivery:
        """One delivery. Raises NoSuchThing."""

    def delivery_counts(self) -> dict[notices.DeliveryState, int]:
        """How many deliveries are in each state; every state is a key."""


class Reads(
    StoreReads, KindReads, JobReads, RequestReads, BatchReads, HistoryReads, NoticeReads, RemoteReads, Protocol
):
    """Everything that can be read of a store of this machine."""


class RemoteReader(Protocol):
    """Access to what can also be read from a server."""

    async def read(self, look: Callable[[RemoteReads], T]) -> T:
        """The answer of *look*, which runs on another thread."""


class Reader(Protocol):
    """Access to a store of this machine."""

    async def read(self, look: Callable[[Reads], T]) -> T:
        """The answer of *look*, which sees one committed snapshot and runs on another thread."""


class StoreLocation(Protocol):
    """Where a store is, for people and programs that use it or ask how it fares; looked up anew each time.

    Nothing is opened before it is asked for. What cannot be read raises StoreError, unless it says otherwise.
    """

    def __str__(self) -> str:
        """What a person calls it: a path, or an address without its password."""

    @property
    def name(self) -> str:
        """The same, short."""

    @property
    def is_shared(self) -> bool:
        """Whether every process may write to it at any time; else one owns it, and the others ask that one."""

    @property
    def exists(self) -> bool:
        """Whether there is a store."""

    @property
    def can_be_adopted(self) -> bool:
        """Whether there is a store, or the mark of one that is gone."""

    @property
    def has_engine(self) -> bool:
        """Whether an engine works on it now, as far as can be told from here."""

    @property
    def size_bytes(self) -> int:
        """What its data takes; 0 where nothing is."""

    @property
    def log_bytes(self) -> int:
        """What its log takes beside that; 0 where there is none, as in a store that nobody has open."""

    @property
    def folder(self) -> Path | None:
        """The folder whose disk it fills, or one above where that is yet to be made; None: a server's."""

    @property
    def socket(self) -> Path:
        """Where an engine of this process listens. Raises UsageError."""

    def engine_sockets(self) -> Sequence[Path]:
        """Where engines of this store may listen on this machine, the newest first."""

    @property
    def token_file(self) -> Path:
        """Where daemons of this user keep a token of their own making."""

    def logged_out_file(self, port: int) -> Path:
        """Where the daemon on TCP *port* remembers which logins were ended."""

    @property
    def files(self) -> Sequence[str]:
        """Files that nobody may write over."""

    def require(self) -> None:
        """Raise NoSuchThing if there is no store."""

    def open_reader(self) -> AbstractContextManager[Reads]:
        """Read it, whoever owns it, in one snapshot for the whole block. Raises NoSuchThing if there is none."""

    def audit(self) -> list[str]:
        """Read all of it, which may be in use: what is wrong with it."""

    def migrate(self, *, now: datetime, sandbox: bool) -> tuple[int, int]:
        """Bring its schema forward; the versions before and after. Raises StoreOwned."""
