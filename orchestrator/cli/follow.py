"""Following a job until it is over, whichever process runs its engine, with progress on stderr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.cli.errors import ApiUnreachable
from orchestrator.domain.account import OTHER_ACCOUNT, REMEDIES
from orchestrator.domain.errors import NeedsPerson, OrchestratorError
from orchestrator.domain.states import OVER, BatchState, JobState
from orchestrator.views.status_text import ApiClock, BatchAges, read_ages

if TYPE_CHECKING:
    from orchestrator.cli.progress import ProgressDisplay
    from orchestrator.config import Settings
    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import JobSnapshot, JobStatus
    from orchestrator.ports.engine import EngineHealth
    from orchestrator.ports.reads import RemoteReader, RemoteReads

#: What to read the job from, and the health of the engine that works on it, where that is known.
Access = Callable[[], tuple["RemoteReader", "EngineHealth | None"]]

#: A poll costs a millisecond, so a person sees every change; ages cost a row per batch, so they are read less often.
_POLL_S: Final = 0.5
_SHORT_POLL_S: Final = 0.1
AGES_EVERY: Final = timedelta(seconds=2)
#: Where there is no better one.
_REMEDY: Final = "resume the job to go on"
_TO_COLLECT: Final = (BatchState.SUBMITTING, BatchState.IN_PROGRESS, BatchState.CANCELING, BatchState.ENDED)


class WaitTimeout(OrchestratorError):
    """`--timeout` is over; the job goes on."""

    exit_code = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLimits:
    """How long to wait. timeout: at most; silence: while no call to the API has ever worked."""

    timeout: timedelta | None = None
    silence: timedelta = timedelta(seconds=60)


def api_clock_of(settings: Settings, *, sandbox: bool) -> ApiClock:
    """How the API's time runs beside ours."""
    return ApiClock(now=datetime.now(UTC), speed=settings.sandbox.speed if sandbox else 1.0)


class StatusSampler:
    """Polls one job: its status each time, the ages of its batches every two seconds."""

    def __init__(self, job: JobId, settings: Settings) -> None:
        self._job = job
        self._settings = settings
        self._ages = BatchAges()
        self._next_ages = datetime.min.replace(tzinfo=UTC)

    def sample(self, reads: RemoteReads) -> tuple[JobStatus, BatchAges, ApiClock]:
        """The job as the snapshot *reads* has it."""
        status = reads.status(reads.get(self._job))
        api_clock = api_clock_of(self._settings, sandbox=status.sandbox)
        if api_clock.now >= self._next_ages:
            self._ages = read_ages(reads, self._job)
            self._next_ages = api_clock.now + AGES_EVERY
        return status, self._ages, api_clock


def is_over(job: JobSnapshot) -> bool:
    """Nothing of it will change by itself."""
    return job.state in OVER


async def wait_for_job(
    sampler: StatusSampler,
    access: Access,
    progress: ProgressDisplay,
    *,
    limits: WaitLimits,
    until: Callable[[JobSnapshot], bool] = is_over,
) -> JobStatus:
    """Show the job's progress until *until* holds; gives its last status.

    access: asked at each poll, since another process may take the store over meanwhile. Where it knows the engine's
    health, a job that only a person moves on is not waited for: raises NeedsPerson when it is paused and nothing is
    left to collect, ApiUnreachable when no call to the API has worked. Raises WaitTimeout.
    """
    import asyncio  # `status` shares this module, and starts without an event loop

    loop = asyncio.get_running_loop()
    began = loop.time()
    was_failing = False
    with progress:
        while True:
            reader, health = access()
            status, ages, api_clock = await reader.read(sampler.sample)
            trouble = None if health is None else health.last_trouble
            if health is not None and _waits_for_a_person(status, reads_blocked=health.reads_blocked):
                raise paused_error(status)
            progress.show(status, ages, api_clock, trouble if was_failing else None)
            was_failing = trouble is not None  # a call that was refused pauses the job before the next poll
            if until(status.job):
                return status
            waited_s = loop.time() - began
            if health is not None and trouble is not None and not health.api_worked:
                _check_silence(status, trouble, waited_s, limits)
            await asyncio.sleep(_pause_s(status, waited_s, limits))


def _check_silence(status: JobStatus, trouble: str, waited_s: float, limits: WaitLimits) -> None:
    """Raise ApiUnreachable if no call has worked for as long as *limits* allow."""
    if waited_s >= limits.silence.total_seconds():
        ref = status.job.public_id
        raise ApiUnreachable(
            f"the API never answered; job {ref} is stored, and nothing of it is lost",
            cause=trouble,
            hint="check the network and ANTHROPIC_BASE_URL (`orchestrator doctor`), then run the same command again",
        )


def _pause_s(status: JobStatus, waited_s: float, limits: WaitLimits) -> float:
    """Seconds to the next poll: short at first, for a job that is soon over, and in the sandbox. Raises WaitTimeout."""
    pause_s = _SHORT_POLL_S if status.sandbox else min(_POLL_S, max(_SHORT_POLL_S, waited_s / 20))
    if limits.timeout is None:
        return pause_s
    left_s = limits.timeout.total_seconds() - waited_s
    if left_s <= 0:
        raise _timeout_error(status)
    return min(pause_s, left_s)


def _waits_for_a_person(status: JobStatus, *, reads_blocked: bool) -> bool:
    """It is paused, and nothing of it can be collected first: a key that may not send can often still read."""
    if status.job.state is not JobState.PAUSED:
        return False
    in_flight = any(status.batches[state] for state in _TO_COLLECT)
    return reads_blocked or status.job.reason_code == OTHER_ACCOUNT or not in_flight


def _timeout_error(status: JobStatus) -> WaitTimeout:
    """`--timeout` came before the end of the job."""
    ref = status.job.public_id
    return WaitTimeout(
        f"job {ref} is not over yet; it goes on as long as an engine runs",
        cause="--timeout is over",
        hint=f"`orchestrator resume {ref}{' --sandbox' if status.sandbox else ''}` goes on here, "
        "unless an engine does already",
    )


def paused_error(status: JobStatus) -> NeedsPerson:
    """The job is paused: what for, and what to do."""
    job = status.job
    remedy = REMEDIES.get(str(job.reason_code), _REMEDY)
    again = f"`orchestrator resume {job.public_id}{' --sandbox' if status.sandbox else ''}`"
    return NeedsPerson(
        f"job {job.public_id} is paused ({job.reason_code}); nothing is lost",
        cause=None if job.reason is None else reason_without_remedy(job),  # the hint says it
        hint=f"{remedy}: {again}",
    )


def short_reason(job: JobSnapshot) -> str:
    """Why *job* is paused, in its first words: to recall it, not to act on it."""
    return reason_without_remedy(job).removeprefix("paused ").partition(" (")[0].partition("; ")[0]


def reason_without_remedy(job: JobSnapshot) -> str:
    """Why *job* is paused, without what to do."""
    return str(job.reason).removesuffix(f" — {REMEDIES.get(str(job.reason_code), _REMEDY)}")
