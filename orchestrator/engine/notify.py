"""Stage notify: sends notices to webhooks, at least once; one that is sent twice has the same id both times."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.notices import KEPT_FOR, Notice, next_try
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger
from orchestrator.ports.runtime import Courier

log = get_logger(__name__)

#: Sent side by side in one tick. A try takes ten seconds at the most: no longer does a dead endpoint hold others up.
_AT_ONCE: Final = 20
_OF_EACH: Final = 4
_FORGET_EVERY: Final = timedelta(hours=1)


class NotifyStage:
    """Takes notices in `waiting`, and leaves them `delivered` or `failed`; once an hour forgets those that are old.

    The outcome is written after the try: a notice whose sending was cut off by a crash is sent again. Who holds the
    stage for others says which endpoints there are (`Context.endpoints`), when it begins.
    """

    def __init__(self, context: Context, courier: Courier) -> None:
        self._context = context
        self._store = context.store.notices
        self._courier = courier
        self._next_forget: datetime | None = None
        self._endpoints = context.endpoints

    async def tick(self, now: datetime) -> int:
        """Send what is due. Returns how many notices were tried."""
        if self._endpoints is not None:
            await self._store.mirror(self._endpoints, now)
            self._endpoints = None
        if self._next_forget is None or now >= self._next_forget:
            await self._store.delete_old(now - KEPT_FOR)
            self._next_forget = now + _FORGET_EVERY
        due = await self._store.due(now, _AT_ONCE, each=_OF_EACH)
        async with asyncio.TaskGroup() as group:
            for notice in due:
                group.create_task(self.advance(notice), name=f"notify.{notice.delivery_id}")
        return len(due)

    async def advance(self, notice: Notice) -> None:
        """One try, and its outcome. The address is not logged: some hold a secret of their owner's."""
        outcome = await self._courier.carry(notice, self._context.clock.now())
        now = self._context.clock.now()
        tries = notice.tries + 1
        if outcome.error is None and outcome.status is not None:
            await self._store.delivered(notice, outcome.status, now)
            log.info("webhook.delivered", delivery_id=notice.delivery_id, status=outcome.status, tries=tries)
            return
        until = None if outcome.is_final else next_try(tries, now, self._context.entropy.jitter())
        await self._store.put_off(notice, outcome, until, now)
        say = log.error if until is None else log.warning
        say(
            "webhook.failed", delivery_id=notice.delivery_id, status=outcome.status, tries=tries, given_up=until is None
        )
