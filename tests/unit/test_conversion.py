"""What requests of OpenAI's two APIs, and rows with messages or a prompt, become; and what is told of the rest."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.conversion import Converter, FindingKind, Wishes
from orchestrator.conversion.findings import LineFindings
from orchestrator.conversion.line_converter import LineConverter
from orchestrator.domain.params import ParamRules, problems_in

MODEL = "claude-haiku-4-5"
ASKED = [{"role": "user", "content": "hi"}]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def converted(line: dict[str, Any], model: str | None = MODEL) -> tuple[dict[str, Any], LineFindings]:
    """The request that *line* becomes, {} if none, and what was found."""
    found = LineFindings()
    text = LineConverter(Wishes(model=model)).convert(line, json.dumps(line).encode(), found)
    assert bool(text) is not bool(found.problems)
    if not text:
        return {}, found
    made = json.loads(text)
    assert problems_in(json.dumps(made["params"]).encode(), ParamRules(api_version=None)) == []
    return made, found


def chat(**body: Any) -> dict[str, Any]:
    """A line of OpenAI's for Chat Completions; `...` takes a member of the body away."""
    all_of = {"model": "gpt-4o-mini", "messages": ASKED, "max_tokens": 9, **body}
    kept = {key: value for key, value in all_of.items() if value is not ...}
    return {"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": kept}


def params(model: str = MODEL, **body: Any) -> dict[str, Any]:
    made, found = converted(chat(**body), model)
    assert found.problems == []
    return dict(made["params"])


def lost(**body: Any) -> set[str]:
    """The fields of which it is said that they were left out."""
    made, found = converted(chat(**body))
    assert made
    return {name for kind, name, _ in found.causes if kind is FindingKind.LOST}


PLAIN = {"model": MODEL, "max_tokens": 9, "messages": ASKED}

CARRIED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"max_tokens": ..., "max_completion_tokens": 77}, {"max_tokens": 77}),
    ({"max_tokens": ...}, {"max_tokens": 1024}),
    ({"temperature": 0.2}, {"temperature": 0.2}),
    ({"temperature": 1, "top_p": 1, "n": 1, "frequency_penalty": 0, "stream": False, "store": None}, {}),
    ({"top_p": 0.5}, {"top_p": 0.5}),
    ({"stop": "END"}, {"stop_sequences": ["END"]}),
    ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
    ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
    ({"safety_identifier": "s1"}, {"metadata": {"user_id": "s1"}}),
    ({"response_format": {"type": "text"}}, {}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ),
]


@pytest.mark.parametrize(("body", "more"), CARRIED)
def test_a_parameter_with_a_counterpart_is_carried_over(body: dict[str, Any], more: dict[str, Any]) -> None:
    """Nothing is lost of it, and nothing else changes."""
    assert params(**body) == PLAIN | more
    assert lost(**body) == set()


TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
}
OWN_TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize(
    ("body", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "required", "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_tools_and_their_choice_are_carried_over(body: dict[str, Any], choice: dict[str, Any] | None) -> None:
    """By the references of both APIs."""
    made = params(tools=[TOOL], **body)
    assert made["tools"] == [OWN_TOOL]
    assert made.get("tool_choice") == choice
    assert params(functions=[TOOL["function"]])["tools"] == [OWN_TOOL]
    forced = {"any", "tool"} & {(choice or {}).get("type")}
    on_newer = params("claude-sonnet-5-5", tools=[TOOL], **body).get("tool_choice", {})
    assert not (forced and on_newer.get("type") in forced)


LOST: list[tuple[dict[str, Any], set[str]]] = [
    ({"n": 2}, {"n"}),
    ({"logprobs": True, "top_logprobs": 3}, {"logprobs", "top_logprobs"}),
    ({"seed": 0}, {"seed"}),
    ({"temperature": 1.5}, {"temperature"}),
    ({"temperature": 0.2, "top_p": 0.5}, {"top_p"}),
    ({"stop": [" ", "\n"]}, {"stop"}),
    ({"response_format": {"type": "json_object"}}, {"response_format"}),
    ({"reasoning_effort": "low"}, {"reasoning_effort"}),
    ({"logit_bias": {"5": 1}, "metadata": {"a": "b"}}, {"logit_bias", "metadata"}),
    ({"tools": [{"type": "custom", "custom": {}}], "tool_choice": "required"}, {"tools", "tool_choice"}),
    ({"user": "x" * 513}, {"user"}),
    ({"a_new_one": 1}, {"a_new_one"}),
    ({"messages": [{"role": "user", "name": "Ann", "content": "hi"}]}, {"name"}),
    ({"messages": [*ASKED, {"role": "assistant", "content": ""}, *ASKED]}, {"messages"}),
]


@pytest.mark.parametrize(("body", "names"), LOST)
def test_what_has_no_counterpart_is_left_out_and_said(body: dict[str, Any], names: set[str]) -> None:
    """Nothing is dropped in silence."""
    assert lost(**body) == names


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.5), ("top_p", 0.5), ("top_k", 5)])
def test_sampling_is_left_out_for_models_that_take_none(name: str, value: float) -> None:
    """What is written runs; it would come back errored a day later."""
    assert name not in params("claude-sonnet-5-5", **{name: value})
    assert params("claude-sonnet-4-6", **{name: value})[name] == value


def test_the_model_is_the_one_that_was_said_or_claude_already() -> None:
    """None is guessed."""
    assert converted(chat(model="gpt-5"))[0]["params"]["model"] == MODEL
    made, found = converted(chat(model="claude-opus-5"), None)
    assert made["params"]["model"] == "claude-opus-5"
    assert not any(name == "model" for _, name, _ in found.causes)
    _, found = converted(chat(), None)
    assert [(each.field, each.is_alike) for each in found.problems] == [("body.model", True)]


def test_what_the_system_says_goes_to_the_front() -> None:
    """Developers are the system; where they speak later, that is said."""
    said = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        *ASKED,
        {"role": "assistant", "content": "ho"},
        {"role": "system", "content": "three"},
        {"role": "user", "content": "go on"},
    ]
    made, found = converted(chat(messages=said))
    assert [block["text"] for block in made["params"]["system"]] == ["one", "two", "three"]
    assert [message["role"] for message in made["params"]["messages"]] == ["user", "assistant", "user"]
    assert any(kind is FindingKind.CHANGED and name == "messages" for kind, name, _ in found.causes)
    assert params(messages=said[:1] + ASKED)["system"] == "one"


def test_calls_of_tools_and_their_results_are_turns() -> None:
    """Results that belong together are one turn of the user, as the API wants it."""

    def call(key: str, arguments: str) -> dict[str, Any]:
        return {"id": key, "type": "function", "function": {"name": "f", "arguments": arguments}}

    said = [
        *ASKED,
        {"role": "assistant", "content": "so", "tool_calls": [call("call_1", '{"a": 1}'), call("call_2", "")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "5"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "7"}]},
    ]
    _, assistant, results = params(messages=said)["messages"]
    assert assistant["content"] == [
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "call_2", "name": "f", "input": {}},
    ]
    assert results["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "5"},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "7"},
    ]


def test_images_and_files_are_blocks() -> None:
    """As data, or as an address that the API fetches."""
    pdf = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}
    parts = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
        {"type": "file", "file": pdf},
    ]
    blocks = params(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert [block["type"] for block in blocks] == ["text", "image", "image", "document"]
    assert blocks[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert blocks[2]["source"] == {"type": "url", "url": "https://example.com/a.jpg"}
    assert blocks[3]["title"] == "a.pdf"


def test_a_line_for_responses_is_carried_over() -> None:
    """Its input is a text or items, its parameters have other names."""
    body = {
        "model": "gpt-5",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "q"}, {"type": "input_image", "image_url": PIXEL}],
            },
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "calling"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
        ],
        "max_output_tokens": 33,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "web_search"}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    }
    made, found = converted({"custom_id": "r", "method": "POST", "url": "/v1/responses", "body": body})
    got = made["params"]
    assert (got["system"], got["max_tokens"], len(got["tools"])) == ("Be brief.", 33, 1)
    assert [message["role"] for message in got["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in got["messages"][1]["content"]] == ["text", "tool_use"]
    assert got["output_config"]["format"]["schema"] == {"type": "object"}
    assert {name for kind, name, _ in found.causes if kind is FindingKind.LOST} == {"reasoning", "tools"}
    plain = {"custom_id": "r", "url": "/v1/responses", "body": {"model": "gpt-5", "input": "hi"}}
    assert converted(plain)[0]["params"]["messages"] == ASKED


def test_rows_become_requests_and_keep_their_other_columns() -> None:
    """An id is theirs, else the number of the row; what is no parameter comes back beside the answer."""
    row = {"id": "007", "messages": ASKED, "label": "good", "temperature": 0, "user": "Ann"}
    made, _ = converted(row)
    assert (made["custom_id"], made["row"]) == ("007", {"id": "007", "label": "good", "user": "Ann"})
    assert made["params"]["temperature"] == 0
    made, _ = converted({"prompt": "hi"})
    assert (made["custom_id"], made["params"]["messages"]) == ("row-1", ASKED)
    assert "row" not in made


def test_requests_of_our_own_form_stay_as_they_are() -> None:
    """Byte for byte: a file may have both."""
    raw = b'{"params": {"model": "m"},  "custom_id": "x"}'
    found = LineFindings()
    assert LineConverter(Wishes(model=MODEL)).convert(json.loads(raw), raw, found) == raw + b"\n"


BAD: list[tuple[dict[str, Any], str]] = [
    (chat(messages=[]), "body.messages"),
    (chat(messages=[{"role": "user", "content": None}]), "body.messages.0.content"),
    (chat(messages=[{"role": "robot", "content": "x"}]), "body.messages.0.role"),
    (chat(messages=[*ASKED, {"role": "tool", "content": "x"}]), "body.messages.1.tool_call_id"),
    (chat(messages=[*ASKED, {"role": "assistant", "content": "its own answer"}]), "body.messages"),
    (chat(messages=[{"role": "system", "content": "alone"}]), "body.messages"),
    (chat(messages=[{"role": "user", "content": [{"type": "input_audio"}]}]), "body.messages.0.content.0.type"),
    (
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/a"}}]}]),
        "body.messages.0.content.0.image_url",
    ),
    (chat(max_tokens=0), "body.max_tokens"),
    (chat(temperature="hot"), "body.temperature"),
    (chat(stop=5), "body.stop"),
    (chat() | {"url": "/v1/embeddings"}, "url"),
    (chat() | {"method": "GET"}, "method"),
    (chat() | {"custom_id": None}, "custom_id"),
    (chat() | {"body": 5}, "body"),
    (
        {"custom_id": "r", "url": "/v1/responses", "body": {"input": "x", "previous_response_id": "y"}},
        "body.previous_response_id",
    ),
    ({"id": 1.5, "prompt": "x"}, "id"),
    ({"foo": 1}, ""),
]


@pytest.mark.parametrize(("line", "field"), BAD)
def test_what_cannot_be_asked_so_is_a_problem_of_its_field(line: dict[str, Any], field: str) -> None:
    """A part of the question is never left out."""
    made, found = converted(line)
    assert made == {}
    assert field in [problem.field for problem in found.problems]
    assert all(problem.remedy for problem in found.problems)


def read(path: Path) -> tuple[list[str], list[tuple[int, str]], Converter]:
    """The ids of the requests in a file, its problems by line, and the converter."""
    converter = Converter(str(path), path.name, Wishes(model=MODEL))
    pieces = list(converter.pieces(threading.Event()))
    text = b"".join(piece.text for piece in pieces)
    problems = [(each.line, each.message) for piece in pieces for each in piece.problems]
    return [json.loads(line)["custom_id"] for line in text.splitlines()], problems, converter


def test_a_file_may_be_lines_or_an_array_packed_or_not(tmp_path: Path) -> None:
    """With a byte order mark, with carriage returns, of several forms."""
    lines = [chat() | {"custom_id": "a"}, {"messages": ASKED, "id": "b"}, {"custom_id": "c", "prompt": "hi"}]
    text = "".join(json.dumps(line) + "\r\n" for line in lines).encode()
    (tmp_path / "lines.jsonl").write_bytes(b"\xef\xbb\xbf" + text)
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "array.json").write_text(json.dumps(lines, indent=1))
    for name in ("lines.jsonl", "lines.jsonl.gz", "array.json"):
        ids, problems, converter = read(tmp_path / name)
        assert (ids, problems, converter.requests) == (["a", "b", "c"], [], 3)
        assert sorted(converter.forms.values()) == [1, 1, 1]


def test_bad_lines_are_told_by_their_number(tmp_path: Path) -> None:
    """And the others become requests."""
    good = json.dumps(chat())
    (tmp_path / "a.jsonl").write_bytes(f"{good}\n{{\n\n[]\n".encode() + b'{"prompt": "\xff"}\n' + good.encode())
    ids, problems, _ = read(tmp_path / "a.jsonl")
    assert ids == ["r", "r"]
    assert [line for line, _ in problems] == [2, 4, 5]


@pytest.mark.parametrize("content", [b"", b"\n \n", "{}".encode("utf-16"), b"[", b"[]"])
def test_a_file_without_a_request_is_one_problem(tmp_path: Path, content: bytes) -> None:
    """With the file as a whole."""
    (tmp_path / "a.jsonl").write_bytes(content)
    ids, problems, _ = read(tmp_path / "a.jsonl")
    assert ids == []
    assert [line for line, _ in problems] == [0]


def test_findings_are_counted_by_cause(tmp_path: Path) -> None:
    """With the first of their lines; those of lines that became no request do not count."""
    lines = [chat(seed=1)] * 7 + [chat(seed=1, max_tokens=0), chat(n=1)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, problems, converter = read(tmp_path / "a.jsonl")
    (seed,) = converter.findings.of(FindingKind.LOST)
    assert (seed.name, seed.requests, seed.shown_lines) == ("seed", 7, "lines 1, 2, 3, 4, 5, …")
    assert [each.name for each in converter.findings.of(FindingKind.DEFAULT)] == ["n"]
    assert [line for line, _ in problems] == [8]
