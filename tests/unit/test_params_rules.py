"""Which params may go into a batch."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.api_versions import OLD_API_VERSION, STRICTER_API_VERSION
from orchestrator.domain.params import ParamRules, problems_in

NEW = ParamRules(api_version=STRICTER_API_VERSION)
OLD = ParamRules(api_version=OLD_API_VERSION)
GOOD: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def encoded(**changes: object) -> bytes:
    """GOOD with *changes*; `...` takes a key away."""
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...}).encode()


def fields(params: bytes, rules: ParamRules = NEW) -> list[str]:
    return [problem.field for problem in problems_in(params, rules)]


FINE: list[dict[str, object]] = [
    {},
    {"stream": False},
    {"stream": None},
    {"speed": None},
    {"store": None},
    {"system": "be kind", "tools": [], "unknown_key": {"a": [1.5]}},
    {"billing_policy": {"type": "billing_policy", "bill_to": "self"}},
    {"billing_policy": None},
    {"research_preview_2026_02": "off"},
    {"max_tokens": 9_999_999},
    {"model": "claude-does-not-exist-9"},
    {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "citations": []}]}]},
    {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "a", "citations": [{}]}]}]},
    {"messages": [{"role": "user", "content": 'say "document" and "citations"'}]},
    {"service_tier": "auto"},
    {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
    {"model": "claude-opus-4-1", "output_config": {"format": {"type": "json_schema", "schema": {}}}},
    {"model": "claude-sonnet-4-20250514", "output_config": {"format": None}},
    {"model": "my-gateway/x", "output_config": {"format": {"type": "json_schema", "schema": {}}}},
]


@pytest.mark.parametrize("changes", FINE)
def test_what_a_batch_takes_is_let_through(changes: dict[str, object]) -> None:
    """A refusal of something that would have worked is as bad as the opposite."""
    assert problems_in(encoded(**changes), NEW) == []


_FORMAT = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
REFUSED: list[tuple[dict[str, object], str]] = [
    ({"model": "claude-3-haiku-20240307", "output_config": _FORMAT}, "params.output_config.format"),
    ({"model": "claude-sonnet-4-20250514", "output_config": _FORMAT}, "params.output_config.format"),
    ({"model": ...}, "params.model"),
    ({"model": ""}, "params.model"),
    ({"model": 5}, "params.model"),
    ({"model": None}, "params.model"),
    ({"max_tokens": ...}, "params.max_tokens"),
    ({"max_tokens": 0}, "params.max_tokens"),
    ({"max_tokens": -1}, "params.max_tokens"),
    ({"max_tokens": True}, "params.max_tokens"),
    ({"max_tokens": "5"}, "params.max_tokens"),
    ({"max_tokens": 1.5}, "params.max_tokens"),
    ({"max_tokens": None}, "params.max_tokens"),
    ({"messages": ...}, "params.messages"),
    ({"messages": []}, "params.messages"),
    ({"messages": "hi"}, "params.messages"),
    ({"messages": {}}, "params.messages"),
    ({"messages": ["hi"]}, "params.messages.0"),
    ({"messages": [{"content": "hi"}]}, "params.messages.0.role"),
    ({"messages": [{"role": 1, "content": "hi"}]}, "params.messages.0.role"),
    ({"messages": [GOOD["messages"][0], {"role": "user"}]}, "params.messages.1.content"),
    ({"stream": True}, "params.stream"),
    ({"stream": 1}, "params.stream"),
    ({"speed": "fast"}, "params.speed"),
    ({"store": True}, "params.store"),
    ({"previous_thread_event_id": "evt"}, "params.previous_thread_event_id"),
    ({"cache_hint": "x"}, "params.cache_hint"),
    ({"context_hint": {}}, "params.context_hint"),
    ({"research_preview_2026_02": "active"}, "params.research_preview_2026_02"),
    ({"betas": []}, "params.betas"),
    ({"anthropic-beta": "x"}, "params.anthropic-beta"),
    ({"anthropic_beta": None}, "params.anthropic_beta"),
    ({"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}}, "params.billing_policy"),
]


@pytest.mark.parametrize("rules", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize(("changes", "field"), REFUSED)
def test_what_a_batch_refuses_is_named_by_its_field(changes: dict[str, object], field: str, rules: ParamRules) -> None:
    """Found at intake, not a day later in an errored row."""
    assert fields(encoded(**changes), rules) == [field]


TOOLS: dict[str, object] = {"tools": [{"name": "t", "input_schema": {"type": "object"}}]}
PREFILL: dict[str, object] = {"messages": [*GOOD["messages"], {"role": "assistant", "content": "{"}]}
AS_BLOCKS: dict[str, object] = {
    "messages": [*GOOD["messages"], {"role": "assistant", "content": [{"type": "text", "text": "Well"}]}]
}
PAUSED: dict[str, object] = {
    "messages": [
        *GOOD["messages"],
        {"role": "assistant", "content": [{"type": "text", "text": "Let me see"}, {"type": "server_tool_use"}]},
    ]
}


@pytest.mark.parametrize("rules", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize(
    ("model", "changes", "field"),
    [
        ("claude-sonnet-5-5", {**TOOLS, "tool_choice": {"type": "any"}}, "params.tool_choice"),
        ("claude-opus-5-5-20260922", {**TOOLS, "tool_choice": {"type": "tool", "name": "t"}}, "params.tool_choice"),
        ("claude-sonnet-5-5", {**TOOLS, "tool_choice": {"type": "auto"}}, None),
        ("claude-haiku-5-5", {**TOOLS, "tool_choice": {"type": "any"}}, None),
        ("claude-sonnet-5", {**TOOLS, "tool_choice": {"type": "any"}}, None),
        ("claude-sonnet-5-5", {"tool_choice": 5}, None),
        ("claude-opus-4-6", PREFILL, "params.messages"),
        ("claude-haiku-5-5", AS_BLOCKS, "params.messages"),
        ("claude-sonnet-5", PAUSED, None),
        ("claude-sonnet-5", {"messages": [{"role": "assistant", "content": []}]}, None),
        ("claude-haiku-4-5-20251001", PREFILL, None),
        ("my-gateway/claude", PREFILL, None),
    ],
)
def test_how_an_answer_begins_is_not_said_to_models_that_refuse_it(
    model: str, changes: dict[str, object], field: str | None, rules: ParamRules
) -> None:
    """Documented as a 400 of these models; a paused turn, which stands last as well, is taken."""
    found = problems_in(encoded(model=model, **changes), rules)
    assert [each.field for each in found] == ([] if field is None else [field])
    assert all(each.is_alike and model in each.message for each in found)


STRICTER: list[tuple[dict[str, object], str]] = [
    ({"temperature": 1.0}, "params.temperature"),
    ({"temperature": None}, "params.temperature"),
    ({"top_p": 0.9}, "params.top_p"),
    ({"top_k": 5}, "params.top_k"),
    ({"messages": [{"role": "assistant", "content": [{"type": "document"}]}]}, "params.messages.0.content.0"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "citations": [{}]}]}]},
        "params.messages.0.content.0.citations",
    ),
]


@pytest.mark.parametrize(("changes", "field"), STRICTER)
def test_the_new_version_refuses_what_the_old_one_takes(changes: dict[str, object], field: str) -> None:
    """A whole old file must not come back errored; the remedy names the version that takes it."""
    params = encoded(**changes)
    assert fields(params, OLD) == []
    (problem,) = problems_in(params, NEW)
    assert problem.field == field
    assert f"--api-version {OLD_API_VERSION}" in problem.remedy


def test_betas_inside_params_are_sent_to_the_flag() -> None:
    """Betas are a header of the whole batch."""
    assert problems_in(encoded(betas=["x"]), NEW)[0].remedy == "remove it, and name it as a beta of the job"


def test_every_problem_of_one_request_is_told() -> None:
    """One look at the report is enough to repair the line."""
    params = encoded(model=..., max_tokens=0, stream=True, temperature=0)
    assert fields(params) == ["params.model", "params.max_tokens", "params.stream", "params.temperature"]


@pytest.mark.parametrize("spare", [0, 1])
def test_the_size_limit_is_exact(spare: int) -> None:
    """A request one byte over fits no batch."""
    params = encoded()
    rules = ParamRules(api_version=STRICTER_API_VERSION, max_request_bytes=len(params) - 1 + spare)
    assert fields(params, rules) == ([] if spare else ["params"])


@pytest.mark.parametrize(
    "params",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"model":NaN}',
        b'{"a":"\\ud83d"}',
        b'{"model":"\xff"}',
        b'{"max_tokens":1e999}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"max_tokens":1' + b"0" * 6_000 + b"}",
    ],
    ids=range(11),
)
def test_hostile_params_are_problems_and_never_exceptions(params: bytes) -> None:
    """Intake of a million lines does not stop at one."""
    assert problems_in(params, NEW)


KEYS = [*GOOD, "stream", "speed", "store", "betas", "temperature", "billing_policy", "research_preview_2026_02", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from(["", "a", "fast"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.sampled_from([OLD, NEW]))
def test_any_params_are_judged_without_raising_and_the_required_ones_are_needed(
    changes: dict[str, Any], rules: ParamRules
) -> None:
    """The fast path and the explanation agree: what lacks a sound model, max_tokens or messages never passes."""
    params = GOOD | changes
    found = [problem.field for problem in problems_in(msgspec.json.encode(params), rules)]
    sound_tokens = isinstance(params["max_tokens"], int) and not isinstance(params["max_tokens"], bool)
    is_sound = bool(isinstance(params["model"], str) and params["model"] and sound_tokens and params["max_tokens"] >= 1)
    if not is_sound or not isinstance(params["messages"], list) or params.get("stream") is True:
        assert found
    if changes.keys() <= {"x"}:
        assert found == []


LARGE = 2 << 20
HOSTILE = {
    "numbers for messages": b'{"model":"m","max_tokens":5,"messages":[%b]}' % b",".join([b"0"] * LARGE),
    "empty messages": b'{"model":"m","max_tokens":5,"messages":[%b]}' % b",".join([b"{}"] * (LARGE // 2)),
    "many parameters": b"{%b}" % b",".join(b'"p%d":0' % n for n in range(LARGE // 5)),
    "numbers for blocks": (
        b'{"model":"m","max_tokens":5,"citations":0,"messages":[{"role":"user","content":[%b]}]}'
        % b",".join([b"0"] * LARGE)
    ),
    "numbers for citations": (
        b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","citations":[%b]}]}]}'
        % b",".join([b"0"] * LARGE)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_large_is_looked_at_without_taking_all_of_it_apart(name: str) -> None:
    """M2: a line of 61 MiB of numbers took 2.3 GB to say what is wrong with it: forty times its size."""
    params = HOSTILE[name]
    tracemalloc.start()
    try:
        found = problems_in(params, ParamRules(api_version=STRICTER_API_VERSION))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(params)
    assert bool(found) == (name != "numbers for blocks")
    assert len(found) < 5


@pytest.mark.parametrize("padding", [0, LARGE])
def test_the_first_trouble_of_many_messages_is_found_where_it_is(padding: int) -> None:
    """M2: what is large is held to the same rules, and what is right passes."""
    said = b'{"role":"user","content":"%b"}' % (b"x" * padding)
    document = b'{"role":"assistant","content":[{"type":"document","source":"%b"}]}' % (b"x" * padding)
    cited = b'{"role":"user","content":[{"type":"text","text":"%b","citations":[{}]}]}' % (b"x" * padding)
    rules = ParamRules(api_version=STRICTER_API_VERSION)
    for extra, fields in {
        b"": [],
        b",7": ["params.messages.1"],
        b',{"role":"user"}': ["params.messages.1"],
        b',{"role":5,"content":""}': ["params.messages.1"],
        b"," + document: ["params.messages.1.content.0"],
        b"," + cited: ["params.messages.1.content.0.citations"],
    }.items():
        params = b'{"model":"m","max_tokens":5,"billing_policy":{"bill_to":"self"},"messages":[%b]}' % (said + extra)
        found = [problem.field for problem in problems_in(params, rules)]
        assert len(found) == len(fields), (extra[:50], found)
        assert all(place.startswith(field) for place, field in zip(found, fields, strict=True))
