"""Purge: deletes requests and results of jobs that are over, on a person's command or by age."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JobSnapshot
from orchestrator.engine.context import Context
from orchestrator.observability.logs import get_logger
from orchestrator.ports.job_store import BY_PERSON, BY_RETENTION

log = get_logger(__name__)

_LOOK_EVERY: Final = timedelta(hours=1)


async def purge(context: Context, job: JobId) -> bool:
    """Mark *job*, and delete what is marked. False if it was marked before."""
    marked = await context.store.purge.mark(job, BY_PERSON, context.clock.now())
    await _clear(context)
    return marked


async def purge_older(context: Context, older_than: timedelta) -> list[JobSnapshot]:
    """Purge jobs that were over so long ago. By age, so they stay listed, as with `keep_bodies`."""
    now = context.clock.now()
    old = await context.store.purge.over_since(now - older_than)
    pruned = [job for job in old if await context.store.purge.mark(job.id, BY_RETENTION, now)]
    await _clear(context)
    return pruned


async def _clear(context: Context) -> None:
    """Delete what is marked. If this is cut short, the stage goes on with it."""
    while await context.store.purge.purge_some():
        pass


class PurgeStage:
    """Deletes what is marked, a chunk a tick; once an hour marks jobs older than `[database] keep_bodies`.

    A mark is a row: after a crash the deletion goes on. looks_for_old: only in a daemon; a command that runs for its
    own job deletes nothing of others.
    """

    def __init__(self, context: Context, *, looks_for_old: bool) -> None:
        self._context = context
        self._store = context.store.purge
        self._looks_for_old = looks_for_old
        self._checked_at: datetime | None = None

    async def tick(self, now: datetime) -> int:
        """Returns how many jobs were marked and chunks deleted."""
        return await self._mark_old(now) + await self._store.purge_some()

    async def _mark_old(self, now: datetime) -> int:
        keep = self._context.settings.keep_bodies
        if keep is None or not self._looks_for_old or not self._is_time(now):
            return 0
        marked = 0
        for job in await self._store.over_since(now - keep):
            marked += await self._store.mark(job.id, BY_RETENTION, now)
            log.info("job.purged", job=job.public_id, by=BY_RETENTION)
        return marked

    def _is_time(self, now: datetime) -> bool:
        if self._checked_at is not None and now - self._checked_at < _LOOK_EVERY:
            return False
        self._checked_at = now
        return True
