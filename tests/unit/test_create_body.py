"""The streaming reader of create bodies against a reader that has the whole body."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.length import IS_LONG

from orchestrator.domain.batches_api import ApiError
from orchestrator.domain.create_body import BodyReader

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


@pytest.mark.long
@settings(max_examples=300 if IS_LONG else 80, deadline=None, derandomize=True)
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


def refusal(content: bytes, **limits: Any) -> str:
    """What a reader without limits says of *content*, fed in small pieces."""
    reader = BodyReader(max_requests=None, max_bytes=None, **limits)
    for start in range(0, len(content), 1000):
        list(reader.feed(content[start : start + 1000]))
    with pytest.raises(ApiError) as refused:
        list(reader.finish())
    return f"{refused.value.status} {refused.value.message}"


def body(*params: bytes) -> bytes:
    """A body whose items have these *params*."""
    items = b",".join(b'{"custom_id":"r%d","params":%b}' % (n, one) for n, one in enumerate(params))
    return b'{"requests":[%b]}' % items


def test_params_that_are_no_object_are_refused_wherever_they_stand() -> None:
    """The quick road cuts params out without a look into them; it must not be laxer than the slow one."""
    for place in (0, 1, 5, 199):
        params = [b'{"a":1}'] * 200
        params[place] = b"5"
        swapped = body(*params).replace(b'"custom_id":"r%d","params":5' % place, b'"params":5,"custom_id":"x"')
        assert refusal(body(*params)) == refusal(swapped)
        assert refusal(body(*params)) == f"400 requests.{place}.params: Input should be a valid dictionary"


def test_what_is_nested_too_deeply_is_told_in_our_own_words() -> None:
    """No word of the language that this is written in reaches a client."""
    deep = b'{"requests":[{"custom_id":"a","params":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}"
    assert refusal(deep) == "400 The request body is not valid JSON: it is nested too deeply"


def test_what_is_not_text_is_not_json() -> None:
    """A byte that is no UTF-8 inside params would sink the whole batch at the API, and name nobody."""
    broken = "400 The request body is not valid JSON: "
    assert refusal(body(b'{"a":"\xff"}', b"{}")) == f"{broken}invalid start byte"
    assert refusal(body(*[b"{}"] * 300, b'{"a":"\xc3')).startswith(broken)
    assert refusal(body(b'{"a":%b1%b}' % (b"[" * 5000, b"]" * 5000))).startswith(broken)


def test_an_item_that_is_larger_than_what_may_be_held_is_refused_and_not_held() -> None:
    """Memory is bounded whatever a body looks like: one giant item, or a body that never comes to its list."""
    giant = body(b'{"a":"' + b"x" * 300_000 + b'"}')
    tracemalloc.start()
    said = refusal(giant, max_held=50_000), refusal(b'{"x":[' + b"1," * 300_000, max_held=50_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said == ("413 Request exceeds the maximum size",) * 2
    assert peak < 2_500_000


def test_ids_are_not_kept_where_somebody_else_looks_for_repeats() -> None:
    """A body of millions of items needs no set of their ids."""
    reader = BodyReader(max_requests=None, max_bytes=None, remembers_ids=False)
    twice = b'{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}'
    assert [item.custom_id for item in (*reader.feed(twice), *reader.finish())] == ["a", "a"]
    assert refusal(twice).endswith("Duplicate custom_id found: a")


def test_a_body_that_changes_its_style_on_the_way_is_read_in_the_same_memory() -> None:
    """The separator of the first items may never come again; then items are looked for one by one."""
    first = b'{"custom_id":"a%d","params":{"t":"%b"}}' % (0, b"x" * 900)
    rest = [b'{"params":{"t":"%b"}, "custom_id":"b%d"}' % (b"x" * 900, n) for n in range(5000)]
    content = b'{"requests":[' + b",".join([first, first.replace(b"a0", b"a1"), *rest]) + b"]}"
    reader = BodyReader(max_requests=None, max_bytes=None, max_held=2_000_000)
    found = [
        item.custom_id for start in range(0, len(content), 50_000) for item in reader.feed(content[start:][:50_000])
    ]
    found += [item.custom_id for item in reader.finish()]
    assert found == ["a0", "a1", *(f"b{n}" for n in range(5000))]
