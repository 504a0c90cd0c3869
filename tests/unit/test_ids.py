"""Identifiers: made from each other and taken apart again without loss."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.ids import (
    MAX_NUMBER,
    NONCE_ALPHABET,
    NONCE_LENGTH,
    JobId,
    Nonce,
    number_of,
    request_id,
    split_wire_id,
    wire_id,
)

NONCES = st.text(alphabet=NONCE_ALPHABET, min_size=NONCE_LENGTH, max_size=NONCE_LENGTH).map(Nonce)
NUMBERS = st.integers(1, MAX_NUMBER)
WIRE = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")  # Source: Message Batches API reference


@given(nonce=NONCES, number=NUMBERS)
@settings(derandomize=True)
def test_wire_ids_round_trip_and_are_what_the_api_takes(nonce: Nonce, number: int) -> None:
    """The proof of whose a batch is stands on this."""
    wire = wire_id(nonce, number)
    assert WIRE.match(wire)
    assert split_wire_id(wire) == (nonce, number)


@given(text=st.text(max_size=60))
@settings(derandomize=True, max_examples=500)
def test_what_somebody_else_made_never_gives_another_text_of_ours(text: str) -> None:
    """A foreign id is None, or exactly what we would have written."""
    parts = split_wire_id(text)
    assert parts is None or wire_id(*parts) == text


@pytest.mark.parametrize(
    "wire",
    ["", "-", "r1", "a" * 20, "a" * 20 + "-", "a" * 20 + "-0", "a" * 20 + "-01", "a" * 20 + "--1", "a" * 20 + "-1x",
     "a" * 19 + "-1", "a" * 21 + "-1", "a" * 20 + "-12345678901", "a" * 20 + "-١"],
)  # fmt: skip
def test_near_misses_are_not_ours(wire: str) -> None:
    """Leading zeros, other digits, other lengths: not made by us."""
    assert split_wire_id(wire) is None


@given(job=st.integers(1, 2**30), number=NUMBERS)
@settings(derandomize=True)
def test_request_ids_round_trip_and_keep_the_order_of_the_file(job: int, number: int) -> None:
    """A job's rows lie together, in file order."""
    key = request_id(JobId(job), number)
    assert (key >> 32, number_of(key)) == (job, number)
    assert request_id(JobId(job), 0) < key < request_id(JobId(job + 1), 0)
    assert key < 2**63


def test_a_number_beyond_its_bits_is_no_wire_id_of_ours() -> None:
    """2**32 + 1 shifted into an odd job would be its request 1: a stranger's line must not become an answer."""
    nonce = Nonce("a" * NONCE_LENGTH)
    assert split_wire_id(f"{nonce}-{MAX_NUMBER}") == (nonce, MAX_NUMBER)
    assert split_wire_id(f"{nonce}-{MAX_NUMBER + 2}") is None
