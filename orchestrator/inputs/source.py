"""Sources of JSON Lines: a path, standard input, or a body that arrives over a network. Each is a `Source`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

from orchestrator.inputs.blocks import blocks_of_path, blocks_of_stdin
from orchestrator.inputs.intake import Intake, Item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence

    from orchestrator.domain.params import Rules

STDIN_NAME: Final = "<stdin>"


class _TextSource:
    """What every source of text knows of itself, by the intake that reads it."""

    def __init__(self, intake: Intake, *, name: str) -> None:
        self._intake = intake
        self._name = name

    @property
    def name(self) -> str:
        """What is shown before ":line"."""
        return self._name

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the text. Raises RuntimeError unless it was read to its end without a line-0 problem."""
        return self._intake.content_hash

    @property
    def size_bytes(self) -> int:
        """Bytes of text read so far."""
        return self._intake.size_bytes


class JsonLinesSource(_TextSource):
    """Requests from a file or standard input, plain, `.gz` or `.zst`. Nothing is opened before `chunks` is iterated."""

    def __init__(self, open_blocks: Callable[[threading.Event], Iterator[bytes]], intake: Intake, *, name: str) -> None:
        super().__init__(intake, name=name)
        self._open_blocks = open_blocks
        self._stop = threading.Event()

    async def chunks(self) -> AsyncIterator[Sequence[Item]]:
        """The requests and the problems, in order. Once only. Raises InputError where reading fails."""
        steps = self._steps()
        try:
            # Reading, unpacking and validating a chunk takes milliseconds to minutes (a pipe), so it is done in a
            # thread, one step at a time: the one place in this package where a thread is used.
            while (chunk := await asyncio.to_thread(next, steps, None)) is not None:
                yield chunk
        finally:
            self._stop.set()
            with contextlib.suppress(ValueError):  # still running in its thread: it sees the flag, ends, and closes
                steps.close()

    def _steps(self) -> Generator[list[Item], None, None]:
        intake = self._intake
        for block in self._open_blocks(self._stop):
            yield from intake.feed(block)
            if intake.is_refused:
                break
        if not self._stop.is_set():
            yield from intake.end()


class StreamSource(_TextSource):
    """Requests from blocks of bytes that arrive over a network, plain, gzip or zstd."""

    def __init__(self, blocks: AsyncIterator[bytes], intake: Intake, *, name: str) -> None:
        super().__init__(intake, name=name)
        self._blocks = blocks

    async def chunks(self) -> AsyncIterator[Sequence[Item]]:
        """The requests and the problems, in order. Once only. Raises what the stream raises, and InputError."""
        async for block in self._blocks:
            async for chunk in _in_thread(self._intake.feed(block)):
                yield chunk
            if self._intake.is_refused:
                break
        async for chunk in _in_thread(self._intake.end()):
            yield chunk


async def _in_thread(steps: Iterator[list[Item]]) -> AsyncIterator[list[Item]]:
    while (chunk := await asyncio.to_thread(next, steps, None)) is not None:
        yield chunk


def open_source(path_or_dash: str | os.PathLike[str], *, rules: Rules, max_line_bytes: int) -> JsonLinesSource:
    """The requests in a file, or on standard input for "-"; compression is told by the first bytes, not by the name.

    A line over *max_line_bytes* is counted, skipped and reported; it is never held in memory whole.
    """
    path = os.fspath(path_or_dash)
    name = STDIN_NAME if path == "-" else path
    intake = Intake(name=name, rules=rules, max_line_bytes=max_line_bytes)
    if path == "-":
        return JsonLinesSource(lambda stop: blocks_of_stdin(name, stop), intake, name=name)
    return JsonLinesSource(lambda stop: blocks_of_path(path, stop), intake, name=name)


def source_from_stream(blocks: AsyncIterator[bytes], *, name: str, rules: Rules, max_line_bytes: int) -> StreamSource:
    """The requests in *blocks*, which may be cut anywhere; nothing is known of them but their order."""
    return StreamSource(blocks, Intake(name=name, rules=rules, max_line_bytes=max_line_bytes), name=name)
