"""Jobs as JSON: status, lists, problems of an input, and the answers to commands."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec

from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.humanize import IMPORT_ENDS
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import Attention, JobSnapshot, JobStatus, RequestCounts
from orchestrator.domain.result_outcome import MOST_STOP_NAMES
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.streams import InputProblem
from orchestrator.views.view import Count, Timestamp, View, parse_time, time_text

if TYPE_CHECKING:
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

    `reason` says why it is paused; at `asked_again_at` the daemon sees whether the account works again. `content_hash`
    is the SHA-256 of its input, null if it was left open.
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
    resubmitted: Count
    created_at: Timestamp
    finished_at: Timestamp | None
    purged_at: Timestamp | None
    next_expiry: Timestamp | None
    sweep_until: Timestamp | None
    attention: list[AttentionView]
    source: str
    content_hash: str | None = None
    api_version: str
    betas: list[str]
    priority: int
    tags: tuple[str, ...] = ()
    still_open: bool
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
            resubmitted=job.resubmitted,
            created_at=time_text(job.created_at),
            finished_at=time_text(job.finished_at),
            purged_at=time_text(job.purged_at),
            next_expiry=time_text(status.next_expiry),
            sweep_until=time_text(status.sweep_until),
            attention=[AttentionView.of(each) for each in status.attention],
            source=job.source,
            content_hash=job.content_hash or None,
            api_version=job.api_version,
            betas=list(job.betas),
            priority=job.priority,
            tags=job.tags,
            still_open=job.still_open,
            sandbox=status.sandbox,
        )

    def to_status(self, number: JobId) -> JobStatus:
        """Convert back to a `JobStatus`. number: the id that stands for the job on this side."""
        return JobStatus(
            job=self._job(number),
            batches={state.value: self.batches[state.value] for state in BatchState},
            stop_reasons=self.stop_reasons,
            attention=tuple(each.to_attention() for each in self.attention),
            next_expiry=parse_time(self.next_expiry),
            sweep_until=parse_time(self.sweep_until),
            sandbox=self.sandbox,
            asked_again_at=parse_time(self.asked_again_at),
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
            betas=tuple(self.betas),
            priority=self.priority,
            tags=self.tags,
            still_open=self.still_open,
            created_at=parse_time(self.created_at),
            finished_at=parse_time(self.finished_at),
            resubmitted=self.resubmitted,
            purged_at=parse_time(self.purged_at),
            requests=self.requests,
        )


class JobsView(View, frozen=True, kw_only=True):
    """A page of jobs; `next` is the cursor of the next page."""

    jobs: list[JobView]
    next: str | None


class LineProblemView(View, frozen=True, kw_only=True):
    """One thing that is wrong with one line of an input; line 0 is the input as a whole."""

    line: Count
    field: str
    problem: str
    remedy: str

    @classmethod
    def of(cls, problem: InputProblem) -> Self:
        """The view of *problem*, without the text of the line."""
        return cls(line=problem.line, field=problem.field, problem=problem.message, remedy=problem.remedy)

    def to_problem(self, raw: bytes = b"") -> InputProblem:
        """Convert back to an `InputProblem`. raw: the text of the line."""
        return InputProblem(line=self.line, field=self.field, message=self.problem, remedy=self.remedy, raw=raw)


class IngestResultView(View, frozen=True, kw_only=True):
    """Result of handing in an input. attached: a job with this content existed. refused: lines left out by `skip_bad`.

    renamed_from: the former name of the existing job, if it was given the requested one.
    """

    job: JobView
    attached: bool
    refused: Count
    renamed_from: str | None


class AddedView(View, frozen=True, kw_only=True):
    """How many requests were added to an open job."""

    added: Count
    job: JobView


class QueuedView(View, frozen=True, kw_only=True):
    """How many requests were queued again."""

    queued: Count
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


class CheckView(View, frozen=True, kw_only=True):
    """The contents of an input; nothing was stored or sent."""

    source: str
    valid: bool
    requests: Count
    bytes: Count
    batches: list[PlannedView]
    problems: list[LineProblemView]
    problem_count: Count
    api_version: str
    betas: list[str]
    sandbox: bool

    @classmethod
    def of(cls, name: str, plan: CheckReport, api_version: str, betas: Collection[str], *, sandbox: bool) -> Self:
        """The view of *plan*, the report on the source *name*."""
        return cls(
            source=name,
            valid=plan.problem_count == 0,
            requests=plan.requests,
            bytes=plan.size_bytes,
            batches=[PlannedView(requests=requests, bytes=size_bytes) for requests, size_bytes in plan.batches],
            problems=[LineProblemView.of(problem) for problem in plan.problems],
            problem_count=plan.problem_count,
            api_version=api_version,
            betas=sorted(set(betas)),
            sandbox=sandbox,
        )


def does_not_apply(verb: str, job: JobSnapshot) -> GuardRefused:
    """The error of a "pause", "resume" or "cancel" that is not possible in the state of *job*."""
    hint = IMPORT_ENDS if job.state is JobState.IMPORTING else None
    message = f"job {job.public_id} is {job.state.value}: it cannot be {_DONE[verb]}; nothing was changed"
    return GuardRefused(message, hint=hint)
