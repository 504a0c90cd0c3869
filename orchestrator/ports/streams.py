"""What requests are read from and what results are written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from typing_extensions import override

from orchestrator.domain.line_splitter import LargeLineTally

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

#: What a `Source` gives at once, at most; one larger request comes alone.
CHUNK_ITEMS: Final = 2_000
CHUNK_BYTES: Final = 4 << 20
#: "-", and the names of standard output on Linux.
_STDOUT: Final = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


class InputLine(msgspec.Struct, frozen=True, gc=False):
    """One request that passed validation. A msgspec struct, not a dataclass: ten times cheaper to make."""

    line: int  #: 1-based line in the file (item number for objects)
    custom_id: str  #: the user's own; non-empty, not yet checked for uniqueness
    params: bytes  #: the bytes of `params` as they stood in the file, outer whitespace stripped


@dataclass(frozen=True, slots=True, kw_only=True)
class InputProblem:
    """One problem of one line; a line may have several."""

    line: int  #: 1-based; 0 = the file as a whole, and nothing of it may be taken
    field: str  #: "custom_id", "params.max_tokens", "" for the whole line
    message: str  #: what is wrong
    remedy: str  #: what to do
    raw: bytes  #: the refused line, cut at 64 KiB; empty if it is not one line's fault


InputItem = InputLine | InputProblem


class Chunker:
    """Collects items until a chunk is full: `CHUNK_ITEMS` of them, or `CHUNK_BYTES` of params and refused lines."""

    def __init__(self) -> None:
        self._items: list[InputItem] = []
        self._bytes = 0
        self.held = LargeLineTally()

    def add(self, item: InputItem) -> list[InputItem] | None:
        """Take *item*; returns the chunk before it if that is full now."""
        size = len(item.params) if isinstance(item, InputLine) else len(item.raw)
        full = None
        if len(self._items) == CHUNK_ITEMS or (self._items and self._bytes + size > CHUNK_BYTES):
            full = self.take()
        self._items.append(item)
        self._bytes += size
        self.held.gather(size)
        return full

    def take(self) -> list[InputItem]:
        """What has been collected, and start again."""
        items, self._items, self._bytes = self._items, [], 0
        self.held.give()
        return items


class Source(Protocol):
    """A stream of requests, read once, in order."""

    @property
    def name(self) -> str:
        """The path, or "<stdin>" and the like; stands before ":line" in messages."""

    def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        """Bounded, non-empty chunks: at most 2,000 items or 4 MiB of params (one larger request comes alone).

        Uniqueness of `custom_id` is not checked here: only the store sees the whole job.
        Raises InputError where reading itself fails (no such file, truncated archive).
        """

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the decompressed bytes. Raises RuntimeError before `chunks` is exhausted."""

    @property
    def size_bytes(self) -> int:
        """Decompressed bytes read so far."""


class WrappedSource(Source):
    """A source whose chunks come by way of something else; all else is the inner *source*'s."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    @override
    def name(self) -> str:
        return self._source.name

    @property
    @override
    def content_hash(self) -> str:
        return self._source.content_hash

    @property
    @override
    def size_bytes(self) -> int:
        return self._source.size_bytes


class Sink(Protocol):
    """Where results are written. Every method raises OutputError if the target fails."""

    async def write(self, chunk: bytes) -> None:
        """Write *chunk*; nothing is visible under the final name yet."""

    async def commit(self) -> None:
        """Make everything written visible and durable (fsync, rename, fsync of the folder); stdout is flushed."""

    async def abort(self) -> None:
        """Remove what was written. Does nothing after `commit` or a second time."""


def is_stdout(output: str) -> bool:
    """True if *output*, as a person wrote it after `-o`, is standard output: "-", or one of its names on Linux."""
    return output in _STDOUT
