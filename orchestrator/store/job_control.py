"""Store facet of the commands that a person gives: pause, resume, cancel, retry, and a word on a remote batch."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from functools import partial
from typing import Any, Final

from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.ids import MAX_NUMBER, JobId, Nonce, RequestId, request_id
from orchestrator.domain.model import BatchRow, JobRow
from orchestrator.domain.states import JobState
from orchestrator.store.connection import Database
from orchestrator.store.plan import count_taken
from orchestrator.store.rows import dict_rows, moved, record, to_batch, to_job, to_text
from orchestrator.store.sql_text import load
from orchestrator.store.submit import CANCELED, drop
from orchestrator.store.submit import SQL as SUBMIT_SQL

SQL: Final = load("job_control")
SEARCH_SQL: Final = load("reconciliation")


class SqliteCommandStore:
    """See `ports.store.CommandStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def pause(self, job: JobId, code: str, reason: str, now: datetime) -> bool:
        """Plan and send nothing new; what is in flight is still collected. False: it does not run."""
        return await self._db.write(partial(_pause, job, code, reason, now))

    async def resume(self, job: JobId, now: datetime) -> bool:
        """Go on after a pause. False: it is not paused."""
        return await self._db.write(partial(_resume, job, now))

    async def cancel(self, job: JobId, now: datetime) -> bool:
        """Cancel a job: nothing new is sent, what is planned is dropped, what is at the API is asked to stop.

        False: it is over, or being canceled already.
        """
        moved_it = await self._db.write(partial(_cancel, job, now))
        await self.cancel_queued(job)
        return moved_it

    async def cancel_queued(self, job: JobId) -> int:
        """Settle the queued requests of a canceled job, slice by slice; returns how many."""
        done = 0
        while True:
            count = await self._db.write(partial(_cancel_slice, job))
            done += count
            if count == 0:
                return done

    async def canceling(self) -> list[JobRow]:
        """Jobs being canceled that have queued requests left (a batch was given up meanwhile, or a crash came)."""
        return await self._jobs("canceling", {})

    async def retry(self, job: JobId, only: str | None, now: datetime) -> int:
        """Queue failed and canceled requests again (of one error type, or all); returns how many."""
        done, above = 0, request_id(job, 0)
        while (slice_ := await self._db.write(partial(_retry_slice, job, only, above, now))) is not None:
            count, above = slice_
            done += count
        return done

    async def paused(self) -> list[JobRow]:
        """Jobs that wait for a person."""
        return await self._jobs("paused_by", {})

    async def get(self, job: JobId) -> JobRow:
        """The job as it is now."""
        return (await self._jobs("by_id", {"id": job}))[0]

    async def disown(self, remote_id: str) -> bool:
        """A person says that a remote batch is not ours; False: it is not a candidate, or proven already."""
        return await self._db.write(partial(_disown, remote_id))

    async def doubts_about(self, remote_id: str) -> list[BatchRow]:
        """Batches in doubt that *remote_id* is a candidate for."""
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL["candidates_for"], {"remote_id": remote_id})))
        return [to_batch(row) for row in rows]

    async def adopt(self, job: JobRow, remote: RemoteBatch, meta: ResponseMeta, nonce: Nonce, now: datetime) -> bool:
        """Take *remote*, made elsewhere, for all of *job*. False: the numbers differ, or some are planned."""
        return await self._db.write(partial(_adopt, job, remote, meta, nonce, now))

    async def _jobs(self, query: str, values: dict[str, Any]) -> list[JobRow]:
        rows = await self._db.read(lambda c: dict_rows(c.execute(SQL[query], values)))
        return [to_job(row) for row in rows]


def _step(
    name: str, job: JobId, new: JobState, why: str | None, now: datetime, c: sqlite3.Connection, **more: str
) -> bool:
    """A guarded step of a job and its event."""
    old = c.execute(SQL["job_state"], {"id": job}).fetchone()
    if old is None or not moved(c, SQL[name], {"id": job, **more}):
        return False
    record(c, now, "job.moved", job=job, old=old[0], new=new, why=why)
    return True


def _pause(job: JobId, code: str, reason: str, now: datetime, c: sqlite3.Connection) -> bool:
    return _step("pause", job, JobState.PAUSED, f"{code}: {reason}", now, c, code=code, reason=reason)


def _resume(job: JobId, now: datetime, c: sqlite3.Connection) -> bool:
    if not _step("resume", job, JobState.RUNNING, None, now, c):
        return False
    drop(SQL["unpark"], job, "tried afresh after a resume", now, c)
    return True


def _cancel(job: JobId, now: datetime, c: sqlite3.Connection) -> bool:
    if not _step("cancel", job, JobState.CANCELING, None, now, c):
        return False
    drop(SUBMIT_SQL["left_planned"], job, CANCELED, now, c)
    return True


def _disown(remote_id: str, c: sqlite3.Connection) -> bool:
    candidate = moved(c, SQL["disown_candidate"], {"remote_id": remote_id})
    return moved(c, SEARCH_SQL["drop"], {"remote_id": remote_id}) or candidate


def _cancel_slice(job: JobId, c: sqlite3.Connection) -> int:
    if c.execute(SQL["job_state"], {"id": job}).fetchone()[0] != JobState.CANCELING:
        return 0
    return c.execute(SQL["cancel_queued"], {"id": job}).rowcount


def _retry_slice(
    job: JobId, only: str | None, above: RequestId, now: datetime, c: sqlite3.Connection
) -> tuple[int, RequestId] | None:
    """Queue the next slice again; (how many, the last of them), or None at the end."""
    old, public_id, purged_at = c.execute(SQL["job_state"], {"id": job}).fetchone()
    if purged_at is not None:
        raise GuardRefused(f"job {public_id} was purged: there is nothing left to send", hint="submit its input again")
    span = {"above": above, "high": request_id(job, MAX_NUMBER), "only": only}
    rows = c.execute(SQL["retry_all"], span).fetchall() if old != JobState.CANCELING else []
    if not rows:
        return None
    if moved(c, SQL["reopen"], {"id": job}):
        record(c, now, "job.moved", job=job, old=old, new=JobState.RUNNING, why="retry")
    c.executemany(SQL["retry"], [(key,) for key, _ in rows])
    c.executemany(SQL["forget_result"], [(result,) for _, result in rows])
    record(c, now, "job.retried", job=job, why=f"{len(rows)} requests")
    return len(rows), RequestId(rows[-1][0])


def _adopt(
    job: JobRow, remote: RemoteBatch, meta: ResponseMeta, nonce: Nonce, now: datetime, c: sqlite3.Connection
) -> bool:
    values = {
        "id": job.id,
        "nonce": nonce,
        "count": remote.counts.total,
        "now": to_text(now),
        "organization": meta.organization,
        "workspace": meta.workspace,
        "remote_id": remote.id,
        "created_at": to_text(remote.created_at),
        "expires_at": to_text(remote.expires_at),
    }
    row = c.execute(SQL["adopt"], values).fetchone()
    if row is None:
        return False
    count_taken(job.id, c.execute(SQL["take_all"], {"id": job.id, "batch_id": row[0]}).rowcount, c)
    record(c, now, "batch.adopted", job=job.id, batch=row[0], new="in_progress", why=remote.id)
    return True
