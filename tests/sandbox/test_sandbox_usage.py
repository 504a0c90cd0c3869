"""What answers use besides tokens, as faults ask for it: refusals, iterations, regions, searches. And its bill."""

from typing import Any

import pytest
from anthropic.types.beta.messages import BetaMessageBatchIndividualResponse
from sandbox.sandbox_world import MODEL, World, body, params
from sandbox.test_sandbox_cache import create, row

NEW = "claude-sonnet-5-5"
FREE, BILLED = {"cyber", "general_harms"}, {"bio", "frontier_llm", "reasoning_extraction"}
SEARCH = {"type": "web_search_20260209", "name": "web_search"}


def answered(fault: str, *rows: dict[str, Any], **more: float) -> tuple[World, list[dict[str, Any]]]:
    """A world in which every row meets *fault*, and the messages of *rows*, valid by the SDK's own types."""
    world = World(faults={fault: 1, **more} if fault else None, instant=True)
    lines = sorted(world.lines(create(world.machine, *rows)), key=lambda line: int(line["custom_id"][2:]))
    for line in lines:
        BetaMessageBatchIndividualResponse.model_validate(line, strict=False)
    return world, [line["result"]["message"] for line in lines]


def costs(world: World) -> list[int]:
    return [billed.nanos for billed in world.machine.billed_rows()]


@pytest.mark.parametrize(("fault", "categories"), [("free_refusal", FREE), ("billed_refusal", BILLED)])
def test_a_refusal_before_any_output_is_billed_by_its_category(fault: str, categories: set[str]) -> None:
    """The tokens are shown either way."""
    world, messages = answered(fault, *(params(f"q{n}", model="claude-opus-5-5") for n in range(40)))
    assert {message["stop_details"]["category"] for message in messages} == categories
    for message, nanos in zip(messages, costs(world), strict=True):
        assert (message["stop_reason"], message["content"], message["usage"]["output_tokens"]) == ("refusal", [], 0)
        assert message["usage"]["input_tokens"] > 5
        assert nanos == (0 if categories == FREE else message["usage"]["input_tokens"] * 2000)


def test_a_refusal_after_some_output_is_billed() -> None:
    """The one that was there before has a token, and no category."""
    world, (message,) = answered("refusal", params())
    assert (message["usage"]["output_tokens"], message["stop_details"]) == (1, None)
    assert costs(world) == [message["usage"]["input_tokens"] * 500 + 2500]


def test_a_compaction_comes_on_top_of_the_answer() -> None:
    """The top level is the answer's own iteration alone; what lies in the cache is a part of that."""
    world, (message,) = answered("compaction", row("q", ttl="1h", model="claude-sonnet-4-6"))
    usage = message["usage"]
    own, compaction = usage["iterations"]
    assert (own["type"], compaction["type"]) == ("message", "compaction")
    assert all(usage[name] == value for name, value in own.items() if name != "type")
    assert own["cache_creation"]["ephemeral_1h_input_tokens"] > 5000
    assert compaction["input_tokens"] >= 50_000
    fresh = usage["input_tokens"] + compaction["input_tokens"]
    output = usage["output_tokens"] + compaction["output_tokens"]
    standard = fresh * 3000 + output * 15_000 + usage["cache_creation_input_tokens"] * 6000
    assert costs(world) == [standard // 2]


def test_an_advisor_has_a_price_of_its_own() -> None:
    """Another model's tokens, at that model's price."""
    world, (message,) = answered("advisor", params())
    own, advice = message["usage"]["iterations"]
    assert (advice["type"], advice["model"]) == ("advisor_message", "claude-opus-5")
    mine = own["input_tokens"] * 500 + own["output_tokens"] * 2500
    assert costs(world) == [mine + advice["input_tokens"] * 2500 + advice["output_tokens"] * 12_500]
    assert world.machine.bill().by_model == {MODEL: costs(world)[0]}


def test_a_region_is_said_and_billed() -> None:
    """By the request, or unasked by the workspace; older models have none."""
    world, found = answered(
        "", *(params("q", model=NEW, **more) for more in ({}, {"inference_geo": "us"}, {"inference_geo": "global"}))
    )
    assert [message["usage"]["inference_geo"] for message in found] == ["not_available", "us", "global"]
    plain, us, other = costs(world)
    assert plain == other
    assert us == -(-plain * 11 // 10)
    world, found = answered("geo_us", params(model=NEW), params(model=NEW, inference_geo="global"), params())
    assert [message["usage"]["inference_geo"] for message in found] == ["us", "global", "not_available"]


@pytest.mark.parametrize("change", [{"inference_geo": "us"}, {"model": NEW, "inference_geo": "mars"}])
def test_a_region_that_cannot_be_is_an_errored_row(change: dict[str, Any]) -> None:
    """400 on models before 4.6."""
    world = World(instant=True)
    (line,) = world.lines(create(world.machine, params(**change)))
    assert line["result"]["error"]["error"]["type"] == "invalid_request_error"
    assert line["result"]["error"]["error"]["message"].startswith("inference_geo: ")


def test_searches_are_counted_and_billed_at_the_full_price() -> None:
    """An answer with the tool searches, up to its own limit; a fault lets any search."""
    limited = params("q", tools=[SEARCH | {"max_uses": 1}])
    world, found = answered("", *(params(f"q{n}", tools=[SEARCH]) for n in range(30)), limited, params())
    counts = [(message["usage"]["server_tool_use"] or {}).get("web_search_requests", 0) for message in found]
    assert set(counts[:30]) == {1, 2, 3}
    assert counts[30:] == [1, 0]
    for message, count, nanos in zip(found, counts, costs(world), strict=True):
        usage = message["usage"]
        assert nanos == usage["input_tokens"] * 500 + usage["output_tokens"] * 2500 + count * 10_000_000
    _, found = answered("web_search", *(params(f"q{n}") for n in range(40)))
    assert {message["usage"]["server_tool_use"]["web_search_requests"] for message in found} == {1, 2, 3, 4, 5}


def test_plain_answers_say_nothing_of_all_this() -> None:
    """Nor does a fault that ends the row otherwise."""
    _, (message,) = answered("", params())
    usage = message["usage"]
    assert (usage["server_tool_use"], usage["inference_geo"], message["stop_details"]) == (None, "not_available", None)
    assert "iterations" not in usage
    world = World(faults={"error": 0.5, "billed_refusal": 0.2, "advisor": 0.2, "sticky": 1}, instant=True)
    batch = world.machine.create(body(300))
    kinds = [line["result"]["type"] for line in world.lines(batch.id)]
    assert 100 < kinds.count("errored") < 200
    assert len(costs(world)) == kinds.count("succeeded")


BROKEN: dict[str, dict[str, Any]] = {
    "tools": params(tools="none"),
    "a tool": params(tools=["x"]),
    "a tool's type": params(tools=[{"type": 7, "name": "web_search_20260209"}]),
    "a search's limit": params(tools=[SEARCH | {"max_uses": "many"}]),
    "a marked block": params(system=["x", {"cache_control": {"type": "ephemeral"}}]),
    "a source": params([{"type": "image", "source": "x"}]),  # type: ignore[arg-type]  # content may be blocks
}


@pytest.mark.parametrize("case", BROKEN)
def test_parts_of_another_shape_spoil_their_own_row_alone(case: str) -> None:
    """A batch is created whatever its params are."""
    world = World(instant=True)
    lines = world.lines(create(world.machine, BROKEN[case], params()))
    kinds = {line["custom_id"]: line["result"]["type"] for line in lines}
    assert kinds["r-1"] == "succeeded"
    assert kinds["r-0"] == "errored"


def test_the_price_of_a_row_is_that_of_its_usage() -> None:
    """`billed_rows` and the table agree on every kind at once."""
    mixed = {"free_refusal": 0.2, "billed_refusal": 0.2, "compaction": 0.2, "advisor": 0.2, "geo_us": 0.2}
    world = World(faults=mixed, instant=True)
    world.machine.create(body(500, model="claude-opus-5-5"))
    assert world.machine.bill().total_nanos == sum(costs(world)) > 0
    assert 50 < costs(world).count(0) < 150
