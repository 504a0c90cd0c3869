"""Reads of jobs, of batches and of the store as a whole; and all reads together, from one snapshot."""

from __future__ import annotations

import heapq
import hmac
import json
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import date, datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import account, errors, model, queries, waiting
from orchestrator.domain.ids import MAX_INTEGER, BatchId, JobId, RemoteId
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.reads import BatchReads, JobReads, Reads, StoreReads
from orchestrator.ports.streams import InputProblem
from orchestrator.store import facet, history, sql_rows, sql_text
from orchestrator.store.deliveries import NoticeReader
from orchestrator.store.read_costs import CostReader, cost_of_job
from orchestrator.store.read_requests import RequestReader
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("read")
BATCH_SQL: Final = sql_text.load("batches")


class BatchReader(facet.SnapshotReads, BatchReads):
    """Batches, and the remote ones that may be ours."""

    @override
    def batches(self, job: JobId) -> list[model.Batch]:
        return [
            sql_rows.to_batch(row) for row in sql_rows.dict_rows(self._c.execute(BATCH_SQL["batches"], {"id": job}))
        ]

    @override
    def batches_page(
        self,
        *,
        limit: int,
        before: BatchId | None = None,
        states: frozenset[BatchState] = frozenset(),
        job: JobId | None = None,
    ) -> list[model.BatchRow]:
        values = {"before": MAX_INTEGER if before is None else before, "job": job, "limit": limit}
        return [sql_rows.to_batch(row) for row in _newest(values, states, self._c)]

    @override
    def batch(self, ref: str) -> model.Batch:
        rows = sql_rows.dict_rows(self._c.execute(BATCH_SQL["batch_by_remote"], {"remote_id": ref}))
        if not rows and ref.isascii() and ref.isdigit() and len(ref) < len(str(MAX_INTEGER)):
            rows = sql_rows.dict_rows(self._c.execute(BATCH_SQL["batch"], {"id": int(ref)}))
        if not rows:
            raise errors.NoSuchThing(f"no batch {ref!r}", hint="orchestrator batches ls shows every batch")
        return sql_rows.to_batch(rows[0])

    @override
    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, model.Batch]:
        rows = sql_rows.dict_rows(
            self._c.execute(BATCH_SQL["batches_by_remote"], {"remote_ids": json.dumps(list(remote_ids))})
        )
        return {RemoteId(row["remote_id"]): sql_rows.to_batch(row) for row in rows}

    @override
    def candidates(self, batch: BatchId) -> list[model.Candidate]:
        return [
            sql_rows.to_remote(row)
            for row in sql_rows.dict_rows(self._c.execute(BATCH_SQL["candidates"], {"id": batch}))
        ]

    @override
    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        return [
            (sql_rows.from_text(a), sql_rows.from_text(b))
            for a, b in self._c.execute(BATCH_SQL["ended_spans"], {"id": job})
        ]


def _newest(values: dict[str, Any], states: frozenset[BatchState], c: SqlConnection) -> list[dict[str, Any]]:
    """Rows, newest first. Each state is one range of an index: of each as many as are wanted at most, merged."""
    if values["job"] is None and not states:
        return sql_rows.dict_rows(c.execute(BATCH_SQL["newest"], values))
    query = BATCH_SQL["newest_in"] if values["job"] is None else BATCH_SQL["newest_of_in"]
    found = [sql_rows.dict_rows(c.execute(query, {**values, "state": state})) for state in states or BatchState]
    return list(islice(heapq.merge(*found, key=itemgetter("id"), reverse=True), values["limit"]))


class JobReader(facet.SnapshotReads, StoreReads, JobReads):
    """Jobs, and the store as a whole."""

    @override
    def meta(self) -> model.StoreMeta:
        row = sql_rows.dict_rows(self._c.execute(SQL["meta"]))[0]
        return model.StoreMeta(
            lineage=row["lineage"],
            created_at=sql_rows.from_text(row["created_at"]),
            sandbox=bool(row["sandbox"]),
            size_jitter=row["spread"],
            duplicates_total=row["duplicates_total"],
        )

    @override
    def page_key(self) -> bytes:
        from orchestrator.store.identity import secret_of  # brings what a command that reads does without

        return hmac.digest(secret_of(self._c).encode(), b"pages", "sha256")

    @override
    def find(self, ref: str) -> model.JobSnapshot:
        if ref == "@last":
            rows = sql_rows.dict_rows(self._c.execute(SQL["last"]))
            if not rows:
                raise errors.NoSuchThing("there is no job yet", hint="orchestrator run INPUT makes one")
            return sql_rows.to_job(rows[0])
        rows = sql_rows.dict_rows(self._c.execute(SQL["by_ref"], {"ref": ref})) if ref else []
        if rows and (rows[0]["rank"] < 2 or len(rows) == 1):
            return sql_rows.to_job(rows[0])
        if rows:
            several = ", ".join(row["public_id"] for row in rows[:5])
            raise errors.NoSuchThing(f"{ref!r} is the beginning of several jobs", hint=f"one of: {several}")
        raise errors.NoSuchThing(f"no job {ref!r}", hint=self._near(ref))

    @override
    def sole(self, ref: str) -> model.JobSnapshot:
        job = self.find(ref)
        if ref not in {job.public_id, "@last"} and job.name == ref:
            queries.refuse_several(ref, [row[0] for row in self._c.execute(SQL["ids_of_name"], {"name": ref})])
        return job

    def _near(self, ref: str) -> str:
        import difflib

        names = {name for row in self._c.execute(SQL["close_names"]) for name in row}
        near = difflib.get_close_matches(ref, sorted(names), n=3)
        return f"did you mean {', '.join(near)}?" if near else queries.LISTED_JOBS

    @override
    def get(self, job: JobId) -> model.JobSnapshot:
        return sql_rows.to_job(sql_rows.dict_rows(self._c.execute(SQL["fresh_job"], {"id": job}))[0])

    @override
    def jobs(
        self, *, limit: int, before: JobId | None = None, where: queries.JobFilter = queries.ALL_JOBS
    ) -> list[model.JobRow]:
        values = {"before": MAX_INTEGER if before is None else before, "limit": limit, **_wanted(where)}
        return [sql_rows.to_job(row) for row in sql_rows.dict_rows(self._c.execute(SQL["jobs"], values))]

    @override
    def newer_jobs(self, job: JobId, *, limit: int, where: queries.JobFilter = queries.ALL_JOBS) -> list[model.JobRow]:
        values = {"id": job, "limit": limit, **_wanted(where)}
        return [sql_rows.to_job(row) for row in sql_rows.dict_rows(self._c.execute(SQL["newer_jobs"], values))]

    @override
    def known(self, ids: Collection[JobId]) -> dict[JobId, model.JobSnapshot]:
        rows = sql_rows.dict_rows(self._c.execute(SQL["known"], {"ids": json.dumps(sorted(ids))}))
        return {job.id: job for job in map(sql_rows.to_job, rows)}

    @override
    def unfinished(self) -> list[model.JobSnapshot]:
        return [sql_rows.to_job(row) for row in sql_rows.dict_rows(self._c.execute(SQL["unfinished"]))]

    @override
    def gates(self) -> list[model.Gate]:
        return [sql_rows.to_gate(row) for row in sql_rows.dict_rows(self._c.execute(SQL["gates"]))]

    @override
    def totals(self) -> queries.Totals:
        sums = sql_rows.dict_rows(self._c.execute(SQL["sums"]))[0]
        jobs: dict[str, int] = dict(self._c.execute(SQL["job_states"]).fetchall())
        return queries.Totals(
            requests=model.RequestCounts(**{field.name: sums[field.name] for field in fields(model.RequestCounts)}),
            jobs={state: jobs.get(state, 0) for state in JobState},
            batches={state: self._number("batches_in", state=state) for state in BatchState},
            stop_reasons=dict(self._c.execute(SQL["all_stops"]).fetchall()),
            in_flight_requests=self._number("held"),
            next_expiry=sql_rows.from_text_or_none(self._c.execute(SQL["first_expiry"]).fetchone()[0]),
            resubmitted=sums["resubmitted"],
            duplicates_total=self.meta().duplicates_total,
            oldest_unfinished_at=sql_rows.from_text_or_none(sums["oldest"]),
            invalid_answers=self._number("all_invalid"),
        )

    def _number(self, query: str, **values: str | int) -> int:
        number: int = self._c.execute(SQL[query], values).fetchone()[0]
        return number

    @override
    def attentions(self) -> list[tuple[model.JobSnapshot, model.Attention]]:
        rows = sql_rows.dict_rows(self._c.execute(SQL["attentions"]))
        jobs = {key: self.get(JobId(key)) for key in {row["job_id"] for row in rows}}
        return [(jobs[row["job_id"]], _attention(row)) for row in rows]

    @override
    def over_since(self, until: datetime) -> list[model.JobSnapshot]:
        return [
            sql_rows.to_job(row)
            for row in sql_rows.dict_rows(self._c.execute(SQL["over_since"], {"until": sql_rows.to_text(until)}))
        ]

    @override
    def status(self, job: model.JobSnapshot) -> model.JobStatus:
        found: dict[str, int] = dict(self._c.execute(SQL["batch_states"], {"id": job.id}).fetchall())
        closed = sql_rows.from_text_or_none(self._c.execute(SQL["sweep_until"], {"id": job.id}).fetchone()[0])
        expiry = self._c.execute(SQL["next_expiry"], {"id": job.id}).fetchone()[0]
        return model.JobStatus(
            job=job,
            batches={state.value: found.get(state.value, 0) for state in BatchState},
            stop_reasons=dict(self._c.execute(SQL["stops"], {"id": job.id}).fetchall()),
            attention=tuple(map(_attention, sql_rows.dict_rows(self._c.execute(SQL["attention"], {"id": job.id})))),
            next_expiry=sql_rows.from_text_or_none(expiry),
            sweep_until=None if closed is None else closed + waiting.SWEEP_FOR,
            sandbox=self.meta().sandbox,
            asked_again_at=self.asked_again_at(job),
            cost=cost_of_job(job, self._c).total,
            invalid_answers=self._number("invalid", id=job.id) if job.schema and job.requests.failed else 0,
        )

    @override
    def asked_again_at(self, job: model.JobSnapshot) -> datetime | None:
        if job.state is not JobState.PAUSED or job.reason_code is None:
            return None
        row = self._c.execute(SQL["gate_until"], {"name": account.probe_gate(job.reason_code)}).fetchone()
        return None if row is None else sql_rows.from_text_or_none(row[0])

    @override
    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        values = {"id": job, "after": after, "limit": limit}
        return [
            InputProblem(line=r[0], field=r[1], message=r[2], remedy=r[3], raw=r[4])
            for r in self._c.execute(SQL["refused"], values)
        ]


class SqlReads(JobReader, CostReader, RequestReader, BatchReader, history.HistoryReader, NoticeReader, Reads):
    """All reads, inside one snapshot."""


def _attention(row: dict[str, Any]) -> model.Attention:
    batch = BatchId(row["batch_id"]) if row["batch_id"] else None
    return model.Attention(
        kind=row["kind"], batch_id=batch, message=row["message"], since=sql_rows.from_text(row["since"])
    )


def _wanted(where: queries.JobFilter) -> dict[str, Any]:
    return {
        "any_state": int(not where.states),
        "states": json.dumps(sorted(where.states)),
        "tags": json.dumps(sorted(where.tags)),
        "text": where.text,
        "submitted_by": where.submitted_by,
        "since": "" if where.since is None else where.since.isoformat(),
        "before_day": _day_after(where.until),
    }


def _day_after(day: date | None) -> str:
    """What the times of *day* and before are smaller than, as text; None: those of every day."""
    return "9999" if day is None or day == date.max else (day + timedelta(days=1)).isoformat()
