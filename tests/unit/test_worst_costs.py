"""What is reserved for a request: at least what one answer may cost, and never more than can be stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from support.prices import PriceTable

from orchestrator.domain.billing import Rates
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.quick_tally import QuickTally
from orchestrator.engine.worst_costs import NoBound, WorstCosts

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def flat(rate: int) -> Rates:
    return Rates(rate, rate, rate, rate, rate)


def worst(allowance: int | None, more: dict[str, object] | None = None, *, times: int = 1) -> int:
    messages = [{"role": "user", "content": "x" * 970}]
    request = {"model": "m", "max_tokens": 1_000, "messages": messages, "inference_geo": "global"}
    raw = json.dumps({**request, **(more or {})})
    return WorstCosts(PriceTable({"m": flat(1_000_000 * times)}), NOON, allowance).of(raw.encode())


def test_an_allowance_is_no_less_than_one_answer() -> None:
    """What the API does again by itself comes on top of it, so that the larger of both is reserved."""
    search: dict[str, object] = {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}
    plain = worst(None)
    assert plain == 2_000_000
    assert worst(1, search) > plain
    assert worst(10**9, search) == 10**9


def test_a_cost_that_no_store_holds_is_refused_with_words() -> None:
    """A list of prices may have any number in it."""
    with pytest.raises(NoBound, match=r"it may cost \$2,000,000,000\.00, more than any cap"):
        worst(None, times=10**12)


def test_an_estimate_that_no_store_holds_is_unknown() -> None:
    """Of each figure by itself."""
    tally = QuickTally()
    tally.add_all([b'{"model":"m","max_tokens":1000000,"messages":[{"role":"user","content":"hi"}]}'] * 200)
    found = tally.estimate({"m": flat(10**14)}, AnswersKnown(), {})
    assert (found.high_nanos, found.worst_nanos) == (None, None)
    assert found.low_nanos is not None


def test_params_that_cannot_be_read_have_no_bound() -> None:
    """They are refused with words, whichever part of them it is."""
    with pytest.raises(NoBound, match="a request cannot be read"):
        worst(None, {"messages": [{"role": "user"}]})
