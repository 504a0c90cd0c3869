"""Where requests come from: files, archives, pipes, standard input, objects."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import os
import re
import sys
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest
import zstandard

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.errors import BodyTooLarge, InputError
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import (
    open_source,
    problem_line,
    problem_lines,
    refused_lines,
    source_from_objects,
    source_from_stream,
)
from orchestrator.inputs.formats import OF_FILES, OF_UPLOADS, Unpacker, frame_of
from orchestrator.ports.streams import InputLine, InputProblem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from orchestrator.ports.streams import Source

RULES = ParamRules(api_version=STRICTER_API_VERSION)
PARAMS: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def line(number: int) -> bytes:
    return b'{"custom_id":"r-%d","params":%b}\n' % (number, msgspec.json.encode(PARAMS))


TEXT = b"".join(line(number) for number in range(3_000))


async def drained(source: Source) -> list[InputLine | InputProblem]:
    return [item async for chunk in source.chunks() for item in chunk]


def read_path(path: Path | str, *, max_line_bytes: int = 1_000_000) -> list[InputLine | InputProblem]:
    return asyncio.run(drained(open_source(path, rules=RULES, max_line_bytes=max_line_bytes)))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def read_objects(requests: Any) -> list[InputLine | InputProblem]:
    return asyncio.run(drained(source_from_objects(requests, name="requests", rules=RULES)))


def zstd(text: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(text)


def gzipped_with_padding(text: bytes) -> bytes:
    return gzip.compress(text) + b"\0" * 700


def two_members(text: bytes) -> bytes:
    return gzip.compress(text[:1_000]) + gzip.compress(text[1_000:])


def two_frames(text: bytes) -> bytes:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    return skippable + zstd(text[:1_000]) + skippable + zstd(text[1_000:])


@pytest.mark.parametrize("name", ["in.jsonl", "in.gz", "in.txt"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, gzipped_with_padding, two_members, zstd, two_frames])
def test_archives_are_told_by_their_bytes_not_by_their_name(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    """A renamed download is read as what it is; several members are one text."""
    (tmp_path / name).write_bytes(pack(TEXT))
    items = read_path(tmp_path / name)
    assert [item.line for item in items if isinstance(item, InputLine)] == list(range(1, 3_001))


@pytest.mark.parametrize("pack", [gzip.compress, zstd, two_members, two_frames])
@pytest.mark.parametrize("missing", [1, 9, 100, 1_000])
def test_an_archive_that_ends_too_early_is_an_error_that_names_it(
    tmp_path: Path, pack: Callable[[bytes], bytes], missing: int
) -> None:
    """Half a file must never be taken for a whole one."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(pack(TEXT)[:-missing])
    with pytest.raises(InputError, match=r"in\.jsonl"):
        read_path(path)


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_garbage_after_an_archive_is_an_error(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What cannot be read is told, not dropped."""
    (tmp_path / "in").write_bytes(pack(TEXT) + b"garbage")
    with pytest.raises(InputError, match="damaged"):
        read_path(tmp_path / "in")


def test_a_byte_order_mark_at_the_start_of_a_line_is_no_part_of_it(tmp_path: Path) -> None:
    """F25: `cat a.jsonl b.jsonl` puts the second file's mark in the middle; a line of it alone is blank."""
    mark = "\ufeff".encode()
    (tmp_path / "in").write_bytes(mark + line(1) + mark + line(2) + mark + b"\n" + mark + b"\r\n" + line(3))
    items = read_path(tmp_path / "in")
    assert [item.custom_id for item in items if isinstance(item, InputLine)] == ["r-1", "r-2", "r-3"]


@pytest.mark.parametrize("before", [b" ", b"\t ", "\ufeff".encode(), b'{"custom_id":"a",'])
def test_a_byte_order_mark_elsewhere_is_named(tmp_path: Path, before: bytes) -> None:
    """F25: nobody sees it in an editor, so the problem says what it is and where."""
    (tmp_path / "in").write_bytes(line(1) + before + "\ufeff".encode() + line(2))
    _, problem = read_path(tmp_path / "in")
    assert isinstance(problem, InputProblem)
    assert "byte order mark (U+FEFF" in problem.message


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return made.getvalue()


FOREIGN = {
    "a zip archive": zipped("requests.jsonl"),
    "a zip archive with nothing": zipped(),
    "a bzip2 archive": bz2.compress(b"x"),
    "an xz archive": lzma.compress(b"x"),
    "an lzma archive": lzma.compress(b"x", format=lzma.FORMAT_ALONE),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\x00\x04" + b"\x00" * 20,
    "a rar archive": b"Rar!\x1a\x07\x01\x00" + b"\x00" * 20,
    "an lz4 archive": b"\x04\x22\x4d\x18\x64\x40\xa7",
    "a .Z archive": b"\x1f\x9d\x90\x61\x0a",
    "a Parquet file": b"PAR1\x15\x04\x15",
    "an SQLite database": b"SQLite format 3\x00\x10\x00\x01\x01",
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "an Office document": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "an Office document (such as .xls)": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 20,
    "a tar archive": tarfile.TarInfo("in.jsonl").tobuf(),
}


@pytest.mark.parametrize("called", FOREIGN)
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path, called: str) -> None:
    """F25: better one sentence that says what it is than a thousand malformed lines, or "save it as UTF-8"."""
    (tmp_path / "in").write_bytes(FOREIGN[called])
    with pytest.raises(InputError, match=re.escape(f"is {called}")) as caught:
        read_path(tmp_path / "in")
    assert any(word in str(caught.value.hint) for word in ("unpack it first", "with a prompt (-p)", "JSON Lines"))


def test_a_missing_file_and_a_folder_are_errors_with_a_hint(tmp_path: Path) -> None:
    """Exit 2, and what to do."""
    for path in (tmp_path / "missing.jsonl", tmp_path, "/dev/zero"):
        with pytest.raises(InputError) as caught:
            read_path(path)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """A job is one text: half of the old and half of the new is neither."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(TEXT)

    async def read_while_it_grows() -> None:
        source = open_source(path, rules=RULES, max_line_bytes=1_000_000)
        async for _ in source.chunks():
            with path.open("ab") as file:
                file.write(line(9))

    with pytest.raises(InputError, match="changed"):
        asyncio.run(read_while_it_grows())


def test_300_mb_without_a_newline_are_counted_and_not_held() -> None:
    """A damaged file must not take the machine down."""
    block = b"x" * (1 << 20)

    async def blocks() -> AsyncIterator[bytes]:
        yield b'{"custom_id":"'
        for _ in range(300):
            yield block
        yield b"\n" + line(1)

    source = source_from_stream(blocks(), name="in", rules=RULES, max_line_bytes=8 << 20)
    tracemalloc.start()
    try:
        problem, request = asyncio.run(drained(source))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(problem, InputProblem)
    assert "314,572,814 bytes" in problem.message
    assert isinstance(request, InputLine)
    assert request.line == 2
    assert peak < 32 << 20


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_small_archive_of_a_huge_line_is_not_held_either(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A few hundred kilobytes can unpack to gigabytes."""
    path = tmp_path / "bomb"
    path.write_bytes(pack(b"\n" + b"x" * (100 << 20)))
    tracemalloc.start()
    try:
        (problem,) = read_path(path, max_line_bytes=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(problem, InputProblem)
    assert problem.line == 2
    assert peak < 48 << 20


def test_standard_input_is_read_through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cat in.jsonl | orchestrator run -`."""
    reading, writing = os.pipe()
    os.write(writing, line(1))
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        source = open_source("-", rules=RULES, max_line_bytes=1_000)
        assert [item.line for item in asyncio.run(drained(source))] == [1]
        assert source.name == "<stdin>"


def test_a_stand_in_for_standard_input_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that call the command line inside themselves put an object there."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line(1))))
    assert len(read_path("-")) == 1


def test_stopping_does_not_wait_for_a_silent_pipe(tmp_path: Path) -> None:
    """Ctrl-C during `run -` must end the process: the reading thread gives up by itself."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    keep_open = os.open(path, os.O_RDWR)

    async def start_and_stop() -> None:
        source = open_source(path, rules=RULES, max_line_bytes=1_000)
        async with asyncio.timeout(0.05):
            await drained(source)

    try:
        with pytest.raises(TimeoutError):
            asyncio.run(start_and_stop())  # joins its worker threads before it returns
    finally:
        os.close(keep_open)


def test_breaking_off_closes_the_file(tmp_path: Path) -> None:
    """An intake that stops at a guard leaves no descriptor behind."""
    (tmp_path / "in").write_bytes(TEXT)

    async def first_chunk() -> None:
        chunks = open_source(tmp_path / "in", rules=RULES, max_line_bytes=1_000).chunks()
        async for chunk in chunks:
            assert chunk
            break
        await chunks.aclose()

    before = open_files()
    asyncio.run(first_chunk())
    assert open_files() == before


class Turn(pydantic.BaseModel):
    role: str
    content: str
    note: str | None = None


class Whole(pydantic.BaseModel):
    custom_id: str
    params: dict[str, Any]


def test_objects_become_the_compact_json_of_what_they_are() -> None:
    """The SDK's own Request dicts, models in them, models of their own, iterators in them."""
    turns: Iterator[Turn] = iter([Turn(role="user", content="hé")])
    items = read_objects(
        [
            {"custom_id": "a", "params": PARAMS},
            {"custom_id": "b", "params": PARAMS | {"messages": turns}},
            Whole(custom_id="c", params=PARAMS),
            {"custom_id": "d", "params": PARAMS | {"metadata": None}},
        ]
    )
    assert [item.custom_id for item in items if isinstance(item, InputLine)] == ["a", "b", "c", "d"]
    second = items[1]
    assert isinstance(second, InputLine)
    assert second.params == '{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hé"}]}'.encode()


def test_a_dict_that_is_used_again_is_encoded_when_it_is_taken() -> None:
    """Generators that change one dict and yield it again are common."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        request: dict[str, Any] = {"params": PARAMS}
        for number in range(200):
            request["custom_id"] = f"r-{number}"
            yield request

    ids = [item.custom_id for item in read_objects(requests()) if isinstance(item, InputLine)]
    assert ids == [f"r-{number}" for number in range(200)]


BAD_OBJECTS: list[object] = [
    5,
    "text",
    {"custom_id": "a"},
    {"custom_id": 5, "params": PARAMS},
    {"custom_id": "a", "params": PARAMS | {"top": float("nan")}},
    {"custom_id": "a", "params": PARAMS | {"top": (x for x in [float("inf")])}},
    {"custom_id": "a", "params": PARAMS | {"x": "\ud83d"}},
    {"custom_id": "a", "params": PARAMS | {"x": object()}},
    {"custom_id": "a", "params": PARAMS | {"stream": True}},
]


@pytest.mark.parametrize("bad", BAD_OBJECTS, ids=range(len(BAD_OBJECTS)))
def test_a_bad_object_is_told_by_its_number(bad: object) -> None:
    """NaN would silently become null; it is refused like everything else that JSON cannot say."""
    good = {"custom_id": "good", "params": PARAMS}
    first, second, third = read_objects([good, bad, good])
    assert isinstance(second, InputProblem)
    assert second.line == 2
    assert isinstance(first, InputLine)
    assert isinstance(third, InputLine)


def test_no_objects_are_no_requests() -> None:
    """An empty generator is a mistake worth telling."""
    (problem,) = read_objects([])
    assert isinstance(problem, InputProblem)
    assert problem.line == 0


def test_objects_and_the_file_of_them_have_the_same_hash(tmp_path: Path) -> None:
    """A library user and a command-line user of the same requests mean the same job."""
    (tmp_path / "in").write_bytes(line(1) + line(2))
    file = open_source(tmp_path / "in", rules=RULES, max_line_bytes=1_000)
    objects = source_from_objects([json.loads(line(1)), json.loads(line(2))], name="requests", rules=RULES)
    asyncio.run(drained(file))
    asyncio.run(drained(objects))
    assert file.content_hash == objects.content_hash
    assert file.size_bytes == objects.size_bytes


def test_problems_are_shown_up_to_a_cap() -> None:
    """A person reads twenty, and learns how many there are."""
    problem = InputProblem(
        line=7, field="params.model", message="is missing", remedy="name the model", raw=b'{"a":"\xff"}'
    )
    whole = InputProblem(line=0, field="", message="is empty", remedy="write one", raw=b"")
    assert problem_line("in.jsonl", problem) == "in.jsonl:7: params.model: is missing (name the model)"
    assert problem_line("in.jsonl", whole) == "in.jsonl: is empty (write one)"
    shown = list(problem_lines("in.jsonl", [problem] * 30, total=1_234))
    assert len(shown) == 21
    assert shown[-1] == "… and 1,214 more"
    assert list(problem_lines("in.jsonl", [problem], total=1)) == [problem_line("in.jsonl", problem)]


def test_a_refused_line_is_written_once_with_all_that_is_wrong() -> None:
    """The file of refused lines can be repaired by a program, which must not send one line twice."""
    problem = InputProblem(line=7, field="params.model", message="is missing", remedy="name it", raw=b'{"a":"\xff"}')
    other = replace(problem, field="params.max_tokens", remedy="add it")
    entries = [json.loads(entry) for entry in refused_lines([problem, other, replace(problem, line=9)])]
    assert entries[0] == {
        "line": 7,
        "problems": [
            {"field": "params.model", "problem": "is missing", "remedy": "name it"},
            {"field": "params.max_tokens", "problem": "is missing", "remedy": "add it"},
        ],
        "raw": '{"a":"\\xff"}',
    }
    assert [(entry["line"], len(entry["problems"])) for entry in entries] == [(7, 2), (9, 1)]


def framed(text: bytes, window_log: int, *, says_size: bool = False) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log, write_content_size=says_size)
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj(len(text) if says_size else -1)
    return packing.compress(text) + packing.flush()


@pytest.mark.parametrize("step", [1, 5, 100_000])
@pytest.mark.parametrize(("window_log", "said"), [(28, "256 MiB"), (31, "2 GiB")])
def test_a_window_that_is_too_large_is_said_and_not_called_damage(window_log: int, said: str, step: int) -> None:
    """F22: `zstd --long=31` makes a sound archive; what to do about it depends on knowing why it is refused."""
    packed = framed(TEXT, window_log)
    unpacker = Unpacker("big.zst")
    pieces = (packed[start : start + step] for start in range(0, len(packed), step))
    with pytest.raises(InputError, match=f"big.zst needs a window of {said}") as refused:
        list(chain.from_iterable(map(unpacker.feed, pieces)))
    assert "at most 128 MiB" in str(refused.value.cause)
    assert "--long" in str(refused.value.hint)
    assert "zstd -dc --long=31" in str(refused.value.hint)


def test_files_may_have_larger_windows_than_uploads() -> None:
    """F22, M2: a file may use what `zstd -d` takes by itself, an upload 8 MiB, in every frame."""
    for window_log, taken in ((23, (OF_FILES, OF_UPLOADS)), (24, (OF_FILES,)), (27, (OF_FILES,)), (28, ())):
        for packed in (framed(TEXT, window_log), framed(TEXT, 20) + framed(TEXT, window_log)):
            for bounds in (OF_FILES, OF_UPLOADS):
                unpacker = Unpacker("in.zst", bounds=bounds)
                if bounds in taken:
                    assert b"".join(unpacker.feed(packed)).endswith(TEXT)
                else:
                    with pytest.raises(InputError, match="needs a window"):
                        list(unpacker.feed(packed))


def test_a_frame_that_is_all_window_is_measured_by_its_content() -> None:
    """F22: a file whose size was known is one segment, and that size is the window: `zstd -22` writes such."""
    text = TEXT * (1 + (9 << 20) // len(TEXT))
    packed = framed(text, 27, says_size=True)
    frame = frame_of(packed)
    assert frame is not None
    assert frame.window_bytes == len(text) == zstandard.get_frame_parameters(packed).window_size
    with pytest.raises(InputError, match=r"needs a window of 9(\.\d+)? MiB"):
        list(Unpacker("in.zst", bounds=OF_UPLOADS).feed(packed))


@pytest.mark.parametrize(
    ("header", "window_bytes", "has_dictionary"),
    [
        (b"\x00\xff", (1 << 41) + 7 * (1 << 38), False),
        (b"\x00\x00", 1 << 10, False),
        (b"\x01\x68\x07", 1 << 23, True),
        (b"\x20\x09", 9, False),
        (b"\x60\x00\x01", 512, False),
        (b"\xa3\x01\x00\x00\x00\x00\x00\x00\x01", 1 << 24, True),
        (b"\xe0" + bytes(7) + b"\x01", 1 << 56, False),
        (b"\xe0\x00", None, None),
    ],
)
def test_a_frames_header_says_what_it_needs(
    header: bytes, window_bytes: int | None, *, has_dictionary: bool | None
) -> None:
    """F22: window, content size and dictionary, in every form that RFC 8878 has for them."""
    frame = frame_of(b"\x28\xb5\x2f\xfd" + header)
    found = (None, None) if frame is None else (frame.window_bytes, frame.has_dictionary)
    assert found == (window_bytes, has_dictionary)


def test_an_archive_that_needs_a_dictionary_is_not_called_damage() -> None:
    """F22: the same kind: sound, and not to be read here."""
    with pytest.raises(InputError, match="needs the dictionary"):
        list(Unpacker("in.zst").feed(b"\x28\xb5\x2f\xfd\x01\x58\x07\x01\x00\x00" + bytes(40)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
def test_what_comes_out_of_an_upload_is_capped(pack: Callable[[bytes], bytes]) -> None:
    """M2: a few kilobytes can unpack to any size: what comes out counts as what comes in does."""

    async def blocks() -> AsyncIterator[bytes]:
        packed = pack(b" " * 5_000_000)
        for start in range(0, len(packed), 1000):
            yield packed[start : start + 1000]

    source = source_from_stream(blocks(), name="in", rules=RULES, max_line_bytes=8 << 20, max_text_bytes=3_000_000)

    async def read() -> None:
        async for _ in source.chunks():
            pass

    with pytest.raises(BodyTooLarge, match="in is too large"):
        asyncio.run(read())
    assert source.size_bytes <= 3_000_000 + (2 << 20)
