"""Several files of requests as one input, in the order in which they were given."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from orchestrator.ports.streams import InputFiles, InputItem, InputLine, NoticingSource

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from orchestrator.inputs.text_sources import JsonLinesSource


class JoinedSource(NoticingSource):
    """The requests of *sources*, file after file. Lines are counted on, and `files` says whose line one is.

    Its content is that of the files in their order: the same files in another order are another job.
    """

    def __init__(self, sources: Sequence[JsonLinesSource], *, name: str) -> None:
        self._sources = sources
        self._name = name
        self._files = InputFiles()

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def content_hash(self) -> str:
        return hashlib.sha256("\n".join(each.content_hash for each in self._sources).encode()).hexdigest()

    @property
    @override
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self._sources)

    @property
    @override
    def files(self) -> InputFiles:
        return self._files

    @property
    @override
    def notices(self) -> Sequence[str]:
        return [f"{each.name}: {notice}" for each in self._sources for notice in each.notices]

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        above = 0
        for source in self._sources:
            self._files.begin(source.name, above)
            async with aclosing(source.chunks()) as chunks:
                async for chunk in chunks:
                    yield [_counted_on(item, above, source.name) for item in chunk]
            above += source.lines


def _counted_on(item: InputItem, above: int, name: str) -> InputItem:
    """*item* of the file *name*, with so many lines *above* it; line 0 is the file as a whole."""
    if isinstance(item, InputLine):
        return msgspec.structs.replace(item, line=item.line + above)
    return replace(item, line=item.line + above) if item.line else replace(item, place=name)
