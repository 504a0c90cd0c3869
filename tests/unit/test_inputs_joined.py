"""Several files as one input: lines are counted on, and each says whose it is, here and behind an engine's socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import JoinedSource, open_source
from orchestrator.ports.streams import InputLine, InputProblem, Source, files_of
from orchestrator.views import source_codec

RULES = ParamRules(api_version=STRICTER_API_VERSION)
GOOD = '{"custom_id":"%s","params":{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}}\n'


def joined(folder: Path, *texts: str) -> JoinedSource:
    sources = []
    for number, text in enumerate(texts):
        (folder / f"{number}.jsonl").write_text(text)
        sources.append(open_source(folder / f"{number}.jsonl", rules=RULES, max_line_bytes=10_000))
    return JoinedSource(sources, name="several")


async def items_of(source: Source) -> list[InputLine | InputProblem]:
    return [item async for chunk in source.chunks() for item in chunk]


def test_lines_are_counted_on_and_say_whose_they_are(tmp_path: Path) -> None:
    """Blank lines count, an empty file is a problem of its own, and the order of the files is part of the content."""
    source = joined(tmp_path, GOOD % "a" + "\n", GOOD % "b" + "{", "")
    first, second, wrong, whole = asyncio.run(items_of(source))
    assert isinstance(first, InputLine)
    assert isinstance(second, InputLine)
    assert (first.line, second.line) == (1, 3)
    assert isinstance(wrong, InputProblem)
    assert isinstance(whole, InputProblem)
    assert (wrong.line, source.files.placed(wrong).place) == (4, f"{tmp_path}/1.jsonl:2")
    assert (whole.line, whole.place) == (0, f"{tmp_path}/2.jsonl")
    hashes = []
    for order in (("a", "b"), ("b", "a")):
        found = joined(tmp_path, *(GOOD % name for name in order))
        asyncio.run(items_of(found))
        hashes.append(found.content_hash)
    assert hashes[0] != hashes[1]


def test_an_engine_elsewhere_knows_whose_line_each_is(tmp_path: Path) -> None:
    """It finds repeated ids, of which only it sees all."""

    async def travel() -> source_codec.DecodedSource:
        async def pieces() -> AsyncIterator[bytes]:
            async for piece in source_codec.encode_source(joined(tmp_path, GOOD % "a", GOOD % "b" + GOOD % "a")):
                yield piece

        there = source_codec.DecodedSource(pieces(), name="several")
        assert [item.line for item in await items_of(there)] == [1, 2, 3]
        return there

    files = files_of(asyncio.run(travel()))
    assert [files.place(line) for line in (1, 2, 3)] == [
        f"{tmp_path}/{place}" for place in ("0.jsonl:1", "1.jsonl:1", "1.jsonl:2")
    ]
