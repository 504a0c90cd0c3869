"""The reading side: what faces show, from one snapshot, at any time, whoever owns the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from orchestrator.domain.errors import NoSuchThing, StoreError
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RemoteId, number_of, request_id
from orchestrator.domain.model import (
    Attention,
    Batch,
    ErrorGroup,
    Event,
    Job,
    JobStatus,
    RequestView,
    ResultRow,
    StoreMeta,
    Trip,
)
from orchestrator.domain.states import BatchState, RequestState
from orchestrator.domain.waiting import SWEEP_FOR
from orchestrator.ports.source import Problem
from orchestrator.store.known_ids import find
from orchestrator.store.migrate import APPLICATION_ID, SCHEMA_VERSION, newer_schema
from orchestrator.store.opening import connect_reader, speaking_our_errors
from orchestrator.store.queries import load
from orchestrator.store.rows import named, to_batch, to_event, to_job
from orchestrator.store.times import from_text, from_text_or_none

SQL: Final = load("read")
#: Looked up, not called: an enum's constructor is what takes longest in reading a result.
_STATES: Final = {state.value: state for state in RequestState}


class JobReader:
    """See `ports.reads.JobReads`. Reads from *connection*, whatever snapshot it is in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._c = connection

    def meta(self) -> StoreMeta:
        """Who this store is."""
        row = named(self._c.execute(SQL["meta"]))[0]
        return StoreMeta(
            lineage=row["lineage"],
            created_at=from_text(row["created_at"]),
            sandbox=bool(row["sandbox"]),
            spread=row["spread"],
            duplicates_total=row["duplicates_total"],
        )

    def find(self, ref: str) -> Job:
        """The job that *ref* means: an id, a unique prefix of one, a name (the newest so called), or `@last`.

        Raises NoSuchThing with near names as the hint.
        """
        if ref == "@last":
            rows = named(self._c.execute(SQL["last"]))
            if not rows:
                raise NoSuchThing("there is no job yet", hint="orchestrator run INPUT makes one")
            return to_job(rows[0])
        rows = named(self._c.execute(SQL["by_ref"], {"ref": ref})) if ref else []
        if rows and (rows[0]["rank"] < 2 or len(rows) == 1):
            return to_job(rows[0])
        if rows:
            several = ", ".join(row["public_id"] for row in rows[:5])
            raise NoSuchThing(f"{ref!r} is the beginning of several jobs", hint=f"one of: {several}")
        raise NoSuchThing(f"no job {ref!r}", hint=self._near(ref))

    def _near(self, ref: str) -> str:
        import difflib

        names = {name for row in self._c.execute(SQL["close_names"]) for name in row}
        near = difflib.get_close_matches(ref, sorted(names), n=3)
        return f"did you mean {', '.join(near)}?" if near else "orchestrator ls shows every job"

    def get(self, job: JobId) -> Job:
        """The job as it is in this snapshot."""
        return to_job(named(self._c.execute(SQL["fresh_job"], {"id": job}))[0])

    def jobs(self, *, limit: int, before: JobId | None = None) -> list[Job]:
        """The newest *limit* jobs, older than *before* if given."""
        return [to_job(row) for row in named(self._c.execute(SQL["jobs"], {"limit": limit, "before": before}))]

    def unfinished(self) -> list[Job]:
        """Jobs that are not over."""
        return [to_job(row) for row in named(self._c.execute(SQL["unfinished"]))]

    def status(self, job: Job) -> JobStatus:
        """Everything that `status` shows; constant time, however large the job."""
        found: dict[str, int] = dict(self._c.execute(SQL["batch_states"], {"id": job.id}).fetchall())
        closed = from_text_or_none(self._c.execute(SQL["sweep_until"], {"id": job.id}).fetchone()[0])
        expiry = self._c.execute(SQL["next_expiry"], {"id": job.id}).fetchone()[0]
        return JobStatus(
            job=job,
            batches={state.value: found.get(state.value, 0) for state in BatchState},
            attention=tuple(_attention(row) for row in named(self._c.execute(SQL["attention"], {"id": job.id}))),
            next_expiry=from_text_or_none(expiry),
            sweep_until=None if closed is None else closed + SWEEP_FOR,
            sandbox=self.meta().sandbox,
        )


class DetailReader:
    """See `ports.reads.DetailReads`. Reads from *connection*, whatever snapshot it is in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._c = connection

    def errors(self, job: JobId, *, groups: int = 50, examples: int = 3) -> list[ErrorGroup]:
        """Failed requests grouped by cause, the largest group first."""
        rows = named(self._c.execute(SQL["errors"], {"id": job, "limit": groups}))
        return [self._group(job, row, examples) for row in rows]

    def _group(self, job: JobId, row: dict[str, Any], examples: int) -> ErrorGroup:
        cause = {"error_type": row["error_type"], "error_message": row["error_message"]}
        found = self._c.execute(SQL["error_examples"], {"id": job, "limit": examples, **cause}).fetchall()
        message = row["error_message"] if row["error_message"] is not None else ""
        return ErrorGroup(
            error_type=row["error_type"],
            error_message=message,
            count=row["count"],
            examples=tuple((custom_id, line) for custom_id, line in found),
        )

    def results(self, job: JobId, *, above: int, limit: int) -> list[ResultRow]:
        """The next settled requests after the number *above*, in input order."""
        values = {"above": request_id(job, above), "high": request_id(job, MAX_NUMBER), "limit": limit}
        rows = self._c.execute(SQL["results"], values)
        return [ResultRow(number_of(key), custom_id, _STATES[state], body) for key, custom_id, state, body in rows]

    def batches(self, job: JobId) -> list[Batch]:
        """Every batch of the job, in the order they were planned."""
        return [to_batch(row) for row in named(self._c.execute(SQL["batches"], {"id": job}))]

    def batch(self, ref: str) -> Batch:
        """A batch by its remote id or its own number. Raises NoSuchThing."""
        rows = named(self._c.execute(SQL["batch_by_remote"], {"remote_id": ref}))
        if not rows and ref.isascii() and ref.isdigit():
            rows = named(self._c.execute(SQL["batch"], {"id": int(ref)}))
        if not rows:
            raise NoSuchThing(f"no batch {ref!r}", hint="orchestrator batches ls shows every batch")
        return to_batch(rows[0])

    def batches_by_remote(self, remote_ids: Sequence[str]) -> dict[RemoteId, Batch]:
        """Our batches among these remote ids."""
        rows = named(self._c.execute(SQL["batches_by_remote"], {"remote_ids": json.dumps(list(remote_ids))}))
        return {RemoteId(row["remote_id"]): to_batch(row) for row in rows}

    def events(self, job: JobId | None, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The job's history and its batches', oldest first; None: of every job."""
        query = SQL["all_events"] if job is None else SQL["events"]
        rows = named(self._c.execute(query, {"id": job, "after": after, "limit": limit}))
        return [to_event(row) for row in rows]

    def request(self, job: JobId, custom_id: str) -> RequestView:
        """One request with every trip that did not succeed. Raises NoSuchThing."""
        key = find(job, custom_id, self._c)
        rows = [] if key is None else named(self._c.execute(SQL["request"], {"id": key}))
        if not rows:
            raise NoSuchThing(
                f"no request {custom_id!r} in this job", hint="the custom_id is the one of your input file"
            )
        trips = named(self._c.execute(SQL["trips"], {"request_id": rows[0]["id"]}))
        return _request(rows[0], tuple(_trip(row) for row in trips))

    def refused(self, job: JobId, *, after: int = 0, limit: int = 1000) -> list[Problem]:
        """Lines that `--skip-bad` left out, with their reasons, in file order; a page ends with a whole line."""
        values = {"id": job, "after": after, "limit": limit}
        return [
            Problem(line=r[0], field=r[1], message=r[2], remedy=r[3], raw=r[4])
            for r in self._c.execute(SQL["refused"], values)
        ]

    def spans(self, job: JobId) -> list[tuple[datetime, datetime]]:
        """(created, ended) of the job's last ended batches, by the API's clock."""
        return [(from_text(a), from_text(b)) for a, b in self._c.execute(SQL["ended_spans"], {"id": job})]


class StoreReader(JobReader, DetailReader):
    """A read-only connection of its own, for one command: `with StoreReader.open(path) as reads: …`."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store at *path*. Raises NoSuchThing if there is none, StoreError if it is not ours."""
        if not path.exists():
            raise NoSuchThing(
                f"there is no store at {path}", hint="orchestrator run INPUT makes one; --db names another"
            )
        connection = connect_reader(path)
        try:
            with speaking_our_errors():
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
        with speaking_our_errors():
            self._c.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._c.close()


def _attention(row: dict[str, Any]) -> Attention:
    batch = BatchId(row["batch_id"]) if row["batch_id"] else None
    return Attention(kind=row["kind"], batch_id=batch, message=row["message"], since=from_text(row["since"]))


def _trip(row: dict[str, Any]) -> Trip:
    return Trip(
        batch_id=BatchId(row["batch_id"]),
        kind=row["kind"],
        error_type=row["error_type"],
        error_message=row["error_message"],
        api_request_id=row["api_request_id"],
        at=from_text(row["at"]),
    )


def _request(row: dict[str, Any], trips: tuple[Trip, ...]) -> RequestView:
    plain = ("custom_id", "line", "attempts", "error_type", "error_message", "api_request_id")
    return RequestView(
        state=RequestState(row["state"]),
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        batch_id=None if row["batch_id"] is None else BatchId(row["batch_id"]),
        result=row["body"],
        trips=trips,
        **{name: row[name] for name in plain},
    )
