"""From tokens to money: an estimate out of a census and what was counted of it.

Figures of a sample are no amounts of money yet: they are reckoned in pico-dollars as they come, and become whole
nano-dollars once, at the end. What it cannot be more than is summed request by request, in integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from orchestrator.domain.billing import Rates
from orchestrator.domain.cache_prefix import least_tokens
from orchestrator.domain.known_answers import AnswersKnown, Forecast, Likely
from orchestrator.domain.priming import LEAST_ROWS
from orchestrator.domain.result_outcome import safe_name
from orchestrator.estimate.census import Census, ModelTally
from orchestrator.estimate.sampling import PromptPart, half_width
from orchestrator.ports.estimates import CostEstimate, Estimate, ModelCount, PriceUsed, TokenEstimate

__all__ = ["estimate_of"]

_PICOS: Final = 1000
_US: Final = 1.1
#: Answers as long as this are rarely meant.
_LONG_ANSWER: Final = 8_192
#: So many times dearer than the prompts: then `max_tokens` is what the estimate is about.
_MOSTLY: Final = 5
_NO_HISTORY: Final = "no history"
_WORST_BASIS: Final = "a token for every byte, and max_tokens of answers"


def estimate_of(
    census: Census, parts: Sequence[PromptPart], basis: str, known: AnswersKnown, *, calls: int, rough: str | None
) -> Estimate:
    """The estimate of what *census* saw, by *parts*. basis: what the tokens of the prompts rest on."""
    tallies = census.models
    likely = _likely(census, known)
    unpriced = tuple(_counts(tallies, lambda one: one.price is None))
    worst_input = None if census.unbounded else sum(one.worst_input for one in tallies.values())
    cost = _by_luck(_cost(census, parts, likely, basis, has_all=not unpriced), census, parts, known)
    if census.unbounded:
        cost = _unbounded(cost, None if unpriced else known.likely_cost(census.requests))
    rates = {name: one.price.rates for name, one in tallies.items() if one.price is not None}
    return Estimate(
        requests=census.requests,
        models=tuple(_counts(tallies, lambda _: True)),
        input=_input(parts, worst_input, basis),
        output=_output(census, likely),
        cost=cost,
        prices=tuple(
            PriceUsed(one.model, one.day, one.source) for each in tallies.values() if (one := each.price) is not None
        ),
        unpriced=unpriced,
        calls=calls,
        rough=rough,
        unbounded=None if census.unbounded is None else (census.unbounded, census.unbounded_requests),
        cache=census.cache.estimate(rates),
        hints=tuple(_hints(census, cost)),
        identical=census.identical.found(rates, known, left_out=census.leaves_out),
    )


def _counts(tallies: Mapping[str, ModelTally], wanted: Callable[[ModelTally], bool]) -> Iterator[ModelCount]:
    """Those that are *wanted*: a name may be as long as the request that has it."""
    return (ModelCount(safe_name(name), one.requests) for name, one in tallies.items() if wanted(one))


def _likely(census: Census, known: AnswersKnown) -> Likely | None:
    """What answers come to; of those without a bound only answers of the same kind tell anything."""
    if census.unbounded and known.likely_cost(census.requests) is None:
        return None
    tallies = census.models
    return known.likely(
        {name: one.requests for name, one in tallies.items()}, {name: one.max_tokens for name, one in tallies.items()}
    )


def _unbounded(cost: CostEstimate, told: Forecast | None) -> CostEstimate:
    """At least what the prompts of *cost* cost; or what such requests have cost, with the tools that the API ran."""
    cost = replace(cost, expected_nanos=None, high_nanos=None, prompts_nanos=None, answers_nanos=None)
    if told is None:
        return cost
    low, expected, high = told
    return replace(cost, low_nanos=low, expected_nanos=expected, high_nanos=high)


def _input(parts: Sequence[PromptPart], worst: int | None, basis: str) -> TokenEstimate:
    tokens = math.fsum(part.tokens for part in parts)
    half = half_width(parts, [1.0] * len(parts))
    low, high = max(0, round(tokens - half)), round(tokens + half)
    return TokenEstimate(
        low=low,
        expected=None if worst is None else round(tokens),
        high=None if worst is None else min(high, worst),
        worst=worst,
        basis=basis,
    )


def _output(census: Census, likely: Likely | None) -> TokenEstimate:
    most = sum(one.max_tokens for one in census.models.values())
    worst = None if census.unbounded else most
    if likely is None:
        return TokenEstimate(low=0, expected=None, high=worst, worst=worst, basis=_NO_HISTORY)
    low, expected, high = (sum(figures) for figures in zip(*likely.by_model.values(), strict=True))
    return TokenEstimate(low=low, expected=expected, high=high, worst=worst, basis=likely.basis)


def _share(census: Census, likely: Likely | None, model: str) -> tuple[float, float, float]:
    """Of max_tokens: the least, the expected, and the most that answers are."""
    most = census.models[model].max_tokens
    if likely is None or not most:
        return 0.0, 0.0, 1.0
    low, expected, high = likely.by_model[model]
    return low / most, expected / most, high / most


def _cost(
    census: Census, parts: Sequence[PromptPart], likely: Likely | None, basis: str, *, has_all: bool
) -> CostEstimate:
    priced = [(part, one.price.rates) for part in parts if (one := _tally(census, part)) is not None and one.price]
    expected, dearest = (_primed_rate, _primed_rate) if census.cache.is_read else (_expected_rate, _most_rate)
    prompts = _picos(priced, expected)
    answers = math.fsum(part.max_tokens * _weight(part, rates, _output_rate) for part, rates in priced)
    told = [
        (part.max_tokens * _weight(part, rates, _output_rate), _share(census, likely, part.terms.model))
        for part, rates in priced
    ]
    least, middle, most = (math.fsum(picos * shares[place] for picos, shares in told) for place in range(3))
    low = max(0.0, _picos(priced, _least_rate) - _half_picos(priced, _least_rate)) + least
    worst = sum(one.worst_nanos for one in census.models.values()) if has_all and not census.unbounded else None
    high = _nanos(_picos(priced, dearest) + _half_picos(priced, dearest) + most)
    return CostEstimate(
        low_nanos=_nanos(low) if priced or has_all else None,
        expected_nanos=_nanos(prompts + middle) if has_all and likely is not None else None,
        high_nanos=(high if worst is None else min(high, worst)) if has_all else None,
        worst_nanos=worst,
        prompts_nanos=_nanos(prompts) if has_all else None,
        answers_nanos=_nanos(answers) if has_all else None,
        basis=f"{basis}; {_NO_HISTORY if likely is None else likely.basis}",
        worst_basis=_WORST_BASIS,
    )


def _by_luck(cost: CostEstimate, census: Census, parts: Sequence[PromptPart], known: AnswersKnown) -> CostEstimate:
    """*cost*, where requests may read what they mark or write it, nobody knows which: as such ones were billed."""
    is_read = census.cache.is_read
    open_ = [
        (part, one.price.rates)
        for part in parts
        if part.is_head and part.terms.write and not (is_read and part.terms.write == "1h")
        if (one := _tally(census, part)) is not None and one.price
    ]
    if not open_:
        return cost
    between = _nanos(_picos(open_, _expected_rate) - _picos(open_, _least_rate))
    dearest = cost.expected_nanos or 0
    expected, told = known.cost_by_luck(census.requests, dearest - between, dearest)
    return replace(cost, expected_nanos=cost.expected_nanos and expected, basis=cost.basis + told)


def _tally(census: Census, part: PromptPart) -> ModelTally | None:
    return census.models.get(part.terms.model)


def _nanos(picos: float) -> int:
    return round(picos / _PICOS)


_Rate = Callable[[PromptPart, Rates], int]


def _picos(priced: Sequence[tuple[PromptPart, Rates]], rate: _Rate) -> float:
    return math.fsum(part.tokens * _weight(part, rates, rate) for part, rates in priced)


def _half_picos(priced: Sequence[tuple[PromptPart, Rates]], rate: _Rate) -> float:
    """By how much `_picos` may be off: a token that was counted amiss costs what the others do at that *rate*."""
    return half_width([part for part, _ in priced], [_weight(part, rates, rate) for part, rates in priced])


def _weight(part: PromptPart, rates: Rates, rate: _Rate) -> float:
    """Pico-dollars a token of *part*, by the rates for prompts of its length, and where it is worked on."""
    if rates.long is not None and part.each > rates.above:
        rates = Rates(*rates.long)
    return rate(part, rates) * (_US if part.terms.is_us else 1)


def _expected_rate(part: PromptPart, rates: Rates) -> int:
    """A marked head is written: requests of one batch hardly ever read what others of it wrote."""
    return _write_rate(part, rates) if part.is_head else rates.input


def _primed_rate(part: PromptPart, rates: Rates) -> int:
    """The first request of a marked head goes ahead and writes it, the others read it, if it is kept for an hour.

    What is kept for five minutes they find by luck: a batch takes as long.
    """
    requests = round(part.tokens / part.each) if part.is_head and part.each else 0
    if part.terms.write != "1h" or requests < LEAST_ROWS or part.each < least_tokens(part.terms.model):
        return _expected_rate(part, rates)
    return (_write_rate(part, rates) + (requests - 1) * rates.read) // requests


def _least_rate(part: PromptPart, rates: Rates) -> int:
    return rates.read if part.is_head and part.terms.write else rates.input


def _most_rate(part: PromptPart, rates: Rates) -> int:
    return max(rates.input, _write_rate(part, rates))


def _write_rate(part: PromptPart, rates: Rates) -> int:
    return {"": rates.input, "5m": rates.write_5m, "1h": rates.write_1h}[part.terms.write]


def _output_rate(_part: PromptPart, rates: Rates) -> int:
    return rates.output


def _hints(census: Census, cost: CostEstimate) -> Iterator[str]:
    largest = max((one.largest_output for one in census.models.values()), default=0)
    prompts, answers = cost.prompts_nanos, cost.answers_nanos
    if largest >= _LONG_ANSWER and prompts is not None and answers is not None and answers > _MOSTLY * prompts:
        yield f"max_tokens is {largest:,}: a smaller one, if answers are shorter, lowers what this can cost"
    for model, meant in census.guesses():
        guess = f": {meant}" if meant else ""
        yield f"{safe_name(model)} is no model that is known here, and the API may refuse it{guess}"
    for model, begins in census.begins():
        yield f"your price file has {safe_name(model)} from {begins} on: give it a price for today, too"
    if census.unbounded is not None:
        yield f"what {census.unbounded} costs has no bound: the API reads and answers as often as it finds right"
