"""Facet of ingest: stores a new job and its requests, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.ids import MAX_NUMBER, JobId, RequestId, number_of, request_id
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.model import JobRow
from orchestrator.domain.priming import LEAST_ROWS, CacheUse, SharedTokens
from orchestrator.domain.states import JobState
from orchestrator.ports import caller
from orchestrator.ports.job_store import Content, Duplicate, DuplicatesCursor, IngestOutcome, IngestStore
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.store import (
    custom_ids,
    estimates,
    facet,
    fingerprints,
    history,
    job_control,
    pilots,
    prefixes,
    source_rows,
    sql_rows,
    sql_text,
    twin_intake,
)
from orchestrator.store.database import Database
from orchestrator.store.identity import give_strays
from orchestrator.store.payload import Blocks, cut_blocks, encode_block
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("ingestion")
#: How many duplicates are returned, or left out, in one step, and how many bytes of each are shown.
_REPEATS_AT_ONCE: Final = 500
_SHOWN_BYTES: Final = 64 * 1024
#: Finds the job that is there already, and says what that comes to.
Look = Callable[[NewJob, Content, SqlConnection], tuple[IngestOutcome, JobRow] | None]


class SqlIngestStore(facet.Facet, IngestStore):
    """Custom ids of running imports are held in memory until they fill a run."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._unsorted: dict[JobId, list[custom_ids.Known]] = {}
        self._twins = twin_intake.TwinIntake(database)

    @override
    async def begin(self, new: NewJob, public_id: str, now: datetime) -> JobRow:
        job = await self._db.write(partial(_begin, new, public_id, now))
        if job.dedupe:
            self._twins.begin(job.id)
        return job

    @override
    async def add(self, job: JobId, lines: Sequence[InputLine], now: datetime) -> None:
        first = await self._db.write_free(partial(_insert, job, lines, now))
        unsorted = self._unsorted.setdefault(job, [])
        unsorted.extend((line.custom_id, first + place) for place, line in enumerate(lines))
        if len(unsorted) >= custom_ids.RUN:
            await self._sort(job)
        await self._twins.add(job, first, lines)

    @override
    async def repeated(
        self, job: JobId, after: DuplicatesCursor, *, leave_out: bool
    ) -> tuple[list[Duplicate], DuplicatesCursor | None]:
        await self._sort(job)
        if leave_out:
            return await self._db.write(partial(_leave_out, job, after))
        return await self._db.read_bulk(partial(_repeated, job, after))

    @override
    def twins(self, job: JobId, *, stays_open: bool) -> AsyncGenerator[Sequence[bytes], None]:
        return self._twins.find(job, stays_open=stays_open)

    @override
    @facet.transaction
    def extend(self, c: SqlConnection, job: JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        state, still_open, dedupe = c.execute(SQL["job_state"], {"id": job}).fetchone()
        if not still_open or state not in {"running", "paused"}:
            raise errors.GuardRefused(
                "the job takes no more requests", cause=f"it is {state}", hint="submit them as another job"
            )
        if duplicates := _known_already(job, lines, c):
            return duplicates
        first = _insert(job, lines, now, c)
        custom_ids.grow(job, [(line.custom_id, first + place) for place, line in enumerate(lines)], c)
        if dedupe:
            twin_intake.extend(job, first, lines, c)
        return []

    async def _sort(self, job: JobId) -> None:
        """Store the gathered ids as a run. An import that is killed before is discarded at the next start."""
        if unsorted := self._unsorted.pop(job, []):
            await self._db.write_free(partial(custom_ids.append_run, job, unsorted))

    @override
    @facet.transaction
    def close_open(self, c: SqlConnection, job: JobId, now: datetime) -> bool:
        if not sql_rows.moved(c, SQL["close_open"], {"id": job}):
            return False
        history.record(c, now, "job.closed", job=job)
        return True

    @override
    @facet.transaction
    def add_refused(self, c: SqlConnection, job: JobId, problems: Sequence[InputProblem]) -> None:
        rows = [(job, p.line, p.field, p.message, p.remedy, p.raw) for p in problems]
        c.executemany(SQL["add_refused"], rows)

    @override
    async def conclude(
        self,
        job: JobId,
        new: NewJob,
        content: Content,
        now: datetime,
        *,
        force_new: bool,
        repeats_since: datetime | None = None,
    ) -> tuple[IngestOutcome, JobRow]:
        await self._sort(job)
        there = partial(_repeated_job, since=repeats_since) if force_new else _there
        return await self._db.write(partial(_conclude, job, new, content, now, there))

    @override
    @facet.snapshot
    def known_answers(self, c: SqlConnection, kind: str | None, models: Collection[str]) -> AnswersKnown:
        return estimates.known_answers(kind, models, c)

    @override
    @facet.snapshot
    def shared(self, c: SqlConnection, job: JobId) -> list[SharedTokens]:
        return prefixes.shared_tokens(job, LEAST_ROWS, c)

    @override
    @facet.transaction
    def importing(self, c: SqlConnection) -> list[JobRow]:
        return sql_rows.to_jobs(c.execute(SQL["importing"]))

    @override
    async def discard(self, job: JobId) -> None:
        self._unsorted.pop(job, None)
        self._twins.forget(job)
        while await self._db.write_free(partial(_discard_some, job)):
            pass


async def discard_leftovers(database: Database) -> int:
    """Delete imports that were killed; returns how many. To be called at the start, before any import begins."""
    intake = SqlIngestStore(database)
    jobs = await intake.importing()
    for job in jobs:
        await intake.discard(job.id)
    return len(jobs)


def _begin(new: NewJob, public_id: str, now: datetime, c: SqlConnection) -> JobRow:
    values = {
        "public_id": public_id,
        "name": new.name,
        "source": new.source,
        "api_version": new.api_version,
        "betas": sql_rows.join_list(new.betas),
        "priority": new.priority,
        "tags": sql_rows.join_list(new.tags),
        "cache": CacheUse.PRIME.value if new.cache is None else new.cache,
        "dedupe": int(new.dedupe),
        "still_open": int(new.still_open),
        "cap": new.cap_nanos,
        "per_request": new.per_request_nanos,
        "schema": new.schema,
        "retry_invalid": new.retry_invalid,
        "submitted_by": caller.current_name(),
        "now": sql_rows.to_text(now),
    }
    return sql_rows.to_job(sql_rows.dict_rows(c.execute(SQL["begin"], values))[0])


def _one_job(query: str, values: dict[str, Any], c: SqlConnection) -> JobRow | None:
    jobs = sql_rows.to_jobs(c.execute(SQL[query], values))
    return jobs[0] if jobs else None


def _known_already(job: JobId, lines: Sequence[InputLine], c: SqlConnection) -> list[Duplicate]:
    """Those of *lines* whose custom_id the job has, or an earlier one of them."""
    known = custom_ids.find_many(job, [line.custom_id for line in lines], c)
    first_lines = _lines(known.values(), c)
    earlier = {custom_id: first_lines[request][0] for custom_id, request in known.items()}
    duplicates: list[Duplicate] = []
    for line in lines:
        first = earlier.setdefault(line.custom_id, line.line)
        if line.custom_id in known or first != line.line:
            duplicates.append(
                Duplicate(line=line.line, custom_id=line.custom_id, first_line=first, params=line.params, row=line.row)
            )
    return duplicates


def _lines(requests: Iterable[RequestId], c: SqlConnection) -> dict[RequestId, tuple[int, int]]:
    """(line, size of its params) of each."""
    rows = c.execute(SQL["lines"], {"ids": json.dumps(list(requests))})
    return {RequestId(key): (line, size_bytes) for key, line, size_bytes in rows}


def _repeated(job: JobId, after: DuplicatesCursor, c: SqlConnection) -> tuple[list[Duplicate], DuplicatesCursor | None]:
    found, go_on = custom_ids.repeats(job, after, _REPEATS_AT_ONCE, c)
    return _duplicates(found, c), go_on


def _leave_out(
    job: JobId, after: DuplicatesCursor, c: SqlConnection
) -> tuple[list[Duplicate], DuplicatesCursor | None]:
    """As `_repeated`, and deletes the requests; their params and rows stay in their blocks, unused."""
    found, go_on = custom_ids.repeats(job, after, _REPEATS_AT_ONCE, c)
    duplicates = _duplicates(found, c)
    custom_ids.forget(job, found, c)
    requests = json.dumps([one.request for one in found])
    prefixes.leave_out(requests, c)
    c.execute(SQL["leave_out"], {"ids": requests})
    return duplicates, go_on


def _duplicates(found: Sequence[custom_ids.RepeatedId], c: SqlConnection) -> list[Duplicate]:
    """*found* as it is shown, in the order of the requests."""
    duplicates: list[Duplicate] = []
    lines = _lines({one.request for one in found} | {one.first for one in found}, c)
    blocks = Blocks(c)
    ordered = sorted(found, key=attrgetter("request"))
    for one, row in zip(ordered, source_rows.of_requests([one.request for one in ordered], c), strict=True):
        line, size_bytes = lines[one.request]
        params = blocks.of(one.request).params(one.request, size_bytes)[:_SHOWN_BYTES]
        first, _ = lines[one.first]
        kept = row[:_SHOWN_BYTES]
        duplicates.append(Duplicate(line=line, custom_id=one.custom_id, first_line=first, params=params, row=kept))
    return duplicates


def _insert(job: JobId, lines: Sequence[InputLine], now: datetime, c: SqlConnection) -> RequestId:
    """Store *lines* as the job's next requests, one after the other; the first of them."""
    # First of all: from here on nobody else gives the job numbers, or discards it.
    values = {"id": job, "count": len(lines), "now": sql_rows.to_text(now)}
    added = c.execute(SQL["count_added"], values).fetchone()
    if added is None:
        raise errors.GuardRefused(
            "the job takes no more requests", cause="it is over", hint="submit them as another job"
        )
    number = number_of(_last(job, c)) + 1
    if number + len(lines) - 1 > MAX_NUMBER:
        raise OverflowError("a job holds at most 4,294,967,295 requests")
    first = request_id(job, number)
    rows = [(first + i, line.custom_id, line.line, len(line.params)) for i, line in enumerate(lines)]
    c.insert_rows(SQL["add_request"], rows)
    at = int(first)
    for block in cut_blocks([line.params for line in lines]):
        c.execute(SQL["add_payload"], {"first_id": at, "count": len(block), "data": encode_block(block)})
        at += len(block)
    source_rows.add(job, first, lines, c)
    prefixes.note(job, first, lines, CacheUse(added[0]), c)
    return first


def _last(job: JobId, c: SqlConnection) -> RequestId:
    """The last request of *job*; its number is 0 if there is none."""
    row = c.execute(SQL["last"], {"low": request_id(job, 0), "high": request_id(job, MAX_NUMBER)}).fetchone()
    return request_id(job, 0) if row is None else RequestId(row[0])


def _conclude(
    job: JobId, new: NewJob, content: Content, now: datetime, look: Look, c: SqlConnection
) -> tuple[IngestOutcome, JobRow]:
    keyed = None if new.key is None else _keyed(new, content, c)
    # What is still to come is not in the content of an open job.
    there = None if new.still_open or keyed is not None else look(new, content, c)
    found = there if keyed is None else (IngestOutcome.SAME, keyed)
    if found is not None:
        if found[0] is IngestOutcome.SAME:
            if caller.may_steer(found[1].submitted_by):
                _call(found[1], new, now, c)
                pilots.attach(found[1], new, _last(found[1].id, c), now, c)
            as_it_is = job_control.job_row(found[1].id, c)
            return IngestOutcome.SAME, replace(as_it_is, name=found[1].name)  # which says if it was renamed
        return found
    values = {
        "content_hash": None if new.still_open else content.hash,
        "size_bytes": content.size_bytes,
        "key": new.key,
        "key_content": None if new.key is None else content.hash,
        "api_version": new.api_version,
        "version_reason": new.version_reason,
    }
    if content.estimate is not None:
        estimates.keep(job, content.estimate, c)
    first = pilots.draw(job, new, content.hash, _last(job, c), c)
    return IngestOutcome.MADE, _finish(job, {**values, **first._asdict()}, now, c)


def _call(job: JobRow, new: NewJob, now: datetime, c: SqlConnection) -> None:
    """Give *job*, which is there already, the name that was chosen for it. Raises GuardRefused if it is another's."""
    if not new.is_named or job.name == new.name:
        return
    other = _one_job("newer_so_named", {"name": new.name, "id": job.id}, c)
    if other is not None:
        raise errors.GuardRefused(
            f"the name {new.name!r} means another job, {other.public_id}",
            cause=f"the same content is job {job.public_id} already, called {job.name!r}; nothing was changed",
            hint=f"ask for {job.public_id}, or give another name",
        )
    c.execute(SQL["rename"], {"id": job.id, "name": new.name})
    history.record(c, now, "job.renamed", job=job.id, old=job.name, new=new.name)


def _keyed(new: NewJob, content: Content, c: SqlConnection) -> JobRow | None:
    """The job that the key of *new* stands for; None if it stands for none yet."""
    rows = sql_rows.dict_rows(c.execute(SQL["job_with_key"], {"key": new.key}))
    if not rows:
        return None
    job = sql_rows.to_job(rows[0])
    grows = job.content_hash in {None, ""}  # it was opened to grow
    same = rows[0]["key_content"] == content.hash and grows == new.still_open
    if same and (job.api_version, sql_rows.join_list(job.betas)) == (new.api_version, sql_rows.join_list(new.betas)):
        return job
    raise errors.KeyReused(
        f"the key {new.key!r} stands for job {job.public_id}",
        cause="its content (of a table: its template too), API version or betas differ; nothing was stored or sent",
        hint="use another key for another input",
    )


def _there(new: NewJob, content: Content, c: SqlConnection) -> tuple[IngestOutcome, JobRow] | None:
    """The job that is there already, by its content or its file. One without a key gets that of *new*."""
    headers = {"api_version": new.api_version, "betas": sql_rows.join_list(new.betas)}
    same = _one_job("job_with_content", {"content_hash": content.hash, **headers}, c)
    if same is not None:
        if new.key is not None:
            c.execute(SQL["give_key"], {"id": same.id, "key": new.key, "key_content": content.hash})
        return IngestOutcome.SAME, same
    old = _one_job("job_from_source", {"source": new.source, "name": new.name}, c) if new.is_from_file else None
    return None if old is None else (IngestOutcome.CHANGED, old)


def _repeated_job(
    new: NewJob, content: Content, c: SqlConnection, *, since: datetime | None
) -> tuple[IngestOutcome, JobRow] | None:
    """The job that the same request has made before, if that may be: its sender had no answer and sent it again."""
    if since is None:
        return None
    sent = {"api_version": new.api_version, "betas": sql_rows.join_list(new.betas), "source": new.source}
    sent["submitted_by"] = caller.current_name() or ""
    made = _one_job("job_repeated", {"content_hash": content.hash, **sent, "since": sql_rows.to_text(since)}, c)
    return None if made is None else (IngestOutcome.SAME, made)


def _finish(job: JobId, values: dict[str, Any], now: datetime, c: SqlConnection) -> JobRow:
    row = sql_rows.to_job(sql_rows.dict_rows(c.execute(SQL["finish"], {"id": job, **values}))[0])
    give_strays(row, c)
    # Not at its beginning: of an import that is discarded, since its content is a job already, nothing was made.
    history.record(c, now, "job.created", job=job, new="importing", why=row.source)
    history.record(c, now, "job.moved", job=job, old="importing", new=row.state, why=f"{row.requests.total} requests")
    return row


def _discard_some(job: JobId, c: SqlConnection) -> bool:
    """Delete a slice of an import; True while there may be more."""
    found = c.execute(SQL["discardable"], {"id": job}).fetchone()
    if found is None or found[0] != JobState.IMPORTING:  # its last write outlived the cancellation of who asked for it
        return False
    c.execute(SQL["discard_twins"], {"id": job})
    if custom_ids.forget_run(job, c) or fingerprints.forget_run(job, c):
        return True
    span = {"low": request_id(job, 0), "high": request_id(job, MAX_NUMBER)}
    if prefixes.discard_some(job, span, c):
        return True
    if c.execute(SQL["discard_requests"], span).rowcount > 0:
        return True
    c.execute(SQL["discard_payload"], span)
    c.execute(source_rows.SQL["discard_rows"], span)
    c.execute(SQL["discard_refused"], {"id": job})
    c.execute(SQL["discard_job"], {"id": job})
    return False
