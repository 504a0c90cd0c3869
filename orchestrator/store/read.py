"""The reading side: what faces show, from one snapshot, at any time, whoever owns the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from orchestrator.domain.account import probe_gate
from orchestrator.domain.errors import NoSuchThing, StoreError
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.model import Attention, Gate, Job, JobRow, JobStatus, RequestCounts, StoreMeta
from orchestrator.domain.queries import ALL_JOBS, JobFilter, Totals, refuse_several
from orchestrator.domain.states import BatchState, JobState
from orchestrator.domain.waiting import SWEEP_FOR
from orchestrator.ports.streams import InputProblem
from orchestrator.store.connect import connect_onlooker, refuse_what_is_no_file, translating_errors
from orchestrator.store.deliveries import NoticeReader
from orchestrator.store.history import HistoryReader
from orchestrator.store.mark import no_store
from orchestrator.store.migrate import APPLICATION_ID, SCHEMA_VERSION, newer_schema
from orchestrator.store.read_batches import BatchReader
from orchestrator.store.read_requests import RequestReader
from orchestrator.store.rows import dict_rows, from_text, from_text_or_none, to_gate, to_job, to_text
from orchestrator.store.sql_text import load

SQL: Final = load("read")
#: Above every row id.
_NEWEST: Final = (1 << 63) - 1


class JobReader:
    """See `ports.reads.JobReads` and `StoreReads`. Reads from *connection*, whatever snapshot it is in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._c = connection

    def meta(self) -> StoreMeta:
        """Who this store is."""
        row = dict_rows(self._c.execute(SQL["meta"]))[0]
        return StoreMeta(
            lineage=row["lineage"],
            created_at=from_text(row["created_at"]),
            sandbox=bool(row["sandbox"]),
            size_jitter=row["spread"],
            duplicates_total=row["duplicates_total"],
        )

    def find(self, ref: str) -> Job:
        """The job that *ref* means: an id, a unique prefix of one, a name (the newest so called), or `@last`.

        Raises NoSuchThing with near names as the hint.
        """
        if ref == "@last":
            rows = dict_rows(self._c.execute(SQL["last"]))
            if not rows:
                raise NoSuchThing("there is no job yet", hint="orchestrator run INPUT makes one")
            return to_job(rows[0])
        rows = dict_rows(self._c.execute(SQL["by_ref"], {"ref": ref})) if ref else []
        if rows and (rows[0]["rank"] < 2 or len(rows) == 1):
            return to_job(rows[0])
        if rows:
            several = ", ".join(row["public_id"] for row in rows[:5])
            raise NoSuchThing(f"{ref!r} is the beginning of several jobs", hint=f"one of: {several}")
        raise NoSuchThing(f"no job {ref!r}", hint=self._near(ref))

    def sole(self, ref: str) -> Job:
        """The same for who changes something. Raises GuardRefused for a name that several jobs have."""
        job = self.find(ref)
        if ref not in {job.public_id, "@last"} and job.name == ref:
            refuse_several(ref, [row[0] for row in self._c.execute(SQL["ids_of_name"], {"name": ref})])
        return job

    def _near(self, ref: str) -> str:
        import difflib

        names = {name for row in self._c.execute(SQL["close_names"]) for name in row}
        near = difflib.get_close_matches(ref, sorted(names), n=3)
        return f"did you mean {', '.join(near)}?" if near else "orchestrator ls shows every job"

    def get(self, job: JobId) -> Job:
        """The job as it is in this snapshot."""
        return to_job(dict_rows(self._c.execute(SQL["fresh_job"], {"id": job}))[0])

    def jobs(self, *, limit: int, before: JobId | None = None, where: JobFilter = ALL_JOBS) -> list[JobRow]:
        """The newest *limit* jobs that *where* lets through, older than *before* if given."""
        values = {
            "limit": limit,
            "before": _NEWEST if before is None else before,
            "states": json.dumps(sorted(where.states)),
            "text": where.text,
        }
        return [to_job(row) for row in dict_rows(self._c.execute(SQL["jobs"], values))]

    def newer_jobs(self, job: JobId, *, limit: int) -> list[JobRow]:
        """The next *limit* jobs after *job*, in the order they were made."""
        return [to_job(row) for row in dict_rows(self._c.execute(SQL["newer_jobs"], {"id": job, "limit": limit}))]

    def known(self, ids: Collection[JobId]) -> dict[JobId, Job]:
        """Those of *ids* that are there: an import that was discarded left only its events."""
        rows = dict_rows(self._c.execute(SQL["known"], {"ids": json.dumps(sorted(ids))}))
        return {job.id: job for job in map(to_job, rows)}

    def unfinished(self) -> list[Job]:
        """Jobs that are not over."""
        return [to_job(row) for row in dict_rows(self._c.execute(SQL["unfinished"]))]

    def gates(self) -> list[Gate]:
        """The waits that no success has ended."""
        return [to_gate(row) for row in dict_rows(self._c.execute(SQL["gates"]))]

    def totals(self) -> Totals:
        """Sums over all jobs."""
        sums = dict_rows(self._c.execute(SQL["sums"]))[0]
        jobs: dict[str, int] = dict(self._c.execute(SQL["job_states"]).fetchall())
        return Totals(
            requests=RequestCounts(**{field.name: sums[field.name] for field in fields(RequestCounts)}),
            jobs={state: jobs.get(state, 0) for state in JobState},
            batches={state: self._number("batches_in", state=state) for state in BatchState},
            stop_reasons=dict(self._c.execute(SQL["all_stops"]).fetchall()),
            in_flight_requests=self._number("held"),
            next_expiry=from_text_or_none(self._c.execute(SQL["first_expiry"]).fetchone()[0]),
            resubmitted=sums["resubmitted"],
            duplicates_total=self.meta().duplicates_total,
            oldest_unfinished_at=from_text_or_none(sums["oldest"]),
        )

    def _number(self, query: str, **values: str) -> int:
        number: int = self._c.execute(SQL[query], values).fetchone()[0]
        return number

    def attentions(self) -> list[tuple[Job, Attention]]:
        """Everything that a person should look at, of all jobs, the oldest first."""
        rows = dict_rows(self._c.execute(SQL["attentions"]))
        jobs = {key: self.get(JobId(key)) for key in {row["job_id"] for row in rows}}
        return [(jobs[row["job_id"]], _attention(row)) for row in rows]

    def over_since(self, until: datetime) -> list[Job]:
        """Jobs that were over at *until* and have their requests and results still, the oldest first."""
        return [to_job(row) for row in dict_rows(self._c.execute(SQL["over_since"], {"until": to_text(until)}))]

    def status(self, job: Job) -> JobStatus:
        """Everything that `status` shows; constant time, however large the job."""
        found: dict[str, int] = dict(self._c.execute(SQL["batch_states"], {"id": job.id}).fetchall())
        closed = from_text_or_none(self._c.execute(SQL["sweep_until"], {"id": job.id}).fetchone()[0])
        expiry = self._c.execute(SQL["next_expiry"], {"id": job.id}).fetchone()[0]
        return JobStatus(
            job=job,
            batches={state.value: found.get(state.value, 0) for state in BatchState},
            stop_reasons=dict(self._c.execute(SQL["stops"], {"id": job.id}).fetchall()),
            attention=tuple(_attention(row) for row in dict_rows(self._c.execute(SQL["attention"], {"id": job.id}))),
            next_expiry=from_text_or_none(expiry),
            sweep_until=None if closed is None else closed + SWEEP_FOR,
            sandbox=self.meta().sandbox,
            asked_again_at=self.asked_again_at(job),
        )

    def asked_again_at(self, job: Job) -> datetime | None:
        """When the daemon of this moment asks for the account's sake, or the last one meant to; None: it does not."""
        if job.state is not JobState.PAUSED or job.reason_code is None:
            return None
        row = self._c.execute(SQL["gate_until"], {"name": probe_gate(job.reason_code)}).fetchone()
        return None if row is None else from_text_or_none(row[0])

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[InputProblem]:
        """Lines that `--skip-bad` left out, with their reasons, in file order; a page ends with a whole line."""
        values = {"id": job, "after": after, "limit": limit}
        return [
            InputProblem(line=r[0], field=r[1], message=r[2], remedy=r[3], raw=r[4])
            for r in self._c.execute(SQL["refused"], values)
        ]


class SqliteReads(JobReader, RequestReader, BatchReader, HistoryReader, NoticeReader):
    """Every reading method, inside one snapshot: see `ports.reads.Reads`."""


class StoreReader(SqliteReads):
    """A read-only connection of its own, for one command: `with StoreReader.open(path) as reads: …`."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store at *path*. Raises NoSuchThing if there is none, StoreError if it is not ours."""
        if not path.exists():
            raise no_store(path)
        refuse_what_is_no_file(path)
        connection = connect_onlooker(path)
        try:
            with translating_errors():
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
            if application != APPLICATION_ID:
                raise StoreError(f"{path} is not a store of this program", hint="choose another path with --db")
            if version > SCHEMA_VERSION:
                raise newer_schema(path, version)
            if version < SCHEMA_VERSION:
                raise StoreError(
                    f"{path} was written by an earlier version of this program (schema {version})",
                    hint="stop an engine of that version, then `orchestrator db migrate`; a copy is left beside it",
                )
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def __enter__(self) -> Self:
        """One snapshot for the whole block."""
        with translating_errors():
            self._c.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._c.close()


def _attention(row: dict[str, Any]) -> Attention:
    batch = BatchId(row["batch_id"]) if row["batch_id"] else None
    return Attention(kind=row["kind"], batch_id=batch, message=row["message"], since=from_text(row["since"]))
