"""Tables that arrive over a network: the same requests as of a file, whoever sends them and however slowly."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import BodyTooLarge, InputError, UsageError
from orchestrator.domain.limits import LARGE_LINE_BYTES
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import problem_line
from orchestrator.ports.runtime import UnlimitedMemory
from orchestrator.ports.streams import InputItem, InputLine, InputProblem
from orchestrator.tables import ArrivingRows, Recipe, RowRequests, RowSource, TableInput, TableKind, UploadedTable

RULES = ParamRules(api_version="2026-10-21")
CSV = b'id,text\n007,"a\nb"\n008,c\n'


async def pieces(body: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), size):
        await asyncio.sleep(0)
        yield body[start : start + size]


def requests(prompt: str = "{{ text }}", limit: int | None = None, **more: Any) -> RowRequests:
    made = Recipe(prompt=prompt, model="m", max_tokens=5, **more)
    return RowRequests(made, RULES, folder=None, limit=limit)


def uploaded(blocks: AsyncGenerator[bytes, None], made: RowRequests, name: str = "in.csv", **how: Any) -> ArrivingRows:
    given = {"kind": None, "delimiter": None, "claim": UnlimitedMemory(), "max_text_bytes": 1 << 30, **how}
    return ArrivingRows(UploadedTable(blocks=blocks, name=name, **given), made)


async def drained(source: ArrivingRows | RowSource) -> list[InputItem]:
    return [item async for chunk in source.chunks() for item in chunk]


def items(body: bytes, made: RowRequests | None = None, name: str = "in.csv", size: int = 7, **how: Any) -> Any:
    async def read() -> list[InputItem]:
        return await drained(uploaded(pieces(body, size), made or requests(), name, **how))

    return asyncio.run(read())


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_uploaded_table_is_the_same_content_as_the_file(tmp_path: Path, size: int) -> None:
    """Promise 7: however its bytes are cut, it is the same job as from the command line."""
    (tmp_path / "in.csv").write_bytes(CSV)

    async def check() -> None:
        recipe = Recipe(prompt="{{ text }}", model="m", max_tokens=5)
        of_file = RowSource(TableInput(paths=(str(tmp_path / "in.csv"),)), recipe, RULES)
        of_upload = uploaded(pieces(CSV, size), requests())
        assert await drained(of_upload) == await drained(of_file)
        assert of_upload.content_hash == of_file.content_hash
        assert of_upload.size_bytes == len(CSV)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("name", "body", "how"),
    [
        ("in.tsv", b"text\tx\na\t1\n", {}),
        ("in.csv.gz", gzip.compress(b"text\na\n", mtime=0), {}),
        ("in.json", b'[{"text": "a"}]', {}),
        ("<http>", b'{"text": "a"}\n', {}),
        ("<http>", b"text|x\na|1\n", {"kind": TableKind.CSV, "delimiter": "|"}),
        ("in.txt", b"a\n", {}),
    ],
)
def test_every_kind_is_told_by_its_name_or_its_bytes(name: str, body: bytes, how: dict[str, Any]) -> None:
    """As that of a file is."""
    (found,) = items(body, name=name, **how)
    assert isinstance(found, InputLine)
    assert b'"content":"a"' in found.params


def test_parquet_lies_in_a_temporary_file_meanwhile() -> None:
    """It is read from its end; more than is kept for that is refused, with what to do."""
    arrow = pytest.importorskip("arro3.core", reason="the extra [parquet] is not installed")
    from arro3.io import write_parquet

    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        write_parquet(arrow.Table.from_pydict({"text": arrow.Array(["a", "b"], arrow.DataType.string())}), file.name)
        body = Path(file.name).read_bytes()
    assert [item.row for item in items(body, name="in.parquet")] == [b'{"text":"a"}', b'{"text":"b"}']
    with pytest.raises(InputError, match="does not begin and end with PAR1"):
        items(body[:-5], name="in.parquet")


def test_what_is_wrong_is_told_by_line_and_column() -> None:
    """As of a file; a path of an image is one of the server's, which reads none."""
    (bad, found) = items(b"id,text\n1\n2,x\n")
    assert isinstance(bad, InputProblem)
    assert problem_line("in.csv", bad).startswith("in.csv:2: text: is missing")
    assert isinstance(found, InputLine)
    path, address = items(b"text,photo\na,/etc/passwd\nb,https://x.example/y.png\n", requests(image_columns=["photo"]))
    assert isinstance(path, InputProblem)
    assert problem_line("in.csv", path).startswith("in.csv:2: photo: is a path, and a server reads no files")
    assert isinstance(address, InputLine)
    with pytest.raises(UsageError, match="what kind of table table is cannot be told"):
        items(CSV, name="table")
    with pytest.raises(UsageError, match="delimiter is for CSV"):
        items(b'{"text":"a"}', name="in.jsonl", delimiter=";")


def test_an_archive_that_unpacks_to_too_much_is_refused() -> None:
    """Even if nothing of it is a row: a small body is no way to a large one."""
    bomb = gzip.compress(b"text\n" + b"\n" * 5_000_000)
    with pytest.raises(BodyTooLarge, match="too large"):
        items(bomb, name="in.csv.gz", size=4096, max_text_bytes=1_000_000)


def test_the_first_rows_are_all_that_is_looked_at() -> None:
    """The rest of the body is taken, so that its sender is not cut off."""
    taken = bytearray()

    async def blocks() -> AsyncGenerator[bytes, None]:
        async for piece in pieces(b"text\n" + b"a\n" * 100_000, 65_536):
            taken.extend(piece)
            yield piece

    async def read() -> list[InputItem]:
        return await drained(uploaded(blocks(), requests(limit=2)))

    assert len(asyncio.run(read())) == 2
    assert len(taken) == 5 + 200_000


def test_what_the_stream_raises_is_raised() -> None:
    """A client that goes away ends the reading; nothing of the table is taken."""

    async def blocks() -> AsyncGenerator[bytes, None]:
        yield b"text\n" + b"a" * 65_536 + b"\n"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(drained(uploaded(blocks(), requests())))


def test_a_reader_that_nobody_waits_for_ends() -> None:
    """Promise 11: a request that is dropped while its client is silent leaves no thread behind."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def blocks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"text\n" + b"a" * 65_536 + b"\n"
            begun.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def check() -> None:
        source = uploaded(blocks(), requests())
        reading = asyncio.create_task(drained(source))
        await begun.wait()
        reading.cancel()
        await asyncio.wait({reading})
        assert reading.cancelled()
        await closed.wait()

    asyncio.run(check())
    for thread in threading.enumerate():
        if thread.name.startswith("table"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_a_large_row_is_accounted_for() -> None:
    """Promise 8: what all uploads hold of large rows has one bound, from the first of their bytes on."""
    held: list[int] = []

    class Claim:
        async def hold(self, size_bytes: int) -> None:
            held.append(size_bytes)

    body = b"text\n" + b"x" * (2 * LARGE_LINE_BYTES) + b"\n"
    items(body, size=LARGE_LINE_BYTES // 2, claim=Claim())
    assert max(held) >= 2 * LARGE_LINE_BYTES
    assert any(LARGE_LINE_BYTES < size < 2 * LARGE_LINE_BYTES for size in held)
