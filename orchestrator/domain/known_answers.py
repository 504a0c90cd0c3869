"""What earlier answers say of further ones: their mean, and how far a sum of others may be from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from orchestrator.domain.model_generation import undated

__all__ = ["COSTS_OF_KIND", "AnswersKnown", "Forecast", "Likely", "Observed"]

_SIGMAS: Final = 1.96  #: 95 of 100 cases
_LEAST: Final = 2  #: one answer says nothing of how much they differ
#: However alike answers of earlier jobs were, those of a new one differ: by this share of what requests of the same
#: kind were answered, and by this factor where only the model is the same.
_LEAST_SHARE: Final = 0.1
_LEAST_FACTOR: Final = 2
_KIND: Final = "model, system prompt, tools and schema (without these: first words)"
_OF_ITS_KIND: Final = f"{{:,}} answers of earlier jobs with the same {_KIND}"
_OF_ITS_MODEL: Final = (
    "{:,} answers of earlier jobs with the same model, whatever their prompts: others may be half or twice as long"
)
_AS_WRITTEN: Final = "; what is marked as if each request wrote it"
_AS_BEFORE: Final = "; what is marked as {:,} requests of the same kind were billed"
#: Of requests that have no bound; of how many answers.
COSTS_OF_KIND: Final = f"what {{:,}} answers of earlier jobs with the same {_KIND} cost"


class Forecast(NamedTuple):
    """A sum that is expected. low, high: in 95 of 100 cases between them."""

    low: int
    expected: int
    high: int

    def plus(self, known: int) -> Forecast:
        """With so much *known* on top."""
        return Forecast(self.low + known, self.expected + known, self.high + known)

    def at_least_between(self, low: float, high: float) -> Forecast:
        """No narrower than from *low* to *high* times what is expected."""
        return Forecast(
            min(self.low, round(self.expected * low)), self.expected, max(self.high, round(self.expected * high))
        )

    def at_most(self, most: int) -> Forecast:
        """No figure above *most*."""
        return Forecast(*(min(figure, most) for figure in self))


class Observed(NamedTuple):
    """A number that was seen of each of `count` answers: how much they come to, and their squares."""

    answers: int = 0
    total: int = 0
    squares: float = 0.0

    @property
    def variance(self) -> float:
        """Of one answer; sums of squares are floating point, and a little off."""
        return max(0.0, self.squares - self.total**2 / self.answers) / (self.answers - 1)

    def forecast(self, more: int) -> Forecast | None:
        """What *more* others come to; None: too few were seen.

        The half-width is 1.96 · CV / √K of the expected sum, K being `answers`, and by how much the others, being so
        few, may differ themselves.
        """
        if self.answers < _LEAST:
            return None
        expected = self.total / self.answers * more
        half = _SIGMAS * math.sqrt(self.variance * more * (1 + more / self.answers))
        return Forecast(max(0, round(expected - half)), round(expected), round(expected + half))


class Likely(NamedTuple):
    """The tokens that are expected of answers. basis: what that rests on, for people."""

    by_model: Mapping[str, Forecast]
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersKnown:
    """Tokens of the answers of earlier jobs. of_kind: of those whose requests are like these in all but their messages.

    costs: of these, nano-dollars for each, tools that the API runs included. by_model: tokens of the answers of all
    jobs, by models without their dates.
    """

    of_kind: Observed = field(default_factory=Observed)
    costs: Observed = field(default_factory=Observed)
    by_model: Mapping[str, Observed] = field(default_factory=dict)

    def likely(self, requests: Mapping[str, int], max_tokens: Mapping[str, int]) -> Likely | None:
        """What answers to so many *requests* of each model come to, with *max_tokens* in all at most.

        None: of some model too few are known.
        """
        low, high = 1 / _LEAST_FACTOR, float(_LEAST_FACTOR)
        if len(requests) == 1 and self.of_kind.answers >= _LEAST:
            low, high = 1 - _LEAST_SHARE, 1 + _LEAST_SHARE
            seen = dict.fromkeys(requests, self.of_kind)
            basis = _OF_ITS_KIND.format(self.of_kind.answers)
        else:
            seen = {model: self.by_model.get(undated(model), Observed()) for model in requests}
            basis = _OF_ITS_MODEL.format(sum(each.answers for each in seen.values()))
        found = {model: seen[model].forecast(count) for model, count in requests.items()}
        bounded = {
            model: each.at_least_between(low, high).at_most(max_tokens[model])
            for model, each in found.items()
            if each is not None
        }
        return Likely(bounded, basis) if bounded and len(bounded) == len(found) else None

    def likely_cost(self, requests: int) -> Forecast | None:
        """What so many *requests* of the same kind will cost, tools that the API runs included; None: too few did."""
        told = self.costs.forecast(requests)
        return None if told is None else told.at_least_between(1 - _LEAST_SHARE, 1 + _LEAST_SHARE)

    def cost_by_luck(self, requests: int, cheapest: int, dearest: int) -> tuple[int, str]:
        """What *requests* will cost which may find in the cache what others wrote, and the basis of that.

        cheapest, dearest: if each reads what it marks, or writes it: so it is reckoned where none was answered before.
        """
        told = self.costs.forecast(requests)
        if told is None:
            return dearest, _AS_WRITTEN
        return max(cheapest, min(dearest, told.expected)), _AS_BEFORE.format(self.costs.answers)
