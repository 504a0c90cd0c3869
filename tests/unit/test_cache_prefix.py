"""Which beginning of a prompt requests share in the prompt cache."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orchestrator.domain.cache_prefix import Breakpoint, Part, PrefixReader, least_tokens
from orchestrator.domain.token_bounds import read_request

MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
LONG = "Every answer is short. " * 1_000


def text(words: str, mark: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "text", "text": words, **(mark or {})}


def params(question: str = "Which?", **changes: Any) -> bytes:
    return msgspec.json.encode(
        {
            "model": "claude-haiku-4-5",
            "max_tokens": 9,
            "system": [text("Be kind."), text(LONG, HOUR)],
            "messages": [{"role": "user", "content": question}],
            **changes,
        }
    )


def marked(raw: bytes) -> list[Breakpoint]:
    return list(PrefixReader().marked(raw))


def shareable(raw: bytes) -> tuple[Breakpoint, ...]:
    return PrefixReader().ends_of(read_request(raw))


def test_a_marked_prefix_is_the_same_whatever_follows() -> None:
    """Its digest is of all up to the marker; its tokens are rough ones."""
    (one,), (other,) = marked(params("Which?")), marked(params("Why?"))
    assert one == other
    assert (one.part, one.ttl_s) == (Part.SYSTEM, 3600)
    assert 0.2 * len(LONG) < one.tokens < 0.3 * len(LONG)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "claude-haiku-4-5-20251001"},
        {"system": [text("Be rude."), text(LONG, HOUR)]},
        {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
        {"tool_choice": {"type": "none"}},
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "low"}},
    ],
)
def test_whatever_the_api_compares_makes_another_prefix(changes: dict[str, Any]) -> None:
    """What stands before the marker, and what invalidates it."""
    assert marked(params(**changes))[-1].digest != marked(params())[-1].digest


def test_the_marker_is_no_part_of_what_is_compared() -> None:
    """A prefix that one request marks for an hour is found by one that marks it for five minutes."""
    (one,) = marked(params(system=[text("Be kind."), text(LONG, MARK)]))
    assert one.ttl_s == 300
    assert one.digest == marked(params())[0].digest


def test_breakpoints_come_in_the_order_of_the_api() -> None:
    """Tools, system, messages, however the members are ordered; the last block of all ends the whole prompt."""
    found = marked(
        params(
            messages=[{"role": "user", "content": [text("A book.", MARK), text("A question.", MARK)]}],
            tools=[{"name": "look", "input_schema": {"type": "object"}, **HOUR}],
        )
    )
    assert [one.part for one in found] == [Part.TOOLS, Part.SYSTEM, Part.MESSAGES, Part.END]
    assert [one.tokens for one in found] == sorted(one.tokens for one in found)
    assert len({one.digest for one in found}) == 4


def test_a_marker_for_the_whole_request_marks_its_last_block() -> None:
    """So that prefix is the whole prompt, which independent requests do not share."""
    one, other = (marked(params(each, system="Be kind.", **MARK)) for each in ("Which?", "Why?"))
    assert [each.part for each in one] == [Part.END]
    assert one[0].digest != other[0].digest


@pytest.mark.parametrize(
    "raw",
    [
        params(system="The word cache_control."),
        params(system=[text('"cache_control"')]),
        params(system=[text(LONG, {"cache_control": None})]),
        params(system=[text(str(each), MARK) for each in range(5)]),
        params(system=[text(LONG, {"cache_control": "1h"})]),
        params(messages="no list", cache_control={"type": "ephemeral"}),
        b'{"cache_control"',
    ],
)
def test_a_request_without_a_marker_that_counts(raw: bytes) -> None:
    """Words that only look like one, markers that say nothing, and requests that the API refuses."""
    assert marked(raw) == []


def test_where_a_marker_could_stand() -> None:
    """At the end of the tools, of the system prompt, and of what a first message leads with; a string is one block."""
    tools = [{"name": "look", "input_schema": {"type": "object"}}, {"name": "see", "input_schema": {"type": "object"}}]
    book = [{"role": "user", "content": [text("A book."), text("A question.")]}]
    found = shareable(params(system=LONG, tools=tools, messages=book))
    assert [one.part for one in found] == [Part.TOOLS, Part.SYSTEM, Part.MESSAGES]
    assert found[1] == shareable(params(system=[text(LONG)], tools=tools))[1]
    assert shareable(params(system="", messages=[{"role": "user", "content": [text("One.")]}])) == ()
    assert [one.part for one in shareable(params(tools=[*tools, {"name": "later", "defer_loading": True}]))] == [
        Part.SYSTEM
    ]
    assert shareable(params(messages=[])) == shareable(params())


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("claude-opus-5", 512),
        ("claude-fable-5-1", 512),
        ("claude-fable-5-2", 4096),
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-sonnet-5-5", 4096),
        ("claude-opus-4-7", 2048),
        ("claude-haiku-4-5", 4096),
        ("claude-mythos-preview", 2048),
        ("claude-sonnet-latest", 4096),
        ("gpt-9", 4096),
    ],
)
def test_the_shortest_prefix_that_a_model_keeps(model: str, least: int) -> None:
    """A model that is not known is taken for one that keeps long ones only."""
    assert least_tokens(model) == least
