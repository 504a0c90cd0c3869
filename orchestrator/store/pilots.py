"""Pilots and trials: which requests of a job go first, and when all of them have ended."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final, NamedTuple

from orchestrator.domain import account, humanize, pilot
from orchestrator.domain.ids import MAX_NUMBER, JobId, RequestId, number_of, request_id
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.pilot import PilotState
from orchestrator.domain.states import JobState
from orchestrator.store import estimates, history, job_control, sql_rows, sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("pilots")
_OVER: Final = "all of it was handed in"


class First(NamedTuple):
    """What goes first of a new job: the columns of its row."""

    pilot: PilotState | None = None
    trial: int | None = None


def draw(job: JobId, new: NewJob, seed: str, last: RequestId, c: SqlConnection) -> First:
    """Choose what *new* wants sent first, once all requests of *job* are there, up to *last*.

    seed: of a pilot's lot; the same draws the same requests. A job that is no larger needs neither pilot nor trial.
    """
    if new.first is None or not _choose(job, new, seed, last, c):
        return First()
    if new.trial is None:
        return First(pilot=PilotState(new.after_pilot))
    return First(PilotState.WAIT, _size(job, c))


def attach(job: JobRow, new: NewJob, last: RequestId, now: datetime, c: SqlConnection) -> None:
    """*new* is *job*, which is there already, handed in again: more of it is to be sent, or all.

    A trial holds nothing back that is being sent: it joins a job that waits, or sends some requests first anyway.
    """
    if job.state not in {JobState.RUNNING, JobState.PAUSED} or (new.trial is None and new.pilot is not None):
        return
    if new.trial is None:
        _let_go(job, now, c)
    elif job.trial is not None or job.pilot_goes or job.state is JobState.PAUSED:
        if _choose(job.id, new, "", last, c):
            _extend(job, now, c)
        else:
            _let_go(job, now, c)


def end_all(now: datetime, c: SqlConnection) -> list[JobRow]:
    """End every pilot whose requests have all ended; their jobs as they were. Those that are to wait are paused."""
    jobs = sql_rows.to_jobs(c.execute(SQL["ended"]))
    return [job for job in jobs if _end(job, now, c)]


def _choose(job: JobId, new: NewJob, seed: str, last: RequestId, c: SqlConnection) -> bool:
    """Note which requests *new* wants first; False: that is all of them, and none is noted."""
    total, sent = c.execute(SQL["counts"], {"id": job}).fetchone()  # twins are not sent
    size = new.first or 0
    if size >= (sent if new.limit is None else total):
        return False
    if new.limit is not None:
        c.execute(SQL["add_first"], {**_span(job), "size": size})
        return True
    highest = number_of(last)
    lot = seed if new.sample is None else str(new.seed or 0)
    drawn = pilot.draw(lot, size, highest, missing=highest - sent)
    rows = c.execute(SQL["existing"], {"job_id": job, "numbers": json.dumps(drawn)})
    existing = {number_of(key) for (key,) in rows}
    taken = [number for number in drawn if number in existing][:size]
    c.execute(SQL["add"], {"ids": json.dumps([request_id(job, number) for number in taken])})
    return True


def _extend(job: JobRow, now: datetime, c: SqlConnection) -> None:
    """Have a trial of all that was chosen so far; one that has ended goes on if there is something to send."""
    size = _size(job.id, c)
    if job.is_tried and not c.execute(SQL["is_open"], _span(job.id)).fetchone()[0]:
        c.execute(SQL["resize"], {"id": job.id, "size": size})
        return
    if job.reason_code in {account.PILOT, account.TRIAL}:
        job_control.resume_job(job.id, now, c, why=pilot.trial_words(size, job.requests.total))
    c.execute(SQL["hold"], {"id": job.id, "size": size})
    if size != job.trial:
        history.record(c, now, "trial.set", job=job.id, why=pilot.trial_words(size, job.requests.total))


def _let_go(job: JobRow, now: datetime, c: SqlConnection) -> None:
    """Have no trial hold the rest of *job* back."""
    if job.trial is None or not sql_rows.moved(c, SQL["let_go"], {"id": job.id}):
        return
    c.execute(SQL["cool"], {"id": job.id})
    history.record(c, now, "trial.left", job=job.id, why=_OVER)
    if job.is_tried:
        job_control.resume_job(job.id, now, c, why=_OVER)


def _end(job: JobRow, now: datetime, c: SqlConnection) -> bool:
    if not sql_rows.moved(c, SQL["end"], {"id": job.id, "fence": job.fence}):
        return False
    c.execute(SQL["cool"], {"id": job.id})
    code = account.PILOT if job.trial is None else account.TRIAL
    what = f"pilot of {humanize.count(_size(job.id, c), 'request')}"
    if job.trial is not None:
        what = pilot.trial_words(job.trial, job.requests.total)
    why = pilot.over_words(what, job.to_send, estimates.expected_rest(job, c))
    history.record(c, now, f"{code}.over", job=job.id, why=why)
    if job.pilot is PilotState.WAIT:
        job_control.pause_job(job.id, code, f"{why} — {account.REMEDIES[code]}", now, c)
    return True


def _size(job: JobId, c: SqlConnection) -> int:
    found: int = c.execute(SQL["size"], _span(job)).fetchone()[0]
    return found


def _span(job: JobId) -> dict[str, int]:
    return {"low": request_id(job, 0), "high": request_id(job, MAX_NUMBER)}
