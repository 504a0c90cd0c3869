"""How the socket writes requests, errors and jobs, without a socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain import errors
from orchestrator.domain.errors import GuardRefused, InputError, OrchestratorError, UsageError
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.views import problem_details
from orchestrator.views.source_codec import DecodedSource, encode_lines, encode_source
from orchestrator.views.view import time_text

Item = InputLine | InputProblem

LINES = st.builds(
    InputLine,
    st.integers(1, 10**9),
    st.text(min_size=1),
    st.sampled_from([b"{}", b'{"a": "\xc3\xa9"}', b'{"x":[1,\r 2]}']),
)
PROBLEMS = st.builds(
    InputProblem, line=st.integers(1, 10**9), field=st.text(), message=st.text(), remedy=st.text(), raw=st.binary()
)


class Given:
    """A source over chunks that a test made."""

    name = "in.jsonl"
    content_hash = "ab" * 32
    size_bytes = 12345

    def __init__(self, *chunks: Sequence[Item]) -> None:
        self._chunks = chunks

    async def chunks(self) -> AsyncGenerator[Sequence[Item], None]:
        for chunk in self._chunks:
            yield chunk


async def sent(source: Given) -> bytes:
    return b"".join([piece async for piece in encode_source(source)])


async def cut(stream: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(stream), size):
        yield stream[start : start + size]


async def received(stream: bytes, *, block: int = 1000) -> tuple[DecodedSource, list[Sequence[Item]]]:
    source = DecodedSource(cut(stream, block), name="in.jsonl")
    return source, [chunk async for chunk in source.chunks()]


@settings(deadline=None)
@given(st.lists(st.one_of(LINES, PROBLEMS), max_size=20), st.integers(1, 50))
def test_a_source_is_the_same_on_both_sides_however_its_bytes_are_cut(items: list[Item], block: int) -> None:
    """Promise 7: the same input is the same job, whether its engine is here or behind a socket."""

    async def check() -> None:
        source, chunks = await received(await sent(Given(items)), block=block)
        assert [item for chunk in chunks for item in chunk] == items
        assert (source.content_hash, source.size_bytes) == (Given.content_hash, Given.size_bytes)

    asyncio.run(check())


def test_chunks_are_bounded_whatever_the_client_sends() -> None:
    """Promise 8: memory does not grow with the job."""
    many = [InputLine(n, str(n), b"{}") for n in range(1, 5001)]
    large = [InputLine(n, str(n), b'"%b"' % (b"x" * (1 << 20))) for n in range(1, 11)]
    _, chunks = asyncio.run(received(encode_lines(many), block=1 << 16))
    assert [len(chunk) for chunk in chunks] == [2000, 2000, 1000]
    _, chunks = asyncio.run(received(encode_lines(large), block=1 << 16))
    assert max(len(chunk) for chunk in chunks) == 3
    assert sum(len(chunk) for chunk in chunks) == 10


@pytest.mark.parametrize("missing", [1, 60])
def test_a_stream_that_was_cut_is_no_source(missing: int) -> None:
    """Promise 1: half an upload is never taken for a whole file."""
    stream = asyncio.run(sent(Given([InputLine(1, "a", b"{}"), InputLine(2, "b", b"{}")])))
    with pytest.raises(InputError, match="cut on its way"):
        asyncio.run(received(stream[:-missing]))


@pytest.mark.parametrize(
    "stream",
    [
        b"?[1]\n",
        b'{"custom_id":"a","params":{}}\n',
        b"+[1,2,3]\n",
        b'+[1,"a",{"x":]\n',
        b'+[1,"\xff",{}]\n',
        b"!{}\n",
        b".[]\n",
        b'.{"content_hash":null,"size_bytes":0}\n+[1,"a",{}]\n',
    ],
)
def test_bytes_that_are_no_records_are_refused(stream: bytes) -> None:
    """A command and an engine of different versions do not misunderstand each other."""
    with pytest.raises(UsageError, match="cannot read what it was sent"):
        asyncio.run(received(stream))


def test_an_input_refused_as_a_whole_has_no_hash_on_the_other_side_either() -> None:
    """A source keeps its contract: no content hash for what was not read to its end."""
    whole = InputProblem(line=0, field="", message="is a JSON array", remedy="convert it", raw=b"")
    source, chunks = asyncio.run(received(asyncio.run(sent(Given([whole])))))
    assert chunks == [[whole]]
    with pytest.raises(RuntimeError, match="not read to its end"):
        _ = source.content_hash


def every_error() -> list[type[OrchestratorError]]:
    found = [OrchestratorError]
    for cls in found:
        found += cls.__subclasses__()
    return [cls for cls in found if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("error", every_error())
def test_an_error_crosses_the_socket_unchanged(error: type[OrchestratorError]) -> None:
    """The exit code is the same whether the engine is here or behind a socket."""
    document = problem_details.problem_of(error("what", cause="why", hint="what to do"))
    back = problem_details.error_of(document.fields())
    assert type(back) is error
    assert (back.message, back.cause, back.hint, back.exit_code) == ("what", "why", "what to do", error.exit_code)
    assert 400 <= document.status < 600


def test_an_error_of_a_newer_engine_is_told_by_its_exit_code() -> None:
    """A problem whose type is unknown still ends the command with the engine's exit code."""
    newer = problem_details.ProblemView(type="cost-cap-reached", title="too dear", exit_code=5, status=409)
    assert isinstance(problem_details.error_of(newer.fields()), GuardRefused)
    assert problem_details.error_of({"status": 502}).message == "the engine refused"


def test_times_are_rfc_3339_in_utc() -> None:
    """The face's times are what every JSON reader understands."""
    assert time_text(datetime(2026, 11, 23, 6, 18, 52, 123456, tzinfo=UTC)) == "2026-11-23T06:18:52.123Z"
    assert time_text(None) is None
    assert re.fullmatch(r"[\dT:.-]+Z", time_text(datetime.now(UTC)))
