"""Jobs and batches as the engine reads them: one value per row, read in one transaction, never changed in place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from orchestrator.domain.api_answers import ApiCounts
from orchestrator.domain.ids import BatchId, JobId, Nonce
from orchestrator.domain.states import BatchState, JobState, RequestState


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """How many requests of a job are in each state; kept by the schema, they always add up."""

    total: int
    queued: int
    batched: int
    succeeded: int
    failed: int
    canceled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A workload. `reason_code`/`reason` are set exactly while it is paused.

    key: the caller's own name of the hand-over. purged_at: since when what was handed in and answered is gone;
    purged_by: 'person' or 'retention'.
    """

    id: JobId
    public_id: str
    name: str
    state: JobState
    reason_code: str | None
    reason: str | None
    source: str
    content_hash: str | None
    source_bytes: int | None
    key: str | None
    api_version: str
    betas: tuple[str, ...]
    priority: int
    still_open: bool
    added_at: datetime
    resumes: int
    created_at: datetime
    finished_at: datetime | None
    fence: int
    resubmitted: int
    purged_at: datetime | None
    purged_by: str | None
    requests: RequestCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is sent in one POST.

    Whose clock: `created_at`, `expires_at`, `ended_at` and everything named `…_date` or `cursor_…` are the API's;
    the other times are ours. partial: at the API it has more requests than `count`, which are not of this batch here.
    """

    id: BatchId
    job_id: JobId
    nonce: Nonce
    state: BatchState
    count: int
    size_bytes: int
    digest: str
    api_version: str
    betas: tuple[str, ...]
    planned_at: datetime
    resumes: int | None
    parent_id: BatchId | None
    depth: int
    cuts: int
    refusal: str | None
    cursor_id: str | None
    cursor_created_at: datetime | None
    cursor_date: datetime | None
    organization: str | None
    workspace: str | None
    sent_at: datetime | None
    doubt_since: datetime | None
    doubt_date: datetime | None
    doubt_until: datetime | None
    doubt_looks: int
    closed_date: datetime | None
    remote_id: str | None
    created_at: datetime | None
    expires_at: datetime | None
    cancel_asked_at: datetime | None
    ended_at: datetime | None
    api_counts: ApiCounts | None
    downloads: int
    download_tries: int
    first_download_date: datetime | None
    download_due_at: datetime | None
    collected: bool
    settled_at: datetime | None
    deleted_at: datetime | None
    adopted: bool
    partial: bool
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What intake knows of a job before it has read the first line. key: the caller's own name of this hand-over.

    is_named: somebody chose the name, so a job of the same content that is there already is called so from now on.
    """

    name: str
    source: str
    api_version: str
    betas: tuple[str, ...]
    priority: int = 10
    still_open: bool = False
    key: str | None = None
    is_named: bool = False

    @property
    def is_from_file(self) -> bool:
        """Its source is a path that may hold something else tomorrow."""
        return self.source.startswith("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a whole source was: its sha256, and how much of it there was."""

    hash: str
    size_bytes: int


class IngestOutcome(StrEnum):
    """What a whole import came to."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Something a person should look at; gone when its cause is gone."""

    kind: str
    batch_id: BatchId | None
    message: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One look at a job, in one snapshot. `batches` has every batch state as a key.

    stop_reasons: how many successes ended how; those of which it is not known are not counted.
    asked_again_at: when a daemon asks whether the account works again, for a job that is paused for its sake.
    """

    job: Job
    batches: dict[str, int]
    stop_reasons: dict[str, int]
    attention: tuple[Attention, ...]
    next_expiry: datetime | None
    sweep_until: datetime | None
    sandbox: bool
    asked_again_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Failed requests of one cause: how many, and the first few as examples (custom_id, line).

    cause: what their messages have in common. error_message: that of the first of them, word for word.
    """

    error_type: str
    cause: str
    error_message: str
    count: int
    examples: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that did not succeed, and why."""

    batch_id: BatchId
    kind: str
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDetails:
    """One request with all its trips that did not succeed. params: as handed in; None if purged, as is the result.

    Tokens are as the API counted them, None where it is not known; those of the cache are not among the input's.
    """

    number: int
    custom_id: str
    line: int
    state: RequestState
    attempts: int
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    stop_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    batch_id: BatchId | None
    params: bytes | None
    result: bytes | None
    failed_attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A wait that the API asked for, the streak of refusals that a create is in, or when a blocked account is tried."""

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
    """A remote batch that might be ours, and what is known of it."""

    remote_id: str
    count: int
    created_at: datetime
    verdict: str  # 'unproven' | 'ours' | 'foreign' | 'unprovable'
    batch_id: BatchId | None
    unreadable_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of a job or batch: who moved what, when and why."""

    id: int
    at: datetime
    job_id: JobId | None
    batch_id: BatchId | None
    kind: str
    old: str | None
    new: str | None
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plannable:
    """A job that has queued requests, and how much of the account's queue it already uses."""

    job: Job
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """What all jobs together have at the API or about to be: batches and requests that have not ended."""

    batches: int
    requests: int
    waiting_batches: int


class JudgedLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a download, judged. A msgspec struct: hot path, one per request."""

    number: int
    kind: str
    outcome: str
    body: bytes
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    stop_reason: str | None = None


class ResultRow(msgspec.Struct, frozen=True, gc=False):
    """One settled request, for the output: `body` is the API's result object; None for one that was never sent."""

    number: int
    custom_id: str
    state: RequestState
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """How much of an ended batch the store has: requests by the API's result type."""

    count: int
    by_kind: dict[str, int]

    @property
    def seen(self) -> int:
        """How many of the batch's requests were seen in its results."""
        return sum(self.by_kind.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The search at the API for what a store lacks, because it was put back from a copy.

    cause: 'behind' (its mark knows of more intents) or 'copied' (a person took a copy into use). missing: how many
    intents it lacks, as far as is known. Whose clock: `wait_since` is ours, the others are the API's. looks: whole
    looks in a row that left nothing open. organization, workspace: of the account that its batches were sent with.
    """

    cause: str
    missing: int
    since: datetime | None
    wait_since: datetime
    first_date: datetime | None
    until: datetime | None
    looks: int
    organization: str | None
    workspace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A remote batch with a nonce of ours that no batch of the store has. numbers: of its requests, once read."""

    remote_id: str
    nonce: Nonce
    count: int
    created_at: datetime
    expires_at: datetime
    job_id: JobId
    numbers: bytes | None
    up_to: int | None


class StrayOutcome(StrEnum):
    """What became of a stray."""

    TAKEN = "taken"  #: it is a batch of the store, with the requests that wait for a result
    WAITS = "waits"  #: some of its requests are in a batch that is not settled yet
    DROPPED = "dropped"  #: none of its requests waits for a result


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMeta:
    """Who a store is. `lineage` is random and made once; `size_jitter` makes its full batches differ from others'."""

    lineage: str
    created_at: datetime
    sandbox: bool
    size_jitter: int
    duplicates_total: int
