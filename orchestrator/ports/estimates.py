"""What an input will take and cost, said before anything of it is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from orchestrator.domain import account, humanize
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.priming import CacheUse
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.streams import InputProblem, Source

_PLACES: Final = 9


#: The answers so far to requests of a kind (`domain.job_estimate.KindOfRequests`), and of each of some models.
History = Callable[[str | None, Collection[str]], Awaitable[AnswersKnown]]


class CountMode(StrEnum):
    """How the tokens of an input are told."""

    SAMPLED = "sampled"  #: the API counts some of the requests, the rest is reckoned by their bytes
    EXACT = "exact"  #: the API counts every one
    OFFLINE = "offline"  #: by their bytes alone: rough, and nothing is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEstimate:
    """Tokens of all requests. low, high: in 95 of 100 cases between them. expected: None where there is no basis.

    worst: it cannot be more; None: it has no bound. high: None: neither has it such a one, as some requests have none.
    basis: what the figures rest on, for people.
    """

    low: int
    expected: int | None
    high: int | None
    worst: int | None
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """Nano-dollars for all requests; None: not known.

    Without a price of every model only what is at least is known; so it is where requests have no bound, unless such
    ones were answered before.
    prompts: what reading them costs, as expected; answers: what they cost at most. worst_basis: of `worst` alone, which
    is of all tries, where answers have to match a schema; the others are of requests that are sent once each.
    """

    low_nanos: int | None
    expected_nanos: int | None
    high_nanos: int | None
    worst_nanos: int | None
    prompts_nanos: int | None
    answers_nanos: int | None
    basis: str
    worst_basis: str

    @property
    def low(self) -> Decimal | None:
        """The least, in dollars."""
        return _dollars(self.low_nanos)

    @property
    def expected(self) -> Decimal | None:
        """What is expected, in dollars; None without history."""
        return _dollars(self.expected_nanos)

    @property
    def high(self) -> Decimal | None:
        """The most in 95 of 100 cases, in dollars; without history that of answers as long as they may be.

        None where requests have no bound, and no such ones were answered before.
        """
        return _dollars(self.high_nanos)

    @property
    def worst(self) -> Decimal | None:
        """What it cannot be more than, in dollars; None where there is no bound."""
        return _dollars(self.worst_nanos)


class ModelCount(NamedTuple):
    """How many requests name a model."""

    model: str
    requests: int


class PriceUsed(NamedTuple):
    """Whose price of a model was used, and of which day."""

    model: str
    day: date
    source: str


class SharedPrefix(NamedTuple):
    """A beginning of so many *tokens* that *requests* of *model* share. least: what the model keeps at least."""

    model: str
    requests: int
    tokens: int
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEstimate:
    """What the prompt cache does for an input, or would: by its markers, or without any by where one could stand.

    adds_markers: they are added when it is sent (cache `auto`), and counted as if they were there. sends_ahead:
    one request of each prefix goes ahead of the others (not with cache `off`), which read it then. marked: requests
    with a marker; of them marked_at_end: at their very end alone, which others do not share;
    below_minimum: those that mark less than their model keeps; for_minutes: for five of them, not for an hour.
    prefixes: beginnings that are long enough and that at least three requests share, requests in all; largest: of them,
    or, if there is none, of the shorter ones. saved: what the same requests would cost more without a cache; below 0:
    less; None: not known.
    """

    adds_markers: bool
    sends_ahead: bool
    marked: int
    marked_at_end: int
    below_minimum: int
    for_minutes: int
    prefixes: int
    requests: int
    largest: SharedPrefix | None
    saved_nanos: int | None

    @property
    def saved(self) -> Decimal | None:
        """As `saved_nanos`, in dollars."""
        return _dollars(self.saved_nanos)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identical:
    """So many of *total* requests are identical to an earlier one. is_least: there may be more.

    left_out: only the first of them is sent (`dedupe`), and the estimate is of what is sent. low, expected, high: what
    the others would cost, in nano-dollars; None: not known.
    """

    requests: int
    total: int
    is_least: bool
    left_out: bool
    low_nanos: int | None
    expected_nanos: int | None
    high_nanos: int | None


class TrialEstimate(NamedTuple):
    """What a trial of so many *requests* of *total* costs, in nano-dollars; None: not known."""

    requests: int
    total: int
    low_nanos: int | None
    expected_nanos: int | None
    high_nanos: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an input will take and cost if every request is sent once, in batches.

    prices: one for each model that has one; unpriced: the models that have none. calls: how often the API was asked to
    count. rough: why it was not, for people; None: it was. unbounded: a field that has no bound, and in how many
    requests there is one. cache: what the prompt cache does. hints: what a person may want to change, in sentences.
    identical: requests that are identical to another; None: there are none.
    under_cap: how it will go under its cap, in a sentence; None: it has none, or goes in a round or two. trial: what
    those cost that are sent for now; None: all are.
    """

    requests: int
    models: tuple[ModelCount, ...]
    input: TokenEstimate
    output: TokenEstimate
    cost: CostEstimate
    prices: tuple[PriceUsed, ...]
    unpriced: tuple[ModelCount, ...]
    calls: int
    rough: str | None
    unbounded: tuple[str, int] | None
    cache: CacheEstimate
    hints: tuple[str, ...]
    under_cap: str | None = None
    identical: Identical | None = None
    trial: TrialEstimate | None = None

    @property
    def basis(self) -> str:
        """What the figures rest on: prompts, answers, prices."""
        return f"{self.cost.basis}; {self.cost.worst_basis}"


def refused_under_a_cap(found: Estimate, allowance: int | None) -> str | None:
    """Why the input of *found* is not taken in while a cap is in force, with the remedy; None: it is.

    allowance: what is reserved for a request whose cost has no bound; None: nothing.
    """
    if found.unpriced:
        names = [model for model, _ in found.unpriced]
        why = f"there is no price for {humanize.some(names)}, and a cap is in force"
        return f"it would be refused: {why} (`{account.asking_price(names[0])}` shows how to give it one)"
    if found.unbounded is None or allowance is not None:
        return None
    why = f"{found.unbounded[0]} has no bound on what it may cost, and a cap is in force"
    return f"it would be refused: {why} (--allow-per-request AMOUNT reserves so much for each such request)"


class Survey(Source, Protocol):
    """A source that is surveyed while it is read."""

    async def estimate(self) -> Estimate:
        """What was read will cost; the source was read to its end. Raises UsageError for prices that cannot be read."""


class Estimator(Protocol):
    """Estimates inputs. Nothing is stored, and no batch is made."""

    def survey(
        self,
        source: Source,
        new: NewJob,
        mode: CountMode,
        use: CacheUse = CacheUse.PRIME,
        cap: int | None = None,
    ) -> Survey:
        """*source*, to be read in place of it, of the job *new*. cap: nano-dollars.

        use: what it does about the prompt cache, where it does not say.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateResult:
    """What came of an input. estimate: None if it has problems, of which the first are listed and all counted.

    fit: requests without a problem.
    """

    estimate: Estimate | None
    problems: tuple[InputProblem, ...]
    problem_count: int
    fit: int = 0


class Estimates(Protocol):
    """What a face may ask: of the engine in this process, or of another."""

    async def estimate(self, source: Source, new: NewJob, terms: IngestOptions, mode: CountMode) -> EstimateResult:
        """Read *source* to its end, and say what the job *new* of it would cost. Nothing is stored, no batch is made.

        Of *terms* only `skip_bad` and `max_problems` count. Raises InputError where reading itself fails, UsageError.
        """


def _dollars(nanos: int | None) -> Decimal | None:
    return None if nanos is None else Decimal(nanos).scaleb(-_PLACES)
