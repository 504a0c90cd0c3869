r"""A `Source` as a stream of bytes: requests that a client has read and checked, sent to the engine.

Why not the bytes of the file: a source may also be a program's objects or standard input, and the engine must get the
same line numbers, problems and content hash as if it had read the source itself, so that the same input is the same
job.

One record per line (`b"\n"` occurs in none of them), its kind is its first byte:

    ?{"schema"}                                         first, if at all: options that are too long for a query
    +[line, custom_id, params]
    =[line, custom_id, params, row]                     with the row that the request was made of
    !{"line", "field", "message", "remedy", "raw"}      raw in base64
    @[lines above, name]                                of several files, before the lines of each
    #                                                   keep-alive: the source is slow, but still there
    .{"content_hash", "size_bytes"}                     the end; without it the stream was cut
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from typing_extensions import override

from orchestrator.domain.errors import InputError, UsageError
from orchestrator.domain.limits import MAX_INPUT_LINE_BYTES
from orchestrator.domain.line_splitter import LineSplitter, LongLine
from orchestrator.ports.runtime import MemoryReservation, UnlimitedMemory
from orchestrator.ports.streams import Chunker, InputFiles, InputLine, InputProblem, NoticingSource, Source, files_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence


CONTENT_TYPE: Final = "application/x-orchestrator-lines"

#: Sent while the source is slow, so that the connection does not time out.
KEEP_ALIVE_RECORD: Final = b"#%b\n" % (b" " * 1022)

#: The face has checked every size; this bounds only what a foreign client could make us hold.
_MAX_RECORD_BYTES: Final = MAX_INPUT_LINE_BYTES + (1 << 20)

_MAX_OPTIONS_BYTES: Final = 512 << 10

_text: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """The last record. content_hash: None for an input that was refused as a whole."""

    content_hash: str | None
    size_bytes: int


_decode_line: Final = msgspec.json.Decoder(tuple[int, str, msgspec.Raw]).decode
_decode_line_with_row: Final = msgspec.json.Decoder(tuple[int, str, msgspec.Raw, msgspec.Raw]).decode
_decode_problem: Final = msgspec.json.Decoder(InputProblem).decode
_decode_file: Final = msgspec.json.Decoder(tuple[int, str]).decode
_decode_end: Final = msgspec.json.Decoder(_End).decode
_decode_options: Final = msgspec.json.Decoder(dict[str, str]).decode


async def encode_source(source: Source) -> AsyncGenerator[bytes, None]:
    """Encode *source*, one piece per chunk. Raises what the source raises."""
    is_refused, files, told = False, files_of(source), 0
    async with aclosing(source.chunks()) as chunks:
        async for chunk in chunks:
            is_refused = is_refused or any(isinstance(item, InputProblem) and item.line == 0 for item in chunk)
            begun = files.begun[told:]
            told += len(begun)
            yield b"".join([b"@%b\n" % _text(each) for each in begun]) + encode_items(chunk)
    content_hash = None if is_refused else source.content_hash
    yield b".%b\n" % _text(_End(content_hash=content_hash, size_bytes=source.size_bytes))


def encode_options(options: Mapping[str, str]) -> bytes:
    """What stands before all else, if there are *options*."""
    return b"?%b\n" % _text(options) if options else b""


async def split_options(
    blocks: AsyncGenerator[bytes, None],
) -> tuple[dict[str, str], AsyncGenerator[bytes, None]]:
    """The options at the head of a stream, and what follows them. Raises UsageError."""
    held = bytearray()
    async for block in blocks:
        held += block
        if held and (not held.startswith(b"?") or b"\n" in held):
            break
        if len(held) > _MAX_OPTIONS_BYTES:
            raise _unreadable("its options are too long")
    options, rest = bytes(held).split(b"\n", 1) if held.startswith(b"?") and b"\n" in held else (b"?{}", bytes(held))
    try:
        return _decode_options(options[1:]), _rejoined(rest, blocks)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _unreadable(str(exc)) from exc


async def _rejoined(first: bytes, blocks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(blocks):
        yield first
        async for block in blocks:
            yield block


def encode_lines(items: Sequence[InputLine]) -> bytes:
    """A whole stream of *items*, without a content hash."""
    return encode_items(items) + b".%b\n" % _text(_End(content_hash=None, size_bytes=0))


def encode_items(items: Sequence[InputLine | InputProblem]) -> bytes:
    """The records of *items*."""
    return b"".join([_record(item) for item in items])


def number_lines(items: Sequence[InputLine], *, above: int) -> list[InputLine]:
    """*items* with line numbers counted on from *above*, so that no two requests of an open job share one."""
    return [msgspec.structs.replace(item, line=above + place) for place, item in enumerate(items, start=1)]


def _record(item: InputLine | InputProblem) -> bytes:
    if isinstance(item, InputProblem):
        return b"!%b\n" % _text(item)
    if item.row:
        return b"=[%d,%b,%b,%b]\n" % (item.line, _text(item.custom_id), item.params, item.row)
    return b"+[%d,%b,%b]\n" % (item.line, _text(item.custom_id), item.params)


class DecodedSource(NoticingSource):
    """A `Source` decoded from the bytes of `encode_source`, in blocks of any size; *claim* accounts for large lines."""

    def __init__(self, blocks: AsyncIterator[bytes], *, name: str, claim: MemoryReservation | None = None) -> None:
        self._blocks = blocks
        self._name = name
        self._claim: MemoryReservation = UnlimitedMemory() if claim is None else claim
        self._splitter = LineSplitter(_MAX_RECORD_BYTES)
        self._chunker = Chunker()
        self._end: _End | None = None
        self._files = InputFiles()

    @property
    @override
    def files(self) -> InputFiles:
        return self._files

    @property
    @override
    def name(self) -> str:
        """What is shown before ":line"."""
        return self._name

    @property
    def content_hash(self) -> str:
        """As the face computed it. Raises RuntimeError before the end, and for an input refused as a whole."""
        if self._end is None or self._end.content_hash is None:
            raise RuntimeError("the source was not read to its end")
        return self._end.content_hash

    @property
    def size_bytes(self) -> int:
        """Bytes of text in the input; 0 before the end."""
        return 0 if self._end is None else self._end.size_bytes

    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        """The requests and the problems, in order. Once only. Raises InputError if the stream was cut."""
        async for block in self._blocks:
            for record in self._splitter.feed(block):
                item = self._read(record)
                if item is not None and (full := self._chunker.add(item)):
                    yield full
            await self._claim.hold(self._chunker.held.with_line(self._splitter.held_bytes))
        if self._end is None or self._splitter.rest():
            raise InputError("the input was cut on its way to the engine", hint="send it again; nothing was stored")
        if last := self._chunker.take():
            yield last

    def _read(self, record: bytes | LongLine) -> InputLine | InputProblem | None:
        if isinstance(record, LongLine) or self._end is not None:
            raise _unreadable("a record is too long" if self._end is None else "there is more behind the end")
        kind, body = record[:1], memoryview(record)[1:]
        try:
            if kind == b"+":
                line, custom_id, params = _decode_line(body)
                return InputLine(line, custom_id, bytes(params))
            if kind == b"=":
                line, custom_id, params, row = _decode_line_with_row(body)
                return InputLine(line, custom_id, bytes(params), bytes(row))
            if kind == b"!":
                return _decode_problem(body)
            if kind == b"@":
                above, name = _decode_file(body)
                self._files.begin(name, above)
                return None
            if kind == b"#":
                return None
            if kind == b".":
                self._end = _decode_end(body)
                return None
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise _unreadable(str(exc)) from exc
        raise _unreadable(f"no record begins with {kind!r}")


def _unreadable(why: str) -> UsageError:
    hint = "the command and the engine may be of different versions: use the same for both"
    return UsageError("the engine cannot read what it was sent", cause=why, hint=hint)
