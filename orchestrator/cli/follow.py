"""Following a job until it is over, whichever process runs its engine, with progress on stderr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.cli.command_errors import ApiUnreachable
from orchestrator.domain import account, budgets, errors, ids, model, states
from orchestrator.views import status_text

if TYPE_CHECKING:
    from orchestrator.cli.progress import ProgressDisplay
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
    """How long to wait. timeout: at most; silence: while no call to the API has ever worked.

    for_budgets: also until another day, or month, or until what is held for lost batches is free.
    """

    timeout: timedelta | None = None
    silence: timedelta = timedelta(seconds=60)
    for_budgets: bool = True


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
        self.last: model.JobStatus | None = None  #: what was seen last

    def sample(self, reads: RemoteReads) -> tuple[model.JobStatus, status_text.BatchAges, status_text.ApiClock]:
        """The job as the snapshot *reads* has it."""
        self.last = status = reads.status(reads.get(self._job))
        api_clock = api_clock_of(self._settings, sandbox=status.sandbox)
        if api_clock.now >= self._next_ages:
            self._ages = status_text.read_ages(reads, self._job)
            self._next_ages = api_clock.now + AGES_EVERY
        return status, self._ages, api_clock


def is_over(job: model.JobSnapshot) -> bool:
    """Nothing of it will change by itself."""
    return job.state in states.OVER


def is_piloted(job: model.JobSnapshot) -> bool:
    """Its pilot has ended, and a person is to look at it."""
    return job.state is states.JobState.PAUSED and job.reason_code == account.PILOT


def is_enough(job: model.JobSnapshot) -> bool:
    """What was asked for of it has ended, or a person is to look at it."""
    return is_over(job) or is_piloted(job) or job.is_tried


async def wait_for_job(
    sampler: StatusSampler,
    access: Access,
    progress: ProgressDisplay,
    *,
    limits: WaitLimits,
    until: Callable[[model.JobSnapshot], bool] = is_over,
    go_on: str | None = None,
) -> model.JobStatus:
    """Show the job's progress until *until* holds; gives its last status.

    go_on: the command for a job that is paused, as in `paused_error`.
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
            needs_person = health is not None and _waits_for_a_person(status, reads_blocked=health.reads_blocked)
            if needs_person and not until(status.job):
                raise paused_error(status, go_on)
            if not limits.for_budgets:
                _check_budgets(status)
            progress.show(status, ages, api_clock, trouble if was_failing else None)
            was_failing = trouble is not None  # a call that was refused pauses the job before the next poll
            if until(status.job):
                return status
            waited_s = loop.time() - began
            if health is not None and trouble is not None and not health.api_worked:
                _check_silence(status, trouble, waited_s, limits)
            await asyncio.sleep(_pause_s(status, waited_s, limits))


def _check_budgets(status: model.JobStatus) -> None:
    """Raise BudgetExceeded if the job waits for a budget to have room again."""
    for matter in status.attention:
        if matter.kind == budgets.BUDGET_WAITS:
            raise errors.BudgetExceeded(
                f"job {status.job.public_id} waits: {matter.message}",
                cause="--no-wait-budget: what was answered is kept, and the job goes on with any engine that runs",
                hint=f"{_raising(status, matter.message)}, and it goes on before",
            )


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


def paused_error(status: model.JobStatus, go_on: str | None = None) -> errors.NeedsPerson | errors.BudgetExceeded:
    """The job is paused: what for, and what to do. go_on: the command that also writes its results."""
    job = status.job
    remedy = account.REMEDIES.get(str(job.reason_code), _REMEDY)
    sandbox = " --sandbox" if status.sandbox else ""
    again = f"`orchestrator resume {job.public_id}{sandbox}`" if go_on is None else f"`{go_on}`"
    if job.reason_code == account.BUDGET:
        why = reason_without_remedy(job)
        or_again = (
            "; or the same command with a larger --max-cost" if budgets.scope_of(why) is budgets.Scope.JOB else ""
        )
        return errors.BudgetExceeded(
            f"job {job.public_id} is paused: {why}",
            cause="what was answered is kept; nothing more is sent",
            hint=f"{_raising(status, why)}, then {again} goes on{'' if go_on is None else ' and writes all results'}"
            f"{or_again}",
        )
    if job.reason_code == account.PILOT:
        return errors.NeedsPerson(
            f"job {job.public_id} waits: {reason_without_remedy(job)}",
            cause="what was answered is kept; nothing more is sent",
            hint=f"{again} sends the others",
        )
    kind = errors.BudgetExceeded if job.reason_code in account.BY_A_CAP else errors.NeedsPerson
    return kind(
        f"job {job.public_id} is paused ({job.reason_code}); nothing is lost",
        cause=None if job.reason is None else reason_without_remedy(job),  # the hint says it
        hint=f"{remedy}: {again}",
    )


def _raising(status: model.JobStatus, why: str) -> str:
    """The command that raises the cap that *why* names."""
    command = budgets.raising(budgets.scope_of(why), status.job.public_id, sandbox=status.sandbox)
    return f"`{command}` raises it"


def short_reason(job: model.JobSnapshot) -> str:
    """Why *job* is paused, in its first words: to recall it, not to act on it."""
    return reason_without_remedy(job).removeprefix("paused ").partition(" (")[0].partition("; ")[0]


def rest_words(job: model.JobSnapshot) -> str:
    """What the rest of *job*, whose trial has ended, is expected to cost."""
    return reason_without_remedy(job).partition("; ")[2]


def reason_without_remedy(job: model.JobSnapshot) -> str:
    """Why *job* is paused, without what to do."""
    return str(job.reason).partition(f" — {account.REMEDIES.get(str(job.reason_code), _REMEDY)}")[0]
