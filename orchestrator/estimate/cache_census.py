"""What the requests of an input share that the prompt cache can keep: by their markers, or where one could stand.

Tokens are rough ones. What is reckoned: the deepest beginning that at least three requests share counts for them, the
first of them writes it, and of the others 95 of 100 read it; none does where no request goes ahead, or where it is
kept for five minutes, which are mostly over before a batch is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from orchestrator.domain.billing import Rates
from orchestrator.domain.cache_gain import HOUR_S, prefix_nanos
from orchestrator.domain.cache_prefix import MARKER, Breakpoint, Part, PrefixReader, least_tokens
from orchestrator.domain.json_text import plain_ascii
from orchestrator.domain.priming import LEAST_ROWS, CacheUse
from orchestrator.domain.token_bounds import PricedRequest
from orchestrator.ports.estimates import CacheEstimate, SharedPrefix

__all__ = ["CacheCensus"]

_HITS: Final = Fraction(95, 100)
#: Beginnings that are remembered; when there are more, those that came once are forgotten.
_MOST_KEPT: Final = 4_096


class _Group:
    """Requests with the same beginning. inner: of them, those that share a longer one that is kept."""

    __slots__ = ("inner", "outer", "point", "requests")

    def __init__(self, point: Breakpoint, outer: bytes | None) -> None:
        self.point = point
        self.outer = outer
        self.requests = 0
        self.inner = 0

    @property
    def own(self) -> int:
        return self.requests - self.inner


class CacheCensus:
    """Takes every request of an input. Memory does not grow with it.

    Once a request has a marker, only markers count: a marker is never added to requests that have their own.
    """

    def __init__(self, *, most_kept: int = _MOST_KEPT, use: CacheUse = CacheUse.PRIME) -> None:
        self._use = use
        self._reader = PrefixReader()
        self._most = most_kept
        self._groups: dict[bytes, _Group] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._marked = self._at_end = self._short = self._brief = 0

    def add(self, request: PricedRequest, params: bytes) -> None:
        """Take one request. Raises DecodeError for one that the API would refuse."""
        points = self._reader.marks_of(request) if MARKER in plain_ascii(params) else ()
        if points:
            self._add_marked(points)
        elif not self._marked:
            self._note(self._reader.ends_of(request))

    def _add_marked(self, points: Sequence[Breakpoint]) -> None:
        if not self._marked:
            self._groups.clear()
        self._marked += 1
        self._short += points[-1].tokens < least_tokens(points[-1].model)
        self._brief += points[-1].ttl_s < HOUR_S
        if points[0].part is Part.END:
            self._at_end += 1
            key = points[0].model, points[0].ttl_s
            self._ends[key] = self._ends.get(key, 0) + points[0].tokens
        self._note([point for point in points if point.part is not Part.END])

    def _note(self, points: Sequence[Breakpoint]) -> None:
        outer: bytes | None = None
        for point in points:
            group = self._groups.get(point.digest)
            if group is None:
                group = self._groups[point.digest] = _Group(point, outer)
            group.requests += 1
            outer = point.digest
        if len(self._groups) > self._most:
            self._forget()

    def _forget(self) -> None:
        kept = [(digest, group) for digest, group in self._groups.items() if group.requests > 1]
        self._groups = dict(kept[: self._most // 2])

    @property
    def is_read(self) -> bool:
        """Whether every marker is on something that others share, that is kept, and that one writes ahead of them."""
        if self._use is CacheUse.OFF:
            return False
        shared = sum(group.own for group in self._shared() if group.point.tokens >= least_tokens(group.point.model))
        return self._marked > 0 and shared == self._marked

    def estimate(self, rates: Mapping[str, Rates]) -> CacheEstimate:
        """What was found. rates: of each model that has a price."""
        shared = list(self._shared())
        kept = [group for group in shared if group.point.tokens >= least_tokens(group.point.model)]
        known = all(group.point.model in rates for group in kept) and all(model in rates for model, _ in self._ends)
        return CacheEstimate(
            adds_markers=self._use is CacheUse.AUTO,
            sends_ahead=self._use is not CacheUse.OFF,
            marked=self._marked,
            marked_at_end=self._at_end,
            below_minimum=self._short,
            for_minutes=self._brief,
            prefixes=len(kept),
            requests=sum(group.own for group in kept),
            largest=_largest(kept or shared),
            saved_nanos=sum(self._saved(kept, rates)) if known else None,
        )

    def _shared(self) -> Iterator[_Group]:
        """Groups that are large enough, the longest beginnings first; a request counts for the longest alone."""
        for group in self._groups.values():
            group.inner = 0
        for group in sorted(self._groups.values(), key=lambda group: -group.point.tokens):
            if group.own >= LEAST_ROWS:
                yield group
            taken = group.own if group.own >= LEAST_ROWS else 0
            outer = self._groups.get(group.outer) if group.outer is not None else None
            if outer is not None:
                outer.inner += taken + group.inner

    def _saved(self, kept: Sequence[_Group], rates: Mapping[str, Rates]) -> Iterator[int]:
        for group in kept:
            is_brief = group.point.ttl_s < HOUR_S
            hits = Fraction(0) if self._marked and (is_brief or self._use is CacheUse.OFF) else _HITS
            terms = rates[group.point.model], group.own, group.point.tokens
            yield prefix_nanos(*terms, hits=None) - prefix_nanos(*terms, ttl_s=group.point.ttl_s, hits=hits)
        for (model, ttl_s), tokens in self._ends.items():
            of = rates[model], 1, tokens
            yield prefix_nanos(*of, hits=None) - prefix_nanos(*of, ttl_s=ttl_s)


def _largest(groups: Sequence[_Group]) -> SharedPrefix | None:
    found = max(groups, key=lambda group: group.own * group.point.tokens, default=None)
    if found is None:
        return None
    return SharedPrefix(found.point.model, found.own, found.point.tokens, least_tokens(found.point.model))
