"""Sources of JSON Lines: a file, standard input, or a request body. Each is a `Source`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.errors import BodyTooLarge
from orchestrator.domain.humanize import readable
from orchestrator.inputs.blocks import read_blocks, read_stdin_blocks
from orchestrator.inputs.formats import OF_UPLOADS
from orchestrator.inputs.line_chunker import LineChunker
from orchestrator.ports.runtime import MemoryReservation, UnlimitedMemory
from orchestrator.ports.streams import InputItem, NoticingSource

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence

    from orchestrator.domain.params import ParamRules

STDIN_NAME: Final = "<stdin>"


class _TextSource(NoticingSource):
    """The part that all sources of text share: what their chunker knows."""

    def __init__(self, chunker: LineChunker, *, name: str) -> None:
        self._intake = chunker
        self._name = name

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def content_hash(self) -> str:
        return self._intake.content_hash

    @property
    @override
    def size_bytes(self) -> int:
        return self._intake.size_bytes

    @property
    @override
    def notices(self) -> Sequence[str]:
        return self._intake.numeric_ids.notices


def unpacks_to_too_much(name: str, most_bytes: int) -> BodyTooLarge:
    """The error for an upload of more than *most_bytes*, unpacked."""
    cause = f"at most {most_bytes:,} bytes are taken, unpacked"
    return BodyTooLarge(f"{name} is too large", cause=cause, hint="[server] max_body is the cap")


async def chunks_in_thread(
    steps: Generator[list[InputItem], None, None], stop: threading.Event
) -> AsyncGenerator[Sequence[InputItem], None]:
    """The chunks of *steps*, each made in a worker thread. *stop*: set when nobody wants more; *steps* end early then.

    Reading, unpacking and validating a chunk takes milliseconds to minutes (a pipe): one step at a time is done there.
    """
    try:
        while (chunk := await asyncio.to_thread(next, steps, None)) is not None:
            yield chunk
    finally:
        stop.set()
        with contextlib.suppress(ValueError):  # still running in its thread: it sees the flag, ends, and closes
            steps.close()


class JsonLinesSource(_TextSource):
    """Requests from a file or standard input, plain, `.gz` or `.zst`. Nothing is opened before `chunks` is iterated."""

    def __init__(
        self, open_blocks: Callable[[threading.Event], Iterator[bytes]], chunker: LineChunker, *, name: str
    ) -> None:
        super().__init__(chunker, name=name)
        self._open_blocks = open_blocks
        self._stop = threading.Event()

    @override
    def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        return chunks_in_thread(self._steps(), self._stop)

    @property
    def lines(self) -> int:
        """How many were read, blank ones included."""
        return self._intake.lines

    def _steps(self) -> Generator[list[InputItem], None, None]:
        chunker = self._intake
        for block in self._open_blocks(self._stop):
            yield from filter(None, chunker.feed(block))
            if chunker.is_refused:
                break
        if not self._stop.is_set():
            yield from chunker.end()


class StreamSource(_TextSource):
    """Requests from blocks of bytes that arrive over a network, plain, gzip or zstd.

    *claim*: reserves memory for the large lines that are held. *max_text_bytes*: the most that an archive may unpack
    to.
    """

    def __init__(
        self,
        blocks: AsyncIterator[bytes],
        chunker: LineChunker,
        *,
        name: str,
        claim: MemoryReservation,
        max_text_bytes: int,
    ) -> None:
        super().__init__(chunker, name=name)
        self._blocks = blocks
        self._claim = claim
        self._max_text_bytes = max_text_bytes

    async def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        """Yield requests and problems in order; once only.

        Raises what the stream raises, InputError, BodyTooLarge for an archive that unpacks to too much, ServerBusy.
        """
        async for block in self._blocks:
            async for chunk in self._in_thread(self._intake.feed(block)):
                yield chunk
            if self._intake.is_refused:
                break
        async for chunk in self._in_thread(self._intake.end()):
            yield chunk

    async def _in_thread(self, steps: Iterator[list[InputItem]]) -> AsyncIterator[list[InputItem]]:
        while (chunk := await asyncio.to_thread(next, steps, None)) is not None:
            if self._intake.size_bytes > self._max_text_bytes:
                raise unpacks_to_too_much(self._name, self._max_text_bytes)
            await self._claim.hold(self._intake.large_bytes)
            if chunk:
                yield chunk


def open_source(path_or_dash: str | os.PathLike[str], *, rules: ParamRules, max_line_bytes: int) -> JsonLinesSource:
    """The requests in a file, or on standard input for "-"; compression is told by the first bytes, not by the name.

    A line over *max_line_bytes* is counted, skipped and reported; it is never held in memory whole.
    """
    path = os.fspath(path_or_dash)
    name = STDIN_NAME if path == "-" else readable(path)
    chunker = LineChunker(name=name, rules=rules, max_line_bytes=max_line_bytes)
    if path == "-":
        return JsonLinesSource(lambda stop: read_stdin_blocks(name, stop), chunker, name=name)
    return JsonLinesSource(lambda stop: read_blocks(path, stop), chunker, name=name)


def source_from_stream(
    blocks: AsyncIterator[bytes],
    *,
    name: str,
    rules: ParamRules,
    max_line_bytes: int,
    claim: MemoryReservation | None = None,
    max_text_bytes: int = sys.maxsize,
) -> StreamSource:
    """The requests in *blocks*, which may be cut anywhere.

    claim: reserves memory for large lines; None: no limit is shared with others. See `StreamSource`.
    """
    chunker = LineChunker(name=name, rules=rules, max_line_bytes=max_line_bytes, bounds=OF_UPLOADS)
    shared = UnlimitedMemory() if claim is None else claim
    return StreamSource(blocks, chunker, name=name, claim=shared, max_text_bytes=max_text_bytes)
