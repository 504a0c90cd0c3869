"""Ingest: a source becomes a job, whole or not at all; the same content becomes the same job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.access import AccessRole
from orchestrator.domain.cache_gain import HOUR_S
from orchestrator.domain.cache_marker import LikelyMarks
from orchestrator.domain.job_estimate import JobEstimate
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.money import as_text
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.quick_tally import QuickTally
from orchestrator.domain.result_lines import input_line
from orchestrator.domain.states import OVER
from orchestrator.domain.version_choice import VersionChoice
from orchestrator.engine.context import Context, Imports
from orchestrator.engine.hand_in import CapsAtHandIn, refuse_unbounded
from orchestrator.engine.prefetch import prefetch
from orchestrator.engine.sending_ahead import does_save
from orchestrator.engine.worst_costs import WorstCosts
from orchestrator.observability.logs import get_logger
from orchestrator.ports import caller
from orchestrator.ports.alike_problems import AlikeProblems
from orchestrator.ports.engine import IngestOptions, IngestResult
from orchestrator.ports.job_store import Content, Duplicate, DuplicatesCursor, IngestOutcome, IngestStore
from orchestrator.ports.runtime import Clock, Entropy, NoPrices, Prices, rates_on
from orchestrator.ports.streams import (
    KEPT_RAW_BYTES,
    InputLine,
    InputProblem,
    Source,
    UnmarkedSource,
    files_of,
    notices_of,
)

log = get_logger(__name__)

_WHOLE_FILE: Final = 0
#: Stands for a schema that was handed in: it may be long.
_SCHEMA: Final = "as given"
_ON_ITS_WAY: Final = "all of its requests on their way"
#: How much of a refused line goes back to who handed it in; it is enough to tell the request by.
_TOLD_BYTES: Final = 1024


class Ingestor:
    """Reads sources into jobs.

    An import that is killed leaves an `importing` job, which the next start discards. One that fails is discarded at
    once; if that fails as well (a full disk), `discard_left` tries again.
    """

    def __init__(
        self,
        store: IngestStore,
        clock: Clock,
        entropy: Entropy,
        imports: Imports,
        prices: Prices | None = None,
        caps: CapsAtHandIn | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._imports = imports
        self._prices = NoPrices() if prices is None else prices
        self._caps = caps

    async def ingest(self, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        """See `ports.engine.Commands.ingest`."""
        public_id = self.public_id(new.name)
        try:
            return await self._taken_in(public_id, source, new, terms)
        except BaseException:
            self._imports.left.add(public_id)
            raise

    async def _taken_in(self, public_id: str, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        capped = new if self._caps is None else self._caps.capped(new)
        job = await self._store.begin(capped, public_id, self._clock.now())
        bounds = None if self._caps is None else await self._caps.bounds_of(job)
        reading = _Reading(job.cache, terms, bounds, picks_version=new.picks_version)
        try:
            await self._read(job, UnmarkedSource(source) if job.cache is CacheUse.AUTO else source, reading)
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
            self._imports.left.add(job.public_id)

    def public_id(self, name: str) -> str:
        """The job's id for people: its name, reduced to what a shell takes, and six random characters."""
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name).strip("-.")
        return f"{kept[:40] if kept else 'job'}-{self._entropy.nonce()[:6]}"

    async def _read(self, job: JobRow, source: Source, reading: _Reading) -> None:
        # Reading and checking the next chunk, and storing this one, take about as long, each in its own thread.
        files = files_of(source)
        async with aclosing(prefetch(source.chunks())) as chunks:
            async for chunk in chunks:
                caller.check_role(AccessRole.SUBMIT)
                lines = [item for item in chunk if isinstance(item, InputLine)]
                problems = [files.placed(item) for item in chunk if isinstance(item, InputProblem)]
                reading.check_bounds(lines)
                reading.fit += len(lines)
                if lines and not reading.is_lost:
                    await self._store.add(job.id, lines, self._clock.now())
                    reading.taken += len(lines)
                    reading.add_up(lines)
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
            reading.fit -= len(duplicates)
            if problems and not reading.is_lost:
                await self._store.add_refused(job.id, problems)

    async def _find_twins(self, job: JobRow, new: NewJob, reading: _Reading) -> None:
        """Of identical requests send the first alone, if the job says so; only the whole import shows them."""
        if job.dedupe:
            async with aclosing(self._store.twins(job.id, stays_open=new.still_open)) as slices:
                async for many in slices:
                    reading.tally.leave_out(many)

    async def _conclude(self, job: JobRow, source: Source, new: NewJob, reading: _Reading) -> IngestResult:
        """The source is read: refuse it, attach to the job of the same content, or start the new one."""
        if reading.is_lost or reading.taken == 0:
            await self._discard(job)
            return reading.outcome(None, attached=False)
        reading.notices = notices_of(source)
        new = new.with_version(reading.version)
        await self._find_twins(job, new, reading)
        how, found = await self._finish(job, source, new, reading)
        if how is IngestOutcome.CHANGED:
            raise _changed(source, found)
        if how is IngestOutcome.SAME:
            await self._discard(job)
            if not caller.may_steer(found.submitted_by):
                return replace(reading.outcome(found, attached=True), not_applied=_not_theirs(found))
            capped = found if self._caps is None else await self._caps.recapped(found, new)
            return _attached(reading, capped, new)
        log.info(
            "job.taken_in",
            job=found.public_id,
            requests=found.requests.total,
            twins=found.twins,
            refused=reading.refused,
        )
        return reading.outcome(found, attached=False)

    async def _finish(
        self, job: JobRow, source: Source, new: NewJob, reading: _Reading
    ) -> tuple[IngestOutcome, JobRow]:
        estimate = None if new.still_open else (await self._estimate(job, reading)).with_tries(new.tries)
        content = Content(hash=source.content_hash, size_bytes=source.size_bytes, estimate=estimate)
        now = self._clock.now()
        within, force_new = reading.terms.repeats_within, reading.terms.force_new
        since = None if within is None else now - within
        caller.check_role(AccessRole.SUBMIT)  # reading took long
        return await self._store.conclude(job.id, new, content, now, force_new=force_new, repeats_since=since)

    async def _estimate(self, job: JobRow, reading: _Reading) -> JobEstimate:
        """What was read will cost, by its bytes, by the answers to earlier jobs, and by what its requests share."""
        tally = reading.tally
        known = await self._store.known_answers(tally.kind, tally.models)
        await self._prices.load()
        rates = rates_on(self._prices, tally.models, self._clock.now().date())
        found = tally.estimate(rates, known, await self._reads(job))
        if job.cap_nanos is not None:
            reading.under_cap = tally.under_cap(job.cap_nanos, found, rates, known)
        return found

    async def _reads(self, job: JobRow) -> Counter[str]:
        """By model, the tokens that requests will read which others wrote; none where nothing is sent ahead.

        Nor of what is kept for five minutes: whether a batch with it ends so soon is luck.
        """
        shared = await self._store.shared(job.id)
        if not does_save(shared, job.cache, self._prices, self._clock.now()):
            return Counter()
        kept = (each for each in shared if each.ttl_s >= HOUR_S)
        return sum((Counter({each.model: each.tokens}) for each in kept), Counter())


async def discard_left(context: Context) -> int:
    """Discard what failed imports of this process left. Returns how many. Raises StoreError if that fails again."""
    failed = frozenset(context.imports.left)
    if not failed:
        return 0
    left = [job for job in await context.store.ingest.importing() if job.public_id in failed]
    for job in left:
        await context.store.ingest.discard(job.id)
        log.info("import.discarded", job=job.public_id)
    context.imports.left -= failed
    return len(left)


class _Reading:
    """The tally of one import, and whether it can still become a job."""

    def __init__(self, use: CacheUse, terms: IngestOptions, bounds: WorstCosts | None, *, picks_version: bool) -> None:
        self.terms = terms
        self.version = VersionChoice()
        self._picks_version = picks_version
        self._is_marked = use is CacheUse.AUTO
        self.tally = QuickTally(adds_markers=self._is_marked)
        self._bounds = bounds
        self._marks = LikelyMarks()
        self._alike = AlikeProblems()
        self.under_cap: str | None = None  # how the job will go under its cap
        self.notices: Sequence[str] = ()  # of the source
        self.taken = self.fit = 0  # lines that are stored; lines without a problem, stored or not
        self.refused = 0  # lines with problems
        self._last_line = 0
        self._problems: list[InputProblem] = []
        self._count = 0
        self._whole = False

    def check_bounds(self, lines: Sequence[InputLine]) -> None:
        """Raise UnknownPrice or BudgetRefused, if a cap is in force, for the first of *lines* that has no bound."""
        refuse_unbounded(self._bounds, lines)

    def add_up(self, lines: Sequence[InputLine]) -> None:
        """Add *lines* to the tally, as they are sent, and see which API version they need."""
        if self._picks_version:
            self.version.add_all(line.params for line in lines)
        self.tally.add_all(self._marks.marked(line.params) if self._is_marked else line.params for line in lines)

    @property
    def is_lost(self) -> bool:
        """Nothing of it will be stored: a problem without `--skip-bad`, or one with the file as a whole."""
        return self._whole or (self._count > 0 and not self.terms.skip_bad)

    def note(self, problems: list[InputProblem]) -> None:
        """Count problems and keep the first of them, by their lines: repeated ids are told in another order.

        The problems of one line come one after the other, so lines are counted without remembering them.
        """
        listed = [problem for problem in problems if not self._alike.take(problem)]
        self._count += len(listed)
        self._whole = self._whole or any(problem.line == _WHOLE_FILE for problem in problems)
        for problem in problems:
            self.refused += problem.line != self._last_line
            self._last_line = problem.line
        kept = sorted(self._problems + listed, key=_line_of)[: self.terms.max_problems]
        self._problems = [_shortened(problem) for problem in kept]

    def outcome(self, job: JobRow | None, *, attached: bool) -> IngestResult:
        """What became of it."""
        return IngestResult(
            job=job,
            attached=attached,
            problems=tuple(self._alike.told(self._problems)),
            problem_count=self._count,
            refused=0 if job is None else self.refused,
            under_cap=None if job is None or attached else self.under_cap,
            notices=self.notices,
            fit=self.fit,
        )


def _shortened(problem: InputProblem) -> InputProblem:
    """*problem* with only the beginning of its line: the store has all of it; here thousands may be held."""
    if len(problem.raw) <= _TOLD_BYTES:
        return problem
    return replace(problem, raw=problem.raw[:_TOLD_BYTES])


def _attached(reading: _Reading, found: JobRow, new: NewJob) -> IngestResult:
    taken = replace(reading.outcome(found, attached=True), not_applied=_not_applied(found, new))
    if not new.is_named or found.name == new.name:
        return taken
    log.info("job.renamed", job=found.public_id, old=found.name, new=new.name)
    return replace(taken, job=replace(found, name=new.name), renamed_from=found.name)


def _not_theirs(found: JobRow) -> str:
    return f"nothing of it was changed: it was submitted by {found.submitted_by or 'nobody with a token'}"


def _not_applied(found: JobRow, new: NewJob) -> str | None:
    """What was chosen of *new* and is another in *found*, which keeps its own, in a sentence; None: nothing.

    A name and a cap are applied; the size of a pilot that was is not known any more.
    """
    own_floor = None if found.per_request_nanos is None else as_text(found.per_request_nanos)
    chosen = (
        ("cache", new.cache, new.has_own_cache and new.cache not in {None, found.cache}, found.cache),
        ("priority", new.priority, "priority" in new.said and new.priority != found.priority, found.priority),
        ("tag", ", ".join(new.tags), bool(new.tags) and new.tags != found.tags, ", ".join(found.tags)),
        (
            *("allow_per_request", new.allow_per_request),
            *(new.per_request_nanos not in {None, found.per_request_nanos}, own_floor),
        ),
        ("pilot", new.pilot, new.pilot is not None and found.pilot is None, None),
        (_trial_name(new), new.trial, new.trial is not None and found.trial is None, _ON_ITS_WAY),
        ("schema", _SCHEMA, new.schema not in {None, found.schema}, None if found.schema is None else "another"),
        (
            *("retry_invalid", new.retry_invalid),
            *("retry_invalid" in new.said and new.retry_invalid != found.retry_invalid, str(found.retry_invalid)),
        ),
        ("dedupe", "true", new.dedupe and not found.dedupe, "false"),
    )
    told = [
        f"{name} {wish} was not applied: the job has {own or 'none'}" for name, wish, differs, own in chosen if differs
    ]
    return "; ".join(told) or None


def _trial_name(new: NewJob) -> str:
    return "limit" if new.sample is None else "sample"


def _changed(source: Source, old: JobRow) -> errors.InputError:
    """A file changed under its name: it is not mixed into the old job, and the import is discarded."""
    goes_on = "" if old.state in OVER else f"; `orchestrator resume {old.public_id}` finishes the old one"
    return errors.InputError(
        f"the requests of {source.name} are not those any more of which job {old.public_id} was made",
        cause="its content, API version or betas differ, or of a table the prompt, model, schema or another option; "
        "nothing was stored or sent",
        hint=f"--new makes another job of all of it{goes_on}",
    )


def _repeated(source: Source, duplicate: Duplicate) -> InputProblem:
    """The problem of a line whose custom_id is taken, with both line numbers; `raw` can be handed in again."""
    files = files_of(source)
    first = files.place(duplicate.first_line) or f"{source.name}:{duplicate.first_line}"
    return InputProblem(
        line=duplicate.line,
        field="custom_id",
        message=f"{duplicate.custom_id!r} is taken by {first}",
        remedy="give every request of a job a custom_id of its own",
        raw=input_line(duplicate.custom_id, duplicate.params, duplicate.row)[:KEPT_RAW_BYTES],
        place=files.place(duplicate.line),
    )


def _line_of(problem: InputProblem) -> int:
    return problem.line
