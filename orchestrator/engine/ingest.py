"""Ingest: a source becomes a job, whole or not at all; the same content becomes the same job."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.result_lines import input_line
from orchestrator.engine.context import Context, Imports
from orchestrator.engine.prefetch import prefetch
from orchestrator.observability.logs import get_logger
from orchestrator.ports.engine import IngestOptions, IngestResult
from orchestrator.ports.job_store import Content, Duplicate, DuplicatesCursor, IngestOutcome, IngestStore
from orchestrator.ports.runtime import Clock, Entropy
from orchestrator.ports.streams import InputLine, InputProblem, Source

log = get_logger(__name__)

_WHOLE_FILE: Final = 0
_RAW_BYTES: Final = 65_536  #: as `ports.streams.InputProblem.raw` says
#: How much of a refused line goes back to who handed it in; it is enough to tell the request by.
_TOLD_BYTES: Final = 1024


class Ingestor:
    """Reads sources into jobs.

    An import that is killed leaves an `importing` job, which the next start discards. One that fails is discarded at
    once; if that fails as well (a full disk), `discard_left` tries again.
    """

    def __init__(self, store: IngestStore, clock: Clock, entropy: Entropy, imports: Imports) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._imports = imports

    async def ingest(self, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        """See `ports.engine.Commands.ingest`."""
        public_id = self.public_id(new.name)
        self._imports.reading.add(public_id)
        try:
            return await self._taken_in(public_id, source, new, terms)
        except BaseException:
            self._imports.may_be_left = True
            raise
        finally:
            self._imports.reading.discard(public_id)

    async def _taken_in(self, public_id: str, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        job = await self._store.begin(new, public_id, self._clock.now())
        reading = _Reading(terms)
        try:
            await self._read(job, source, reading)
            await self._find_repeats(job, source, reading)
            return await self._conclude(job, source, new, reading)
        except BaseException:
            await self._discard(job)
            raise

    async def _discard(self, job: JobRow) -> None:
        """Discard the import, now or later: its outcome is known, and must not depend on that."""
        try:
            await self._store.discard(job.id)
        except errors.StoreError as exc:
            log.warning("import.left", job=job.public_id, why=exc.message)
            self._imports.may_be_left = True

    def public_id(self, name: str) -> str:
        """The job's id for people: its name, reduced to what a shell takes, and six random characters."""
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name).strip("-.")
        return f"{kept[:40] if kept else 'job'}-{self._entropy.nonce()[:6]}"

    async def _read(self, job: JobRow, source: Source, reading: _Reading) -> None:
        # Reading and checking the next chunk, and storing this one, take about as long, each in its own thread.
        async with aclosing(prefetch(source.chunks())) as chunks:
            async for chunk in chunks:
                lines = [item for item in chunk if isinstance(item, InputLine)]
                problems = [item for item in chunk if isinstance(item, InputProblem)]
                if lines and not reading.is_lost:
                    await self._store.add(job.id, lines, self._clock.now())
                    reading.taken += len(lines)
                if problems:
                    reading.note(problems)
                    if not reading.is_lost:
                        await self._store.add_refused(job.id, problems)

    async def _find_repeats(self, job: JobRow, source: Source, reading: _Reading) -> None:
        """Turn repeated custom ids into problems of the later lines; only the whole import shows them."""
        after: DuplicatesCursor | None = DuplicatesCursor()
        while after is not None:
            duplicates, after = await self._store.repeated(job.id, after, leave_out=reading.terms.skip_bad)
            problems = [_repeated(source, duplicate) for duplicate in duplicates]
            reading.note(problems)
            reading.taken -= len(duplicates)
            if problems and not reading.is_lost:
                await self._store.add_refused(job.id, problems)

    async def _conclude(self, job: JobRow, source: Source, new: NewJob, reading: _Reading) -> IngestResult:
        """The source is read: refuse it, attach to the job of the same content, or start the new one."""
        if reading.is_lost or reading.taken == 0:
            await self._discard(job)
            return reading.outcome(None, attached=False)
        how, found = await self._finish(job, source, new, reading.terms)
        if how is IngestOutcome.CHANGED:
            raise _changed(source, found)
        if how is IngestOutcome.SAME:
            await self._discard(job)
            return _attached(reading, found, new)
        log.info("job.taken_in", job=found.public_id, requests=found.requests.total, refused=reading.refused)
        return reading.outcome(found, attached=False)

    async def _finish(
        self, job: JobRow, source: Source, new: NewJob, terms: IngestOptions
    ) -> tuple[IngestOutcome, JobRow]:
        content = Content(hash=source.content_hash, size_bytes=source.size_bytes)
        return await self._store.conclude(job.id, new, content, self._clock.now(), force_new=terms.force_new)


async def discard_left(context: Context) -> int:
    """Discard what failed imports of this process left. Returns how many. Raises StoreError if that fails again."""
    imports = context.imports
    if not imports.may_be_left:
        return 0
    imports.may_be_left = False  # whoever fails from here on says so again
    try:
        left = [job for job in await context.store.ingest.importing() if job.public_id not in imports.reading]
        for job in left:
            await context.store.ingest.discard(job.id)
            log.info("import.discarded", job=job.public_id)
    except BaseException:
        imports.may_be_left = True
        raise
    return len(left)


class _Reading:
    """The tally of one import, and whether it can still become a job."""

    def __init__(self, terms: IngestOptions) -> None:
        self.terms = terms
        self.taken = 0
        self.refused = 0  # lines with problems
        self._last_line = 0
        self._problems: list[InputProblem] = []
        self._count = 0
        self._whole = False

    @property
    def is_lost(self) -> bool:
        """Nothing of it will be stored: a problem without `--skip-bad`, or one with the file as a whole."""
        return self._whole or (self._count > 0 and not self.terms.skip_bad)

    def note(self, problems: list[InputProblem]) -> None:
        """Count problems and keep the first of them, by their lines: repeated ids are told in another order.

        The problems of one line come one after the other, so lines are counted without remembering them.
        """
        self._count += len(problems)
        self._whole = self._whole or any(problem.line == _WHOLE_FILE for problem in problems)
        for problem in problems:
            self.refused += problem.line != self._last_line
            self._last_line = problem.line
        kept = sorted(self._problems + problems, key=_line_of)[: self.terms.max_problems]
        self._problems = [_shortened(problem) for problem in kept]

    def outcome(self, job: JobRow | None, *, attached: bool) -> IngestResult:
        """What became of it."""
        return IngestResult(
            job=job,
            attached=attached,
            problems=tuple(self._problems),
            problem_count=self._count,
            refused=0 if job is None else self.refused,
        )


def _shortened(problem: InputProblem) -> InputProblem:
    """*problem* with only the beginning of its line: the store has all of it; here thousands may be held."""
    if len(problem.raw) <= _TOLD_BYTES:
        return problem
    return replace(problem, raw=problem.raw[:_TOLD_BYTES])


def _attached(reading: _Reading, found: JobRow, new: NewJob) -> IngestResult:
    if not new.is_named or found.name == new.name:
        return reading.outcome(found, attached=True)
    log.info("job.renamed", job=found.public_id, old=found.name, new=new.name)
    return replace(reading.outcome(replace(found, name=new.name), attached=True), renamed_from=found.name)


def _changed(source: Source, old: JobRow) -> errors.InputError:
    """A file changed under its name: it is not mixed into the old job, and the import is discarded."""
    return errors.InputError(
        f"{source.name} is not the same any more as when job {old.public_id} was made from it",
        cause="its content, API version or betas differ; nothing was stored or sent",
        hint=f"--new makes another job of all of it; `orchestrator resume {old.public_id}` finishes the old one",
    )


def _repeated(source: Source, duplicate: Duplicate) -> InputProblem:
    """The problem of a line whose custom_id is taken, with both line numbers; `raw` can be handed in again."""
    return InputProblem(
        line=duplicate.line,
        field="custom_id",
        message=f"{duplicate.custom_id!r} is taken by {source.name}:{duplicate.first_line}",
        remedy="give every request of a job a custom_id of its own",
        raw=input_line(duplicate.custom_id, duplicate.params)[:_RAW_BYTES],
    )


def _line_of(problem: InputProblem) -> int:
    return problem.line
