"""Answers to requests with a schema (`output_config.format`): JSON that fits, or what a fault makes of it."""

import json
from typing import Any

import jsonschema
import pytest
from sandbox.sandbox_world import World, body, params
from sandbox.test_sandbox_rows import batch_of, results
from sandbox.test_sandbox_usage import answered

from orchestrator.domain.answer_schema import AnswerSchema

REVIEW = json.loads(AnswerSchema.from_dsl("label, score float, n int, is_new bool, why?").text)
RICH: dict[str, Any] = {
    "$defs": {"topic": {"enum": ["a", "b", "c"]}},
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": r"^\d{3,5}$"},
        "topics": {"type": "array", "items": {"$ref": "#/$defs/topic"}, "minItems": 1},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["boolean", "null"]},
        "all": {"allOf": [{"type": "object", "properties": {"x": {"const": 1}}, "additionalProperties": False}]},
    },
    "required": ["day", "code", "topics", "maybe", "either", "all"],
    "additionalProperties": False,
}


def asked(schema: object, text: str = "Hello", **more: Any) -> dict[str, Any]:
    """The params of a request that asks for JSON of *schema*."""
    return params(text, output_config={"format": {"type": "json_schema", "schema": schema}}, **more)


def texts(fault: str, *rows: dict[str, Any]) -> list[str]:
    """The texts of the answers to *rows* in a world with *fault*."""
    return [message["content"][0]["text"] for message in answered(fault, *rows)[1]]


@pytest.mark.parametrize("schema", [REVIEW, RICH, {"type": "array", "items": {"type": "string"}}])
def test_an_answer_to_a_request_with_a_schema_fits_it(schema: dict[str, Any]) -> None:
    """By another validator than the product's; the same for the same request."""
    rows = [asked(schema, f"q{number}") for number in range(20)]
    found = texts("", *rows)
    for text in found:
        jsonschema.validate(json.loads(text), schema)
    assert found == texts("", *rows)
    if schema is not RICH:
        assert "SANDBOX" in found[0]


def test_what_is_open_varies_and_what_is_required_comes_first() -> None:
    """Optional members are there at times, and follow the required ones, as the API documents it."""
    found = [json.loads(text) for text in texts("", *(asked(REVIEW, f"q{number}") for number in range(20)))]
    assert {tuple(each) for each in found} == {
        ("label", "score", "n", "is_new"),
        ("label", "score", "n", "is_new", "why"),
    }
    assert len({each["score"] for each in found}) > 5


def test_a_row_of_a_format_that_the_api_refuses_is_errored() -> None:
    """The API says which part of the schema it does not take."""
    wrong = [
        asked(
            {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "additionalProperties": False}
        ),
        asked("a text"),
        params(output_config={"format": {"type": "json"}}),
    ]
    *errored, right = results(World(), batch_of(*wrong, params(output_config={"effort": "low"})))
    messages = [each["error"]["error"]["message"] for each in errored]
    assert messages[0] == "output_config.format.schema: /properties/n/minimum of the schema is not supported by the API"
    assert messages[1] == "output_config.format.schema: the schema is a string"
    assert messages[2].startswith("output_config.format: Invalid value 'json'")
    assert right["type"] == "succeeded"


def test_an_answer_longer_than_max_tokens_is_cut() -> None:
    """Half an object is no JSON, and the stop_reason says why."""
    _, (message,) = answered("", asked(REVIEW, max_tokens=5))
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 5)
    assert len(message["content"][0]["text"]) == 20


@pytest.mark.parametrize("fault", ["bad_json", "bad_schema", "cut", "paused_turn"])
def test_a_fault_spoils_an_answer_once(fault: str) -> None:
    """Asking again helps, and both answers are billed."""
    world = World(faults={fault: 0.3})
    form = {"format": {"type": "json_schema", "schema": REVIEW}}
    schema = AnswerSchema(json.dumps(REVIEW))
    first, second = (results(world, body(100, prefix=prefix, output_config=form)) for prefix in ("r", "again"))
    bad = [number for number, each in enumerate(first) if not schema.parsed(each["message"]["content"][0]["text"])]
    assert 15 < len(bad) < 45
    stops = {first[number]["message"]["stop_reason"] for number in bad}
    assert stops == {{"cut": "max_tokens", "paused_turn": "pause_turn"}.get(fault, "end_turn")}
    if fault == "bad_schema":
        assert all(json.loads(first[number]["message"]["content"][0]["text"]) for number in bad)
    assert all(schema.parsed(second[number]["message"]["content"][0]["text"]) for number in bad)


def test_a_plain_answer_can_be_cut_as_well() -> None:
    """What has no schema has no JSON to spoil."""
    whole, half, same = (texts(fault, params("Hello you"))[0] for fault in ("", "cut", "bad_json"))
    assert whole.startswith(half)
    assert len(half) == len(whole) // 2
    assert same == whole


@pytest.mark.parametrize("choice", [{"type": "tool", "name": "weather"}, {"type": "any"}])
def test_a_forced_tool_is_called_with_input_that_fits_its_schema(choice: dict[str, str]) -> None:
    """N 2: it answered with a text, so a pipeline with tools could not be tried."""
    tools = [{"type": "web_search_20250305", "name": "web_search"}, {"name": "weather", "input_schema": RICH}]
    called, free, odd = answered(
        "",
        params(tools=tools, tool_choice=choice),
        params(tools=tools, tool_choice={"type": "auto"}),
        params(tools=[{"name": "weather", "input_schema": {"$ref": "#/nowhere"}}], tool_choice=choice),
    )[1]
    (block,) = called["content"]
    assert (called["stop_reason"], block["type"], block["name"]) == ("tool_use", "tool_use", "weather")
    assert block["id"].startswith("toolu_")
    jsonschema.validate(block["input"], RICH)
    assert (free["stop_reason"], free["content"][0]["type"]) == ("end_turn", "text")
    assert odd["content"][0]["input"] == {}
