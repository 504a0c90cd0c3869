"""The shapes of what is inside a job: requests, failures, batches, events. See `shapes`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.domain.states import BatchState, RequestState
from orchestrator.http_api.api.shapes import Count, Counts, Shape


class RequestRow(Shape):
    """One request in a list. `number` is its place in the job, `line` the one in its source."""

    number: int
    custom_id: str
    line: int
    state: RequestState
    attempts: Count
    error_type: str | None
    error_message: str | None
    stop_reason: str | None
    batch: int | None
    params_bytes: Count


class Requests(Shape):
    """A page of requests."""

    requests: list[RequestRow]
    next: str | None


class Trip(Shape):
    """An attempt that did not succeed, and why."""

    batch: int
    kind: str
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    at: datetime


class Usage(Shape):
    """Tokens, as the API counted them; null: not known. Those of the cache are not among the input's."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None


class Request(Shape):
    """One request. `params` and `result` are as they came, and null once purged."""

    job: str
    number: int
    previous: int | None
    following: int | None
    custom_id: str
    line: int
    state: RequestState
    attempts: Count
    error_type: str | None
    error_message: str | None
    api_request_id: str | None
    stop_reason: str | None
    usage: Usage
    batch: int | None
    params: dict[str, Any] | None
    result: dict[str, Any] | None
    trips: list[Trip]


class Example(Shape):
    """A request that failed for this reason."""

    custom_id: str
    line: int


class ErrorGroup(Shape):
    """Failures of one cause: their messages but for numbers, ids and URLs; `message` is that of the first of them."""

    type: str
    cause: str
    message: str
    count: Count
    examples: list[Example]


class Errors(Shape):
    """What failed in a job, by cause."""

    job: str
    requests: Counts
    groups: list[ErrorGroup]
    source: str
    sandbox: bool


class ApiCounts(Shape):
    """A batch's results, as the API counts them."""

    processing: Count
    succeeded: Count
    errored: Count
    canceled: Count
    expired: Count


class Batch(Shape):
    """A batch of ours; `batch` is our number of it."""

    batch: int
    job: str
    remote_id: str | None
    state: BatchState
    requests: Count
    bytes: Count
    api_version: str
    betas: list[str]
    organization: str | None
    workspace: str | None
    planned_at: datetime
    sent_at: datetime | None
    created_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    settled_at: datetime | None
    results: ApiCounts | None
    downloads: Count


class Batches(Shape):
    """A page of batches."""

    batches: list[Batch]
    next: str | None


class Candidate(Shape):
    """A batch at the API that one in doubt may be."""

    id: str
    requests: Count
    created_at: datetime
    verdict: str
    unreadable_since: datetime | None


class BatchInFull(Batch):
    """A batch of ours, and what at the API it may be."""

    candidates: list[Candidate]


class RemoteCounts(ApiCounts):
    """A batch's requests, as the API counts them."""

    total: Count


class RemoteBatch(Shape):
    """A batch at the API, and whose it is."""

    id: str
    status: str
    requests: RemoteCounts
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None
    owner: str
    batch: int | None
    state: BatchState | None
    job: str | None
    may_be: list[int]


class RemoteBatches(Shape):
    """What the API lists, and our batches in doubt."""

    batches: list[RemoteBatch]
    in_doubt: list[Batch]
    has_more: bool


class Event(Shape):
    """Who moved what, when and why."""

    id: int
    at: datetime
    job: str | None
    batch: int | None
    kind: str
    old: str | None
    new: str | None
    why: str | None


class Events(Shape):
    """A page of events; `next` is the `after` of the next page."""

    events: list[Event]
    next: int | None
