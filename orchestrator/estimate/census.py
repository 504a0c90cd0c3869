"""One pass over the requests of an input: exact bytes, exact bounds, and samples to be counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from random import Random
from typing import Final

from orchestrator.domain import humanize, token_bounds
from orchestrator.domain.billing import US_ONLY
from orchestrator.domain.cache_marker import LikelyMarks
from orchestrator.domain.job_estimate import KindOfRequests
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.domain.model_generation import generation_of, undated
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.rough_size import rough_content, script_of
from orchestrator.estimate.cache_census import CacheCensus
from orchestrator.estimate.identical import IdenticalRequests
from orchestrator.estimate.strata import Heads, Likeness, SampledRequest, Strata, Stratum, Terms
from orchestrator.ports.runtime import Price, Prices

__all__ = ["Census", "ModelTally", "Placed"]

#: More models than anybody names on purpose; what comes after them is counted as one without a price.
_MOST_MODELS: Final = 256
_OTHERS: Final = "(other models)"

#: Where a request was put, and what of it may be counted.
Placed = tuple[Stratum, SampledRequest]


class ModelTally:
    """What the requests of one model come to. worst_nanos: meaningless without a price."""

    __slots__ = ("largest_output", "max_tokens", "price", "requests", "worst_input", "worst_nanos")

    def __init__(self, price: Price | None) -> None:
        self.price = price
        self.requests = 0
        self.worst_input = 0
        self.worst_nanos = 0
        self.max_tokens = 0
        self.largest_output = 0

    def add(self, worst: token_bounds.WorstUsage) -> None:
        """Take a request that may use so much."""
        self.requests += 1
        self.worst_input += worst.input
        self.max_tokens += worst.output
        self.largest_output = max(self.largest_output, worst.output)
        if self.price is not None:
            self.worst_nanos += token_bounds.worst_cost(worst, self.price.rates)


class Census:
    """Takes every request of an input once, in order. Memory does not grow with it.

    seed: of the samples; the same input and seed give the same ones. dedupe: of identical requests the first alone is
    sent, and taken.
    """

    def __init__(
        self, prices: Prices, day: date, *, seed: int = 0, use: CacheUse = CacheUse.PRIME, dedupe: bool = False
    ) -> None:
        self._prices, self._day = prices, day
        self.requests = 0
        self.models: dict[str, ModelTally] = {}
        self.strata = Strata(Random(seed))  # noqa: S311 - a sample, not a secret
        self.heads = Heads()
        self.cache = CacheCensus(use=use)
        self._marks = LikelyMarks() if use is CacheUse.AUTO else None
        self.kind = KindOfRequests()
        self.identical = IdenticalRequests()
        self.leaves_out = dedupe
        self.unbounded: str | None = None
        self.unbounded_requests = 0

    def begins(self) -> Iterator[tuple[str, date]]:
        """The models that have no price yet, and the day from which the user's list has one."""
        for model, tally in self.models.items():
            begins = self._prices.begins(model, self._day) if tally.price is None else None
            if begins is not None:
                yield model, begins

    def guesses(self) -> Iterator[tuple[str, str]]:
        """The models that have no price and are not known, and a guess at what is meant; empty: none is like it."""
        without = [model for model, tally in self.models.items() if tally.price is None and model != _OTHERS]
        known = self._prices.models() if without else []
        for model in without if known else ():
            if undated(model) not in known:
                yield model, humanize.nearest(model, known)

    def add(self, params: bytes) -> Placed | None:
        """Take one request that passed intake. None: it costs nothing, as the API will refuse it, or it is not sent."""
        if self.identical.take(params) and self.leaves_out:
            return None
        if self._marks is not None:
            params = self._marks.marked(params)
        try:
            request = token_bounds.read_request(params)
            return self._add(request, params)
        except UNREADABLE:
            return None

    def add_all(self, many: Iterable[bytes]) -> list[Placed]:
        """Take each of *many*; returns those that cost something."""
        return [placed for params in many if (placed := self.add(params)) is not None]

    def _add(self, request: token_bounds.PricedRequest, params: bytes) -> Placed:
        content = token_bounds.content_of(request)
        worst = token_bounds.worst_of(request, content)
        terms = Terms(request.model, request.inference_geo == US_ONLY, worst.write)
        script, excess = script_of(bytes(request.messages))
        head, own = self.heads.add(request, terms)
        size = own + rough_content(content, script, excess, generation_of(request.model))
        has_media = bool(content.image_tokens or content.files)
        likeness = Likeness(terms, head, int(size).bit_length(), script, has_media)
        candidate = SampledRequest(size, head, params)
        stratum = self.strata.add(likeness, candidate, request.max_tokens)
        self.requests += 1
        self.kind.add(request)
        self._note_unbounded(request)
        self._tally(request.model).add(worst)
        self.cache.add(request, params)
        return stratum, candidate

    def _note_unbounded(self, request: token_bounds.PricedRequest) -> None:
        if not (request.tools or request.mcp_servers or request.context_management):
            return
        field = token_bounds.unbounded_field(request)
        if field is not None:
            self.unbounded = self.unbounded or field
            self.unbounded_requests += 1

    def _tally(self, model: str) -> ModelTally:
        found = self.models.get(model)
        if found is not None:
            return found
        if len(self.models) >= _MOST_MODELS:
            return self.models.setdefault(_OTHERS, ModelTally(None))
        return self.models.setdefault(model, ModelTally(self._prices.price(model, self._day)))
