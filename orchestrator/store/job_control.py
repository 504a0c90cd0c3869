"""Facet of the commands on jobs: pause, resume, cancel; and adopt or disown a remote batch."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from typing_extensions import override

from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.model import BatchRow, JobRow
from orchestrator.domain.states import JobState
from orchestrator.ports.store import CommandStore
from orchestrator.store import facet, history, sql_rows, sql_text, submit
from orchestrator.store.plan import count_taken
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("job_control")
SEARCH_SQL: Final = sql_text.load("reconciliation")


class SqlCommandStore(facet.Facet, CommandStore):
    """Steps of jobs that a person asks for; what is large goes in slices."""

    @override
    @facet.transaction
    def pause(self, c: SqlConnection, job: JobId, code: str, reason: str, now: datetime) -> bool:
        return pause_job(job, code, reason, now, c)

    @override
    @facet.transaction
    def resume(self, c: SqlConnection, job: JobId, now: datetime) -> bool:
        return resume_job(job, now, c)

    @override
    async def cancel(self, job: JobId, now: datetime) -> bool:
        def step(c: SqlConnection) -> bool:
            if not _step("cancel", job, JobState.CANCELING, None, now, c):
                return False
            submit.drop(submit.SQL["left_planned"], job, submit.CANCELED, now, c)
            return True

        has_moved = await self._db.write(step)
        await self.cancel_queued(job)
        return has_moved

    @override
    async def cancel_queued(self, job: JobId) -> int:
        def step(c: SqlConnection) -> int:
            if c.execute(SQL["job_state"], {"id": job}).fetchone()[0] != JobState.CANCELING:
                return 0
            return c.execute(SQL["cancel_queued"], {"id": job}).rowcount

        done = 0
        while count := await self._db.write(step):
            done += count
        return done

    @override
    @facet.snapshot
    def canceling(self, c: SqlConnection) -> list[JobRow]:
        return sql_rows.to_jobs(c.execute(SQL["canceling"]))

    @override
    @facet.snapshot
    def paused(self, c: SqlConnection) -> list[JobRow]:
        return sql_rows.to_jobs(c.execute(SQL["paused_by"]))

    @override
    @facet.snapshot
    def get(self, c: SqlConnection, job: JobId) -> JobRow:
        return job_row(job, c)

    @override
    @facet.transaction
    def note(self, c: SqlConnection, kind: str, why: str | None, now: datetime) -> None:
        history.record(c, now, kind, why=why)

    @override
    @facet.transaction
    def disown(self, c: SqlConnection, remote_id: str, now: datetime) -> bool:
        candidate = sql_rows.moved(c, SQL["disown_candidate"], {"remote_id": remote_id})
        is_known = sql_rows.moved(c, SEARCH_SQL["drop"], {"remote_id": remote_id}) or candidate
        if is_known:
            history.record(c, now, "candidate.disowned", why=remote_id)
        return is_known

    @override
    @facet.snapshot
    def doubts_about(self, c: SqlConnection, remote_id: str) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["candidates_for"], {"remote_id": remote_id}))

    @override
    @facet.transaction
    def adopt(
        self, c: SqlConnection, job: JobRow, remote: RemoteBatch, meta: ResponseMeta, nonce: Nonce, now: datetime
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


def job_row(job: JobId, c: SqlConnection) -> JobRow:
    """*job* as it is now."""
    return sql_rows.to_jobs(c.execute(SQL["by_id"], {"id": job}))[0]


def pause_job(job: JobId, code: str, reason: str, now: datetime, c: SqlConnection) -> bool:
    """See `ports.store.CommandStore.pause`."""
    return _step("pause", job, JobState.PAUSED, f"{code}: {reason}", now, c, code=code, reason=reason)


def resume_job(job: JobId, now: datetime, c: SqlConnection, why: str | None = None) -> bool:
    """Resume a paused job: what it had planned is planned afresh. False: it is not paused."""
    if not _step("resume", job, JobState.RUNNING, why, now, c):
        return False
    submit.drop(SQL["unpark"], job, "tried afresh after a resume", now, c)
    return True


def reopen(job: JobId, c: SqlConnection) -> bool:
    """Have a job that is over, or whose pilot or trial is, go on. False: it is neither."""
    return sql_rows.moved(c, SQL["reopen"], {"id": job})


def _step(name: str, job: JobId, new: JobState, why: str | None, now: datetime, c: SqlConnection, **more: str) -> bool:
    """A guarded step of a job and its event."""
    old = c.execute(SQL["job_state"], {"id": job}).fetchone()
    if old is None or not sql_rows.moved(c, SQL[name], {"id": job, **more}):
        return False
    history.record(c, now, "job.moved", job=job, old=old[0], new=new, why=why)
    return True
