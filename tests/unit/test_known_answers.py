"""What answers of earlier jobs say of the next: means, and how far they may be off."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from support.prices import HAIKU_4_5, HAIKU_5_5, TABLE

from orchestrator.domain.billing import Tokens, cost_of
from orchestrator.domain.known_answers import AnswersKnown, Forecast, Observed
from orchestrator.domain.quick_tally import QuickTally
from orchestrator.domain.rough_size import rough_head
from orchestrator.domain.token_bounds import content_of, read_request, worst_cost, worst_of

THOUSAND = Observed(1000, 10_000, 125_000.0)  #: a mean of 10, a variance of 25 · 1000/999


def request(text: str = "Hello", **more: Any) -> bytes:
    """The params of one request."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "claude-haiku-4-5", "max_tokens": 64, "messages": messages, **more}).encode()


def tally_of(*params: bytes) -> QuickTally:
    """A tally of these requests."""
    tally = QuickTally()
    tally.add_all(params)
    return tally


def test_the_half_width_is_that_of_the_mean_and_of_what_is_to_come() -> None:
    """1.96 · CV / √K of a large job; a small one differs by itself."""
    large, small = THOUSAND.forecast(1_000_000), THOUSAND.forecast(4)
    assert large is not None
    assert small is not None
    share = 1.96 * 0.5 / math.sqrt(1000)
    assert large.expected == 10_000_000
    assert large.high - large.expected == pytest.approx(share * 10_000_000, rel=0.002)
    assert small == Forecast(20, 40, 60)


def test_one_answer_says_nothing() -> None:
    """And equal ones leave no doubt."""
    assert Observed(1, 10, 100.0).forecast(5) is None
    assert Observed(4, 40, 400.0).forecast(5) == Forecast(50, 50, 50)


def test_the_interval_holds_the_truth_in_95_of_100_cases() -> None:
    """Of answers whose length is lognormal: 100 seen, 300 to come."""
    chance, hits = random.Random(5), 0
    for _ in range(400):
        answers = [round(chance.lognormvariate(4, 0.6)) for _ in range(400)]
        seen, rest = answers[:100], sum(answers[100:])
        found = Observed(100, sum(seen), float(sum(x * x for x in seen))).forecast(300)
        assert found is not None
        hits += found.low <= rest <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_requests_of_one_kind_go_before_all_of_their_model() -> None:
    """A model is known by its name without a date; of two models both must be known."""
    known = AnswersKnown(of_kind=Observed(2, 20, 200.0), by_model={"m": Observed(4, 400, 40_000.0)})
    kind = known.likely({"m-20251001": 10}, {"m-20251001": 640})
    assert kind is not None
    assert kind.by_model["m-20251001"] == Forecast(90, 100, 110), "another job is never quite the same"
    assert "same model, system prompt" in kind.basis
    alone = AnswersKnown(by_model=known.by_model).likely({"m-20251001": 10}, {"m-20251001": 640})
    assert alone is not None
    assert alone.by_model["m-20251001"] == Forecast(500, 640, 640), "no longer than max_tokens"
    far = AnswersKnown(by_model=known.by_model).likely({"m": 10}, {"m": 9_000})
    assert far is not None
    assert far.by_model["m"] == Forecast(500, 1_000, 2_000), "other prompts, other answers"
    assert "whatever their prompts" in alone.basis
    assert known.likely({"m": 1, "other": 1}, {"m": 1, "other": 1}) is None


def test_a_job_is_estimated_by_its_bytes_and_by_what_is_known() -> None:
    """Without history from no answers to the longest; with it a figure of its own."""
    tally = tally_of(*[request(f"Text {number}") for number in range(10)])
    bare = tally.estimate(TABLE, AnswersKnown(), {})
    size = sum(len(request(f"Text {number}")) for number in range(10))
    assert bare.input_tokens == round(size * 0.23)
    assert bare.expected_nanos is None
    assert bare.low_nanos == cost_of(Tokens(round(bare.input_tokens * 0.6)), HAIKU_4_5)
    assert bare.high_nanos == tally.high(TABLE) == cost_of(Tokens(round(size * 0.23 * 1.4), 640), HAIKU_4_5)
    told = tally.estimate(TABLE, AnswersKnown(of_kind=Observed(4, 40, 400.0)), {})
    assert told.expected_nanos == cost_of(Tokens(bare.input_tokens, 100), HAIKU_4_5)
    assert told.low_nanos == cost_of(Tokens(round(bare.input_tokens * 0.6), 90), HAIKU_4_5)
    assert told.worst_nanos == bare.worst_nanos == cost_of(Tokens(size, 640), HAIKU_4_5) + 10
    assert "rough" in told.basis


def test_what_the_api_says_of_a_schema_and_of_tools_is_in_the_estimate() -> None:
    """As in that of `check`, which had half as much again of short requests: some hundred tokens each."""
    schema, tools = {"format": {"type": "json_schema", "schema": {}}}, [{"name": "a", "input_schema": {}}]
    for more, words in (
        ({"output_config": schema}, 100),
        ({"tools": tools}, 400),
        ({"output_config": {"effort": "low"}}, 0),
    ):
        rows = [request(f"Text {number}", **more) for number in range(10)]
        text = round(0.23 * sum(map(len, rows)))
        found = tally_of(*rows).estimate(TABLE, AnswersKnown(), {})
        assert found.input_tokens == text + 10 * words
        assert found.high_nanos == pytest.approx(
            cost_of(Tokens(round(1.4 * found.input_tokens), 640), HAIKU_4_5), rel=0.01
        )
        assert rough_head(read_request(rows[0]), b"") == words


def test_the_worst_is_no_less_than_the_bound_of_each_request() -> None:
    """Plain ones, marked ones, and one with a schema; long prompts at their own rates. With tools or files: unknown."""
    marked = [{"type": "text", "text": "Hi " * 40, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    rows = [request("x" * 3000), request(system=marked), request(output_config={"format": {}}), request("é" * 500)]
    for model, rates in (("claude-haiku-4-5", HAIKU_4_5), ("claude-haiku-5-5", HAIKU_5_5)):
        some = [row.replace(b"claude-haiku-4-5", model.encode()) for row in [*rows, request("y" * 120_000)]]
        worst = [worst_of(one, content_of(one)) for one in map(read_request, some)]
        found = tally_of(*some).estimate(TABLE, AnswersKnown(), {}).worst_nanos
        assert found is not None
        assert found >= sum(worst_cost(each, rates) for each in worst)
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    for odd in (request(tools=[{"name": "a"}]), request(messages=[{"role": "user", "content": [image]}])):
        assert tally_of(rows[0], odd).estimate(TABLE, AnswersKnown(), {}).worst_nanos is None


def test_what_is_marked_is_reckoned_as_written_unless_it_is_read_for_sure() -> None:
    """For its lifetime; no less than if all read it. Too short a prompt is not kept, nor what is marked when sent."""
    long, answers = "word " * 4_400, Observed(4, 40, 400.0)
    rows = {
        ttl: [
            request(
                f"Text {n}", system=[{"type": "text", "text": text, "cache_control": {"type": "ephemeral", **more}}]
            )
            for n in range(10)
        ]
        for ttl, text, more in (("5m", long, {}), ("1h", long, {"ttl": "1h"}), ("short", long[:5_000], {}))
    }

    def expected(ttl: str, costs: Observed = Observed(), reads: int = 0) -> int:  # noqa: B008 - a tuple
        known = AnswersKnown(of_kind=answers, costs=costs)
        found = tally_of(*rows[ttl]).estimate(TABLE, known, {"claude-haiku-4-5": reads} if reads else {})
        assert found.expected_nanos is not None
        assert found.low_nanos is not None
        assert found.high_nanos is not None
        assert found.low_nanos <= found.expected_nanos <= found.high_nanos
        return found.expected_nanos

    tokens = {ttl: tally_of(*some).estimate(TABLE, AnswersKnown(), {}).input_tokens for ttl, some in rows.items()}
    assert expected("5m") == cost_of(Tokens(0, 100, write_5m=tokens["5m"]), HAIKU_4_5)
    assert expected("1h") == cost_of(Tokens(0, 100, write_1h=tokens["1h"]), HAIKU_4_5)
    assert expected("short") == cost_of(Tokens(tokens["short"], 100), HAIKU_4_5)
    least = cost_of(Tokens(0, 100, read=tokens["5m"]), HAIKU_4_5)
    assert expected("5m", Observed(5, 5, 5.0)) == least
    assert expected("5m", Observed(5, least, least**2 / 5)) == 2 * least
    assert expected("5m", Observed(5, 10**12, 1e24)) == expected("5m")
    assert expected("1h", Observed(5, 5, 5.0), reads=40_000) > 1.2 * least, "what goes ahead writes for sure"
    added = QuickTally(adds_markers=True)
    added.add_all(rows["1h"])
    found = added.estimate(TABLE, AnswersKnown(of_kind=answers), {}).expected_nanos
    assert found == cost_of(Tokens(tokens["1h"], 100), HAIKU_4_5)


def test_without_a_price_nothing_is_known_but_tokens() -> None:
    """Of any of its models; and of models without end only the first are told apart."""
    found = tally_of(request(), request(model="claude-x-9")).estimate(TABLE, AnswersKnown(), {})
    assert (found.low_nanos, found.high_nanos, found.worst_nanos) == (None, None, None)
    assert "claude-x-9" in found.basis
    many = tally_of(*[request(model=f"m-{number}") for number in range(500)])
    assert len(many.models) <= 65
    assert many.requests == 500


def test_requests_are_of_one_kind_if_only_their_messages_differ() -> None:
    """Another system prompt, schema or model is another kind; the digest is that of what they share."""
    kind = tally_of(request("a", system="s"), request("b", system="s")).kind
    assert kind is not None
    assert kind == tally_of(request("c", system="s", max_tokens=9)).kind
    assert kind != tally_of(request("c", system="t")).kind
    assert tally_of(request("a", system="s"), request("b", system="t")).kind is None
    assert tally_of(request("a"), request("b", output_config={"format": {}})).kind is None
    assert tally_of().kind is None


def test_without_a_system_prompt_requests_are_of_one_kind_by_how_they_begin() -> None:
    """Two templates are two kinds, and a few words, or none, tie nothing: not even requests of one job."""
    asks, tells = (
        "Say in one word whether this customer is content or not, and nothing else: ",
        "Write a long story. " * 5,
    )
    kind = tally_of(request(f"{asks}good"), request(f"{asks}bad")).kind
    assert kind is not None
    assert kind == tally_of(request(f"{asks}fine")).kind
    assert kind != tally_of(request(f"{tells}good")).kind is not None
    assert kind != tally_of(request(f"{asks}fine", system="s")).kind
    assert tally_of(request(f"{asks}good"), request(f"{tells}good")).kind is None
    several: list[dict[str, Any]] = [{}, {"system": ""}, {"tools": []}, {"output_config": {"effort": "low"}}]
    for loose in several:
        assert tally_of(request("Hello", **loose)).kind is None
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" * 90}}
    assert tally_of(request(messages=[{"role": "user", "content": [image]}])).kind is None
    blocks = [{"type": "text", "text": f"{asks}good"}]
    assert tally_of(request(messages=[{"role": "user", "content": blocks}])).kind == kind
    assert tally_of(request("Hello", output_config={"format": {"type": "json_schema"}})).kind is not None


def test_what_requests_without_a_bound_cost_is_no_narrower_either() -> None:
    """However equal the bills were."""
    assert AnswersKnown(costs=Observed(4, 40, 400.0)).likely_cost(10) == Forecast(90, 100, 110)
    assert AnswersKnown().likely_cost(10) is None
