"""Estimates as the faces show them: as JSON, and in the lines of `check`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final, Literal, Self

from orchestrator.domain import humanize, money, pilot
from orchestrator.ports import estimates
from orchestrator.views.cache_views import CacheEstimateView, cache_lines
from orchestrator.views.view import Count, View

_MILLION: Final = 1_000_000
#: Enough to tell of most answers to some 13 %.
_A_PILOT: Final = 100
REMEDY: Final = "put it into a price file, which [prices] file names"


class TokenEstimateView(View, frozen=True, kw_only=True):
    """Tokens of all requests. tokens: as expected; null without a basis. worst: it cannot be more; null: no bound.

    high: null: some requests have no bound, and it is at least `low`.
    """

    tokens: Count | None
    low: Count
    high: Count | None
    worst: Count | None
    basis: str

    @classmethod
    def of(cls, found: estimates.TokenEstimate) -> Self:
        """The view of a token estimate."""
        return cls(tokens=found.expected, low=found.low, high=found.high, worst=found.worst, basis=found.basis)

    def to_tokens(self) -> estimates.TokenEstimate:
        """The token estimate again."""
        return estimates.TokenEstimate(
            low=self.low, expected=self.tokens, high=self.high, worst=self.worst, basis=self.basis
        )


class CostEstimateView(View, frozen=True, kw_only=True):
    """Dollars with nine places; null: not known. prompts: what reading costs; answers: what they cost at most.

    worst_basis: of `worst` alone.
    """

    currency: Literal["USD"] = "USD"
    low: str | None
    expected: str | None
    high: str | None
    worst: str | None
    prompts: str | None
    answers: str | None
    basis: str
    worst_basis: str

    @classmethod
    def of(cls, found: estimates.CostEstimate) -> Self:
        """The view of a cost estimate."""
        return cls(
            low=_text(found.low_nanos),
            expected=_text(found.expected_nanos),
            high=_text(found.high_nanos),
            worst=_text(found.worst_nanos),
            prompts=_text(found.prompts_nanos),
            answers=_text(found.answers_nanos),
            basis=found.basis,
            worst_basis=found.worst_basis,
        )

    def to_cost(self) -> estimates.CostEstimate:
        """The cost estimate again."""
        return estimates.CostEstimate(
            low_nanos=_nanos(self.low),
            expected_nanos=_nanos(self.expected),
            high_nanos=_nanos(self.high),
            worst_nanos=_nanos(self.worst),
            prompts_nanos=_nanos(self.prompts),
            answers_nanos=_nanos(self.answers),
            basis=self.basis,
            worst_basis=self.worst_basis,
        )


class ModelPriceView(View, frozen=True, kw_only=True):
    """Whose price of a batch of a model was used, and of which day."""

    model: str
    day: date
    source: str


class ModelCountView(View, frozen=True, kw_only=True):
    """A model, and the requests that name it."""

    model: str
    requests: Count


class PricesUsedView(View, frozen=True, kw_only=True):
    """The prices that were used, and the models that have none, with what to do about it."""

    models: list[ModelPriceView]
    unknown: list[ModelCountView]
    remedy: str | None


class UnboundedView(View, frozen=True, kw_only=True):
    """A field whose cost has no bound, and how many requests have such a one."""

    field: str
    requests: Count


class IdenticalView(View, frozen=True, kw_only=True):
    """So many of *total* requests are identical to an earlier one; is_least: there may be more.

    left_out: they are not sent (`dedupe`), and no part of the estimate. low, expected, high: what sending them would
    cost, in dollars; null: not known.
    """

    requests: Count
    total: Count
    is_least: bool
    left_out: bool
    low: str | None
    expected: str | None
    high: str | None

    @classmethod
    def of(cls, found: estimates.Identical) -> Self:
        """The view of what was found."""
        return cls(
            requests=found.requests,
            total=found.total,
            is_least=found.is_least,
            left_out=found.left_out,
            low=_text(found.low_nanos),
            expected=_text(found.expected_nanos),
            high=_text(found.high_nanos),
        )

    def to_found(self) -> estimates.Identical:
        """What was found again."""
        return estimates.Identical(
            requests=self.requests,
            total=self.total,
            is_least=self.is_least,
            left_out=self.left_out,
            low_nanos=_nanos(self.low),
            expected_nanos=_nanos(self.expected),
            high_nanos=_nanos(self.high),
        )


class TrialEstimateView(View, frozen=True, kw_only=True):
    """What a trial of so many *requests* of *total* costs, in dollars; null: not known."""

    requests: Count
    total: Count
    low: str | None
    expected: str | None
    high: str | None

    @classmethod
    def of(cls, found: estimates.TrialEstimate) -> Self:
        """The view of what a trial costs."""
        low, expected, high = map(_text, found[2:])
        return cls(requests=found.requests, total=found.total, low=low, expected=expected, high=high)

    def to_found(self) -> estimates.TrialEstimate:
        """What a trial costs again."""
        amounts = map(_nanos, (self.low, self.expected, self.high))
        return estimates.TrialEstimate(self.requests, self.total, *amounts)


class EstimateView(View, frozen=True, kw_only=True):
    """What an input will take and cost. rough: why nothing was counted; null: it was. calls: free ones, to count.

    under_cap: how it will go under its cap (`max_cost`, or that of the settings); null: there is nothing to say.
    """

    requests: Count
    models: list[ModelCountView]
    input: TokenEstimateView
    output: TokenEstimateView
    cost: CostEstimateView
    price: PricesUsedView
    calls: Count
    rough: str | None
    unbounded: UnboundedView | None
    cache: CacheEstimateView
    identical: IdenticalView | None = None
    trial: TrialEstimateView | None = None
    hints: list[str]
    under_cap: str | None

    @classmethod
    def of(cls, found: estimates.Estimate) -> Self:
        """The view of an estimate."""
        unbounded = found.unbounded
        return cls(
            requests=found.requests,
            models=[ModelCountView(model=name, requests=many) for name, many in found.models],
            input=TokenEstimateView.of(found.input),
            output=TokenEstimateView.of(found.output),
            cost=CostEstimateView.of(found.cost),
            price=_prices(found),
            calls=found.calls,
            rough=found.rough,
            unbounded=None if unbounded is None else UnboundedView(field=unbounded[0], requests=unbounded[1]),
            cache=CacheEstimateView.of(found.cache),
            identical=None if found.identical is None else IdenticalView.of(found.identical),
            trial=None if found.trial is None else TrialEstimateView.of(found.trial),
            hints=list(found.hints),
            under_cap=found.under_cap,
        )

    def to_estimate(self) -> estimates.Estimate:
        """The estimate again."""
        unbounded = self.unbounded
        priced = (estimates.PriceUsed(one.model, one.day, one.source) for one in self.price.models)
        return estimates.Estimate(
            requests=self.requests,
            models=_counts(self.models),
            input=self.input.to_tokens(),
            output=self.output.to_tokens(),
            cost=self.cost.to_cost(),
            prices=tuple(priced),
            unpriced=_counts(self.price.unknown),
            calls=self.calls,
            rough=self.rough,
            unbounded=None if unbounded is None else (unbounded.field, unbounded.requests),
            cache=self.cache.to_cache(),
            hints=tuple(self.hints),
            under_cap=self.under_cap,
            identical=None if self.identical is None else self.identical.to_found(),
            trial=None if self.trial is None else self.trial.to_found(),
        )


def _prices(found: estimates.Estimate) -> PricesUsedView:
    return PricesUsedView(
        models=[ModelPriceView(model=model, day=day, source=source) for model, day, source in found.prices],
        unknown=[ModelCountView(model=name, requests=many) for name, many in found.unpriced],
        remedy=REMEDY if found.unpriced else None,
    )


def _counts(views: list[ModelCountView]) -> tuple[estimates.ModelCount, ...]:
    return tuple(estimates.ModelCount(view.model, view.requests) for view in views)


def _text(nanos: int | None) -> str | None:
    return None if nanos is None else money.as_text(nanos)


def _nanos(text: str | None) -> int | None:
    return None if text is None else money.parse_amount(text)


def estimate_lines(found: estimates.Estimate, cap: int | None) -> Iterator[str]:
    """*found* for a person, a few lines. cap: the most that the job may cost."""
    if found.models:
        yield f"models   {humanize.some([f'{model} {requests:,}' for model, requests in found.models])}"
    yield f"input    {_prompts(found.input):<26}  {found.input.basis}"
    yield f"output   {_output(found.output):<26}  {_answers(found)}"
    yield f"cost     {_cost(found)}"
    if found.trial is not None:
        yield f"trial    {trial_words(found.trial)}"
    yield from (f"price    {line}" for line in _sources(found))
    yield from (f"cache    {line}" for line in cache_lines(found.cache))
    if found.identical is not None:
        yield f"dedupe   {identical_words(found.identical)}"
    if found.under_cap is not None:
        yield f"cap      {found.under_cap}"
    elif cap is not None and found.cost.worst_nanos is not None and found.cost.worst_nanos <= cap:
        yield f"cap      fits: at most {money.shown(found.cost.worst_nanos)} of {money.shown_cap(cap)}"
    yield from (f"hint     {hint}" for hint in found.hints)


def trial_words(found: estimates.TrialEstimate) -> str:
    """`10 of 1,000 requests: $0.0061 ($0.0052 … $0.0070)`."""
    told = pilot.trial_words(found.requests, found.total).removeprefix("trial of ")
    low, expected, high = (None if nanos is None else money.shown(nanos) for nanos in found[2:])
    if low is None:
        return f"{told}: unknown"
    if high is None:
        return f"{told}: at least {low}"
    return f"{told}: {low} … {high}" if expected is None else f"{told}: {_around(low, expected, high)}"


def _around(low: str, expected: str, high: str) -> str:
    """What is expected, and between what, if that can be seen."""
    return expected if low == high else f"{expected} ({low} … {high})"


def identical_words(found: estimates.Identical) -> str:
    """How many requests are identical to another, and what sending them once saves."""
    least = "at least " if found.is_least else ""
    told = f"{least}{found.requests:,} of {humanize.count(found.total, 'request')} are identical to another"
    amount = _saving(found)
    if found.left_out:
        return f"{told}, and not sent: {amount} saved" if amount else f"{told}, and not sent"
    return f"{told}: --dedupe would save {amount}" if amount else f"{told}: --dedupe sends them once"


def _saving(found: estimates.Identical) -> str:
    if found.expected_nanos is not None:
        return f"about {money.shown(found.expected_nanos)}"
    if found.low_nanos is None or found.high_nanos is None:
        return ""
    return f"{money.shown(found.low_nanos)} to {money.shown(found.high_nanos)}"


def _prompts(found: estimates.TokenEstimate) -> str:
    if found.expected is None or found.high is None:
        return f"at least {_tokens(found.low)} tokens"
    expected = found.expected
    half = max(expected - found.low, found.high - expected if found.worst is None or found.high < found.worst else 0)
    share = round(100 * half / expected) if expected else 0
    return f"{_tokens(expected)} tokens  ±{share} %"


def _output(found: estimates.TokenEstimate) -> str:
    if found.expected is None and found.high is not None:
        return f"0 … {_tokens(found.high)} tokens"
    if found.expected is not None and found.high is not None and found.high - found.expected > found.expected / 2:
        return f"{_tokens(found.expected)} ({_tokens(found.low)} … {_tokens(found.high)}) tokens"
    return _prompts(found)


def _answers(found: estimates.Estimate) -> str:
    if found.output.expected is not None:
        return found.output.basis
    if found.unbounded is not None:
        return f"{found.output.basis}: no bound"
    told = f"; --pilot {_A_PILOT} would tell" if found.requests > _A_PILOT else ""
    return f"{found.output.basis}: as long as max_tokens allows{told}"


def _tokens(count: int) -> str:
    """Two decimals from a million on: nobody reads more of an estimate."""
    return f"{count / _MILLION:,.2f}M" if count >= _MILLION else f"{count:,}"


def _cost(found: estimates.Estimate) -> str:
    cost = found.cost
    unknown = sum(count for _, count in found.unpriced)
    if cost.low_nanos is None:
        return f"unknown: no price for {_named(found)}; {REMEDY}"
    if unknown:
        without = humanize.count(unknown, "request")
        return f"at least {money.shown(cost.low_nanos)} ({without} without a price: {_named(found)}; {REMEDY})"
    if cost.expected_nanos is not None and cost.high_nanos is not None:
        around = _around(*map(money.shown, (cost.low_nanos, cost.expected_nanos, cost.high_nanos)))
        return f"{around:<26}  {_bound(found)}"
    if cost.prompts_nanos is None or cost.answers_nanos is None:
        return f"{f'at least {money.shown(cost.low_nanos)}':<26}  {_bound(found)}"
    span = f"{money.shown(cost.prompts_nanos)} … {money.shown(cost.prompts_nanos + cost.answers_nanos)}"
    return f"{span:<26}  {_bound(found)}"


def _bound(found: estimates.Estimate) -> str:
    if found.cost.worst_nanos is not None:
        return f"cannot be more than {money.shown(found.cost.worst_nanos)} ({found.cost.worst_basis})"
    field, many = found.unbounded or ("", 0)
    told = ", whose cost is not in it" if found.cost.expected_nanos is None else ""
    return f"no bound: {field} in {humanize.count(many, 'request')}{told}"


def _named(found: estimates.Estimate) -> str:
    return humanize.some([name for name, _ in found.unpriced])


def _sources(found: estimates.Estimate) -> Iterator[str]:
    by_source: dict[tuple[str, date], list[str]] = {}
    for price in found.prices:
        by_source.setdefault((price.source, price.day), []).append(price.model)
    for (source, day), models in by_source.items():
        yield f"{humanize.some(models)} in a batch on {day}: {source}"
