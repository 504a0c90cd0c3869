"""The shape of every answer, for the description and for the tests: a key more or less is seen.

Answers are not built with these: `views` gives plain dictionaries, which are written ten times faster.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.domain.notices import DeliveryState
from orchestrator.domain.result_outcome import MOST_STOP_NAMES
from orchestrator.domain.states import BatchState, JobState

Count = Annotated[int, Field(ge=0)]
StopReasons = Annotated[
    dict[str, Count],
    Field(
        max_length=MOST_STOP_NAMES,
        description="Successes by `stop_reason`, an open set; the rarest count as `other`, unknown ones are left out.",
    ),
]


class Shape(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(extra="forbid")


class Problem(Shape):
    """Why something was refused (RFC 9457). `type` is stable; `exit_code` is what the command line ends with."""

    type: str
    title: str
    status: int
    detail: str | None
    hint: str | None
    exit_code: int


class LineProblem(Shape):
    """One thing that is wrong with one line of an input; line 0 is the input as a whole."""

    line: Count
    field: str
    problem: str
    remedy: str


class Refused(Problem):
    """An input that was read and refused; the first problems, by line."""

    problems: list[LineProblem] = []
    problem_count: Count = 0


class Version(Shape):
    """Who answers."""

    version: str
    pid: int
    db: str
    sandbox: bool
    lineage: str


class WayIn(Shape):
    """The dashboard's address, and the path there that opens it; with a code in it once, within `expires_in_s`."""

    url: str
    path: str
    expires_in_s: Count | None


class Alive(Shape):
    """The process answers."""

    alive: bool


class Health(Shape):
    """How the Message Batches API treats the engine."""

    api_worked: bool
    last_trouble: str | None
    reads_blocked: bool


class Counts(Shape):
    """Requests by state; they always add up to `total`."""

    total: Count
    queued: Count
    batched: Count
    succeeded: Count
    failed: Count
    canceled: Count


class Attention(Shape):
    """Something a person should look at."""

    kind: str
    batch: int | None
    message: str
    since: datetime


class Job(Shape):
    """One job. `stop_reasons`: how its successes ended, such as "refusal".

    `reason` says why it is paused; at `asked_again_at` the daemon sees whether the account works again. `content_hash`
    is the SHA-256 of its input, null if it was left open.
    """

    id: str
    name: str
    state: JobState
    reason: str | None
    reason_code: str | None
    asked_again_at: datetime | None
    requests: Counts
    batches: dict[BatchState, Count]
    stop_reasons: StopReasons
    resubmitted: Count
    created_at: datetime
    finished_at: datetime | None
    purged_at: datetime | None
    next_expiry: datetime | None
    sweep_until: datetime | None
    attention: list[Attention]
    source: str
    content_hash: str | None
    api_version: str
    betas: list[str]
    priority: int
    still_open: bool
    sandbox: bool


class Jobs(Shape):
    """A page of jobs; `next` is the cursor of the next page."""

    jobs: list[Job]
    next: str | None


class TakenIn(Shape):
    """What became of an input. attached: the job was there. refused: lines left out by `skip_bad`.

    renamed_from: what the job that was there was called before it got the name that was asked for.
    """

    job: Job
    attached: bool
    refused: Count
    renamed_from: str | None


class Added(Shape):
    """How many requests were added to an open job."""

    added: Count
    job: Job


class Queued(Shape):
    """How many requests were queued again."""

    queued: Count
    job: Job


class Purged(Shape):
    """Whether this call purged the job; false: it was purged already."""

    purged: bool
    job: Job


class Pruned(Shape):
    """The jobs that were purged."""

    pruned: list[str]


class Done(Shape):
    """A sentence of what was done."""

    done: str


class Endpoint(Shape):
    """A program that is told by webhook; `active` is false once the settings do not name it any more."""

    url: str
    events: list[str]
    active: bool


class Endpoints(Shape):
    """Every endpoint that was ever set."""

    endpoints: list[Endpoint]


class Delivery(Shape):
    """One notice on its way to one endpoint. `event` is null for a test."""

    id: Count
    url: str
    event: int | None
    type: str
    state: DeliveryState
    tries: Count
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_error: str | None


class Deliveries(Shape):
    """Notices, the newest first; `next` is the cursor of the page after."""

    deliveries: list[Delivery]
    next: str | None


class Sent(Shape):
    """The numbers of the deliveries that were made."""

    sent: list[int]


class Ready(Shape):
    """Jobs can be handed in and are worked on."""

    ready: bool


class Planned(Shape):
    """A batch that would be made."""

    requests: Count
    bytes: Count


class Check(Shape):
    """What an input holds. Nothing was stored or sent."""

    source: str
    valid: bool
    requests: Count
    bytes: Count
    batches: list[Planned]
    problems: list[LineProblem]
    problem_count: Count
    api_version: str
    betas: list[str]
    sandbox: bool


class Sample(Shape):
    """How busy all jobs were, from `at` to the next sample; `settled`, `failed` and `resubmitted` are sums since ever.

    Not watched: no engine looked between the one before and this, so that it may have changed at any time.
    """

    at: datetime
    queued: Count
    in_flight_requests: Count
    in_flight_batches: Count
    settled: Count
    failed: Count
    resubmitted: Count
    watched: bool


class Stats(Shape):
    """Samples, oldest first."""

    samples: list[Sample]


class Totals(Shape):
    """Sums over all jobs."""

    requests: Counts
    jobs: dict[JobState, Count]
    batches: dict[BatchState, Count]
    stop_reasons: StopReasons
    in_flight_requests: Count
    next_expiry: datetime | None
    resubmitted: Count
    duplicates_total: Count
    oldest_unfinished_at: datetime | None


class Gate(Shape):
    """A wait that the API asked for, or that followed its refusals; `tries`: how often in a row."""

    name: str
    set_at: datetime
    until: datetime
    tries: Count
    why: str


class Limits(Shape):
    """What bounds the engine."""

    settings: dict[str, int | str | None]
    batch: Planned
    in_flight_requests: Count
    waits: list[Gate]
    api: Health


class Finding(Shape):
    """What was looked at, and what was found: "ok", "warn" or "fail"."""

    check: str
    verdict: str
    fact: str
    remedy: str | None


class Findings(Shape):
    """Healthy: nothing fails."""

    checks: list[Finding]
    healthy: bool
