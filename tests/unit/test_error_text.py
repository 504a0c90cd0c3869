"""Which failures are of one cause: those whose messages differ in numbers, ids and addresses alone."""

from __future__ import annotations

import random
import time

import pytest

from orchestrator.domain.error_text import cause_of

ALIKE = [
    (
        "prompt is too long: 201233 tokens > 200000 maximum",
        "prompt is too long: 1,048,576 tokens > 200000 maximum",
        "prompt is too long: N tokens > N maximum",
    ),
    ("messages.0.content.12: too long", "messages.11.content.3: too long", "messages.N.content.N: too long"),
    ("no file file_011CNha8iCJcU1wXNR6q4V8w", "no file file_011CPZtqtTyqXJgfbcdWqGVY", "no file ID"),
    ("id 3f2a9c01-1b2c-4d5e-8f90-aabbccddeeff", "id 00000000-0000-4000-8000-000000000000", "id ID"),
    ("cannot fetch https://a.example/1.png?x=y", "cannot fetch http://b.example:80/z", "cannot fetch URL"),
    ("hash 9f86d081884c7d65", "hash a1b2c3d4e5f60718", "hash ID"),
    ("row17 and order-5", "row8 and order-1234", "rowN and order-N"),
    ("took 5.5s of 5MB, or $5.25", "took 12s of 1MB, or $1,000", "took Ns of NMB, or $N"),
    ("`tool_use` toolu_01AbCdEfGhIjKlMnOpQrStUv", "`tool_use` toolu_012bCdEfGhIjKlMnOpQrStUw", "`tool_use` ID"),
]


@pytest.mark.parametrize(("one", "other", "cause"), ALIKE)
def test_messages_that_differ_in_numbers_ids_and_addresses_have_one_cause(one: str, other: str, cause: str) -> None:
    """F15: a thousand prompts that are too long are one group, not a thousand."""
    assert (cause_of(one), cause_of(other)) == (cause, cause)


@pytest.mark.parametrize(
    "message",
    [
        "Overloaded",
        "messages.role: `x` is not a role",
        "source.base64.data: invalid",
        "",
        "größer",
        "max_tokens: wrong",
    ],
)
def test_words_are_left_as_they_are(message: str) -> None:
    """F15: what tells two causes apart stays."""
    assert cause_of(message) == message


def test_a_message_of_any_size_and_shape_is_bounded_and_takes_no_time() -> None:
    """F15: the words are a stranger's; no text makes the look for ids slow, and a key stays short."""
    chance = random.Random(5)
    hostile = ["9" * 10**6, "a1" * 10**6, "a_" * 10**6, "http://" * 10**5, "-" * 10**6, "0." * 10**6, "\x00" * 10**6]
    hostile += ["".join(chance.choices("aA0_-.:/ \U0001f600", k=10_000)) for _ in range(50)]
    began = time.process_time()
    assert all(len(cause_of(text)) <= 300 for text in hostile)
    assert time.process_time() - began < 20
    assert cause_of(None) == ""
