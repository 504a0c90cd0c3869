"""Facet of ingest: stores a new job and its requests, whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, Final

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.ids import MAX_NUMBER, JobId, RequestId, number_of, request_id
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.states import JobState
from orchestrator.ports.job_store import Content, Duplicate, DuplicatesCursor, IngestOutcome, IngestStore
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.store import custom_ids, facet, history, sql_rows, sql_text, submit
from orchestrator.store.connection import Database
from orchestrator.store.identity import give_strays
from orchestrator.store.payload import Block, cut_blocks, encode_block

SQL: Final = sql_text.load("ingestion")
#: How many duplicates are returned, or left out, in one step, and how many bytes of each are shown.
_REPEATS_AT_ONCE: Final = 500
_SHOWN_BYTES: Final = 64 * 1024


class SqliteIngestStore(facet.Facet, IngestStore):
    """Custom ids of running imports are held in memory until they fill a run."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._unsorted: dict[JobId, list[custom_ids.Known]] = {}

    @override
    @facet.transaction
    def begin(self, c: sqlite3.Connection, new: NewJob, public_id: str, now: datetime) -> JobRow:
        values = {
            "public_id": public_id,
            "name": new.name,
            "source": new.source,
            "api_version": new.api_version,
            "betas": sql_rows.join_list(new.betas),
            "priority": new.priority,
            "tags": sql_rows.join_list(new.tags),
            "still_open": int(new.still_open),
            "now": sql_rows.to_text(now),
        }
        job = sql_rows.to_job(sql_rows.dict_rows(c.execute(SQL["begin"], values))[0])
        history.record(c, now, "job.created", job=job.id, new=job.state, why=new.source)
        return job

    @override
    async def add(self, job: JobId, lines: Sequence[InputLine], now: datetime) -> None:
        first = await self._db.write(partial(_insert, job, lines, now))
        unsorted = self._unsorted.setdefault(job, [])
        unsorted.extend((line.custom_id, first + place) for place, line in enumerate(lines))
        if len(unsorted) >= custom_ids.RUN:
            await self._sort(job)

    @override
    async def repeated(
        self, job: JobId, after: DuplicatesCursor, *, leave_out: bool
    ) -> tuple[list[Duplicate], DuplicatesCursor | None]:
        await self._sort(job)
        if leave_out:
            return await self._db.write(partial(_leave_out, job, after))
        return await self._db.read_bulk(partial(_repeated, job, after))

    @override
    @facet.transaction
    def extend(self, c: sqlite3.Connection, job: JobId, lines: Sequence[InputLine], now: datetime) -> list[Duplicate]:
        state, still_open = c.execute(SQL["job_state"], {"id": job}).fetchone()
        if not still_open or state not in {"running", "paused"}:
            raise errors.GuardRefused(
                "the job takes no more requests", cause=f"it is {state}", hint="submit them as another job"
            )
        if duplicates := _known_already(job, lines, c):
            return duplicates
        first = _insert(job, lines, now, c)
        custom_ids.grow(job, [(line.custom_id, first + place) for place, line in enumerate(lines)], c)
        return []

    async def _sort(self, job: JobId) -> None:
        """Store the gathered ids as a run. An import that is killed before is discarded at the next start."""
        if unsorted := self._unsorted.pop(job, []):
            await self._db.write(partial(custom_ids.append_run, job, unsorted))

    @override
    @facet.transaction
    def close_open(self, c: sqlite3.Connection, job: JobId, now: datetime) -> bool:
        if not sql_rows.moved(c, SQL["close_open"], {"id": job}):
            return False
        history.record(c, now, "job.closed", job=job)
        return True

    @override
    @facet.transaction
    def add_refused(self, c: sqlite3.Connection, job: JobId, problems: Sequence[InputProblem]) -> None:
        rows = [(job, p.line, p.field, p.message, p.remedy, p.raw) for p in problems]
        c.executemany(SQL["add_refused"], rows)

    @override
    async def conclude(
        self, job: JobId, new: NewJob, content: Content, now: datetime, *, force_new: bool
    ) -> tuple[IngestOutcome, JobRow]:
        await self._sort(job)
        return await self._db.write(partial(_conclude, job, new, content, now, force_new=force_new))

    @override
    @facet.transaction
    def importing(self, c: sqlite3.Connection) -> list[JobRow]:
        return sql_rows.to_jobs(c.execute(SQL["importing"]))

    @override
    async def discard(self, job: JobId) -> None:
        self._unsorted.pop(job, None)
        while await self._db.write(partial(_discard_some, job)):
            pass


async def discard_leftovers(database: Database) -> int:
    """Delete imports that were killed; returns how many. To be called at the start, before any import begins."""
    intake = SqliteIngestStore(database)
    jobs = await intake.importing()
    for job in jobs:
        await intake.discard(job.id)
    return len(jobs)


def _one_job(query: str, values: dict[str, Any], c: sqlite3.Connection) -> JobRow | None:
    jobs = sql_rows.to_jobs(c.execute(SQL[query], values))
    return jobs[0] if jobs else None


def _known_already(job: JobId, lines: Sequence[InputLine], c: sqlite3.Connection) -> list[Duplicate]:
    """Those of *lines* whose custom_id the job has, or an earlier one of them."""
    earlier: dict[str, int] = {}
    duplicates: list[Duplicate] = []
    known = custom_ids.finder(job, c)
    for line in lines:
        request = known(line.custom_id)
        first = earlier.setdefault(line.custom_id, line.line) if request is None else _line(request, c)
        if request is not None or first != line.line:
            duplicates.append(Duplicate(line=line.line, custom_id=line.custom_id, first_line=first, params=line.params))
    return duplicates


def _line(request: RequestId, c: sqlite3.Connection) -> int:
    line: int = c.execute(SQL["line"], (request,)).fetchone()[0]
    return line


def _repeated(
    job: JobId, after: DuplicatesCursor, c: sqlite3.Connection
) -> tuple[list[Duplicate], DuplicatesCursor | None]:
    found, go_on = custom_ids.repeats(job, after, _REPEATS_AT_ONCE, c)
    return _duplicates(found, c), go_on


def _leave_out(
    job: JobId, after: DuplicatesCursor, c: sqlite3.Connection
) -> tuple[list[Duplicate], DuplicatesCursor | None]:
    """As `_repeated`, and deletes the requests; their params stay in their block, unused."""
    found, go_on = custom_ids.repeats(job, after, _REPEATS_AT_ONCE, c)
    duplicates = _duplicates(found, c)
    custom_ids.forget(job, found, c)
    c.executemany(SQL["leave_out"], [(one.request,) for one in found])
    return duplicates, go_on


def _duplicates(found: Iterable[custom_ids.RepeatedId], c: sqlite3.Connection) -> list[Duplicate]:
    """*found* as it is shown, in the order of the requests: a block that holds several is opened once."""
    duplicates: list[Duplicate] = []
    block: Block | None = None
    for one in sorted(found, key=attrgetter("request")):
        if block is None or not block.holds(one.request):
            block = Block.of(one.request, c.execute(submit.SQL["block_of"], {"id": one.request}).fetchone())
        line, size_bytes = c.execute(SQL["line"], (one.request,)).fetchone()
        params = block.params(one.request, size_bytes)[:_SHOWN_BYTES]
        first = _line(one.first, c)
        duplicates.append(Duplicate(line=line, custom_id=one.custom_id, first_line=first, params=params))
    return duplicates


def _insert(job: JobId, lines: Sequence[InputLine], now: datetime, c: sqlite3.Connection) -> RequestId:
    """Store *lines* as the job's next requests, one after the other; the first of them."""
    span = {"low": request_id(job, 0), "high": request_id(job, MAX_NUMBER)}
    last = c.execute(SQL["last"], span).fetchone()
    number = 1 if last is None else number_of(RequestId(last[0])) + 1
    if number + len(lines) - 1 > MAX_NUMBER:
        raise OverflowError("a job holds at most 4,294,967,295 requests")
    if not sql_rows.moved(c, SQL["count_added"], {"id": job, "count": len(lines), "now": sql_rows.to_text(now)}):
        raise errors.GuardRefused(
            "the job takes no more requests", cause="it is over", hint="submit them as another job"
        )
    first = request_id(job, number)
    rows = [(first + i, line.custom_id, line.line, len(line.params)) for i, line in enumerate(lines)]
    sql_text.insert_rows(c, SQL["add_request"], rows)
    at = int(first)
    for block in cut_blocks([line.params for line in lines]):
        c.execute(SQL["add_payload"], {"first_id": at, "count": len(block), "data": encode_block(block)})
        at += len(block)
    return first


def _conclude(
    job: JobId, new: NewJob, content: Content, now: datetime, c: sqlite3.Connection, *, force_new: bool
) -> tuple[IngestOutcome, JobRow]:
    keyed = None if new.key is None else _keyed(new, content, c)
    # What is still to come is not in the content of an open job.
    there = None if force_new or new.still_open or keyed is not None else _there(new, content, c)
    found = there if keyed is None else (IngestOutcome.SAME, keyed)
    if found is not None:
        if found[0] is IngestOutcome.SAME:
            _call(found[1], new, now, c)
        return found
    values = {
        "content_hash": None if new.still_open else content.hash,
        "size_bytes": content.size_bytes,
        "key": new.key,
        "key_content": None if new.key is None else content.hash,
    }
    return IngestOutcome.MADE, _finish(job, values, now, c)


def _call(job: JobRow, new: NewJob, now: datetime, c: sqlite3.Connection) -> None:
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


def _keyed(new: NewJob, content: Content, c: sqlite3.Connection) -> JobRow | None:
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
        cause="its content, API version or betas differ; nothing was stored or sent",
        hint="use another key for another input",
    )


def _there(new: NewJob, content: Content, c: sqlite3.Connection) -> tuple[IngestOutcome, JobRow] | None:
    """The job that is there already, by its content or its file. One without a key gets that of *new*."""
    headers = {"api_version": new.api_version, "betas": sql_rows.join_list(new.betas)}
    same = _one_job("job_with_content", {"content_hash": content.hash, **headers}, c)
    if same is not None:
        if new.key is not None:
            c.execute(SQL["give_key"], {"id": same.id, "key": new.key, "key_content": content.hash})
        return IngestOutcome.SAME, same
    old = _one_job("job_from_source", {"source": new.source, "name": new.name}, c) if new.is_from_file else None
    return None if old is None else (IngestOutcome.CHANGED, old)


def _finish(job: JobId, values: dict[str, Any], now: datetime, c: sqlite3.Connection) -> JobRow:
    row = sql_rows.to_job(sql_rows.dict_rows(c.execute(SQL["finish"], {"id": job, **values}))[0])
    give_strays(row, c)
    history.record(c, now, "job.moved", job=job, old="importing", new=row.state, why=f"{row.requests.total} requests")
    return row


def _discard_some(job: JobId, c: sqlite3.Connection) -> bool:
    """Delete a slice of an import; True while there may be more."""
    found = c.execute(SQL["job_state"], {"id": job}).fetchone()
    if found is None or found[0] != JobState.IMPORTING:  # its last write outlived the cancellation of who asked for it
        return False
    if custom_ids.forget_run(job, c):
        return True
    span = {"low": request_id(job, 0), "high": request_id(job, MAX_NUMBER)}
    if c.execute(SQL["discard_requests"], span).rowcount > 0:
        return True
    c.execute(SQL["discard_payload"], span)
    c.execute(SQL["discard_refused"], {"id": job})
    c.execute(SQL["discard_job"], {"id": job})
    return False
