"""The streaming reader of create bodies against a reader that has the whole body."""

import json
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.body import BodyReader

TRAPS = ['},{"custom_id"', '}, {"custom_id":"', '"', "\\", '\\"', "]}", "\u2028", "é", "\x00"]
TEXTS = st.lists(st.one_of(st.sampled_from(TRAPS), st.text(max_size=5)), max_size=4).map("".join)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.none(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(TEXTS, st.just("custom_id")), inner, max_size=3),
        st.lists(st.fixed_dictionaries({"custom_id": inner}), min_size=2, max_size=3),
    ),
    max_leaves=8,
)
PARAMS = st.dictionaries(TEXTS, VALUES, max_size=4)


def read(content: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    """What the reader makes of *content* fed in pieces of the given sizes, the last size again and again."""
    reader = BodyReader(max_requests=1000, max_bytes=1_000_000)
    items = []
    at = 0
    sizes = iter(cuts)
    size = cuts[0]
    while at < len(content):
        size = next(sizes, size)
        items += [(item.custom_id, bytes(item.params)) for item in reader.feed(content[at : at + size])]
        at += size
    return items + [(item.custom_id, bytes(item.params)) for item in reader.finish()]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    rows=st.lists(PARAMS, min_size=1, max_size=6),
    style=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n ", " : ")]),
    swapped=st.booleans(),
    ascii_only=st.booleans(),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=8),
)
def test_items_are_found_however_the_body_is_written_and_cut(
    rows: list[dict[str, Any]], style: tuple[str, str], swapped: bool, ascii_only: bool, cuts: list[int]
) -> None:
    """Nothing inside the params can be taken for the end of an item; params come out byte for byte."""
    items = [{"custom_id": f"id-{n}", "params": row} for n, row in enumerate(rows)]
    if swapped:
        items = [dict(reversed(item.items())) for item in items]
    text = json.dumps({"requests": items}, separators=style, ensure_ascii=ascii_only)
    expected = [
        (item["custom_id"], json.dumps(item["params"], separators=style, ensure_ascii=ascii_only).encode())
        for item in items
    ]
    assert read(text.encode(), cuts) == expected


def test_memory_does_not_grow_with_the_body() -> None:
    """One item and one piece at a time, whatever the length; the ids of the batch are all that is kept."""
    item = b'{"custom_id":"%06d","params":{"text":"' + b"x" * 2000 + b'"}},'
    reader = BodyReader(max_requests=100_000, max_bytes=100_000_000)
    tracemalloc.start()
    list(reader.feed(b'{"requests":['))
    found = 0
    for number in range(0, 10_000, 20):
        piece = b"".join(item % one for one in range(number, number + 20))
        found += sum(1 for _ in reader.feed(piece))
    found += sum(1 for _ in reader.feed(b'{"custom_id":"last","params":{}}]}')) + sum(1 for _ in reader.finish())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == 10_001
    assert peak < 3_000_000


def test_a_large_item_with_many_traps_is_read_in_linear_time() -> None:
    """A nested list that looks like the outer one is scanned once, not once for each piece."""
    trap = [{"custom_id": str(n)} for n in range(60_000)]
    items = [{"custom_id": "a", "params": {}}, {"custom_id": "b", "params": {"list": trap}}]
    content = json.dumps({"requests": items}, separators=(",", ":")).encode()
    reader = BodyReader(max_requests=10, max_bytes=10_000_000)
    found = []
    for start in range(0, len(content), 1000):
        found += [item.custom_id for item in reader.feed(content[start : start + 1000])]
    found += [item.custom_id for item in reader.finish()]
    assert found == ["a", "b"]
