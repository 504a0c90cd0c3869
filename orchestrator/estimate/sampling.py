"""Tokens of an input from the counts of a sample: in each stratum as many tokens to a rough one as in its sample.

A ratio varies far less than the tokens do, and the rough size of every request is known. The interval comes from how
the sample itself varies, and from what the API's own counts may be off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

from orchestrator.domain.rough_size import ROUGH_SHARE
from orchestrator.estimate.strata import EARLY, SampledRequest, SharedHead, Stratum, Terms

__all__ = ["COUNT_SHARE", "MOST_CALLS", "Counted", "PromptPart", "add_up", "choose", "half_width", "reckon"]

MOST_CALLS: Final = 200
#: What a count may be off. Source: "the token count is an estimate", the API's page on it; a few percent were seen.
COUNT_SHARE: Final = 0.02
_LEAST_EACH: Final = 4
_SIGMAS: Final = 1.96  #: 95 of 100 cases
#: How much the ratio of a stratum may differ from that of its model where its own sample does not tell.
_UNKNOWN_SHARE: Final = 0.2


class Counted(NamedTuple):
    """A request of a sample: its rough tokens, and what the API counted of it beyond its shared head."""

    size: float
    tokens: float


class PromptPart(NamedTuple):
    """Tokens that are billed at the same rates. each: how many such a prompt has, with its shared head.

    max_tokens: what the answers may have. is_rough: nothing of its model was counted.
    """

    terms: Terms
    is_head: bool
    each: float
    tokens: float
    variance: float
    is_rough: bool
    max_tokens: int = 0


def choose(strata: Sequence[Stratum], calls: int, chance: Random) -> list[Sequence[SampledRequest]]:
    """What to count of each of *strata*, *calls* in all at most: a few of each, the rest by size."""
    total = sum(stratum.size for stratum in strata) or 1.0
    least = max(0, min(_LEAST_EACH, calls // len(strata))) if strata else 0
    rest = max(0, calls - least * len(strata))
    wanted = (least + int(rest * stratum.size / total) for stratum in strata)
    return [chance.sample(one.kept, min(many, len(one.kept))) for one, many in zip(strata, wanted, strict=True)]


def reckon(
    strata: Sequence[Stratum], samples: Sequence[Sequence[Counted]], heads: Sequence[SharedHead]
) -> list[PromptPart]:
    """The tokens of every stratum, by its sample, and of every shared head."""
    ratios = _ratios(strata, samples)
    parts = [
        _part(stratum, sample, ratios.get(stratum.likeness.terms.model), _before(stratum, heads))
        for stratum, sample in zip(strata, samples, strict=True)
    ]
    return [*parts, *_head_parts(heads)]


def add_up(strata: Iterable[Stratum], heads: Sequence[SharedHead]) -> list[PromptPart]:
    """The tokens of every stratum and head, where every request was counted."""
    parts = []
    for one in strata:
        each = _before(one, heads) + one.counted / max(1, one.requests)
        parts.append(PromptPart(one.likeness.terms, False, each, one.counted, 0.0, False, one.max_tokens))
    return [*parts, *_head_parts(heads)]


def _head_parts(heads: Iterable[SharedHead]) -> Iterator[PromptPart]:
    for head in heads:
        early = EARLY * head.tokens  # is priced as a head, and not once more with its requests
        tokens = head.requests * head.tokens + early
        yield PromptPart(head.terms, True, head.tokens, tokens, 0.0, not head.is_counted)
        yield PromptPart(head.terms, False, head.tokens, -early, 0.0, not head.is_counted)


def _before(stratum: Stratum, heads: Sequence[SharedHead]) -> float:
    """Tokens of the head that stands before each of its messages."""
    return 0.0 if stratum.likeness.head < 0 else heads[stratum.likeness.head].tokens


def _ratios(strata: Sequence[Stratum], samples: Sequence[Sequence[Counted]]) -> Mapping[str, float]:
    """Tokens to a rough one, by model, of all that was counted."""
    by_model: dict[str, list[Counted]] = {}
    for stratum, sample in zip(strata, samples, strict=True):
        by_model.setdefault(stratum.likeness.terms.model, []).extend(sample)
    return {model: ratio for model, all_of_it in by_model.items() if (ratio := _ratio(all_of_it)) is not None}


def _part(stratum: Stratum, sample: Sequence[Counted], of_model: float | None, head: float) -> PromptPart:
    ratio = _ratio(sample)
    if ratio is None:
        ratio = 1.0 if of_model is None else of_model
    tokens = ratio * stratum.size
    each = head + tokens / max(1, stratum.requests)
    variance = 0.0 if of_model is None else _variance(stratum, sample, ratio)
    return PromptPart(stratum.likeness.terms, False, each, tokens, variance, of_model is None, stratum.max_tokens)


def _ratio(sample: Iterable[Counted]) -> float | None:
    sizes, tokens = (math.fsum(column) for column in zip((0.0, 0.0), *sample, strict=True))
    return tokens / sizes if sizes else None


def _variance(stratum: Stratum, sample: Sequence[Counted], ratio: float) -> float:
    """Of the tokens of *stratum*, by how its sample strays from its own ratio."""
    many, few = stratum.requests, len(sample)
    if few >= many:
        return 0.0
    if few < 2:
        return float((_UNKNOWN_SHARE * ratio * stratum.size / _SIGMAS) ** 2)
    stray = math.fsum((tokens - ratio * size) ** 2 for size, tokens in sample) / (few - 1)
    return float(many**2 * (1 - few / many) * stray / few)


def half_width(parts: Iterable[PromptPart], weights: Iterable[float]) -> float:
    """How far the sum of *parts*, each times its weight, may be off in 95 of 100 cases."""
    variance = certain = 0.0
    for part, weight in zip(parts, weights, strict=True):
        variance += part.variance * weight**2
        certain += part.tokens * weight * (ROUGH_SHARE if part.is_rough else COUNT_SHARE)
    return _SIGMAS * math.sqrt(variance) + certain
