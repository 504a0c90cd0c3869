"""A source that is surveyed while somebody else reads it; the API counts a sample; the estimate at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Final

from typing_extensions import override

from orchestrator.domain import account, errors, humanize
from orchestrator.domain.cap_course import CapCourse
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.limits import API_MAX_BYTES, API_MAX_REQUESTS
from orchestrator.domain.packing import Caps
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.rough_size import ROUGH_SHARE
from orchestrator.estimate.census import Census, Placed
from orchestrator.estimate.costing import estimate_of
from orchestrator.estimate.sampling import COUNT_SHARE, MOST_CALLS, Counted, PromptPart, add_up, choose, reckon
from orchestrator.estimate.strata import SampledRequest, SharedHead, Stratum
from orchestrator.estimate.trial_share import TrialShare
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.estimates import (
    CostEstimate,
    CountMode,
    Estimate,
    EstimateResult,
    Estimates,
    Estimator,
    History,
    refused_under_a_cap,
)
from orchestrator.ports.runtime import Clock, Headers, Prices, TokenCounter
from orchestrator.ports.streams import InputLine, InputProblem, Source, UnmarkedSource, WrappedSource
from orchestrator.views.check_report import check_source

__all__ = ["SurveyingEstimator"]

#: A few calls at a time.
_AT_ONCE: Final = 8
#: Waits for a limit that one estimate may make.
_MOST_WAITS: Final = 8
#: Refusals of requests of one model, after which it is not asked about again.
_MOST_REFUSALS: Final = 3
#: How long a limit on counts is waited for: a sample is taken while a person waits, every request only on demand.
_PATIENCE_S: Final = {CountMode.SAMPLED: 5.0, CountMode.EXACT: 60.0}
#: How many batches it makes is not asked.
_ANY_BATCH: Final = Caps(requests=API_MAX_REQUESTS, size_bytes=API_MAX_BYTES)
_OFFLINE: Final = "nothing was asked"


class Asker:
    """Counts the tokens of requests at the API. Nobody is asked any more once it said no, or did not answer.

    trouble: why not, for people; None: it may be asked. calls: how many were made.
    """

    def __init__(
        self, counter: TokenCounter, headers: Headers, sleep: Callable[[float], Awaitable[None]], *, patience_s: float
    ) -> None:
        self._counter, self._headers, self._sleep = counter, headers, sleep
        self._patience_s = patience_s
        self._waits = 0
        self._refused: Counter[str] = Counter()
        self.trouble: str | None = None
        self.calls = 0

    async def count(self, asked: Sequence[tuple[str, bytes]]) -> list[int | None]:
        """The tokens of each of *asked*, a model and params; None for one that was not counted."""
        counts: list[int | None] = [None] * len(asked)
        rest = iter(range(len(asked)))

        async def work() -> None:
            for place in rest:
                counts[place] = await self._one(*asked[place])

        async with asyncio.TaskGroup() as group:
            for number in range(min(_AT_ONCE, len(asked))):
                group.create_task(work(), name=f"estimate.count.{number}")
        return counts

    async def _one(self, model: str, params: bytes) -> int | None:
        while self.trouble is None and self._refused[model] < _MOST_REFUSALS:
            self.calls += 1
            try:
                tokens = await self._counter.count_tokens(params, self._headers)
                if tokens > 0:
                    return tokens
                self.trouble = f"the API counted {humanize.count(tokens, 'token')} in a request, which none has"
            except errors.ProviderBusy as exc:
                if not await self._waited(exc):
                    self.trouble = f"the API counts no more for now ({exc.message})"
            except (errors.ProviderRefused, errors.ProviderNotFound) as exc:
                self._note_refusal(model, exc)
                return None
            except errors.ProviderError as exc:
                self.trouble = f"the API cannot be reached ({exc.message})"
        return None

    async def _waited(self, busy: errors.ProviderBusy) -> bool:
        """Whether it may be asked again: after the pause that it asks for, if that is not too long."""
        pause_s = busy.retry_after_s
        if pause_s is None or pause_s > self._patience_s or self._waits >= _MOST_WAITS * _AT_ONCE:
            return False
        self._waits += 1
        await self._sleep(pause_s)
        return True

    def _note_refusal(self, model: str, exc: errors.ProviderRefused | errors.ProviderNotFound) -> None:
        blocked = exc.blocked if isinstance(exc, errors.ProviderRefused) else None
        if blocked == account.CREDENTIALS:
            self.trouble = f"there is no key that the API takes ({exc.message.partition(' (')[0]})"
        elif blocked is not None:
            self.trouble = f"the API refuses this account ({exc.message})"
        else:
            self._refused[model] += 1


class SurveyedSource(WrappedSource):
    """Requests that are looked at as they pass. asker: None: nothing is asked.

    cap: of the job, in nano-dollars. tries: so many answers to each request may be paid for. trial: what of it is sent
    for now; None: all.
    """

    def __init__(
        self,
        source: Source,
        census: Census,
        asker: Asker | None,
        history: History | None,
        *,
        counts_all: bool,
    ) -> None:
        super().__init__(source)
        self._history = history
        self._census = census
        self._asker = asker
        self._counts_all = counts_all
        self.cap: int | None = None
        self.tries = 1
        self.trial: TrialShare | None = None
        self._chance = Random(0)  # noqa: S311 - a sample, not a secret

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        async with aclosing(self._source.chunks()) as chunks:
            async for chunk in chunks:
                lines = [item.params for item in chunk if isinstance(item, InputLine)]
                if self.trial is not None:
                    self.trial.add_all(lines)
                placed = await asyncio.to_thread(self._census.add_all, lines)
                if self._asker is not None and self._counts_all and self._asker.trouble is None:
                    await self._count_each(self._asker, placed)
                yield chunk

    async def estimate(self) -> Estimate:
        """See `ports.estimates.Survey`."""
        asker = self._asker
        if asker is None:
            return await self._concluded(reckon(*self._uncounted()), self._rough_basis(_OFFLINE), rough=_OFFLINE)
        if self._counts_all and asker.trouble is None:
            return await self._concluded(add_up(self._census.strata, self._heads), "every request was counted")
        return await self._sampled(asker)

    async def _sampled(self, asker: Asker) -> Estimate:
        strata = list(self._census.strata)
        await self._count_heads(asker)
        chosen = choose(strata, MOST_CALLS - len(self._heads), self._chance)
        counts = iter(
            await asker.count(
                [(_model(one), each.params) for one, many in zip(strata, chosen, strict=True) for each in many]
            )
        )
        samples = [[self._beyond_head(each, next(counts)) for each in many] for many in chosen]
        known = [[each for each in sample if each is not None] for sample in samples]
        counted = sum(map(len, known))
        parts = reckon(strata, known, self._heads)
        if not counted:
            why = asker.trouble or "the API counted none of them"
            return await self._concluded(parts, self._rough_basis(why), rough=why)
        basis = f"{counted:,} of {humanize.count(self._census.requests, 'request')} counted"
        return await self._concluded(parts, basis if asker.trouble is None else f"{basis}; {asker.trouble}")

    @property
    def _heads(self) -> Sequence[SharedHead]:
        return self._census.heads.shared

    def _uncounted(self) -> tuple[list[Stratum], list[list[Counted]], Sequence[SharedHead]]:
        strata = list(self._census.strata)
        return strata, [[] for _ in strata], self._heads

    async def _count_each(self, asker: Asker, placed: Sequence[Placed]) -> None:
        """Count all of *placed*; one that the API refuses to count keeps its rough size."""
        await self._count_heads(asker)
        counts = await asker.count([(_model(stratum), one.params) for stratum, one in placed])
        for (stratum, one), count in zip(placed, counts, strict=True):
            counted = self._beyond_head(one, count)
            stratum.counted += one.size if counted is None else counted.tokens

    async def _count_heads(self, asker: Asker) -> None:
        uncounted = [head for head in self._heads if not head.is_counted]
        counts = await asker.count([(head.terms.model, head.params) for head in uncounted])
        for head, count in zip(uncounted, counts, strict=True):
            if count is not None:
                head.tokens, head.is_counted = count, True

    def _beyond_head(self, candidate: SampledRequest, count: int | None) -> Counted | None:
        """What *count* has of a request itself; of a little beside a large head bytes tell more than two counts."""
        if count is None:
            return None
        head = 0.0 if candidate.head < 0 else self._heads[candidate.head].tokens
        if not self._counts_all and candidate.size * ROUGH_SHARE < head * COUNT_SHARE:
            return Counted(candidate.size, candidate.size)
        return Counted(candidate.size, count - head)

    def _rough_basis(self, why: str) -> str:
        return f"by bytes, rough (±{100 * ROUGH_SHARE:.0f} %): {why}"

    async def _concluded(self, parts: Sequence[PromptPart], basis: str, *, rough: str | None = None) -> Estimate:
        calls = 0 if self._asker is None else self._asker.calls
        known = AnswersKnown()
        if self._history is not None:
            known = await self._history(self._census.kind.digest, list(self._census.models))
        found = estimate_of(self._census, parts, basis, known, calls=calls, rough=rough)
        under_cap = None if self.cap is None else _under_cap(found, self.cap)  # one try is reserved at a time
        trial = None if self.trial is None else self.trial.of(found.cost)
        return replace(found, cost=_with_tries(found.cost, self.tries), under_cap=under_cap, trial=trial)


class SurveyingEstimator(Estimator, Estimates):
    """Estimates by the prices of today. counter: None: nothing can be asked, whatever the mode. history: None: none."""

    def __init__(
        self,
        prices: Prices,
        counter: TokenCounter | None,
        clock: Clock,
        history: History | None = None,
        *,
        cache: str = CacheUse.PRIME.value,
        max_job: int | None = None,
    ) -> None:
        self._prices, self._counter, self._clock, self._history = prices, counter, clock, history
        self._cache, self._max_job = cache, max_job

    @override
    def survey(
        self,
        source: Source,
        new: NewJob,
        mode: CountMode,
        use: CacheUse = CacheUse.PRIME,
        cap: int | None = None,
    ) -> SurveyedSource:
        use = use if new.cache is None else CacheUse(new.cache)
        census = Census(self._prices, self._clock.now().date(), use=use, dedupe=new.dedupe)
        source = UnmarkedSource(source) if use is CacheUse.AUTO else source
        asker = None
        if self._counter is not None and mode is not CountMode.OFFLINE:
            asker = Asker(self._counter, Headers.to_count(new), self._sleep, patience_s=_PATIENCE_S[mode])
        surveyed = SurveyedSource(source, census, asker, self._history, counts_all=mode is CountMode.EXACT)
        surveyed.cap, surveyed.tries = cap, new.tries
        surveyed.trial = None if new.trial is None else TrialShare(new)
        return surveyed

    @override
    async def estimate(self, source: Source, new: NewJob, terms: IngestOptions, mode: CountMode) -> EstimateResult:
        cap = self._max_job if new.cap_nanos is None else new.cap_nanos
        survey = self.survey(source, new, mode, CacheUse(self._cache), cap)
        found = await check_source(survey, _ANY_BATCH, max_problems=terms.max_problems)
        is_lost = any(problem.line == 0 for problem in found.problems) or not found.requests
        if found.problem_count and (is_lost or not terms.skip_bad):
            problems, count = tuple(found.problems), found.problem_count
            return EstimateResult(estimate=None, problems=problems, problem_count=count, fit=found.requests)
        told = await survey.estimate()
        refused = None if cap is None else refused_under_a_cap(told, new.per_request_nanos)
        told = told if refused is None else replace(told, under_cap=refused)
        return EstimateResult(estimate=told, problems=(), problem_count=found.problem_count)

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(timedelta(seconds=seconds))


def _with_tries(cost: CostEstimate, tries: int) -> CostEstimate:
    """*cost*, where up to so many answers to each request are paid for."""
    if tries == 1 or cost.worst_nanos is None:
        return cost
    basis = f"{cost.worst_basis}, each asked for {tries} times"
    return replace(cost, worst_nanos=cost.worst_nanos * tries, worst_basis=basis)


def _under_cap(found: Estimate, cap: int) -> str | None:
    """How what was *found* goes under *cap*; None: nothing to say, or a cap cannot be kept with it."""
    cost, output = found.cost, found.output
    if cost.worst_nanos is None or cost.answers_nanos is None or output.worst is None:
        return None
    return CapCourse(
        cap=cap,
        requests=found.requests,
        worst=cost.worst_nanos,
        expected=cost.expected_nanos,
        max_tokens=output.worst,
        answers=output.expected,
        output=cost.answers_nanos,
    ).words


def _model(stratum: Stratum) -> str:
    return stratum.likeness.terms.model
