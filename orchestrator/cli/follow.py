"""Following a job through the store until it is over, whoever runs it; synchronous, for `watch` and `wait`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.domain.account import REMEDIES
from orchestrator.domain.errors import NeedsPerson, OrchestratorError
from orchestrator.domain.states import OVER
from orchestrator.views.status_text import Ages, Pulse, read_ages

if TYPE_CHECKING:
    from orchestrator.cli.progress import ProgressDisplay
    from orchestrator.cli.store_access import NowReader
    from orchestrator.config import Settings
    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import Job, JobStatus
    from orchestrator.ports.reads import RemoteReads

#: A look costs a millisecond, so a person sees every change; ages cost a row per batch, so they are read less often.
_LOOK_S: Final = 0.5
_SHORT_LOOK_S: Final = 0.1
AGES_EVERY: Final = timedelta(seconds=2)
#: Where there is no better one.
_REMEDY: Final = "resume the job to go on"


class WaitTimeout(OrchestratorError):
    """`--timeout` is over; the job goes on."""

    exit_code = 7


def api_clock_of(settings: Settings, *, sandbox: bool) -> Pulse:
    """How the API's time runs beside ours."""
    return Pulse(now=datetime.now(UTC), speed=settings.sandbox.speed if sandbox else 1.0)


def look_pause(stayed_s: float, *, sandbox: bool) -> float:
    """Seconds to the next look: short at first, for a job that is soon over, and always in the sandbox's time."""
    return _SHORT_LOOK_S if sandbox else min(_LOOK_S, max(_SHORT_LOOK_S, stayed_s / 20))


class StatusSampler:
    """Looks at one job again and again: its status each time, the ages of its batches now and then."""

    def __init__(self, job: JobId, settings: Settings) -> None:
        self._job = job
        self._settings = settings
        self._ages = Ages()
        self._next_ages = datetime.min.replace(tzinfo=UTC)

    def look(self, reads: RemoteReads) -> tuple[JobStatus, Ages, Pulse]:
        """One look, from the snapshot of *reads*."""
        status = reads.status(reads.get(self._job))
        pulse = api_clock_of(self._settings, sandbox=status.sandbox)
        if pulse.now >= self._next_ages:
            self._ages = read_ages(reads, self._job)
            self._next_ages = pulse.now + AGES_EVERY
        return status, self._ages, pulse


def follow(
    looker: StatusSampler,
    reader: NowReader,
    progress: ProgressDisplay,
    *,
    timeout: timedelta | None,
    is_over: Callable[[Job], bool],
) -> JobStatus:
    """Show the job until *is_over* of it. Raises TimedOut."""
    began = time.monotonic()
    deadline = None if timeout is None else began + timeout.total_seconds()
    with progress:
        while True:
            status, ages, pulse = reader.read_now(looker.look)
            progress.show(status, ages, pulse)
            if is_over(status.job):
                return status
            pause = look_pause(time.monotonic() - began, sandbox=status.sandbox)
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise timeout_error(status)
                pause = min(pause, left)
            time.sleep(pause)


def is_over(job: Job) -> bool:
    """Nothing of it will change by itself."""
    return job.state in OVER


def timeout_error(status: JobStatus) -> WaitTimeout:
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


def short_reason(job: Job) -> str:
    """Why *job* is paused, in its first words: to recall it, not to act on it."""
    return reason_without_remedy(job).removeprefix("paused ").partition(" (")[0].partition("; ")[0]


def reason_without_remedy(job: Job) -> str:
    """Why *job* is paused, without what to do."""
    return str(job.reason).removesuffix(f" — {REMEDIES.get(str(job.reason_code), _REMEDY)}")
