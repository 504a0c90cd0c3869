"""Jobs as JSON: status, lists, problems of an input, and the answers to commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import msgspec

from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.humanize import IMPORT_ENDS
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.job_spec import DEFAULT_RETRY_INVALID
from orchestrator.domain.model import Attention, JobSnapshot, JobStatus, RequestCounts
from orchestrator.domain.prime_plan import Turn
from orchestrator.domain.result_outcome import MOST_STOP_NAMES
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.streams import InputProblem
from orchestrator.views.cost_views import CostView
from orchestrator.views.view import (
    Count,
    RawOrNull,
    Timestamp,
    View,
    bytes_if_set,
    parse_time,
    raw_or_null,
    time_text,
)

if TYPE_CHECKING:
    from orchestrator.domain.job_spec import NewJob
    from orchestrator.ports.engine import IngestResult
    from orchestrator.views.check_report import CheckReport

StopReasons = Annotated[
    dict[str, Count],
    msgspec.Meta(
        max_length=MOST_STOP_NAMES,
        description="Successes by `stop_reason`, an open set; the rarest count as `other`, unknown ones are left out.",
    ),
]
#: Batches by state; every state is a key.
BatchCounts = Annotated[
    dict[str, Count],
    msgspec.Meta(extra_json_schema={"propertyNames": {"$ref": "#/components/schemas/BatchState"}}),
]
_DONE: Final = {"pause": "paused", "resume": "resumed", "cancel": "canceled"}


class AttentionView(View, frozen=True, kw_only=True):
    """Something a person should look at."""

    kind: str
    batch: int | None
    message: str
    since: Timestamp

    @classmethod
    def of(cls, attention: Attention) -> Self:
        """The view of *attention*."""
        since = time_text(attention.since)
        return cls(kind=attention.kind, batch=attention.batch_id, message=attention.message, since=since)

    def to_attention(self) -> Attention:
        """Convert back to an `Attention`."""
        batch = None if self.batch is None else BatchId(self.batch)
        return Attention(kind=self.kind, batch_id=batch, message=self.message, since=parse_time(self.since))


class JobView(View, frozen=True, kw_only=True):
    """One job. `stop_reasons`: how its successes ended, such as "refusal".

    `invalid_answers`: how many of the failed have an answer that does not match the schema.
    `twins`: requests that get the answer of an identical one (`dedupe`); of them `twins_waiting` are queued, and
    `twins_succeeded` have it.
    `trial`: only so many of its requests are sent; null: all.
    `submitted_by`: the name of the token that it was handed in with; null: none was shown.
    `reason` says why it is paused; at `asked_again_at` the daemon sees whether the account works again. `content_hash`
    is the SHA-256 of its input, null if it was left open. `schema`: what its answers have to match, or null; those that
    do not are asked for again up to `retry_invalid` times. `version_reason`: why it is not sent with the newest API
    version, where its requests decided.
    """

    id: str
    name: str
    state: JobState
    reason: str | None
    reason_code: str | None
    asked_again_at: Timestamp | None = None
    requests: RequestCounts
    batches: BatchCounts
    stop_reasons: StopReasons
    invalid_answers: Count = 0
    twins: Count = 0
    twins_waiting: Count = 0
    twins_succeeded: Count = 0
    trial: Count | None = None
    resubmitted: Count
    created_at: Timestamp
    finished_at: Timestamp | None
    purged_at: Timestamp | None
    next_expiry: Timestamp | None
    sweep_until: Timestamp | None
    cost: CostView | None = None
    attention: list[AttentionView]
    source: str
    content_hash: str | None = None
    api_version: str
    version_reason: str | None = None
    betas: list[str]
    priority: int
    tags: tuple[str, ...] = ()
    schema: RawOrNull | msgspec.UnsetType = msgspec.UNSET
    retry_invalid: Count = DEFAULT_RETRY_INVALID
    dedupe: bool = False
    still_open: bool
    submitted_by: str | None = None
    sandbox: bool

    @classmethod
    def of(cls, status: JobStatus) -> Self:
        """The view of *status*; its `id` is the public one."""
        job = status.job
        return cls(
            id=job.public_id,
            name=job.name,
            state=job.state,
            reason=job.reason,
            reason_code=job.reason_code,
            asked_again_at=time_text(status.asked_again_at),
            requests=job.requests,
            batches=status.batches,
            stop_reasons=status.stop_reasons,
            invalid_answers=status.invalid_answers,
            twins=job.twins,
            twins_waiting=job.twins_waiting,
            twins_succeeded=job.twins_succeeded,
            trial=job.trial,
            resubmitted=job.resubmitted,
            created_at=time_text(job.created_at),
            finished_at=time_text(job.finished_at),
            purged_at=time_text(job.purged_at),
            next_expiry=time_text(status.next_expiry),
            sweep_until=time_text(status.sweep_until),
            cost=None if status.cost is None else CostView.of(status.cost),
            attention=[AttentionView.of(each) for each in status.attention],
            source=job.source,
            content_hash=job.content_hash or None,
            api_version=job.api_version,
            version_reason=job.version_reason,
            betas=list(job.betas),
            priority=job.priority,
            tags=job.tags,
            schema=raw_or_null(None if job.schema is None else job.schema.encode()),
            retry_invalid=job.retry_invalid,
            dedupe=job.dedupe,
            still_open=job.still_open,
            submitted_by=job.submitted_by,
            sandbox=status.sandbox,
        )

    def to_status(self, number: JobId) -> JobStatus:
        """Convert back to a `JobStatus`. number: the id that stands for the job on this side."""
        return JobStatus(
            job=self._job(number),
            batches={state.value: self.batches[state.value] for state in BatchState},
            stop_reasons=self.stop_reasons,
            invalid_answers=self.invalid_answers,
            attention=tuple(each.to_attention() for each in self.attention),
            next_expiry=parse_time(self.next_expiry),
            sweep_until=parse_time(self.sweep_until),
            sandbox=self.sandbox,
            asked_again_at=parse_time(self.asked_again_at),
            cost=None if self.cost is None else self.cost.to_cost(),
        )

    def _job(self, number: JobId) -> JobSnapshot:
        return JobSnapshot(
            id=number,
            public_id=self.id,
            name=self.name,
            state=self.state,
            reason_code=self.reason_code,
            reason=self.reason,
            source=self.source,
            content_hash=self.content_hash,
            key=None,
            api_version=self.api_version,
            version_reason=self.version_reason,
            betas=tuple(self.betas),
            priority=self.priority,
            tags=self.tags,
            schema=None if (schema := bytes_if_set(self.schema)) is None else schema.decode(),
            retry_invalid=self.retry_invalid,
            still_open=self.still_open,
            submitted_by=self.submitted_by,
            created_at=parse_time(self.created_at),
            finished_at=parse_time(self.finished_at),
            resubmitted=self.resubmitted,
            purged_at=parse_time(self.purged_at),
            requests=self.requests,
            dedupe=self.dedupe,
            twins=self.twins,
            twins_waiting=self.twins_waiting,
            twins_succeeded=self.twins_succeeded,
            trial=self.trial,
        )


class JobsView(View, frozen=True, kw_only=True):
    """A page of jobs; `next` is the cursor of the next page."""

    jobs: list[JobView]
    next: str | None


class LineProblemView(View, frozen=True, kw_only=True):
    """One thing that is wrong with one line of an input; line 0 is the input as a whole.

    place: `b.jsonl:3`, of an input of several files, whose lines are counted on.
    """

    line: Count
    field: str
    problem: str
    remedy: str
    place: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, problem: InputProblem) -> Self:
        """The view of *problem*, without the text of the line."""
        return cls(
            line=problem.line,
            field=problem.field,
            problem=problem.message,
            remedy=problem.remedy,
            place=problem.place or msgspec.UNSET,
        )

    def to_problem(self, raw: bytes = b"") -> InputProblem:
        """Convert back to an `InputProblem`. raw: the text of the line."""
        place = "" if self.place is msgspec.UNSET else self.place
        return InputProblem(
            line=self.line, field=self.field, message=self.problem, remedy=self.remedy, raw=raw, place=place
        )


class IngestResultView(View, frozen=True, kw_only=True):
    """Result of handing in an input. attached: a job with this content existed. refused: lines left out by `skip_bad`.

    renamed_from: the former name of the existing job, if it was given the requested one. under_cap: how a new job will
    go under its cap, in a sentence. not_applied: options that the existing job has otherwise and keeps, in a sentence;
    `max_cost` is applied: it becomes the cap of a job that is not over. notices: what is worth knowing of the input,
    though nothing of it is wrong, each in a sentence.
    """

    job: JobView
    attached: bool
    refused: Count
    renamed_from: str | None
    under_cap: str | None
    not_applied: str | None
    notices: list[str]

    @classmethod
    def of(cls, job: JobView, taken: IngestResult) -> Self:
        """The view of *taken*, whose job is *job*."""
        return cls(
            job=job,
            attached=taken.attached,
            refused=taken.refused,
            renamed_from=taken.renamed_from,
            under_cap=taken.under_cap,
            not_applied=taken.not_applied,
            notices=list(taken.notices),
        )

    def beside_the_job(self) -> dict[str, Any]:
        """Keys and values of what became of the input, without the job's own."""
        return {name: value for name, value in self.fields().items() if name != "job"}


class AddedView(View, frozen=True, kw_only=True):
    """How many requests were added to an open job."""

    added: Count
    job: JobView


class QueuedView(View, frozen=True, kw_only=True):
    """How many requests were queued again."""

    queued: Count
    job: JobView


class RepricedView(View, frozen=True, kw_only=True):
    """How many answers have a cost now that had none."""

    priced: Count
    job: JobView


class PurgedView(View, frozen=True, kw_only=True):
    """Whether this call purged the job; false: it was purged already."""

    purged: bool
    job: JobView


class PrunedView(View, frozen=True, kw_only=True):
    """The jobs that were purged."""

    pruned: list[str]


class DoneView(View, frozen=True, kw_only=True):
    """What was done, as a sentence."""

    done: str


class PlannedView(View, frozen=True, kw_only=True):
    """A batch that would be made."""

    requests: Count
    bytes: Count


class PlannedBatchView(PlannedView, frozen=True, kw_only=True):
    """One of the batches of an input.

    turn: `ahead` of others, with one request of each prefix that these share in the prompt cache; `after` such a one
    has ended; else `at_once`.
    """

    turn: Turn


class CheckView(View, frozen=True, kw_only=True):
    """The contents of an input; nothing was stored or sent. ahead: ids of requests that go ahead, twenty at most.

    version_reason: why it would not be sent with the newest API version, where its requests decide. notices: what is
    worth knowing of it, though nothing of it is wrong, each in a sentence.
    """

    source: str
    valid: bool
    requests: Count
    bytes: Count
    batches: list[PlannedBatchView]
    ahead: list[str]
    notices: list[str]
    problems: list[LineProblemView]
    problem_count: Count
    api_version: str
    version_reason: str | None
    betas: list[str]
    sandbox: bool

    @classmethod
    def of(cls, name: str, plan: CheckReport, new: NewJob, *, sandbox: bool) -> Self:
        """The view of *plan*, the report on the source *name* of *new*."""
        sent = new.with_version(plan.version)
        return cls(
            source=name,
            valid=plan.problem_count == 0,
            requests=plan.requests,
            bytes=plan.size_bytes,
            batches=[PlannedBatchView(requests=many, bytes=size, turn=turn) for many, size, turn in plan.batches],
            ahead=plan.ahead,
            notices=plan.notices,
            problems=[LineProblemView.of(problem) for problem in plan.problems],
            problem_count=plan.problem_count,
            api_version=sent.api_version,
            version_reason=sent.version_reason,
            betas=list(sent.betas),
            sandbox=sandbox,
        )


def does_not_apply(verb: str, job: JobSnapshot) -> GuardRefused:
    """The error of a "pause", "resume" or "cancel" that is not possible in the state of *job*."""
    hint = IMPORT_ENDS if job.state is JobState.IMPORTING else None
    message = f"job {job.public_id} is {job.state.value}: it cannot be {_DONE[verb]}; nothing was changed"
    return GuardRefused(message, hint=hint)
