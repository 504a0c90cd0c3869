"""Lines with the row that their request was made of: kept byte for byte, or refused with what to do."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.params import ParamRules
from orchestrator.domain.result_lines import input_line
from orchestrator.inputs import source_from_objects, source_from_stream
from orchestrator.inputs.line_parser import read_line
from orchestrator.ports.streams import CHUNK_BYTES, InputLine, InputProblem, refuse_marked
from orchestrator.views import source_codec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from orchestrator.ports.streams import Source

RULES = ParamRules(api_version=STRICTER_API_VERSION)
PARAMS = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
LARGE = b"x" * 2_000_000
DEEP = b"[" * 500 + b"]" * 500


def line(row: bytes, *, params: bytes = PARAMS) -> bytes:
    return b'{"custom_id":"a","params":%b,"row":%b}' % (params, row)


def items_of(source: Source) -> list[InputLine | InputProblem]:
    async def read() -> list[InputLine | InputProblem]:
        return [item async for chunk in source.chunks() for item in chunk]

    return asyncio.run(read())


ROWS = (
    b"{}",
    b"{ }",
    b'{"id":"007","text":"\xc3\xa9"}',
    b'{ "id" : 7 ,\t"nested": {"params": 0, "row": [1, 2.50, 1e999]} }',
    rb'{"text":"\u0000 \ud83d\ude00 \"row\":{}"}',
    b'{"row":{},"params":{},"custom_id":"b"}',
    b'{"again":%b}' % PARAMS,
    b'{"deep":%b}' % DEEP,
    b'{"large":"%b"}' % LARGE,
)


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
@pytest.mark.parametrize("params", [PARAMS, PARAMS.replace(b"hi", LARGE)], ids=["small", "large"])
def test_a_row_is_kept_as_the_bytes_that_it_was(row: bytes, params: bytes) -> None:
    """Wherever it stands in the line, and however the line is spaced."""
    wanted = InputLine(3, "a", params, row)
    assert read_line(line(row, params=params), 3, RULES) == wanted
    assert read_line(b'{"row" : %b , "params":%b,"custom_id": "a" }' % (row, params), 3, RULES) == wanted
    assert read_line(b'   {"params":   %b,\n"row":%b,  "custom_id":    "a"}  ' % (params, row), 3, RULES) == wanted
    assert read_line(b'{"custom_id":"a","params":%b}' % params, 3, RULES) == InputLine(3, "a", params)


@pytest.mark.parametrize("more", [b"", b" " * 40], ids=["plain", "odd"])
def test_a_row_of_several_lines_is_kept_in_one(more: bytes) -> None:
    """As in the body of a request to the API; a row stands in lines of its own kind later. Its digits stay."""
    row = b'{\r\n  "n": 12345678901234567890123,\n  "x": 1.50, "t": "a  \\n \\" b" ,"deep":%b\n}' % DEEP
    read = read_line(line(row + more), 3, RULES)
    assert isinstance(read, InputLine)
    assert read.row == b'{"n":12345678901234567890123,"x":1.50,"t":"a  \\n \\" b","deep":%b}' % DEEP


REFUSED: list[tuple[bytes, str, str]] = [
    (line(b"null"), "row", "must be an object, not null"),
    (line(b"[1]"), "row", "must be an object, not an array"),
    (line(b'"text"'), "row", "must be an object, not a string"),
    (line(b"7"), "row", "must be an object, not a number"),
    (line(b'{},"row":0'), "row", "more than once"),
    (line(b'0,"row":{}'), "row", "more than once"),
    (line(b'{},"row":{}'), "row", "more than once"),
    (line(b'{"a":1},"params":0'), "params", "more than once"),
    (line(b'{},"row":%b' % DEEP), "row", "more than once"),
    (line(b'{"a":1},"extra":0'), "extra", "remove it"),
    (line(rb'{"a":"\ud83d"}'), "", "surrogate"),
    (line(b'{"a":"\xff"}'), "", "UTF-8"),
    (line(b'{"a":\x00}'), "", "NUL"),
    (line(b'{"a":%b}' % (b"[" * 100_000 + b"]" * 100_000)), "", "nested too deeply"),
    (line(b'{"a":1'), "", "not valid JSON"),
    (line(b'{"a":"%b"},"row":0' % LARGE), "row", "more than once"),
    (line(b'"%b"' % LARGE), "row", "must be an object, not a string"),
    (line(b"{}", params=b"[]"), "params", "must be an object"),
]


@pytest.mark.parametrize(("text", "field", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_row_is_a_problem_of_its_line(text: bytes, field: str, words: str) -> None:
    """With what to do, and the line as it stood."""
    found = read_line(text, 1, RULES)
    assert isinstance(found, list)
    told = [problem for problem in found if problem.field == field]
    assert words in f"{told[0].message} {told[0].remedy}"
    assert told[0].remedy
    assert text.startswith(told[0].raw)
    assert len(told[0].raw) == min(len(text), 64 * 1024)


def test_the_remedy_says_how_a_row_looks() -> None:
    """And that it may be left out."""
    (problem,) = read_line(line(b"[]"), 1, RULES)  # type: ignore[misc]  # it is refused
    assert problem.remedy == 'write it as an object of columns, such as "row": {"id": 7}, or leave it out'


def test_a_row_counts_towards_the_size_of_its_line_and_of_its_chunk() -> None:
    """A line of two small params may be too long; a chunk stays what one transaction takes."""

    async def arriving() -> AsyncIterator[bytes]:
        for number in range(12):
            yield b'{"custom_id":"%d","params":%b,"row":{"a":"%b"}}\n' % (number, PARAMS, LARGE)
        yield line(b'{"a":"%b"}' % (LARGE + LARGE))

    async def read() -> list[Sequence[InputLine | InputProblem]]:
        source = source_from_stream(arriving(), name="x", rules=RULES, max_line_bytes=3_000_000)
        return [chunk async for chunk in source.chunks()]

    chunks = asyncio.run(read())
    assert max(sum(len(item.row) for item in chunk if isinstance(item, InputLine)) for chunk in chunks) <= CHUNK_BYTES
    (problem,) = [item for chunk in chunks for item in chunk if isinstance(item, InputProblem)]
    assert "bytes long" in problem.message


def test_objects_bring_rows_as_lines_do() -> None:
    """Whatever a program's objects are made of; what is no JSON is told by its place in the row."""

    class Table:
        def model_dump(self, **_: Any) -> dict[str, Any]:
            return {"id": 7}

    params = json.loads(PARAMS)
    given: list[Any] = [
        {"custom_id": "a", "params": params, "row": {"id": "007", "text": "é"}},
        {"custom_id": "b", "params": params, "row": Table()},
        {"custom_id": "c", "params": params, "row": {"seen": {1, object()}}},
        {"custom_id": "d", "params": params, "row": ["x"]},
        {"custom_id": "e", "params": params},
    ]
    source = source_from_objects(given, name="requests", rules=RULES)
    a, b, c, d, e = items_of(source)
    assert [item.row for item in (a, b, e) if isinstance(item, InputLine)] == [
        '{"id":"007","text":"é"}'.encode(), b'{"id":7}', b""
    ]  # fmt: skip
    assert [item.field for item in (c, d) if isinstance(item, InputProblem)] != []
    assert isinstance(c, InputProblem)
    assert c.field.startswith("row.seen")
    assert isinstance(d, InputProblem)
    assert (d.field, d.message) == ("row", "must be an object, not an array")


def test_rows_make_another_content() -> None:
    """The same prompts for another table are another job; the same lines are the same."""

    def digest(row: dict[str, int]) -> str:
        source = source_from_objects(
            [{"custom_id": "a", "params": json.loads(PARAMS), "row": row}], name="r", rules=RULES
        )
        items_of(source)
        return source.content_hash

    assert digest({"id": 1}) == digest({"id": 1}) != digest({"id": 2})


def test_rows_travel_to_an_engine_byte_for_byte() -> None:
    """A client has read and checked them; lines without one travel as they always did."""
    sent = [
        InputLine(1, "a", PARAMS, b'{ "id": "\xc3\xa9" }'),
        InputLine(2, "b", PARAMS),
        InputLine(3, "c", PARAMS, b"{}"),
    ]
    stream = source_codec.encode_lines(sent)
    assert stream.splitlines()[1] == b'+[2,"b",%b]' % PARAMS

    async def arriving() -> AsyncIterator[bytes]:
        for at in range(0, len(stream), 7):
            yield stream[at : at + 7]

    assert items_of(source_codec.DecodedSource(arriving(), name="x")) == sent
    assert source_codec.number_lines(sent, above=7)[0] == msgspec.structs.replace(sent[0], line=8)


def test_a_request_that_is_handed_back_has_its_row() -> None:
    """Of one whose own marker stands in the way: the line as it can be handed in again."""
    marked = PARAMS.replace(b'"hi"', b'[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]')
    given = InputLine(1, "a", marked, b'{"id":1}')
    found = refuse_marked(given)
    assert isinstance(found, InputProblem)
    assert found.raw == line(b'{"id":1}', params=marked)
    assert read_line(found.raw, 1, RULES) == given
    assert input_line("a", PARAMS) == b'{"custom_id":"a","params":%b}' % PARAMS
