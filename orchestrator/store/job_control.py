"""Facet of the commands on jobs: pause, resume, cancel, retry; and adopt or disown a remote batch."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from functools import partial
from typing import Final

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.ids import MAX_NUMBER, JobId, Nonce, RequestId, request_id
from orchestrator.domain.model import BatchRow, JobRow
from orchestrator.domain.states import JobState
from orchestrator.ports.store import CommandStore
from orchestrator.store import facet, history, sql_rows, sql_text, submit
from orchestrator.store.plan import count_taken

SQL: Final = sql_text.load("job_control")
SEARCH_SQL: Final = sql_text.load("reconciliation")


class SqliteCommandStore(facet.Facet, CommandStore):
    """Steps of jobs that a person asks for; what is large goes in slices."""

    @override
    @facet.transaction
    def pause(self, c: sqlite3.Connection, job: JobId, code: str, reason: str, now: datetime) -> bool:
        return _step("pause", job, JobState.PAUSED, f"{code}: {reason}", now, c, code=code, reason=reason)

    @override
    @facet.transaction
    def resume(self, c: sqlite3.Connection, job: JobId, now: datetime) -> bool:
        if not _step("resume", job, JobState.RUNNING, None, now, c):
            return False
        submit.drop(SQL["unpark"], job, "tried afresh after a resume", now, c)
        return True

    @override
    async def cancel(self, job: JobId, now: datetime) -> bool:
        def step(c: sqlite3.Connection) -> bool:
            if not _step("cancel", job, JobState.CANCELING, None, now, c):
                return False
            submit.drop(submit.SQL["left_planned"], job, submit.CANCELED, now, c)
            return True

        has_moved = await self._db.write(step)
        await self.cancel_queued(job)
        return has_moved

    @override
    async def cancel_queued(self, job: JobId) -> int:
        def step(c: sqlite3.Connection) -> int:
            if c.execute(SQL["job_state"], {"id": job}).fetchone()[0] != JobState.CANCELING:
                return 0
            return c.execute(SQL["cancel_queued"], {"id": job}).rowcount

        done = 0
        while count := await self._db.write(step):
            done += count
        return done

    @override
    @facet.snapshot
    def canceling(self, c: sqlite3.Connection) -> list[JobRow]:
        return sql_rows.to_jobs(c.execute(SQL["canceling"]))

    @override
    async def retry(self, job: JobId, only: str | None, now: datetime) -> int:
        done, above = 0, request_id(job, 0)
        while (slice_ := await self._db.write(partial(_retry_slice, job, only, above, now))) is not None:
            count, above = slice_
            done += count
        return done

    @override
    @facet.snapshot
    def paused(self, c: sqlite3.Connection) -> list[JobRow]:
        return sql_rows.to_jobs(c.execute(SQL["paused_by"]))

    @override
    @facet.snapshot
    def get(self, c: sqlite3.Connection, job: JobId) -> JobRow:
        return sql_rows.to_jobs(c.execute(SQL["by_id"], {"id": job}))[0]

    @override
    @facet.transaction
    def disown(self, c: sqlite3.Connection, remote_id: str) -> bool:
        candidate = sql_rows.moved(c, SQL["disown_candidate"], {"remote_id": remote_id})
        return sql_rows.moved(c, SEARCH_SQL["drop"], {"remote_id": remote_id}) or candidate

    @override
    @facet.snapshot
    def doubts_about(self, c: sqlite3.Connection, remote_id: str) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["candidates_for"], {"remote_id": remote_id}))

    @override
    @facet.transaction
    def adopt(
        self, c: sqlite3.Connection, job: JobRow, remote: RemoteBatch, meta: ResponseMeta, nonce: Nonce, now: datetime
    ) -> bool:
        values = {
            "id": job.id,
            "nonce": nonce,
            "count": remote.counts.total,
            "now": sql_rows.to_text(now),
            "organization": meta.organization,
            "workspace": meta.workspace,
            "remote_id": remote.id,
            "created_at": sql_rows.to_text(remote.created_at),
            "expires_at": sql_rows.to_text(remote.expires_at),
        }
        row = c.execute(SQL["adopt"], values).fetchone()
        if row is None:
            return False
        count_taken(job.id, c.execute(SQL["take_all"], {"id": job.id, "batch_id": row[0]}).rowcount, c)
        history.record(c, now, "batch.adopted", job=job.id, batch=row[0], new="in_progress", why=remote.id)
        return True


def _step(
    name: str, job: JobId, new: JobState, why: str | None, now: datetime, c: sqlite3.Connection, **more: str
) -> bool:
    """A guarded step of a job and its event."""
    old = c.execute(SQL["job_state"], {"id": job}).fetchone()
    if old is None or not sql_rows.moved(c, SQL[name], {"id": job, **more}):
        return False
    history.record(c, now, "job.moved", job=job, old=old[0], new=new, why=why)
    return True


def _retry_slice(
    job: JobId, only: str | None, above: RequestId, now: datetime, c: sqlite3.Connection
) -> tuple[int, RequestId] | None:
    """Queue the next slice again; (how many, the last of them), or None at the end."""
    old, public_id, purged_at = c.execute(SQL["job_state"], {"id": job}).fetchone()
    if purged_at is not None:
        raise errors.GuardRefused(
            f"job {public_id} was purged: there is nothing left to send", hint="submit its input again"
        )
    span = {"above": above, "high": request_id(job, MAX_NUMBER), "only": only}
    rows = c.execute(SQL["retry_all"], span).fetchall() if old != JobState.CANCELING else []
    if not rows:
        return None
    if sql_rows.moved(c, SQL["reopen"], {"id": job}):
        history.record(c, now, "job.moved", job=job, old=old, new=JobState.RUNNING, why="retry")
    c.executemany(SQL["retry"], [(key,) for key, _ in rows])
    c.executemany(SQL["forget_result"], [(result,) for _, result in rows])
    history.record(c, now, "job.retried", job=job, why=f"{len(rows)} requests")
    return len(rows), RequestId(rows[-1][0])
