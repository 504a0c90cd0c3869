"""Stage probe: a daemon asks whether the key or the account works again, soon at first, then seldom (promise 6).

The time of the next try is a gate in the store, so that `status` can tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain import account, errors
from orchestrator.domain.model import JobRow
from orchestrator.engine import api_calls
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

SOON: Final = timedelta(seconds=5)
SELDOM: Final = timedelta(minutes=5)
#: Troubles that a read shows. The others show only at a create: each try ends in a new pause.
_SHOWN_BY_A_READ: Final = frozenset({account.CREDENTIALS, account.ENDPOINT})


@dataclass(slots=True)
class _ProbeSchedule:
    """The tries for one pause code: how many in a row, the last, and the next; None: no job waits."""

    tries: int = 0
    last: datetime | None = None
    due: datetime | None = None


class ProbeStage:
    """Takes jobs paused because of the account, and resumes them once the API answers a read again.

    A lack of money does not show in a read: such a job is resumed, and its first create pauses it again at once, for
    free (a clear no). A crash in between makes the next probe earlier.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._commands = context.store.commands
        self._gates = context.store.gates
        self._schedules: dict[str, _ProbeSchedule] = {}

    async def tick(self, now: datetime) -> int:
        """Probe if it is time. Returns how many jobs were resumed."""
        waiting: dict[str, list[JobRow]] = {}
        for job in await self._commands.paused():
            if job.reason_code in account.ENDS_BY_ITSELF:
                waiting.setdefault(str(job.reason_code), []).append(job)
        await self._forget(set(self._schedules) - set(waiting))
        for code in waiting:
            await self._plan(code, now)
        due = [code for code in waiting if self._is_due(code, now)]
        self._context.ask_at_once = False
        if not due or not await self._works(due, now):
            return 0
        await self._forget(set(due))  # whoever is paused again waits afresh
        return await self._resume([job for code in due for job in waiting[code]], now)

    def _is_due(self, code: str, now: datetime) -> bool:
        due = self._schedules[code].due
        return self._context.ask_at_once or (due is not None and due <= now)

    async def _forget(self, codes: set[str]) -> None:
        """No job waits for these codes any more."""
        for code in codes:
            if self._schedules[code].due is not None:
                await self._gates.open(account.probe_gate(code))
                self._schedules[code].due = None

    async def _plan(self, code: str, now: datetime) -> None:
        """Schedule the next try if there is none. Trouble that returns soon counts as the same one."""
        schedule = self._schedules.setdefault(code, _ProbeSchedule())
        if schedule.due is not None and schedule.due - now <= SELDOM:  # further ahead: the clock was set back
            return
        if schedule.last is None or not timedelta(0) <= now - schedule.last <= 2 * SELDOM:
            schedule.tries = 0
        await self._wait(code, "a job is paused", now)

    async def _wait(self, code: str, why: str, now: datetime) -> None:
        schedule = self._schedules[code]
        pause = min(SOON * 2**schedule.tries, SELDOM) if code in _SHOWN_BY_A_READ else SELDOM
        await self._gates.shut(account.probe_gate(code), now + pause, why, now)
        schedule.due = now + pause

    async def _works(self, codes: list[str], now: datetime) -> bool:
        """Ask for one page of the list, with the key that is in its file now."""
        api_calls.reload_key(self._context)
        for code in codes:
            schedule = self._schedules[code]
            schedule.tries, schedule.last = schedule.tries + 1, now
        try:
            await api_calls.first_page(self._context)
        except errors.ProviderError as exc:
            log.warning("account.still_blocked", why=exc.message)
            for code in codes:
                await self._wait(code, exc.message, self._context.clock.now())
            return False
        return True

    async def _resume(self, jobs: list[JobRow], now: datetime) -> int:
        for job in jobs:
            await self._commands.resume(job.id, now)
            log.info("job.resumed", job=job.public_id, was=job.reason_code)
        return len(jobs)
