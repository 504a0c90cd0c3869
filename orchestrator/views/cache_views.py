"""What the prompt cache does for an input, as JSON and in the lines of `check`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Self

from orchestrator.domain import humanize, money
from orchestrator.ports import estimates
from orchestrator.views.view import Count, View

_PLACES = 9


class SharedPrefixView(View, frozen=True, kw_only=True):
    """A beginning that requests of a model share, in tokens. least: what the model keeps at least."""

    model: str
    requests: Count
    tokens: Count
    least: Count


class CacheEstimateView(View, frozen=True, kw_only=True):
    """What the prompt cache does for an input, or, with `marked` 0, would do.

    adds_markers: they are added when it is sent (cache `auto`), and counted as if they were there. sends_ahead: one
    request of each prefix goes ahead of the others (not with cache `off`), which read it then. marked,
    marked_at_end, below_minimum, for_minutes: requests with markers, and those whose markers do little. prefixes,
    requests: what is shared, and long enough; largest: of them. saved: dollars against no cache, may be negative;
    null: not known.
    """

    adds_markers: bool
    sends_ahead: bool
    marked: Count
    marked_at_end: Count
    below_minimum: Count
    for_minutes: Count
    prefixes: Count
    requests: Count
    largest: SharedPrefixView | None
    saved: str | None

    @classmethod
    def of(cls, found: estimates.CacheEstimate) -> Self:
        """The view of *found*."""
        largest, saved = found.largest, found.saved_nanos
        return cls(
            adds_markers=found.adds_markers,
            sends_ahead=found.sends_ahead,
            marked=found.marked,
            marked_at_end=found.marked_at_end,
            below_minimum=found.below_minimum,
            for_minutes=found.for_minutes,
            prefixes=found.prefixes,
            requests=found.requests,
            largest=None if largest is None else SharedPrefixView(**largest._asdict()),
            saved=None if saved is None else money.as_text(saved),
        )

    def to_cache(self) -> estimates.CacheEstimate:
        """Convert back to a `CacheEstimate`."""
        largest = self.largest
        return estimates.CacheEstimate(
            adds_markers=self.adds_markers,
            sends_ahead=self.sends_ahead,
            marked=self.marked,
            marked_at_end=self.marked_at_end,
            below_minimum=self.below_minimum,
            for_minutes=self.for_minutes,
            prefixes=self.prefixes,
            requests=self.requests,
            largest=None if largest is None else estimates.SharedPrefix(**largest.fields()),
            saved_nanos=None if self.saved is None else int(Decimal(self.saved).scaleb(_PLACES)),
        )


def cache_lines(found: estimates.CacheEstimate) -> Iterator[str]:
    """*found* for a person: nothing if no request shares anything, and none is marked."""
    if found.largest is not None:
        yield _shared(found, found.largest)
    if found.marked_at_end:
        each = humanize.count(found.marked_at_end, "request")
        yield f"{each} marked at the end alone, which no other shares: each writes to the cache, and none reads"
    if found.below_minimum:
        each = humanize.count(found.below_minimum, "request")
        yield f"{each} marked with fewer tokens than the model keeps: nothing is kept of them"
    if found.for_minutes:
        each = humanize.count(found.for_minutes, "request")
        yield f'{each} marked for five minutes, and a batch takes longer: "ttl": "1h"'
    if found.marked and found.saved_nanos is not None and found.saved_nanos < 0:
        yield f"that costs about {money.shown(-found.saved_nanos)} more than without a marker"


def _shared(found: estimates.CacheEstimate, largest: estimates.SharedPrefix) -> str:
    what = f"{humanize.count(largest.requests, 'request')} share about {largest.tokens:,} tokens"
    if not found.prefixes:
        return f"{what}: under the {largest.least:,} that {largest.model} keeps"
    if found.prefixes > 1:
        others = humanize.count(found.prefixes - 1, "other beginning")
        what += f", and {found.requests - largest.requests:,} share {others}"
    return f"{what}: {_worth(found)}"


def _worth(found: estimates.CacheEstimate) -> str:
    if found.saved_nanos is None:
        return "what a cache saves is unknown without a price"
    if found.marked and not found.sends_ahead:
        return "each writes them to the cache, as none goes ahead of the others (--cache prime)"
    if found.marked and found.for_minutes and found.saved_nanos < 0:
        return "one goes ahead of the others, and most of these come too late for what is kept five minutes"
    if found.marked:
        how = (
            "a marker is added, and one goes ahead of the others"
            if found.adds_markers
            else "one goes ahead of the others"
        )
        return f"about {money.shown(max(found.saved_nanos, 0))} less than without a cache, as {how}"
    return f"--cache auto would save about {money.shown(found.saved_nanos)}"
