"""What requests are read from and what results are written to."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec
from typing_extensions import override

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.cache_marker import own_marker
from orchestrator.domain.line_splitter import LargeLineTally
from orchestrator.domain.params import ParamRules, problems_in
from orchestrator.domain.result_lines import input_line
from orchestrator.domain.version_rules import version_needs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from orchestrator.domain.param_problem import ParamProblem
    from orchestrator.domain.queries import ResultRow

#: What a `Source` gives at once, at most; one larger request comes alone.
CHUNK_ITEMS: Final = 2_000
CHUNK_BYTES: Final = 4 << 20
#: How much of a refused line is kept in its problem.
KEPT_RAW_BYTES: Final = 64 * 1024
_OWN_MARKER: Final = "is a marker of its own, and with cache auto markers are added"
_OR_PRIME: Final = ", or use cache prime: one request of each marked prefix goes ahead all the same"
#: "-", and the names of standard output on Linux.
_STDOUT: Final = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


class InputLine(msgspec.Struct, frozen=True, gc=False):
    """One request that passed validation. A msgspec struct, not a dataclass: ten times cheaper to make."""

    line: int  #: 1-based line in the file (item number for objects)
    custom_id: str  #: the user's own; non-empty, not yet checked for uniqueness
    params: bytes  #: the bytes of `params` as they stood in the file, outer whitespace stripped
    row: bytes = b""  #: what the request was made of, a JSON object, likewise; empty: nothing was handed in with it


@dataclass(frozen=True, slots=True, kw_only=True)
class InputProblem:
    """One problem of one line; a line may have several."""

    line: int  #: 1-based; 0 = the file as a whole, and nothing of it may be taken
    field: str  #: "custom_id", "params.max_tokens", "" for the whole line
    message: str  #: what is wrong
    remedy: str  #: what to do
    raw: bytes  #: the refused line, cut at 64 KiB; empty if it is not one line's fault
    is_alike: bool = False  #: its message says a cause whatever its field is: one line has it once
    place: str = ""  #: "b.jsonl:3" where several files are one input; empty: the input's name and *line* say it

    @classmethod
    def of(cls, found: ParamProblem, line: int, raw: bytes) -> Self:
        """What was *found* in the params of a line."""
        return cls(
            line=line, field=found.field, message=found.message, remedy=found.remedy, raw=raw, is_alike=found.is_alike
        )


InputItem = InputLine | InputProblem


class Chunker:
    """Collects items into full chunks: `CHUNK_ITEMS` of them, or `CHUNK_BYTES` of params, rows and refused lines."""

    def __init__(self) -> None:
        self._items: list[InputItem] = []
        self._bytes = 0
        self.held = LargeLineTally()

    def add(self, item: InputItem) -> list[InputItem] | None:
        """Take *item*; returns the chunk before it if that is full now."""
        size = len(item.params) + len(item.row) if isinstance(item, InputLine) else len(item.raw)
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
        """Bounded, non-empty chunks: at most 2,000 items or 4 MiB of params and rows (one larger request comes alone).

        Uniqueness of `custom_id` is not checked here: only the store sees the whole job.
        Raises InputError where reading itself fails (no such file, truncated archive).
        """

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the decompressed bytes. Raises RuntimeError before `chunks` is exhausted."""

    @property
    def size_bytes(self) -> int:
        """Decompressed bytes read so far."""


class InputFiles:
    """Where each file of an input begins, whose lines are counted on; nothing for an input that is one file."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []  #: lines above the first of a file, and its name

    def begin(self, name: str, above: int) -> None:
        """The file *name* follows, with so many lines *above* it."""
        self.begun.append((above, name))

    def place(self, line: int) -> str:
        """`b.jsonl:3`; empty for an input that is one file, and for the input as a whole."""
        own = next(((above, name) for above, name in reversed(self.begun) if above < line), None)
        return "" if own is None else f"{own[1]}:{line - own[0]}"

    def placed(self, problem: InputProblem) -> InputProblem:
        """*problem*, which says where it is."""
        return replace(problem, place=self.place(problem.line)) if self.begun and not problem.place else problem


class NoticingSource(Source):
    """A source that may have something to say beside problems."""

    @property
    def files(self) -> InputFiles:
        """Whose line each is, if it is several files."""
        return InputFiles()

    @property
    def notices(self) -> Sequence[str]:
        """What a person may want to know of what was read, though nothing of it is wrong."""
        return ()


def files_of(source: Source) -> InputFiles:
    """Whose line each is, if *source* is several files."""
    return source.files if isinstance(source, NoticingSource) else InputFiles()


def notices_of(source: Source) -> Sequence[str]:
    """Its notices, if it is of those that have any."""
    return source.notices if isinstance(source, NoticingSource) else ()


class WrappedSource(NoticingSource):
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

    @property
    @override
    def notices(self) -> Sequence[str]:
        return notices_of(self._source)

    @property
    @override
    def files(self) -> InputFiles:
        return files_of(self._source)


class UnmarkedSource(WrappedSource):
    """A source of requests to which markers for the prompt cache are added: one with its own is a problem."""

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        async with aclosing(self._source.chunks()) as chunks:
            async for chunk in chunks:
                yield [refuse_marked(item) if isinstance(item, InputLine) else item for item in chunk]


def refuse_marked(line: InputLine) -> InputLine | InputProblem:
    """*line*, or the problem that it has a marker for the prompt cache, where markers are added."""
    field = own_marker(line.params)
    if field is None:
        return line
    return InputProblem(
        line=line.line,
        field=field,
        message=_OWN_MARKER,
        remedy=f"remove it{_OR_PRIME}",
        raw=input_line(line.custom_id, line.params, line.row)[:KEPT_RAW_BYTES],
        is_alike=True,
    )


class VersionedSource(WrappedSource):
    """A source whose requests were checked without an API version, and are for *api_version*."""

    def __init__(self, source: Source, api_version: str) -> None:
        super().__init__(source)
        self._api_version = api_version

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        async with aclosing(self._source.chunks()) as chunks:
            async for chunk in chunks:
                yield [each for item in chunk for each in self._checked(item)]

    def _checked(self, item: InputLine | InputProblem) -> list[InputLine | InputProblem]:
        if isinstance(item, InputProblem) or self._api_version < STRICTER_API_VERSION or not version_needs(item.params):
            return [item]
        raw = input_line(item.custom_id, item.params, item.row)[:KEPT_RAW_BYTES]
        found = problems_in(item.params, ParamRules(api_version=self._api_version))
        return [InputProblem.of(each, item.line, raw) for each in found] or [item]


class Sink(Protocol):
    """Where results are written. Every method raises OutputError if the target fails."""

    async def write(self, chunk: bytes) -> None:
        """Write *chunk*; nothing is visible under the final name yet."""

    async def commit(self) -> None:
        """Make everything written visible and durable (fsync, rename, fsync of the folder); stdout is flushed."""

    async def abort(self) -> None:
        """Remove what was written. Does nothing after `commit` or a second time."""


class Rendering(Protocol):
    """What makes bytes of results; used once, page after page, in any thread."""

    def begin(self) -> bytes:
        """What stands before the first result."""

    def render(self, page: Sequence[ResultRow]) -> bytes:
        """The next results; some of their bytes may come later."""

    def end(self) -> bytes:
        """What stands behind the last one."""

    def close(self) -> None:
        """Release what it holds, whether it came to its end or not."""


def is_stdout(output: str) -> bool:
    """True if *output*, as a person wrote it after `-o`, is standard output: "-", or one of its names on Linux."""
    return output in _STDOUT
