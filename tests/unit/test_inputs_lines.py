"""What a file may hold, line by line, and what is said about the rest."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.errors import InputError
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import source_from_stream
from orchestrator.inputs.line_parser import read_line
from orchestrator.ports.streams import InputLine, InputProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from orchestrator.inputs import StreamSource

RULES = ParamRules(api_version=STRICTER_API_VERSION)
PARAMS = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
A = b'{"custom_id":"a","params":' + PARAMS + b"}"
B = A.replace(b'"a"', b'"b"')


def source(blocks: Iterable[bytes], *, max_line_bytes: int = 1_000_000, rules: ParamRules = RULES) -> StreamSource:
    async def arriving() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    return source_from_stream(arriving(), name="in.jsonl", rules=rules, max_line_bytes=max_line_bytes)


def read(*blocks: bytes, max_line_bytes: int = 1_000_000) -> list[InputLine | InputProblem]:
    async def all_items() -> list[InputLine | InputProblem]:
        chunks = source(blocks, max_line_bytes=max_line_bytes).chunks()
        return [item async for chunk in chunks for item in chunk]

    return asyncio.run(all_items())


def with_id(custom_id: str) -> bytes:
    return b'{"custom_id":%b,"params":%b}' % (custom_id.encode(), PARAMS)


def with_content(content: bytes) -> bytes:
    return A.replace(b"hi", content)


TAKEN: list[tuple[bytes, list[tuple[int, str]]]] = [
    (A, [(1, "a")]),
    (A + b"\n", [(1, "a")]),
    (A + b"\n" + B, [(1, "a"), (2, "b")]),
    (A + b"\r\n" + B + b"\r\n", [(1, "a"), (2, "b")]),
    (b"\n\n" + A + b"\n \t\r\n\n" + B + b"\n\n", [(3, "a"), (6, "b")]),
    (b"\xef\xbb\xbf" + A, [(1, "a")]),
    (b"  " + A + b"  ", [(1, "a")]),
    (b'{"params":' + PARAMS + b',"custom_id":"a"}', [(1, "a")]),
    (b'{ "custom_id" : "a" , "params" : ' + PARAMS + b" }", [(1, "a")]),
    (b'{     "custom_id"     :     "a"     ,     "params"     :     ' + PARAMS + b"     }", [(1, "a")]),
    (with_id('"../../etc/passwd"'), [(1, "../../etc/passwd")]),
    (with_id('"<script>"'), [(1, "<script>")]),
    (with_id('"=cmd()"'), [(1, "=cmd()")]),
    (with_id('" "'), [(1, " ")]),
    (with_id('"\U0001f600 日本語の長い名前"'), [(1, "\U0001f600 日本語の長い名前")]),
    (with_id(r'"\u65e5\u672c\u8a9e\ud83d\ude00"'), [(1, "日本語\U0001f600")]),
    (with_id('"a\u2028b\u0085c"'), [(1, "a\u2028b\u0085c")]),
    (with_id('"' + "x" * 5_000 + '"'), [(1, "x" * 5_000)]),
    (with_id(r'"\"params\":0,"'), [(1, '"params":0,')]),
    (with_content(rb"\ud83d\ude00 \\ud83d"), [(1, "a")]),
    (with_content('a\u2028b "params"'.replace('"', "'").encode()), [(1, "a")]),
    (with_content(rb"\u0000"), [(1, "a")]),
    (A + b"\n" + A, [(1, "a"), (2, "a")]),  # doubles are the store's to find
]


@pytest.mark.parametrize(("text", "expected"), TAKEN, ids=range(len(TAKEN)))
def test_good_lines_are_taken_with_their_numbers(text: bytes, expected: list[tuple[int, str]]) -> None:
    """Whatever an editor or a program does to a sound file, its requests are read."""
    items = read(text)
    assert [(item.line, item.custom_id) for item in items if isinstance(item, InputLine)] == expected
    assert len(items) == len(expected)


REFUSED: list[tuple[bytes, int, str, str]] = [
    # text, line, field, a word of the message or remedy
    (A + b"\n{", 2, "", "ends too early"),
    (b'{"custom_id":"a","params":{}', 1, "", "ends too early"),
    (b"nonsense", 1, "", "invalid character (byte"),
    (b"42", 1, "", "must be an object, not a number"),
    (b"null", 1, "", "must be an object, not null"),
    (b'"text"', 1, "", "must be an object, not a string"),
    (A + b"\n[]", 2, "", "must be an object, not an array"),
    (A + b" trailing", 1, "", "trailing characters"),
    (A + A, 1, "", "trailing characters"),
    (with_content(b"\xff"), 1, "", "UTF-8"),
    (with_content(b"\xed\xa0\xbd"), 1, "", "UTF-8"),
    (with_id('"').replace(b'""', b'"\xe9"'), 1, "", ""),
    (with_content(b"\x00"), 1, "", "NUL"),
    (with_content(b"\t"), 1, "", "invalid character"),
    (with_content(rb"\ud83d"), 1, "", "surrogate"),
    (with_content(rb"\ude00\ud83d"), 1, "", "surrogate"),
    (with_content(rb"\ud83dx"), 1, "", "surrogate"),
    (with_id(r'"\ud83d"'), 1, "", "surrogate"),
    (A.replace(b'"max_tokens":5', b'"max_tokens":NaN'), 1, "", "not valid JSON"),
    (A.replace(b'"max_tokens":5', b'"max_tokens":5,"x":Infinity'), 1, "", "not valid JSON"),
    (A.replace(b'"hi"', b"[" * 100_000 + b"]" * 100_000), 1, "", "nested too deeply"),
    (b"[" * 100_000, 0, "", "jq"),
    (b'{"custom_id":"a"}', 1, "params", "missing"),
    (b'{"params":' + PARAMS + b"}", 1, "custom_id", "missing"),
    (with_id("5.5"), 1, "custom_id", "not a number"),
    (with_id("null"), 1, "custom_id", "not null"),
    (with_id('""'), 1, "custom_id", "empty"),
    (with_id(r'"a\u0000"'), 1, "custom_id", "NUL"),
    (b'{"custom_id":"a","params":null}', 1, "params", "not null"),
    (b'{"custom_id":"a","params":[]}', 1, "params", "not an array"),
    (b'{"custom_id":"a","params":"x"}', 1, "params", "not a string"),
    (A[:-1] + b',"model":"m"}', 1, "model", "inside params"),
    (A[:-1] + b',"extra":1}', 1, "extra", "remove"),
    (b'{"custom_id":"a","method":"POST","url":"/v1","body":{}}', 1, "", "OpenAI"),
    (b'{"requests":[' + A + b"]}", 1, "requests", "jq"),
    (A[:-1] + b',"params":' + PARAMS + b"}", 1, "params", "more than once"),
    (b'{"custom_id":"b",' + A[1:], 1, "custom_id", "more than once"),
    (A[:-1] + b',"params":0}', 1, "params", "more than once"),
    (b'{"params":0,' + A[1:], 1, "params", "more than once"),
    (b'{"\\u0070arams":0,' + A[1:], 1, "params", "more than once"),
    (A.replace(b'"max_tokens":5', b'"max_tokens":5,"stream":true'), 1, "params.stream", "remove"),
    (A.replace(b'"model":"m",', b""), 1, "params.model", "missing"),
    (A.replace(b'"max_tokens":5', b'"max_tokens":5,"temperature":1'), 1, "params.temperature", "2023-06-01"),
    (b"1,hello,x\n", 1, "", "is not valid JSON"),
    (b"7\n", 1, "", "must be an object, not a number"),
    (b"", 0, "", "empty"),
    (b"\n \r\n\n", 0, "", "blank"),
    (b"\xef\xbb\xbf", 0, "", "empty"),
    (b"[" + A + b"]", 0, "", "jq -c '.[]'"),
    (b" \n\n[\n" + A + b"\n]", 0, "", "jq -c '.[]'"),
    (b"\xef\xbb\xbf[]", 0, "", "jq -c '.[]'"),
    (A.decode().encode("utf-16"), 0, "", "iconv"),
    (A.decode().encode("utf-16-be"), 0, "", "iconv"),
    (A.decode().encode("utf-16-le"), 0, "", "iconv"),
    (A.decode().encode("utf-32"), 0, "", "iconv"),
    (b"\0" * 5_000, 0, "", "binary"),
]


@pytest.mark.parametrize(("text", "line", "field", "word"), REFUSED, ids=range(len(REFUSED)))
def test_bad_lines_are_told_by_line_and_field_with_a_remedy(text: bytes, line: int, field: str, word: str) -> None:
    """Everything is found before anything is sent, and each problem says what to do."""
    problems = [item for item in read(text) if isinstance(item, InputProblem) and item.field == field]
    assert problems
    assert problems[0].line == line
    assert word in f"{problems[0].message} {problems[0].remedy}"
    assert problems[0].remedy


def test_a_refused_line_is_one_problem_unless_it_has_several() -> None:
    """The report is not padded, and does not hide anything either."""
    assert len(read(with_id("5"))) == 1
    assert len(read(b'{"custom_id":"","params":{}}')) == 4
    assert len(read(b"[" + A + b",\n" + B + b"]")) == 1


def test_good_lines_around_a_bad_one_are_still_read() -> None:
    """With --skip-bad the rest is taken."""
    kinds = [type(item) for item in read(A + b"\nbad\n" + B)]
    assert kinds == [InputLine, InputProblem, InputLine]


def test_the_refused_line_is_kept_to_64_kib() -> None:
    """A report of refused lines does not copy a damaged gigabyte."""
    (problem,) = [item for item in read(b'{"custom_id":"' + b"x" * 100_000) if isinstance(item, InputProblem)]
    assert problem.raw == (b'{"custom_id":"' + b"x" * 100_000)[: 64 * 1024]


def test_a_line_over_the_limit_is_skipped_and_the_numbering_stays_true() -> None:
    """Counted, not held."""
    long = with_content(b"x" * 2_000)
    first, second, third = read(A + b"\n" + long + b"\n" + B, max_line_bytes=1_000)
    assert isinstance(second, InputProblem)
    assert (first.line, second.line, third.line) == (1, 2, 3)
    assert f"{len(long):,}" in second.message


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="xyz é"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(JSON_VALUES, st.booleans(), st.integers(1, 50))
def test_params_come_out_as_the_bytes_that_went_in(extra: object, is_ascii: bool, step: int) -> None:
    """Bytes in = bytes out, however the file is written and wherever the stream is cut."""
    params = json.dumps(json.loads(PARAMS) | {"metadata": extra}, ensure_ascii=is_ascii, separators=(" ,", " : "))
    text = b'{"custom_id": "a", "params":   %b }\n' % params.encode()
    blocks = [text[at : at + step] for at in range(0, len(text), step)]
    assert read(*blocks) == [InputLine(1, "a", params.encode())]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_requests_or_problems_or_a_damaged_archive(text: bytes) -> None:
    """Nothing that a file can hold is an unforeseen exception."""
    assert read(A + b"\n" + text)
    with contextlib.suppress(InputError):  # it happens to begin like an archive
        assert read(text)


@pytest.mark.parametrize(
    "pack",
    [lambda raw: raw, gzip.compress, zstandard.ZstdCompressor().compress],
    ids=["plain", "gzip", "zstd"],
)
def test_the_hash_is_of_the_text_whatever_it_was_packed_in(pack: object) -> None:
    """The same requests are the same job, compressed or not."""
    text = b"\xef\xbb\xbf" + A + b"\n\n" + B
    assert callable(pack)
    requests = source([pack(text)])

    async def drain() -> None:
        with pytest.raises(RuntimeError):
            _ = requests.content_hash
        async for _ in requests.chunks():
            pass

    asyncio.run(drain())
    assert requests.content_hash == hashlib.sha256(text).hexdigest()
    assert requests.size_bytes == len(text)


def test_chunks_are_bounded_in_items_and_in_bytes() -> None:
    """A chunk is what one transaction of the store takes."""

    async def sizes(blocks: Iterable[bytes]) -> list[tuple[int, int]]:
        return [
            (len(chunk), sum(len(item.params) for item in chunk if isinstance(item, InputLine)))
            async for chunk in source(blocks, max_line_bytes=10 << 20).chunks()
        ]

    many = asyncio.run(sizes([(A + b"\n") * 5_001]))
    assert [count for count, _ in many] == [2_000, 2_000, 1_001]
    big = asyncio.run(sizes([(with_content(b"x" * (1 << 20)) + b"\n") for _ in range(10)]))
    assert sum(count for count, _ in big) == 10
    assert all(size <= 4 << 20 for _, size in big)
    huge = asyncio.run(sizes([A + b"\n", with_content(b"x" * (5 << 20)) + b"\n", B]))
    assert [count for count, _ in huge] == [1, 1, 1]


PARAMS = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"%b"}]}'
MANY = {
    "many keys": b'{"custom_id":"a","params":%b,%b}'
    % (PARAMS % b"", b",".join(b'"k%d":0' % n for n in range(300_000))),
    "some keys": b'{"custom_id":"a","params":%b,%b}' % (PARAMS % b"", b",".join(b'"k%d":0' % n for n in range(50_000))),
    "params twice": b'{"custom_id":"a","params":[%b],"params":%b}' % (b",".join([b"0"] * 1_000_000), PARAMS % b"x"),
    "no object": b"[%b]" % b",".join([b'"0"'] * 500_000),
    "no custom_id": b'{"params":%b}' % (PARAMS % (b"x" * 2_000_000)),
    "a number for an id": b'{"custom_id":7,"params":%b}' % (PARAMS % (b"x" * 2_000_000)),
}


@pytest.mark.parametrize("name", MANY)
def test_what_is_wrong_with_a_line_is_said_in_little_memory(name: str) -> None:
    """M2: each of 300,000 keys was a problem of its own, with 64 KiB of the line: 19 GB for a line of 4 MB."""
    tracemalloc.start()
    try:
        found = read_line(MANY[name], 1, ParamRules(api_version=STRICTER_API_VERSION))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, list)
    assert 0 < len(found) <= 20
    assert peak < 32 * len(MANY[name])


@pytest.mark.parametrize("space", [b"", b" " * 2_000_000])
def test_a_large_line_is_held_to_the_same_rules(space: bytes) -> None:
    """M2: what is right passes, with any white space between; an empty id or a repeated one is found."""
    rules, params = ParamRules(api_version=STRICTER_API_VERSION), PARAMS % (b"x" * 2_000_000)
    good = b'{ "custom_id": "a",%b "params": %b }' % (space, params)
    assert read_line(good, 1, rules) == InputLine(1, "a", params)
    for wrong, field in (
        (b'{"custom_id":"",%b"params":%b}' % (space, params), "custom_id"),
        (b'{"custom_id":"a",%b"params":%b,"params":%b}' % (space, params, params), "params"),
        (b'{"custom_id":7,%b"params":%b}' % (space, params), "custom_id"),
        (b'{%b"params":%b}' % (space, params), "custom_id"),
        (b'{"custom_id":"a",%b"params":%b,"model":1}' % (space, params), "model"),
        (b'{"requests":[%b%b]}' % (space, params), "requests"),
    ):
        found = read_line(wrong, 1, rules)
        assert isinstance(found, list)
        assert field in {problem.field for problem in found}
