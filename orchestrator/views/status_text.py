"""Sentences about the progress of a job, for terminal and dashboard.

A batch's counts stay zero at the API until it has ended, so progress is told in batches that ended and requests that
are settled here; how long it may still take is judged from batches that have ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from orchestrator.domain import humanize
from orchestrator.domain.pilot import trial_words
from orchestrator.domain.result_outcome import invalid_words, stop_words
from orchestrator.domain.states import BatchState, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import Batch, JobSnapshot, JobStatus
    from orchestrator.ports.reads import RemoteReads

#: How often, after a verb.
_OFTEN = {0: "", 1: " once", 2: " twice"}
AT_THE_API = frozenset({BatchState.IN_PROGRESS, BatchState.CANCELING})
_DONE = (BatchState.ENDED, BatchState.SETTLED)
_GIVEN_UP = (BatchState.VOID, BatchState.ABANDONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAges:
    """Ages of the batches in flight, and how long such batches take.

    oldest_sent_at: our clock. lifetime: from creation to expiry, and typical: from creation to the end, by the API's
    clock. requests: in flight.
    """

    oldest_sent_at: datetime | None = None
    lifetime: timedelta | None = None
    typical: timedelta | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClock:
    """The current time, and how many seconds pass at the API in one of ours (more than one in a sandbox)."""

    now: datetime
    speed: float = 1.0


def read_ages(reads: RemoteReads, job: JobId) -> BatchAges:
    """The ages of the batches of *job*. Reads all of them: not for frequent polling of a job with thousands."""
    return ages_of(reads.batches(job), reads.spans(job))


def ages_of(batches: Iterable[Batch], spans: Iterable[tuple[datetime, datetime]]) -> BatchAges:
    """The ages of those *batches* that are in flight; *spans*: (created, ended) of some that have ended."""
    flying = [batch for batch in batches if batch.state in AT_THE_API and batch.sent_at is not None]
    took = sorted(ended - created for created, ended in spans)
    oldest = min(flying, key=lambda batch: str(batch.sent_at), default=None)
    lifetime = None
    if oldest is not None and oldest.expires_at is not None and oldest.created_at is not None:
        lifetime = oldest.expires_at - oldest.created_at
    return BatchAges(
        oldest_sent_at=None if oldest is None else oldest.sent_at,
        lifetime=lifetime,
        typical=took[len(took) // 2] if took else None,
        requests=sum(batch.count for batch in flying),
    )


def batches_ended(status: JobStatus) -> tuple[int, int]:
    """(ended, total) number of batches, without those that were given up."""
    found = status.batches
    ended = sum(found[state] for state in _DONE)
    return ended, sum(found.values()) - sum(found[state] for state in _GIVEN_UP)


def batch_words(status: JobStatus) -> str:
    """`batches 1/2 ended, 1 in flight`; a plus where more will be planned."""
    ended, known = batches_ended(status)
    more = "+" if status.job.to_send > 0 and status.job.state is not JobState.CANCELING else ""
    first = f"batches {ended}/{known}{more} ended" if known else "no batch is planned yet"
    return ", ".join([first, *batch_parts(status)])


def twin_words(job: JobSnapshot) -> list[str]:
    """`399 identical to another, not sent`; nothing where there are none."""
    return [f"{job.twins:,} identical to another, not sent"] if job.twins else []


def batch_parts(status: JobStatus) -> list[str]:
    """`1 in flight`, `2 to send`: what there is of batches that have not ended."""
    return [f"{status.batches[state]} {text}" for state, text in _BATCH_WORDS if status.batches[state]]


_BATCH_WORDS = (
    (BatchState.IN_PROGRESS, "in flight"),
    (BatchState.CANCELING, "being canceled"),
    (BatchState.SUBMITTING, "being sent"),
    (BatchState.PLANNED, "to send"),
    (BatchState.IN_DOUBT, "in doubt"),
)


def request_words(status: JobStatus) -> str:
    """`requests 100/200 settled, 3 resubmitted`."""
    found = status.job.requests
    parts = [f"requests {found.settled:,}/{found.total:,} settled"]
    for number, text in (
        (found.failed, "failed"),
        (found.canceled, "canceled"),
        (status.job.resubmitted, "resubmitted"),
    ):
        if number:
            parts.append(f"{number:,} {text}")
    return ", ".join(parts)


def age_words(status: JobStatus, ages: BatchAges, api_clock: ApiClock) -> str:
    """`oldest 12:07, expires in 23h47m, about 40m more`; empty if nothing is at the API."""
    if ages.oldest_sent_at is None or not any(status.batches[state] for state in AT_THE_API):
        return ""
    age = api_clock.now - ages.oldest_sent_at
    parts = [f"oldest {humanize.clock(age)}"]
    if ages.lifetime is not None:
        parts.append(f"expires in {humanize.span(ages.lifetime - age * api_clock.speed)}")
    left = time_left(status, ages, api_clock)
    if left is not None:
        parts.append(f"about {humanize.span(left)} more" if left else "longer than those before it")
    return ", ".join(parts)


def api_words(status: JobStatus, ages: str) -> str:
    """What is at the API, or may be: *ages* (from `age_words`), and batches in doubt; empty if there is nothing."""
    found = status.batches
    sending, doubtful = found[BatchState.SUBMITTING], found[BatchState.IN_DOUBT]
    parts = [ages] if ages else []
    if sending:
        parts.append(f"{humanize.batches(sending)} being sent")
    if doubtful:
        parts.append(f"{humanize.batches(doubtful)} in doubt: the API may have {'it' if doubtful == 1 else 'them'}")
    return "; ".join(parts)


def left_words(status: JobStatus) -> str:
    """`500 of 5,000 requests settled, 9 batches are at the API, which works on them`: if the program ends now."""
    found = status.job.requests
    first = f"{found.settled:,} of {humanize.count(found.total, 'request')} settled"
    there = sum(status.batches[state] for state in (*AT_THE_API, BatchState.SUBMITTING, BatchState.IN_DOUBT))
    if not there:
        return first
    works = "is at the API, which works on it" if there == 1 else "are at the API, which works on them"
    return f"{first}, {humanize.batches(there)} {works}"


def time_left(status: JobStatus, ages: BatchAges, api_clock: ApiClock) -> timedelta | None:
    """An estimate from batches that ended: what is in flight, and then as many rounds as are still to be sent.

    None while no batch has ended, or nothing is at the API. Zero: it takes longer than such batches took so far.
    """
    if ages.typical is None or ages.oldest_sent_at is None or ages.requests == 0:
        return None
    job = status.job
    wanted = job.to_send + job.requests.batched if job.trial is None else job.trial - job.requests.settled
    waiting = max(0, wanted - ages.requests)
    rounds = 1 + -(-waiting // ages.requests)
    left = ages.typical / api_clock.speed * rounds - (api_clock.now - ages.oldest_sent_at)
    return max(left, timedelta(0))


class Tone(StrEnum):
    """The severity of a job's state; each face has a colour and a sign for it."""

    WAIT = "wait"  #: not begun
    RUN = "run"  #: goes on by itself
    WARN = "warn"  #: stopped, or over and not all of it succeeded
    OK = "ok"  #: over, and everything succeeded
    BAD = "bad"  #: over, and nothing succeeded
    MUTE = "mute"  #: over because a person said so


def tone_of(job: JobSnapshot) -> Tone:
    """The tone of *job*: one with failures is never `OK`."""
    match job.state:
        case JobState.IMPORTING:
            return Tone.WAIT
        case JobState.RUNNING:
            return Tone.RUN
        case JobState.PAUSED | JobState.CANCELING:
            return Tone.WARN
        case JobState.CANCELED:
            return Tone.MUTE
        case JobState.FINISHED:
            return _tone_of_finished(job)
    assert_never(job.state)


def _tone_of_finished(job: JobSnapshot) -> Tone:
    found = job.requests
    if found.succeeded == found.total:
        return Tone.OK
    return Tone.WARN if found.succeeded else Tone.BAD


def state_words(job: JobSnapshot) -> str:
    """`running`, `paused (billing)`, `finished, 3 failed`, `finished, all failed`: the state in a cell of a table."""
    if job.state is JobState.FINISHED and job.requests.failed:
        everything = job.requests.failed == job.requests.total
        return f"{job.state}, {'all' if everything else f'{job.requests.failed:,}'} failed"
    if job.trial is not None and job.state in {JobState.RUNNING, JobState.PAUSED}:
        return f"trial of {job.trial:,} ended" if job.is_tried else f"{job.state.value} (trial of {job.trial:,})"
    return job.state.value if job.reason_code is None else f"{job.state.value} ({job.reason_code})"


def _running_words(job: JobSnapshot) -> str:
    if job.still_open:
        return ", and open for more requests"
    return "" if job.trial is None else f": a {trial_words(job.trial, job.requests.total)}"


def sentence(status: JobStatus) -> str:
    """The state of the job in one sentence, with the remedy where a person is needed."""
    job, found = status.job, status.job.requests
    match job.state:
        case JobState.IMPORTING:
            return f"its input is being read: {humanize.count(found.total, 'request')} so far"
        case JobState.RUNNING:
            return "running" + _running_words(job)
        case JobState.PAUSED:
            return f"paused ({job.reason_code}): {humanize.plain(str(job.reason))}"
        case JobState.CANCELING:
            return "being canceled; what has succeeded is kept"
        case JobState.FINISHED if found.succeeded == found.total and not stop_words(status.stop_reasons):
            return f"finished: {humanize.count(found.total, 'request')}, all succeeded"
        case JobState.FINISHED | JobState.CANCELED:
            return f"{job.state}: {outcome_words(status)}"


def purged_words(job: JobSnapshot) -> str:
    """`its prompts and answers were deleted 2026-…`; empty while they are there."""
    return "" if job.purged_at is None else f"its prompts and answers were deleted {humanize.instant(job.purged_at)}"


def schema_words(job: JobSnapshot) -> str:
    """`label, score; an invalid answer is asked for again once`; empty if answers need not match anything."""
    schema = job.answer_schema
    if schema is None:
        return ""
    fields = schema.fields
    often = _OFTEN.get(job.retry_invalid, f" {job.retry_invalid} times")
    what = humanize.plain(humanize.some(fields)) if fields else "JSON"
    return f"{what}; an invalid answer is {'not ' if not job.retry_invalid else ''}asked for again{often}"


def asked_again_words(at: datetime | None, now: datetime) -> str:
    """`the API is asked again in 40s, at 19:15:04 UTC`; empty if it is not due again, or due now."""
    if at is None or at <= now:
        return ""
    return f"the API is asked again in {humanize.span(at - now)}, at {at:%H:%M:%S} UTC"


def outcome_words(status: JobStatus) -> str:
    """`197 succeeded, 3 failed`, and how many needed a second trip; how answers ended.

    `3 succeeded: 1 refused, 1 cut at max_tokens`; beside others `181 succeeded (67 of them refused), 19 failed`. Of
    what failed: `19 failed (5 invalid answers)`.
    """
    found = status.job.requests
    counts = ((found.succeeded, "succeeded"), (found.failed, _failed_words(status)), (found.canceled, "canceled"))
    first, *parts = [f"{number:,} {text}" for number, text in counts if number or text == "succeeded"]
    if status.job.resubmitted:
        parts.append(f"{status.job.resubmitted:,} resubmitted on the way")
    if stops := stop_words(status.stop_reasons):
        if not parts:
            return f"{first}: {', '.join(stops)}"
        number, how = stops[0].split(" ", 1)
        first = f"{first} ({', '.join([f'{number} of them {how}', *stops[1:]])})"
    return ", ".join([first, *parts])


def _failed_words(status: JobStatus) -> str:
    return " ".join(["failed", *(f"({words})" for words in invalid_words(status.invalid_answers))])


def answer_words(status: JobStatus) -> list[str]:
    """`3 refused`, `12 cut at max_tokens`, `5 invalid answers`: what there is to say of answers."""
    return [*stop_words(status.stop_reasons), *invalid_words(status.invalid_answers)]


def exit_code_of(status: JobStatus) -> int:
    """0 if every request succeeded, else 1; of a job that is over, or of its trial that has ended."""
    found = status.job.requests
    return 0 if found.succeeded == (found.settled if status.job.is_tried else found.total) else 1
