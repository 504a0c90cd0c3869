"""Staying with a job until it is over, beside the engine that works on it (ours, or another process's)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from orchestrator.cli.api_errors import ApiUnreachable
from orchestrator.cli.follow import StatusSampler, look_pause, paused_error, timeout_error
from orchestrator.domain.account import OTHER_ACCOUNT
from orchestrator.domain.states import OVER, BatchState, JobState

if TYPE_CHECKING:
    from orchestrator.cli.progress import ProgressDisplay
    from orchestrator.client.session import Session
    from orchestrator.domain.model import JobStatus

_TO_COLLECT: Final = (BatchState.SUBMITTING, BatchState.IN_PROGRESS, BatchState.CANCELING, BatchState.ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLimits:
    """How long to stay. timeout: at most; silence: without a single answer of the API."""

    timeout: timedelta | None = None
    silence: timedelta = timedelta(seconds=60)


async def attend(session: Session, looker: StatusSampler, progress: ProgressDisplay, patience: WaitLimits) -> JobStatus:
    """Show the job until it is over; gives its last status.

    Raises NeedsPerson when it is paused and nothing is left to collect, ApiSilent when no call ever worked, TimedOut.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    was_silent = False
    with progress:
        while True:
            status, ages, pulse = await session.handle.reader.read(looker.look)
            health = session.handle.health
            trouble = health.last_trouble
            if _waits_for_a_person(status, reads_blocked=health.reads_blocked):
                raise paused_error(status)
            progress.show(status, ages, pulse, trouble if was_silent else None)
            was_silent = trouble is not None  # a call that was refused pauses the job before the next look
            if status.job.state in OVER:
                return status
            _give_up(status, timedelta(seconds=loop.time() - began), patience)
            if trouble is not None and not health.api_worked and loop.time() - began >= _seconds(patience.silence):
                raise _silent(status, trouble)
            await asyncio.sleep(look_pause(loop.time() - began, sandbox=status.sandbox))


def _give_up(status: JobStatus, stayed: timedelta, patience: WaitLimits) -> None:
    """Raise TimedOut for a job that is not over in time."""
    if patience.timeout is not None and stayed >= patience.timeout:
        raise timeout_error(status)


def _waits_for_a_person(status: JobStatus, *, reads_blocked: bool) -> bool:
    """It is paused, and nothing of it can be collected first: a key that may not send can often still read."""
    if status.job.state is not JobState.PAUSED:
        return False
    in_flight = any(status.batches[state] for state in _TO_COLLECT)
    return reads_blocked or status.job.reason_code == OTHER_ACCOUNT or not in_flight


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


def _silent(status: JobStatus, trouble: str) -> ApiUnreachable:
    ref = status.job.public_id
    return ApiUnreachable(
        f"the API never answered; job {ref} is stored, and nothing of it is lost",
        cause=trouble,
        hint="check the network and ANTHROPIC_BASE_URL (`orchestrator doctor`), then run the same command again",
    )
