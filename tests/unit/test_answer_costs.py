"""From the bytes of a result line to its cost: what the API bills, and what nobody can know."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from support.prices import HAIKU_4_5, PriceTable

from orchestrator.domain.billing import MOST_TOKENS, Payment, Rates
from orchestrator.domain.result_lines import ResultLine, decode_split, output_line
from orchestrator.engine.pricing import Pricing
from orchestrator.engine.result_file import payment_of

MADE: Final = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
PLAIN: Final = {"input_tokens": 1000, "output_tokens": 64}
OPUS_5_5: Final = Rates(2_000_000, 10_000_000, 2_500_000, 4_000_000, 100_000)
COMPACTED: Final = [
    {"type": "message", "input_tokens": 162, "output_tokens": 11},
    {"type": "compaction", "input_tokens": 99_195, "output_tokens": 81},
]


def payment(usage: Any, model: Any = "claude-haiku-4-5", kind: str = "succeeded", **message: Any) -> Payment | None:
    """What an answer with *usage* costs; with None the answer has no usage."""
    body = {"model": model, "content": [], "stop_reason": "end_turn", "usage": usage, **message}
    found = decode_split([output_line("n-1", json.dumps({"type": kind, "message": body}).encode()).strip()])[0]
    assert isinstance(found, ResultLine)
    return payment_of(found, Pricing(PriceTable({**PriceTable().rates, "claude-opus-5-5": OPUS_5_5}), MADE))


def nanos(usage: Any, model: Any = "claude-haiku-4-5", **more: Any) -> int | None:
    """The cost of an answer that is billed."""
    found = payment(usage, model, **more)
    assert found is not None
    return found.nanos


def cached(write_5m: int = 0, write_1h: int = 0, read: int = 0) -> dict[str, Any]:
    """Usage with the cache."""
    return {
        "input_tokens": 1200,
        "output_tokens": 30,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write_5m + write_1h,
        "cache_creation": {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h},
    }


@pytest.mark.parametrize(
    ("usage", "model", "cost"),
    [
        (PLAIN, "claude-haiku-4-5", 660_000),
        (cached(write_1h=11_189), "claude-haiku-4-5", 11_864_000),
        (cached(write_5m=11_189), "claude-haiku-4-5", 7_668_125),
        (cached(read=11_189), "claude-haiku-4-5", 1_234_450),
        ({"input_tokens": 100_000, "output_tokens": 0}, "claude-haiku-5-5", 5_000_000),
        ({"input_tokens": 100_001, "output_tokens": 0}, "claude-haiku-5-5", 25_000_250),
        ({**PLAIN, "inference_geo": "us"}, "claude-haiku-4-5", 726_000),
        ({**PLAIN, "server_tool_use": {"web_search_requests": 3}}, "claude-haiku-4-5", 30_660_000),
        ({"input_tokens": 162, "output_tokens": 11}, "claude-sonnet-4-6", 325_500),
        ({"input_tokens": 162, "output_tokens": 11, "iterations": COMPACTED}, "claude-sonnet-4-6", 149_725_500),
        ({"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 100}, "claude-haiku-4-5", 70_000),
    ],
)
def test_an_answer_costs_what_its_usage_says(usage: Any, model: str, cost: int) -> None:
    """Writes for five minutes and for an hour apart; the tier by the request; what iterations add."""
    assert nanos(usage, model) == cost


def test_an_advisor_is_billed_at_its_own_rates() -> None:
    """It names its model; a compaction is done by the answer's own."""
    advised = [{"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 1000, "output_tokens": 100}]
    found = payment({**PLAIN, "iterations": advised})
    assert found is not None
    assert found.nanos == 660_000 + 3_000_000
    assert [(extra.tariff.model, extra.nanos) for extra in found.extras] == [("claude-opus-5-5", 3_000_000)]


@pytest.mark.parametrize(
    ("category", "output", "cost"),
    [(None, 0, 0), ("cyber", 0, 0), ("bio", 0, 2_000_000), ("frontier_llm", 0, 2_000_000), ("cyber", 1, 2_010_000)],
)
def test_a_refusal_before_any_output_is_free_but_for_some(category: str | None, output: int, cost: int) -> None:
    """And is an answer all the same."""
    usage = {"input_tokens": 1000, "output_tokens": output}
    details = None if category is None else {"category": category}
    assert nanos(usage, "claude-opus-5-5", stop_reason="refusal", stop_details=details) == cost
    assert nanos({"input_tokens": 9, "output_tokens": 0}, "claude-x-9", stop_reason="refusal") == 0


@pytest.mark.parametrize(
    ("usage", "model"),
    [
        (PLAIN, "claude-x-9"),
        (PLAIN, None),
        (PLAIN, ""),
        (None, "claude-haiku-4-5"),
        ({}, "claude-haiku-4-5"),
        ({"input_tokens": 5}, "claude-haiku-4-5"),
        ({"input_tokens": -1, "output_tokens": 5}, "claude-haiku-4-5"),
        ({"input_tokens": 1, "output_tokens": MOST_TOKENS + 1}, "claude-haiku-4-5"),
        ({"input_tokens": 1, "output_tokens": 10**30}, "claude-haiku-4-5"),
        ({"input_tokens": 1, "output_tokens": MOST_TOKENS}, "claude-haiku-4-5"),
        ({**PLAIN, "cache_read_input_tokens": -1}, "claude-haiku-4-5"),
        ({**PLAIN, "server_tool_use": {"web_search_requests": -1}}, "claude-haiku-4-5"),
        ({**PLAIN, "cache_creation_input_tokens": 9, "cache_creation": {}}, "claude-haiku-4-5"),
        ({**PLAIN, "iterations": [{"type": "sideways", "input_tokens": 1, "output_tokens": 1}]}, "claude-haiku-4-5"),
        ({**PLAIN, "iterations": [{"type": "advisor_message", "model": "claude-x-9", **PLAIN}]}, "claude-haiku-4-5"),
        ({**PLAIN, "iterations": "none of your business"}, "claude-haiku-4-5"),
    ],
)
def test_what_cannot_be_known_is_unknown_and_never_nothing(usage: Any, model: Any) -> None:
    """No model or no price, no usage, numbers that no model can have, writes and iterations of other kinds."""
    assert nanos(usage, model) is None


def test_only_what_the_api_bills_has_a_bill() -> None:
    """Errors, expiries and cancellations are free; of a kind that is new nobody can tell."""
    for kind in ("errored", "expired", "canceled"):
        assert payment(PLAIN, kind=kind) is None
    assert nanos(PLAIN, kind="sideways") is None


def test_a_price_is_asked_for_once_and_for_the_utc_day_of_the_batch() -> None:
    """Whatever the offset in which its creation was told."""
    table = PriceTable()
    east = timezone(timedelta(hours=9))
    pricing = Pricing(table, MADE.astimezone(east))
    line = decode_split([output_line("n-1", json.dumps(_answer("claude-haiku-4-5")).encode()).strip()])[0]
    assert isinstance(line, ResultLine)
    payments = [payment_of(line, pricing) for _ in range(3)]
    assert table.asked == [("claude-haiku-4-5", date(2026, 11, 23))]
    assert {each.tariff for each in payments if each is not None} == {payments[0].tariff if payments[0] else None}
    tariff = payments[0].tariff if payments[0] else None
    assert tariff is not None
    assert (tariff.day, tariff.rates, tariff.source) == ("2026-11-23", HAIKU_4_5, "table of the tests")


def test_an_api_that_names_every_model_anew_fills_no_table() -> None:
    """From the hundredth on they are one, which nobody knows; a name is stored short; ours has its price."""
    pricing = Pricing(PriceTable(), MADE)
    prices = [pricing.price(_line_of(f"claude \x00 {number} {'x' * 99}")) for number in range(300)]
    tariffs = [tariff for tariff, _ in prices]
    assert len(set(tariffs)) == 101
    assert all(len(each.model) <= 64 and each.model.isprintable() for each in tariffs)
    assert tariffs[-1].rates is None
    assert pricing.price(_line_of("claude-haiku-4-5"))[0].rates == HAIKU_4_5


def _answer(model: str) -> dict[str, Any]:
    return {"type": "succeeded", "message": {"model": model, "usage": {"input_tokens": 1, "output_tokens": 1}}}


def _line_of(model: str) -> ResultLine:
    line = decode_split([output_line("n-1", json.dumps(_answer(model)).encode()).strip()])[0]
    assert isinstance(line, ResultLine)
    return line
