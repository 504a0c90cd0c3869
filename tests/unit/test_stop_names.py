"""How the ends of answers are named and told: an open set, of a stranger's words."""

from __future__ import annotations

import json

import pytest

from orchestrator.domain.result_lines import ResultLine, decode_split, stop_reason_of
from orchestrator.domain.result_outcome import stop_name, stop_words


def test_the_well_known_ends_are_told_in_words_and_others_by_their_names() -> None:
    """F13: refused, cut and paused are said; `end_turn` needs no word; what is new has its own name."""
    counts = {"end_turn": 9, "tool_use": 2, "max_tokens": 1, "refusal": 1_000, "pause_turn": 3, "brand_new": 4}
    words = ["1,000 refused", "1 cut at max_tokens", "3 paused turns", "4 brand_new", "2 tool_use"]
    assert stop_words(counts) == words
    assert stop_words({"end_turn": 9}) == []


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        (None, None),
        ("", None),
        ("end_turn", "end_turn"),
        ("a new one", "a_new_one"),
        ("größe", "gr\\xf6\\xdfe"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("<script>", "<script>"),
        ("x" * 1000, "x" * 64),
        ("\U0001f600" * 1000, ("\\U0001f600" * 7)[:64]),
    ],
)
def test_a_name_is_printable_ascii_and_bounded(said: str | None, stored: str | None) -> None:
    """F13: the words of a hostile API steer no terminal and fill no store."""
    assert stop_name(said) == stored


def line(message: object) -> bytes:
    """A result line that succeeded."""
    return json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}).encode()


@pytest.mark.parametrize(
    ("usage", "cache"),
    [
        ({"input_tokens": 1, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7}, (5, 7, None)),
        (
            {
                "cache_read_input_tokens": 5,
                "cache_creation_input_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            },
            (5, 3, 4),
        ),
        ({"cache_creation_input_tokens": 7, "cache_creation": None}, (None, 7, None)),
        ({"cache_creation": {"ephemeral_1h_input_tokens": -1, "new": {}}}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_cache_writes_are_told_apart_by_how_long_they_are_kept(
    usage: object, cache: tuple[int | None, int | None, int | None]
) -> None:
    """F13: what was written for an hour costs more than for five minutes; an older API knew only the latter."""
    (found,) = decode_split((line({"stop_reason": "end_turn", "usage": usage})).split(b"\n"))
    assert isinstance(found, ResultLine)
    assert (found.cache_read_tokens, found.cache_write_5m_tokens, found.cache_write_1h_tokens) == cache


@pytest.mark.parametrize(
    ("message", "stop_reason"),
    [
        ({"stop_reason": "refusal", "usage": {"input_tokens": "many"}}, "refusal"),
        ({"stop_reason": "max_tokens", "content": "\ud83d"}, "max_tokens"),
        ({"stop_reason": ["a"]}, None),
        ({"stop_reason": None}, None),
        ({}, None),
        ("text", None),
    ],
)
def test_a_stop_reason_is_read_whatever_stands_beside_it(message: object, stop_reason: str | None) -> None:
    """F13: odd tokens or half an emoji do not hide a refusal; what is no text is not known."""
    (found,) = decode_split((line(message)).split(b"\n"))
    assert isinstance(found, ResultLine)
    assert found.stop_reason == stop_reason
    assert stop_reason_of(found.result) == stop_reason
    assert stop_reason_of(b"\xff{") is None
