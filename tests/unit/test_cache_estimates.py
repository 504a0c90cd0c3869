"""What the prompt cache does for an input, as it is said before anything is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.domain.billing import Rates
from orchestrator.domain.token_bounds import read_request
from orchestrator.estimate.cache_census import CacheCensus
from orchestrator.ports.estimates import CacheEstimate
from orchestrator.views.cache_views import CacheEstimateView, cache_lines

SONNET = Rates(1_000_000, 5_000_000, 1_250_000, 2_000_000, 50_000)
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BRIEF = {"cache_control": {"type": "ephemeral"}}
LONG = "Every answer is short. " * 2_000


def params(number: int, *, system: Any = LONG, **changes: Any) -> bytes:
    messages = [{"role": "user", "content": f"Question {number}"}]
    fields = {"model": "claude-sonnet-5-5", "max_tokens": 9, "system": system, "messages": messages, **changes}
    return msgspec.json.encode(fields)


def block(text: str, mark: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, **(mark or {})}]


def estimate(*rows: bytes, rates: Rates | None = SONNET, most: int = 4_096) -> CacheEstimate:
    census = CacheCensus(most_kept=most)
    for row in rows:
        census.add(read_request(row), row)
    found = census.estimate({} if rates is None else {"claude-sonnet-5-5": rates})
    assert CacheEstimateView.of(found).to_cache() == found
    return found


def words(found: CacheEstimate) -> str:
    return "\n".join(cache_lines(found))


def test_unmarked_requests_that_share_a_beginning_are_told_what_a_marker_saves() -> None:
    """A thousand with ten thousand tokens: 949 reads and 51 writes against a thousand readings anew."""
    found = estimate(*(params(number, system="x " * 15_131) for number in range(1_000)))
    assert found.largest == ("claude-sonnet-5-5", 1_000, 10_000, 4_096)
    assert found.saved_nanos == 10_000_000_000 - 1_494_500_000
    assert words(found) == ("1,000 requests share about 10,000 tokens: --cache auto would save about $8.51")


def test_a_beginning_that_the_model_does_not_keep() -> None:
    """Both numbers are said, and no saving."""
    found = estimate(*(params(number, system="x" * 914) for number in range(9)))
    assert (found.prefixes, found.saved_nanos) == (0, 0)
    assert words(found) == "9 requests share about 315 tokens: under the 4,096 that claude-sonnet-5-5 keeps"


def test_too_few_requests_share_nothing() -> None:
    """A prefix for an hour pays from three on."""
    assert words(estimate(params(1), params(2))) == ""


def test_each_request_counts_for_the_longest_beginning_that_others_share() -> None:
    """Three ask about one book, two of other books have only the system prompt, which all share."""
    books = [str(number) * 20_000 for number in (1, 1, 1, 2, 3, 4)]
    questions = [
        [{"role": "user", "content": [*block(book), *block(f"Question {number}")]}] for number, book in enumerate(books)
    ]
    found = estimate(*(params(0, messages=question) for question in questions))
    assert (found.prefixes, found.requests) == (2, 6)
    assert found.largest is not None
    assert found.largest.requests == 3


def test_markers_of_ones_own_are_judged() -> None:
    """Once one request is marked, what others could mark does not count: a marker is never added there."""
    rows = [params(number, system=block(LONG, HOUR)) for number in range(5)]
    found = estimate(*(params(number) for number in range(9)), *rows)
    assert (found.marked, found.requests, found.prefixes) == (5, 5, 1)
    assert (found.marked_at_end, found.below_minimum, found.for_minutes) == (0, 0, 0)
    assert "5 requests share about 15,209 tokens" in words(found)


def test_markers_that_do_little_are_told() -> None:
    """At the end of each request, which costs more than none; on a text that is too short; for five minutes."""
    at_end = estimate(*(params(number, **HOUR) for number in range(5)))
    assert at_end.marked_at_end == 5
    assert at_end.saved_nanos is not None
    assert at_end.saved_nanos < 0
    assert "each writes to the cache, and none reads" in words(at_end)
    assert "more than without a marker" in words(at_end)
    short = estimate(*(params(number, system=block("Be kind.", HOUR)) for number in range(5)))
    assert "nothing is kept of them" in words(short)
    brief = estimate(*(params(number, system=block(LONG, BRIEF)) for number in range(5)))
    assert '"ttl": "1h"' in words(brief)


def test_without_a_price_nothing_is_said_to_be_saved() -> None:
    """Unknown, and not nothing."""
    found = estimate(*(params(number) for number in range(5)), rates=None)
    assert found.saved_nanos is None
    assert "unknown without a price" in words(found)


def test_memory_does_not_grow_with_the_input() -> None:
    """Beginnings that came once are forgotten; what many share stays."""
    rows = [params(n, tools=[{"name": "look"}], system=f"{n} {LONG[:900]}" if n % 2 else LONG) for n in range(200)]
    found = estimate(*rows, most=20)
    assert found.prefixes == 1
    assert 80 <= found.requests <= 100
