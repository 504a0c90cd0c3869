"""Following a job until it is over, whichever process runs its engine, with progress on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

import click
from typing_extensions import override

from orchestrator.cli.command_errors import ApiUnreachable
from orchestrator.domain import account, errors, humanize, ids, model, states
from orchestrator.views import status_text

if TYPE_CHECKING:
    from rich.live import Live

    from orchestrator.cli.options import GlobalOptions
    from orchestrator.config import Settings
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
_TO_COLLECT: Final = (
    states.BatchState.SUBMITTING,
    states.BatchState.IN_PROGRESS,
    states.BatchState.CANCELING,
    states.BatchState.ENDED,
)


class WaitTimeout(errors.OrchestratorError):
    """`--timeout` is over; the job goes on."""

    exit_code = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLimits:
    """How long to wait. timeout: at most; silence: while no call to the API has ever worked."""

    timeout: timedelta | None = None
    silence: timedelta = timedelta(seconds=60)


def api_clock_of(settings: Settings, *, sandbox: bool) -> status_text.ApiClock:
    """How the API's time runs beside ours."""
    return status_text.ApiClock(now=datetime.now(UTC), speed=settings.sandbox.speed if sandbox else 1.0)


class StatusSampler:
    """Polls one job: its status each time, the ages of its batches every two seconds."""

    def __init__(self, job: ids.JobId, settings: Settings) -> None:
        self._job = job
        self._settings = settings
        self._ages = status_text.BatchAges()
        self._next_ages = datetime.min.replace(tzinfo=UTC)

    def sample(self, reads: RemoteReads) -> tuple[model.JobStatus, status_text.BatchAges, status_text.ApiClock]:
        """The job as the snapshot *reads* has it."""
        status = reads.status(reads.get(self._job))
        api_clock = api_clock_of(self._settings, sandbox=status.sandbox)
        if api_clock.now >= self._next_ages:
            self._ages = status_text.read_ages(reads, self._job)
            self._next_ages = api_clock.now + AGES_EVERY
        return status, self._ages, api_clock


def is_over(job: model.JobSnapshot) -> bool:
    """Nothing of it will change by itself."""
    return job.state in states.OVER


async def wait_for_job(
    sampler: StatusSampler,
    access: Access,
    progress: ProgressDisplay,
    *,
    limits: WaitLimits,
    until: Callable[[model.JobSnapshot], bool] = is_over,
) -> model.JobStatus:
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


def _check_silence(status: model.JobStatus, trouble: str, waited_s: float, limits: WaitLimits) -> None:
    """Raise ApiUnreachable if no call has worked for as long as *limits* allow."""
    if waited_s >= limits.silence.total_seconds():
        ref = status.job.public_id
        raise ApiUnreachable(
            f"the API never answered; job {ref} is stored, and nothing of it is lost",
            cause=trouble,
            hint="check the network and ANTHROPIC_BASE_URL (`orchestrator doctor`), then run the same command again",
        )


def _pause_s(status: model.JobStatus, waited_s: float, limits: WaitLimits) -> float:
    """Seconds to the next poll: short at first, for a job that is soon over, and in the sandbox. Raises WaitTimeout."""
    pause_s = _SHORT_POLL_S if status.sandbox else min(_POLL_S, max(_SHORT_POLL_S, waited_s / 20))
    if limits.timeout is None:
        return pause_s
    left_s = limits.timeout.total_seconds() - waited_s
    if left_s <= 0:
        raise _timeout_error(status)
    return min(pause_s, left_s)


def _waits_for_a_person(status: model.JobStatus, *, reads_blocked: bool) -> bool:
    """It is paused, and nothing of it can be collected first: a key that may not send can often still read."""
    if status.job.state is not states.JobState.PAUSED:
        return False
    in_flight = any(status.batches[state] for state in _TO_COLLECT)
    return reads_blocked or status.job.reason_code == account.OTHER_ACCOUNT or not in_flight


def _timeout_error(status: model.JobStatus) -> WaitTimeout:
    """`--timeout` came before the end of the job."""
    ref = status.job.public_id
    return WaitTimeout(
        f"job {ref} is not over yet; it goes on as long as an engine runs",
        cause="--timeout is over",
        hint=f"`orchestrator resume {ref}{' --sandbox' if status.sandbox else ''}` goes on here, "
        "unless an engine does already",
    )


def paused_error(status: model.JobStatus) -> errors.NeedsPerson:
    """The job is paused: what for, and what to do."""
    job = status.job
    remedy = account.REMEDIES.get(str(job.reason_code), _REMEDY)
    again = f"`orchestrator resume {job.public_id}{' --sandbox' if status.sandbox else ''}`"
    return errors.NeedsPerson(
        f"job {job.public_id} is paused ({job.reason_code}); nothing is lost",
        cause=None if job.reason is None else reason_without_remedy(job),  # the hint says it
        hint=f"{remedy}: {again}",
    )


def short_reason(job: model.JobSnapshot) -> str:
    """Why *job* is paused, in its first words: to recall it, not to act on it."""
    return reason_without_remedy(job).removeprefix("paused ").partition(" (")[0].partition("; ")[0]


def reason_without_remedy(job: model.JobSnapshot) -> str:
    """Why *job* is paused, without what to do."""
    return str(job.reason).removesuffix(f" — {account.REMEDIES.get(str(job.reason_code), _REMEDY)}")


#: Between two lines that differ only in counts.
_QUIET: Final = timedelta(seconds=1)


class ProgressDisplay:
    """Shows the progress of one job; a context that leaves a clean screen. This one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Show no more."""

    def show(
        self,
        status: model.JobStatus,
        ages: status_text.BatchAges,
        api_clock: status_text.ApiClock,
        trouble: str | None = None,
    ) -> None:
        """Show how far the job is. trouble: why the API does not answer at the moment."""


def progress_for(options: GlobalOptions) -> ProgressDisplay:
    """Nothing with `-q`; live on a terminal that can do it (unless the log is shown there); else lines."""
    if options.quiet:
        return ProgressDisplay()
    if sys.stderr.isatty() and options.verbose == 0 and os.environ.get("TERM") not in {None, "dumb"}:
        return LiveProgress()
    return LineProgress()


class LineProgress(ProgressDisplay):
    """One line per change; lines that differ only in counts come at most once a second."""

    def __init__(self) -> None:
        self._said: tuple[object, ...] | None = None
        self._line = ""
        self._at = datetime.min.replace(tzinfo=UTC)

    @override
    def show(
        self,
        status: model.JobStatus,
        ages: status_text.BatchAges,
        api_clock: status_text.ApiClock,
        trouble: str | None = None,
    ) -> None:
        if status.job.state in states.OVER:
            return  # the command itself has the last word
        topic = (status.job.state, status.job.reason, trouble, status.attention)
        line = _one_line(status, trouble)
        if line == self._line or (topic == self._said and api_clock.now - self._at < _QUIET):
            return
        self._said, self._line, self._at = topic, line, api_clock.now
        age = status_text.age_words(status, ages, api_clock)
        click.echo(f"{line}; {age}" if age else line, err=True)


class LiveProgress(ProgressDisplay):
    """A few lines at the bottom of the terminal, rewritten, and removed at the end."""

    def __init__(self) -> None:
        self._live: Live | None = None

    @override
    def __enter__(self) -> Self:
        from rich import console, live

        self._live = live.Live(console=console.Console(stderr=True), refresh_per_second=8, transient=True)
        self._live.start()
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @override
    def show(
        self,
        status: model.JobStatus,
        ages: status_text.BatchAges,
        api_clock: status_text.ApiClock,
        trouble: str | None = None,
    ) -> None:
        from rich import console, spinner, text

        first, *rest = _screen(status, ages, api_clock, trouble)
        if self._live is not None:
            lines = [text.Text(f"  {line}") for line in rest]
            self._live.update(console.Group(spinner.Spinner("dots", text=text.Text(first)), *lines))


def _one_line(status: model.JobStatus, trouble: str | None) -> str:
    parts = [status_text.batch_words(status), status_text.request_words(status)]
    if status.job.state is not states.JobState.RUNNING:
        parts.insert(0, status_text.sentence(status))
    if trouble is not None:
        parts.append(f"the API does not answer, trying again: {humanize.plain(trouble)}")
    parts += _attention(status)
    name = status.job.public_id
    return f"{'SANDBOX ' if status.sandbox else ''}{name}: {'; '.join(parts)}"


def _screen(
    status: model.JobStatus, ages: status_text.BatchAges, api_clock: status_text.ApiClock, trouble: str | None
) -> list[str]:
    lines = [f"{'SANDBOX  ' if status.sandbox else ''}{status.job.public_id}  {status_text.batch_words(status)}"]
    lines.append(status_text.request_words(status))
    if age := status_text.age_words(status, ages, api_clock):
        lines.append(age)
    if status.job.state is not states.JobState.RUNNING:
        lines.append(status_text.sentence(status))
    if trouble is not None:
        lines.append(f"the API does not answer, trying again: {humanize.plain(trouble)}")
    return lines + _attention(status)


def _attention(status: model.JobStatus) -> list[str]:
    """Matters that need attention."""
    return [humanize.plain(item.message) for item in status.attention]
