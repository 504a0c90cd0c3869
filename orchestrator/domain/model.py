"""Jobs, batches and what belongs to them, as they were read in one transaction; never changed in place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from orchestrator.domain import account
from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.billing import Payment, Tariff
from orchestrator.domain.ids import BatchId, JobId, Nonce
from orchestrator.domain.pilot import PilotState
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.spending import Cost
from orchestrator.domain.states import BatchState, JobState

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """How many requests of a job are in each state. They add up to `total`: the store's schema sees to it."""

    total: int
    queued: int  #: wait to be planned into a batch
    batched: int  #: belong to a batch that has not settled
    succeeded: int
    failed: int
    canceled: int

    @property
    def settled(self) -> int:
        """How many have their final outcome."""
        return self.succeeded + self.failed + self.canceled


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """A job as every face shows it, from a store of this machine or from a server. All times are our clock's."""

    id: JobId  #: the store's row id; of a job on a server, made from `public_id`
    public_id: str  #: the id that people use
    name: str  #: not empty, not unique
    state: JobState
    reason_code: str | None  #: why it is paused, for programs (`domain.account`); None while it is not paused
    reason: str | None  #: the same for people, with what to do
    source: str  #: absolute path of the input, or "<stdin>", "<library>", …
    content_hash: str | None  #: SHA-256 (hex) of the decompressed input; None or "" while or after it was open
    key: str | None  #: the caller's idempotency key; None: it has none, or is a job of a server, which does not tell
    api_version: str  #: header `anthropic-version` of its batches
    version_reason: str | None  #: why it is not the newest, where its requests decided, such as "3 requests set top_p"
    betas: tuple[str, ...]  #: header `anthropic-beta` of its batches, sorted
    priority: int  #: 1 to 100; larger goes first
    tags: tuple[str, ...]  #: what it is filed under, sorted
    schema: str | None  #: what its answers have to match, a JSON Schema; None: anything will do
    retry_invalid: int  #: how often a request is sent again whose answers do not match it
    still_open: bool  #: more requests may be added (library)
    created_at: datetime
    finished_at: datetime | None  #: when it finished or was canceled; None until then
    resubmitted: int  #: requests queued again at the cost of an attempt
    purged_at: datetime | None  #: since when its params and results are deleted; None: they are there
    requests: RequestCounts
    dedupe: bool = False  #: of requests with the same params only the first is sent
    twins: int = 0  #: requests that are not sent, since an earlier one has the same params: they end as it does
    twins_waiting: int = 0  #: those of them that are queued
    twins_succeeded: int = 0  #: those of them that have their answer
    trial: int | None = None  #: only so many of its requests are sent; None: all
    submitted_by: str | None = None  #: the name of the token that handed it in; None: none was shown

    @property
    def to_send(self) -> int:
        """How many queued requests wait to be sent."""
        return self.requests.queued - self.twins_waiting

    @property
    def is_tried(self) -> bool:
        """Its trial has ended: what was asked for is there, and the rest waits."""
        return self.state is JobState.PAUSED and self.reason_code == account.TRIAL

    @property
    def answer_schema(self) -> AnswerSchema | None:
        """What its answers have to match; None: anything will do."""
        from orchestrator.domain.answer_schema import AnswerSchema  # late: few jobs have one

        return AnswerSchema.of_job(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow(JobSnapshot):
    """A job as its own store has it, with what only the engine needs."""

    source_bytes: int | None  #: size of the decompressed input; None until it was read whole
    added_at: datetime  #: when requests last came in
    resumes: int  #: how often it was resumed; a batch remembers the number that it was sent under
    fence: int  #: counts the writes; a guarded write names the one that it read
    purged_by: str | None  #: "person" or "retention"; None until it is purged
    cap_nanos: int | None  #: what it may cost at most; None: it has no cap of its own
    cache: CacheUse  #: what is done about the prompt cache
    per_request_nanos: int | None  #: what is reserved for a request whose cost has no bound; None: it is not sent
    pilot: PilotState | None  #: of its requests that go first; None: it has no pilot, and no trial

    @property
    def pilot_goes(self) -> bool:
        """Only requests of its pilot, or its trial, are sent."""
        return self.pilot in {PilotState.WAIT, PilotState.GO_ON}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as every face shows it: what is sent in one POST.

    `created_at`, `expires_at` and `ended_at` are by the API's clock, the other times by ours.
    """

    id: BatchId
    job_id: JobId
    state: BatchState
    count: int  #: requests in it, 1 to 100,000
    size_bytes: int  #: of the exact body
    api_version: str
    betas: tuple[str, ...]
    organization: str | None  #: whose account the API's answers named; None until it is sent, or if none was named
    workspace: str | None
    planned_at: datetime
    sent_at: datetime | None  #: when the intent to POST was committed; None: never sent
    remote_id: str | None  #: the API's `msgbatch_…`; None until it is known
    created_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    settled_at: datetime | None
    api_counts: ApiCounts | None  #: the API's last count of its results; None until it ended
    downloads: int  #: complete downloads of its results


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow(Batch):
    """A batch as its own store has it, with what only the engine needs.

    Everything named `…_date` or `cursor_…`, and `doubt_until`, is by the API's clock; the other times are by ours.
    """

    nonce: Nonce  #: begins every `custom_id` on the wire, and proves whose a remote batch is
    digest: str  #: SHA-256 of the ranges of its requests' numbers, as planned
    resumes: int | None  #: `JobRow.resumes` when it was sent; None: never sent
    parent_id: BatchId | None  #: the refused batch that it is a half of
    depth: int  #: how often it was halved
    cuts: int  #: connections in a row that broke inside its body
    refusal: str | None  #: the text of a 400 that names no request, kept until its sibling's answer is known
    cursor_id: str | None  #: the newest batch in the API's list before the POST; None: the list was empty
    cursor_created_at: datetime | None
    cursor_date: datetime | None  #: the API's Date of that list
    doubt_since: datetime | None  #: when the doubt was discovered, by our clock: no wait is counted from it
    doubt_date: datetime | None  #: the API's Date at its first answer after that
    doubt_until: datetime | None  #: the API's Date when the wait ended: what was created later is not this batch
    doubt_looks: int  #: searches of the list in a row that found no candidate
    closed_date: datetime | None  #: the API's Date when it became void or abandoned
    cancel_asked_at: datetime | None  #: when we asked the API to cancel it
    download_tries: int  #: downloads that did not bring everything, complete or not
    first_download_date: datetime | None  #: the API's Date of the first complete download
    download_due_at: datetime | None  #: not before then is it downloaded again; None: at once
    collected: bool  #: every result is stored
    deleted_at: datetime | None  #: when it was deleted at the API
    adopted: bool  #: made elsewhere: the ids on the wire are the users' own
    worst_nanos: int | None  #: what it can cost at most; None: nobody asked, as no cap was in force
    reserved_nanos: int  #: what of that may still be billed
    partial: bool  #: the remote batch has more requests than `count`; the others are not of this batch
    fence: int  #: counts the writes; a guarded write names the one that it read


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """A matter that needs a person; removed when its cause is gone."""

    kind: str
    batch_id: BatchId | None
    message: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job with its counts and troubles, in one snapshot. `batches` has every batch state as a key.

    stop_reasons: successes by stop reason; those of unknown reason are not counted. invalid_answers: how many of the
    failed have an answer that does not match the schema.
    asked_again_at: when a daemon next asks whether the account works again, for a job that is paused because of it.
    cost: None only of a job on a server of a version that does not tell.
    """

    job: JobSnapshot
    batches: dict[str, int]
    stop_reasons: dict[str, int]
    attention: tuple[Attention, ...]
    next_expiry: datetime | None
    sweep_until: datetime | None
    sandbox: bool
    asked_again_at: datetime | None = None
    cost: Cost | None = None
    invalid_answers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Until when a kind of call waits: as the API asked, after refused creates, or to try a blocked account again."""

    name: str
    set_at: datetime
    until: datetime
    tries: int
    why: str

    @property
    def call(self) -> str:
        """The kind of call that waits; the gate for what the API asked for is called `<call>.asked`."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A remote batch that might be ours, and what was proven of it."""

    remote_id: str
    count: int
    created_at: datetime
    verdict: str  # 'unproven' | 'ours' | 'foreign' | 'unprovable'
    batch_id: BatchId | None
    unreadable_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the event log: what happened to a job or batch, and why."""

    id: int
    at: datetime
    job_id: JobId | None
    batch_id: BatchId | None
    kind: str
    old: str | None
    new: str | None
    why: str | None
    actor: str | None = None  #: the name of the token that it was asked with; None: none, or the daemon itself


class JudgedLine(msgspec.Struct, frozen=True, gc=False):
    """A result with its outcome. A msgspec struct, because one is made per request."""

    number: int
    kind: str
    outcome: Outcome
    body: bytes
    error_type: str | None = None
    error_message: str | None = None
    api_request_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    stop_reason: str | None = None
    tariff: Tariff | None = None  #: by which its counts were priced
    nanos: int | None = 0  #: what they cost; None: not known
    payment: Payment | None = None  #: in place of these two, where its counts do not say what it costs


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIdentity:
    """Which store this is."""

    lineage: str  #: random, made once with the store; a copy has the same
    sandbox: bool  #: made with `--sandbox`: nothing in it is real


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMeta(StoreIdentity):
    """Which store this is, and how it plans."""

    created_at: datetime
    size_jitter: int  #: 1 to 999: a full batch has so many requests fewer than 100,000, so that its size is its own
    duplicates_total: int  #: batches that were given up as never created and turned out to exist
