"""Packing: never over a limit, order kept, nothing lost, and the size is that of the body to the byte."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.ids import NONCE_LENGTH, Nonce, wire_id
from orchestrator.domain.limits import BODY_HEAD, BODY_TAIL, body_bytes, item_bytes, largest_params
from orchestrator.domain.packing import Caps, pack

NONCE = Nonce("a" * NONCE_LENGTH)
SIZES = st.lists(st.integers(min_value=2, max_value=400), max_size=60)


def body(numbers: list[int], sizes: dict[int, int]) -> bytes:
    """A body as it is sent, made the plain way; params are JSON strings of the right size."""
    items = [
        b'{"custom_id":"%b","params":"%b"}' % (wire_id(NONCE, number).encode(), b"x" * (sizes[number] - 2))
        for number in numbers
    ]
    return BODY_HEAD + b",".join(items) + BODY_TAIL


@given(sizes=SIZES, first=st.integers(1, 10**7), requests=st.integers(1, 20), room=st.integers(60, 3000))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_packing_again_and_again_loses_nothing_and_keeps_order(
    sizes: list[int], first: int, requests: int, room: int
) -> None:
    """Promise 8: each pack is within both limits, and together they are the input; what fits nowhere is told."""
    rows = [(first + place, size) for place, size in enumerate(sizes)]
    caps = Caps(requests=requests, size_bytes=room)
    taken: list[int] = []
    rest = rows
    while rest:
        found = pack(rest, caps)
        if not found.numbers:
            assert found.full
            number, size = rest[0]
            assert body_bytes(item_bytes(size, number), 1) > room
            rest = rest[1:]
            taken.append(number)
            continue
        assert len(found.numbers) <= requests
        assert found.size_bytes <= room
        assert found.full == (len(found.numbers) < len(rest))
        taken += found.numbers
        rest = rest[len(found.numbers) :]
    assert taken == [number for number, _ in rows]


@given(sizes=SIZES.filter(bool), first=st.integers(1, 4_000_000_000))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_the_size_is_exact_to_the_byte(sizes: list[int], first: int) -> None:
    """Plan: ±0 bytes against a body that is actually built."""
    rows = [(first + place, size) for place, size in enumerate(sizes)]
    found = pack(rows, Caps(requests=1000, size_bytes=10**6))
    built = body(list(found.numbers), dict(rows))
    assert found.size_bytes == len(built)
    assert len(json.loads(built)["requests"]) == len(rows)


@given(sizes=SIZES.filter(lambda sizes: len(sizes) > 1))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_one_byte_less_room_leaves_the_last_request_out(sizes: list[int]) -> None:
    """A batch is filled to the last byte, and not by one byte more."""
    rows = list(enumerate(sizes, 1))
    whole = pack(rows, Caps(requests=1000, size_bytes=10**6))
    exact = pack(rows, Caps(requests=1000, size_bytes=whole.size_bytes))
    tight = pack(rows, Caps(requests=1000, size_bytes=whole.size_bytes - 1))
    assert (exact.numbers, exact.full) == (whole.numbers, False)
    assert (tight.numbers, tight.full) == (whole.numbers[:-1], True)


def test_nothing_packs_into_nothing() -> None:
    """An empty job plans no batch."""
    found = pack([], Caps(requests=10, size_bytes=1000))
    assert (list(found.numbers), found.size_bytes, found.full) == ([], 0, False)


@given(max_bytes=st.integers(200, 10**6), number=st.integers(1, 4_294_967_295))
@settings(deadline=None, derandomize=True)
def test_the_largest_params_that_intake_takes_fit_a_batch_alone(max_bytes: int, number: int) -> None:
    """What passes intake can be sent, whatever its place in the file."""
    size = largest_params(max_bytes)
    assert pack([(number, size)], Caps(requests=1, size_bytes=max_bytes)).numbers[0] == number
