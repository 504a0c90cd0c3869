"""A marker that is put into params on their way: where it stands, what it weighs, and what is not touched."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from orchestrator.domain.cache_marker import (
    MARKER_BYTES,
    LikelyMarks,
    own_marker,
    takes_marker,
    with_marker,
)
from orchestrator.domain.cache_prefix import Part

HOUR: Final = {"type": "ephemeral", "ttl": "1h"}
BOOK: Final = [{"type": "text", "text": "A book."}, {"type": "text", "text": "A question."}]


@pytest.mark.parametrize(
    ("params", "part", "marked"),
    [
        (
            {"system": "Be kind."},
            Part.SYSTEM,
            {"system": [{"type": "text", "text": "Be kind.", "cache_control": HOUR}]},
        ),
        ({"system": BOOK}, Part.SYSTEM, {"system": [BOOK[0], {**BOOK[1], "cache_control": HOUR}]}),
        (
            {"tools": [{"name": "a"}, {"name": "b"}]},
            Part.TOOLS,
            {"tools": [{"name": "a"}, {"name": "b", "cache_control": HOUR}]},
        ),
        (
            {"messages": [{"role": "user", "content": BOOK}, {"role": "assistant", "content": "Yes."}]},
            Part.MESSAGES,
            {
                "messages": [
                    {"role": "user", "content": [{**BOOK[0], "cache_control": HOUR}, BOOK[1]]},
                    {"role": "assistant", "content": "Yes."},
                ]
            },
        ),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,  ", " :\n ")])
def test_a_marker_stands_at_the_end_of_its_part_and_weighs_the_same_everywhere(
    params: dict[str, Any], part: Part, marked: dict[str, Any], separators: tuple[str, str]
) -> None:
    """Whatever white space, escapes or order there are; all else is as it was."""
    raw = json.dumps({"model": "m", **params, "metadata": {"user": "\u00fc"}}, separators=separators).encode()
    found = with_marker(raw, part)
    assert len(found) == len(raw) + MARKER_BYTES
    assert json.loads(found) == {"model": "m", **marked, "metadata": {"user": "\u00fc"}}
    assert takes_marker(raw, part)


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b'{"model":"m"}', Part.SYSTEM),
        (b'{"system":[]}', Part.SYSTEM),
        (b'{"messages":[{"role":"user","content":"a"}]}', Part.MESSAGES),
        (b'{"messages":[{"role":"user"}]}', Part.MESSAGES),
        (b'{"tools":[7]}', Part.TOOLS),
        (b"[]", Part.TOOLS),
    ],
)
def test_params_that_take_no_marker_are_known(raw: bytes, part: Part) -> None:
    """They are sent as they are."""
    assert not takes_marker(raw, part)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"cache_control": HOUR}, "params.cache_control"),
        ({"tools": [{"name": "a"}, {"name": "b", "cache_control": HOUR}]}, "params.tools.1.cache_control"),
        ({"system": [{"type": "text", "text": "a", "cache_control": HOUR}]}, "params.system.0.cache_control"),
        (
            {"messages": [{"content": [{"type": "tool_result", "content": [{"text": "a", "cache_control": HOUR}]}]}]},
            "params.messages.0.content.0.content.0.cache_control",
        ),
        ({"system": [{"type": "text", "text": "a", "cache_control": None}]}, None),
        ({"tools": [{"name": "a", "input_schema": {"properties": {"cache_control": {}}}}]}, None),
        ({"system": 'say "cache_control": 1h'}, None),
        ({"cache_control": None}, None),
    ],
)
def test_a_marker_of_its_own_is_named_by_its_field(params: dict[str, Any], field: str | None) -> None:
    """Where the API would take it for one; not in a schema, or in words."""
    assert own_marker(json.dumps(params).encode()) == field
    assert own_marker(b'{"system":[{"cache_control":') is None


def test_for_an_estimate_every_end_that_is_kept_is_marked() -> None:
    """What others share of it is not known yet; short ones are left as they are."""
    long = "Every answer is short. " * 2_000
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "system": long,
        "messages": [{"role": "user", "content": BOOK}],
    }
    found = json.loads(LikelyMarks().marked(json.dumps(params).encode()))
    assert found["system"][0]["cache_control"] == HOUR
    assert found["messages"][0]["content"][0]["cache_control"] == HOUR
    short = json.dumps({**params, "system": "Be kind."}).encode()
    assert LikelyMarks().marked(short) == short
    assert LikelyMarks().marked(b"[") == b"["
