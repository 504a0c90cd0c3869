"""Reading the API's result lines and writing our own."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.line_splitter import LineSplitter, LongLine
from orchestrator.domain.result_lines import (
    BadLine,
    ResultLine,
    canceled_result,
    decode_split,
    errored_result,
    output_line,
    wire_ids_of,
)

EXPIRED = b'{"type":"expired"}'
MESSAGE = (
    b'{"type":"succeeded","message":{"id":"msg_1","type":"message","role":"assistant","content":[],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":3,'
    b'"cache_creation_input_tokens":2,"service_tier":"batch"}}}'
)


def line(result: bytes, wire_id: str = "n-1") -> bytes:
    return output_line(wire_id, result)


def only(buffer: bytes) -> ResultLine | BadLine:
    (found,) = decode_split((buffer).split(b"\n"))
    return found


def test_a_success_brings_its_tokens_and_its_very_bytes() -> None:
    """Byte for byte is the promise of the output."""
    assert only(line(MESSAGE)) == ResultLine(
        "n-1",
        "succeeded",
        MESSAGE,
        stop_reason="end_turn",
        input_tokens=10,
        output_tokens=5,
        cache_read_tokens=3,
        cache_write_5m_tokens=2,
        charges=None,
    )


def test_an_error_is_read_from_where_the_api_nests_it() -> None:
    """`result.error.error.type`, not `result.error.type`."""
    found = only(line(errored_result("api_error", "Overloaded", request_id="workerreq_1")))
    assert isinstance(found, ResultLine)
    assert (found.kind, found.error_type, found.error_message) == ("errored", "api_error", "Overloaded")
    assert (found.api_request_id, found.input_tokens) == ("workerreq_1", None)


@pytest.mark.parametrize(("result", "kind"), [(EXPIRED, "expired"), (canceled_result(), "canceled")])
def test_bare_results_are_kinds(result: bytes, kind: str) -> None:
    """Expired and canceled rows carry nothing else."""
    assert only(line(result)) == ResultLine("n-1", kind, result)


PASSING: list[tuple[bytes, str]] = [
    (b'{"type":"postponed","until":5}', "postponed"),
    (b'{"type":"errored","error":{"type":"error","error":{"type":"brand_new_error","message":"m"}}}', "errored"),
    (b'{"type":"errored","error":"odd"}', "errored"),
    (b'{"type":"errored"}', "errored"),
    (b'{"type":"succeeded","message":"odd"}', "succeeded"),
    (b'{"type":"succeeded","message":{"usage":{"input_tokens":"many"}}}', "succeeded"),
    (b'{"type":"succeeded","message":{"usage":{"input_tokens":99999999999999999999999}}}', "succeeded"),
    (b'{"type":"succeeded","message":{"usage":{"input_tokens":-4}}}', "succeeded"),
    (b'{"type":"succeeded","message":{"n":1' + b"0" * 6_000 + b"}}", "succeeded"),
    (b'{"type":"succeeded","message":{"content":[{"text":"cut \\ud83d"}]}}', "succeeded"),
    (b'{"type":"succeeded","message":{"content":[{"text":"\\\\ud83d \\ude00 \\ud83d\\ude00"}]}}', "succeeded"),
    ('{"type":"succeeded","message":{"content":[{"text":"a\u2028b\u0085c"}]}}'.encode(), "succeeded"),
]


@pytest.mark.parametrize(("result", "kind"), PASSING)
def test_odd_results_keep_their_id_kind_and_bytes(result: bytes, kind: str) -> None:
    """A paid answer is never thrown away for a field that looks odd."""
    found = only(line(result))
    assert isinstance(found, ResultLine)
    assert (found.wire_id, found.kind, found.result) == ("n-1", kind, result)
    assert found.input_tokens is None


FLAT: list[bytes] = [
    b'{"type":"errored","error":{"type":"invalid_request_error","message":"max_tokens: 99 > 64"}}',
    b'{"type":"errored","error":{"type":"error","error":{"message":"max_tokens: 99 > 64"}}}',
    b'{"type":"errored","error":"max_tokens: 99 > 64"}',
    b'{"type":"errored","error":{"error":"max_tokens: 99 > 64"}}',
    b'{"type":"errored","error":{"detail":"max_tokens: 99 > 64"}}',
    b'{"type":"errored","message":"max_tokens: 99 > 64"}',
    b'{"type":"errored","error":{"type":7,"message":"max_tokens: 99 > 64","request_id":[]}}',
]


@pytest.mark.parametrize("result", FLAT, ids=str)
def test_an_error_that_is_not_nested_keeps_its_words(result: bytes) -> None:
    """F21: `max_tokens: 99 > 64` was shown as "errored in 5 attempts", after five rounds."""
    found = only(line(result))
    assert isinstance(found, ResultLine)
    assert (found.kind, found.error_message, found.result) == ("errored", "max_tokens: 99 > 64", result)
    assert found.error_type == ("invalid_request_error" if b"invalid_request_error" in result else None)


def test_an_id_is_found_in_a_line_that_cannot_be_read() -> None:
    """F14: ours by the nonce, wherever it stands; a user's own behind its name, as JSON writes it."""
    (ours,) = decode_split((b'{"custom_id":"abc-12","result":{"x":NaN}}').split(b"\n"))
    (named,) = decode_split((b'{"custom_id" : "a\\u00e9\\"b","result":NaN}').split(b"\n"))
    assert isinstance(ours, BadLine)
    assert isinstance(named, BadLine)
    assert ours.wire_id(wire_ids_of("abc")) == "abc-12"
    assert ours.wire_id(wire_ids_of("ab")) is None
    assert named.wire_id(wire_ids_of(None)) == 'aé"b'
    assert ours.raw == b'{"custom_id":"abc-12","result":{"x":NaN}}'


BAD: list[bytes] = [
    b"{",
    b"nonsense",
    b"[]",
    b'{"custom_id":5,"result":{"type":"expired"}}',
    b'{"result":{"type":"expired"}}',
    b'{"custom_id":"a"}',
    b'{"custom_id":"a","result":null}',
    b'{"custom_id":"a","result":{}}',
    b'{"custom_id":"a","result":{"type":7}}',
    b'{"custom_id":"a","result":{"type":"succeeded","x":NaN}}',
    b'{"custom_id":"a","result":{"type":"succeeded","x":"\xff"}}',
    b'{"custom_id":"a","result":{"type":"succeeded","x":"\x00"}}',
    b'{"custom_id":"a","result":{"type":"x","y":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"custom_id":"a","result":{"type":"expired"}} trailing',
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_line_that_is_no_result_is_a_value_with_its_offset(bad: bytes) -> None:
    """One bad line does not cost the good ones around it."""
    good = line(EXPIRED)
    first, second, third = decode_split((good + bad + b"\n" + good).split(b"\n"))
    assert isinstance(second, BadLine)
    assert second.offset == len(good)
    assert first == third


def test_blank_lines_and_crlf_are_skipped_over() -> None:
    """The SDK's own decoder fails on both."""
    found = decode_split((b"\r\n\n" + line(EXPIRED).replace(b"\n", b"\r\n") + b"  \n").split(b"\n"))
    assert [type(item) for item in found] == [ResultLine]


def test_a_long_line_counts_in_offsets_and_is_told() -> None:
    """The offset in a report must lead to the line."""
    first, second = decode_split([LongLine(size_bytes=100, head=b"x"), b"nonsense"], offset=7)
    assert isinstance(first, BadLine)
    assert isinstance(second, BadLine)
    assert (first.offset, second.offset) == (7, 108)


@given(st.binary(max_size=200).map(lambda raw: raw.replace(b"a", b"\n")), st.lists(st.integers(0, 200)))
def test_any_cutting_of_a_stream_gives_the_same_lines(stream: bytes, cuts: list[int]) -> None:
    """Where the network cuts must not matter."""
    splitter = LineSplitter(1000)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    lines = [one for start, end in itertools.pairwise(edges) for one in splitter.feed(stream[start:end])]
    lines += splitter.rest()
    expected = stream.split(b"\n")
    assert lines == (expected if expected[-1] else expected[:-1])


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 30))
def test_lines_over_the_cap_are_counted_to_the_byte_however_they_are_cut(sizes: list[int], step: int) -> None:
    """A long line takes the place of one line, so the numbering stays true."""
    stream = b"".join(b"x" * size + b"\n" for size in sizes)
    splitter = LineSplitter(16)
    lines = [one for at in range(0, len(stream), step) for one in splitter.feed(stream[at : at + step])]
    assert splitter.rest() == []
    assert [one.size_bytes if isinstance(one, LongLine) else len(one) for one in lines] == sizes
    assert [isinstance(one, LongLine) for one in lines] == [size > 16 for size in sizes]


@given(st.binary())
def test_decoding_never_raises(buffer: bytes) -> None:
    """Whatever comes over the wire is a value."""
    decode_split((buffer).split(b"\n"))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_output_line_gives_back_the_users_own_id(custom_id: str) -> None:
    """Any non-empty string is a custom_id, and it comes back as it was."""
    written = output_line(custom_id, MESSAGE)
    assert written.endswith(b',"result":' + MESSAGE + b"}\n")
    assert written.count(b"\n") == 1
    assert json.loads(written)["custom_id"] == custom_id
    copied = output_line("other", MESSAGE, custom_id)
    assert json.loads(copied) == {"custom_id": "other", "result": json.loads(MESSAGE), "reused_from": custom_id}


def test_built_results_have_the_apis_shape() -> None:
    """What reads the API's result files reads ours."""
    assert json.loads(errored_result("invalid_request_error", 'a "b"')) == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": 'a "b"', "details": None},
            "request_id": None,
        },
    }
    assert output_line("a", EXPIRED) == b'{"custom_id":"a","result":{"type":"expired"}}\n'
