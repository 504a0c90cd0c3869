"""The handles on jobs: `Job` watches, waits, reads results and steers; `OpenJob` adds requests."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import msgspec

from orchestrator.client import notebook
from orchestrator.client.errors import JobTimeout, refusal
from orchestrator.client.result import Result
from orchestrator.domain import account, answer_table, job_spec, model, params, queries, spending, states
from orchestrator.domain.errors import BudgetExceeded, GuardRefused, NeedsPerson, UsageError
from orchestrator.domain.param_change import ParamChange
from orchestrator.ports import engine, streams
from orchestrator.views import job_views, source_codec
from orchestrator.views.retry_views import as_several

if TYPE_CHECKING:
    from orchestrator.client.session import EngineHandle

#: From one look at the store to the next while waiting; a look is a few indexed reads.
_FIRST_LOOK_S: Final = 0.05
_LOOK_S: Final = 0.5
_PAGE: Final = 500


class ExportShape(TypedDict, total=False):
    """What `Job.export` writes: "jsonl", "csv", "tsv", "txt" or "parquet"; which columns; no cell a formula."""

    output_format: str | None
    columns: Sequence[str] | None
    excel_safe: bool


class Job:
    """A job in the store. Stays valid while its orchestrator is open, whatever process runs the engine.

    id: the public id. name: as given. attached: the job existed before this submission. refused_count: requests that
    `skip_bad` left out.
    """

    def __init__(
        self,
        handle: Callable[[], EngineHandle],
        job: model.JobSnapshot,
        *,
        attached: bool = False,
        refused_count: int = 0,
        unclear: GuardRefused | None = None,
    ) -> None:
        self._handle = handle
        self._unclear = unclear  # it was asked for by a name that others had, too
        self._key = job.id
        self.id, self.name = job.public_id, job.name
        self._schema, self._reuses = job.answer_schema, job.dedupe
        self.attached = attached
        self.refused_count = refused_count

    def __repr__(self) -> str:
        return f"Job(id={self.id!r})"

    async def status(self) -> model.JobStatus:
        """Its state, with counts of requests and batches. Constant time."""
        return await self._handle().reader.read(lambda reads: reads.status(reads.get(self._key)))

    async def cost(self) -> spending.JobCost:
        """What it has cost so far, in nano-dollars, by the models of its answers."""
        return await self._handle().reader.read(lambda reads: reads.cost(reads.get(self._key)))

    async def wait(self, timeout: float | timedelta | None = None) -> model.JobStatus:  # noqa: ASYNC109 - the face's word
        """Wait until the job is finished or canceled, or its trial has ended, at most *timeout* seconds.

        Raises JobTimeout; NeedsPerson when the job is paused for a reason that only a person can remove, BudgetExceeded
        when a cap has stopped it. A pause that was asked for is waited out. An open job never finishes: close it first.
        A notebook shows meanwhile how far it is.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        deadline = asyncio.timeout(seconds)
        # The loop of a notebook is its main thread's; elsewhere nobody would see what is shown.
        show = notebook.live_card() if threading.current_thread() is threading.main_thread() else None
        try:
            async with deadline:
                return await self._over(show)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise JobTimeout(f"job {self.id} is not finished yet", hint="it goes on; wait for it again") from None

    async def results(self, *, settled_only: bool = False) -> AsyncIterator[Result]:
        """Yield every result in input order, after waiting for the job.

        settled_only: yield what there is now, without waiting. Results are read page by page: memory does not grow with
        the job. Raises what `wait` raises.
        """
        if not settled_only:
            await self.wait()
        number = 0
        while page := await self.page(after=number):
            for result in page:
                yield result
            number = page[-1].number

    async def page(self, *, after: int = 0, limit: int = _PAGE) -> list[Result]:
        """At most *limit* settled results after the request number *after*, in input order; [] after the last."""
        return [Result(row, self._schema) for row in await self._rows(after=after, limit=limit)]

    async def _rows(self, *, after: int, limit: int = _PAGE) -> list[queries.ResultRow]:
        return await self._handle().bulk.read(
            lambda reads: reads.results(self._key, above=after, limit=limit, rows=True)
        )

    async def to_dicts(
        self, *, settled_only: bool = False, columns: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Every result as one flat dict, after waiting for the job: the columns of its row, then those of the answer.

        The columns are those of a CSV file of results (`custom_id`, `answer`, `status`, ...), in this order; of a job
        with a schema its fields are there in place of `answer`. columns: only these. What is not there or not known is
        None, and `cost_usd` is a Decimal. For `pandas.DataFrame(job.to_dicts())` and the like. Raises UsageError for a
        column that is not there, and what `wait` raises.
        """
        if not settled_only:
            await self.wait()
        own = await self._handle().bulk.read(lambda reads: reads.row_columns(self._key))
        table = answer_table.AnswerTable(own, columns, self._schema, reuses=self._reuses)
        found: list[dict[str, Any]] = []
        number = 0
        while rows := await self._rows(after=number):
            found += map(table.values, rows)
            number = rows[-1].number
        return found

    async def export(
        self,
        path: str | os.PathLike[str],
        *,
        settled_only: bool = False,
        overwrite: bool = False,
        **shape: Unpack[ExportShape],
    ) -> int:
        """Write the results to *path* in input order; return how many. Waits for the job first.

        The suffix says what is written: `.csv`, `.tsv` or `.parquet` is a table, `.txt` the text of the answers, all
        else the API's own lines; output_format says it for any name, columns and excel_safe as the command does.
        The file appears whole or not at all; `.gz` and `.zst` are compressed, "-" is standard output. An earlier output
        of this job is replaced; overwrite: so is any other file. Raises OutputError before waiting, OutputNotWritten
        after it, and what `wait` raises.
        """
        from orchestrator.client.results_file import Output

        shaped = answer_table.shape_of(
            os.fspath(path),
            shape.get("output_format"),
            shape.get("columns"),
            excel_safe=shape.get("excel_safe", False),
        )
        output = Output(
            path, overwrite=overwrite, shape=shaped, remedy="choose another path, or overwrite=True replaces it"
        )
        output.check()
        await output.check_columns(self._handle().bulk, self._key)
        await output.refuse_foreign(self._handle().bulk, self._key)
        if not settled_only:
            await self.wait()
        return await output.write(self._handle().bulk, self._key)

    async def errors(self) -> list[queries.ErrorGroup]:
        """Failed and canceled requests grouped by cause, the largest group first, with examples."""
        return await self._handle().reader.read(lambda reads: reads.errors(self._key))

    async def request(self, custom_id: str) -> queries.RequestDetails:
        """One request, with every attempt that failed. Raises NoSuchThing."""
        return await self._handle().reader.read(lambda reads: reads.request(self._key, custom_id))

    async def refused(self, *, after: int = 0, limit: int = 1000) -> list[streams.InputProblem]:
        """The requests that `skip_bad` left out, and why: the problems after line *after*.

        One line may have several.
        """
        return await self._handle().reader.read(lambda reads: reads.refused(self._key, after=after, limit=limit))

    async def pause(self) -> model.JobStatus:
        """Submit nothing new; what is in flight is still collected. Raises GuardRefused if the job does not run."""
        self._refuse_unclear()
        return await self._moved("pause", await self._handle().commands.pause(self._key))

    async def resume(self) -> model.JobStatus:
        """End a pause. Raises GuardRefused if the job is not paused, NeedsPerson if its key file cannot be used."""
        self._refuse_unclear()
        return await self._moved("resume", await self._handle().commands.resume(self._key))

    async def cancel(self) -> model.JobStatus:
        """Cancel the job; results that succeeded are kept. Raises GuardRefused if it is over."""
        self._refuse_unclear()
        return await self._moved("cancel", await self._handle().commands.cancel(self._key))

    async def retry(
        self,
        only: str | Collection[str] | None = None,
        *,
        set: Mapping[str, object] | None = None,  # noqa: A002 - as it is called on the command line, and over HTTP
        drop: Collection[str] = (),
        grow: bool = False,
        error_cause: str | Collection[str] | None = None,
    ) -> int:
        """Queue failed and canceled requests again, or those that *only* or *error_cause* names; return how many.

        only: "failed", "canceled", "invalid", error types, and the stop reasons "refusal" and "max_tokens", whose
        answers were paid for. error_cause: failures of one cause, or several, each as `errors` has it.
        set: members of params with the value that they get; drop: those that are left out; grow: twice the max_tokens.
        Raises InputError, and queues nothing, if a request could not be handed in as it is then.
        """
        self._refuse_unclear()
        change = ParamChange(
            set={key: msgspec.json.encode(value) for key, value in (set or {}).items()},
            drop=frozenset(drop),
            grow=grow,
        )
        return await self._handle().commands.retry(self._key, as_several(only), change, as_several(error_cause))

    def _refuse_unclear(self) -> None:
        if self._unclear is not None:
            raise self._unclear

    async def _moved(self, verb: str, did_apply: bool) -> model.JobStatus:
        status = await self.status()
        if not did_apply:
            raise job_views.does_not_apply(verb, status.job)
        return status

    async def _over(self, show: Callable[[model.JobStatus], None] | None) -> model.JobStatus:
        pause_s = _FIRST_LOOK_S
        while True:
            status = await self.status()
            if show is not None:
                show(status)
            if status.job.state in states.OVER or status.job.is_tried:
                return status
            if status.job.state is states.JobState.PAUSED and status.job.reason_code in account.BY_A_CAP:
                raise BudgetExceeded(f"job {self.id} is paused", cause=status.job.reason, hint="then wait for it again")
            if status.job.state is states.JobState.PAUSED and status.job.reason_code != account.BY_USER:
                raise NeedsPerson(f"job {self.id} is paused", cause=status.job.reason, hint="then wait for it again")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LOOK_S)


_SHOWN: Final = 20


class OpenJob:
    """A job that still grows: requests are added until it is closed.

    Made by `Orchestrator.open_job`. Requests are stored when `add` returns, and are worked on while the job still grows
    (`[batching] linger`).
    """

    def __init__(self, appender: JobAppender) -> None:
        self._appender = appender

    @property
    def job(self) -> Job | None:
        """The job; None before its first request."""
        return self._appender.job

    async def add(self, requests: Iterable[object] | AsyncIterable[object]) -> int:
        """Add SDK `Request` dicts; return how many. Stored chunk by chunk, up to 2,000 requests or 4 MiB at a time.

        Raises InputRefused for requests that may not be sent, InputError for a custom_id that the job has already.
        Nothing of that chunk is stored then; earlier chunks stay.
        """
        return await self._appender.append(self._appender.source(requests))

    async def close(self) -> Job:
        """Let the job finish: no more requests will come. Raises UsageError if it never got one."""
        return await self._appender.close()


class JobAppender:
    """Appends sources to an open job, for `OpenJob` and its blocking twin.

    job: the job, made with its first request; None until then.
    """

    def __init__(
        self,
        handle: Callable[[], EngineHandle],
        new: job_spec.NewJob,
        rules: params.ParamRules,
        job: model.JobSnapshot | None,
    ) -> None:
        self._handle = handle
        self._new = new
        self._rules = rules
        self._key = None if job is None else job.id
        self._count = 0 if job is None else job.requests.total
        self.job = None if job is None else Job(handle, job, attached=True)

    def source(self, requests: Iterable[object] | AsyncIterable[object]) -> streams.Source:
        """The source of *requests*, of which nothing is read yet."""
        from orchestrator.inputs import source_from_objects

        return source_from_objects(requests, name="requests", rules=self._rules)

    async def append(self, source: streams.Source) -> int:
        """Store the requests of *source* chunk by chunk; return how many. Raises what `OpenJob.add` raises."""
        added = 0
        async with aclosing(source.chunks()) as chunks:
            async for chunk in chunks:
                problems = tuple(item for item in chunk if isinstance(item, streams.InputProblem))
                if problems:
                    raise refusal(
                        source.name,
                        engine.IngestResult.refusal(problems),
                        hint=f"{added:,} requests before them were added",
                    )
                lines = [item for item in chunk if isinstance(item, streams.InputLine)]
                await self._add(source_codec.number_lines(lines, above=self._count))
                self._count += len(lines)
                added += len(lines)
        return added

    async def close(self) -> Job:
        """Let the job finish. Raises UsageError if it never got a request."""
        if self._key is None or self.job is None:
            raise UsageError("the job has no requests", hint="add at least one before closing it")
        await self._handle().open_jobs.close(self._key)
        return self.job

    async def _add(self, lines: Sequence[streams.InputLine]) -> None:
        if self._key is not None:
            await self._handle().open_jobs.add(self._key, lines)
            return
        # Its content is never complete, so nothing may take it for the job of the same content.
        taken = await self._handle().commands.ingest(_Beginning(lines), self._new, engine.IngestOptions(force_new=True))
        if taken.job is None:
            raise refusal(_Beginning.name, taken)
        self._key = taken.job.id
        self.job = Job(self._handle, taken.job)


class _Beginning:
    """The first chunk of an open job, as a `Source`."""

    name: str = "requests"

    def __init__(self, lines: Sequence[streams.InputLine]) -> None:
        self._lines = lines
        self.content_hash = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        self.size_bytes = sum(len(line.params) + len(line.row) for line in lines)

    async def chunks(self) -> AsyncGenerator[Sequence[streams.InputLine | streams.InputProblem], None]:
        yield self._lines
