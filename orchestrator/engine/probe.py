"""Stage probe: a daemon asks every five minutes whether the key or the account works again (promise 6)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.account import BILLING, CREDENTIALS, ENDPOINT, ON_HOLD, PERMISSION, SPEND_LIMIT
from orchestrator.domain.errors import ProviderError
from orchestrator.engine.context import Context
from orchestrator.engine.reading import asked
from orchestrator.observability.logs import get_logger

log = get_logger(__name__)

EVERY: Final = timedelta(minutes=5)
#: Pauses that end by themselves when the account works; the others are a person's own word.
MENDABLE: Final = frozenset({CREDENTIALS, PERMISSION, BILLING, SPEND_LIMIT, ON_HOLD, ENDPOINT})


class ProbeStage:
    """Resumes jobs that were paused for the account's sake once the API answers a read again.

    Money trouble does not show in a read: such a job is tried again, and its first create pauses it again at once, at
    no cost (a clear no).
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """How many jobs go on."""
        if self._next is not None and now < self._next:
            return 0
        jobs = [job for job in await self._context.store.control.paused() if job.reason_code in MENDABLE]
        if not jobs:
            self._next = None
            return 0
        first = self._next is None
        self._next = now + EVERY
        if first:  # the pause is fresh, or we have just started: not yet
            return 0
        try:
            await asked(self._context, self._context.provider.page(after_id=None, limit=1))
        except ProviderError as exc:
            log.warning("account.still_blocked", why=exc.message)
            return 0
        for job in jobs:
            await self._context.store.control.resume(job.id, now)
            log.info("job.resumed", job=job.public_id, was=job.reason_code)
        self._next = None  # whoever is paused again now waits its five minutes
        return len(jobs)
