"""Splits the bytes of a file into chunks of requests and problems. No I/O."""

from __future__ import annotations

import codecs
import hashlib
from typing import TYPE_CHECKING, Final

from orchestrator.domain.line_splitter import LineSplitter, LongLine
from orchestrator.inputs.formats import OF_FILES, Bounds, Unpacker
from orchestrator.inputs.line_parser import SHAPE, NumericIds, read_line
from orchestrator.ports.streams import KEPT_RAW_BYTES, Chunker, InputItem, InputLine, InputProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.domain.params import ParamRules

_HEAD_BYTES: Final = 4  # enough to tell every byte order mark
_WIDE_MARKS: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_TO_UTF8: Final = "convert it to UTF-8, for example: iconv -t UTF-8 in.jsonl > out.jsonl"
_TO_LINES: Final = "convert it: jq -c '.[]' in.json > out.jsonl"


class LineChunker:
    """Takes a file's bytes in blocks cut anywhere; yields chunks of the requests and problems in its lines.

    Holds at most one line, one chunk and one block. Lines over *max_line_bytes* are counted, skipped and reported. A
    problem with the file as a whole (an array, UTF-16, no requests) is one problem on line 0, and ends the reading. An
    empty chunk is yielded when more is held of large lines than before; `large_bytes` says how much.
    """

    def __init__(self, *, name: str, rules: ParamRules, max_line_bytes: int, bounds: Bounds = OF_FILES) -> None:
        self._rules = rules
        self._max_line_bytes = max_line_bytes
        self._unpacker = Unpacker(name, bounds=bounds)
        self._splitter = LineSplitter(max_line_bytes)
        self._chunker = Chunker()
        self._hash = hashlib.sha256()
        self._head: bytes | None = b""  # None once the beginning has been looked at
        self._number = 0  # of the line last read
        self._items = 0
        self._ended = False
        self.numeric_ids = NumericIds()
        self.size_bytes = 0
        self.is_refused = False  # the file as a whole; nothing more is read

    def feed(self, block: bytes) -> Iterator[list[InputItem]]:
        """The chunks that *block* completes. Consume it before feeding again."""
        for text in self._unpacker.feed(block):
            before = self.large_bytes
            yield from self._feed_text(text)
            if self.large_bytes > before:
                yield []

    @property
    def lines(self) -> int:
        """How many it has read, blank ones included."""
        return self._number

    @property
    def large_bytes(self) -> int:
        """Bytes of large lines that are held, those of the last chunks included."""
        return self._chunker.held.with_line(self._splitter.held_bytes)

    def end(self) -> Iterator[list[InputItem]]:
        """The last chunks."""
        for text in self._unpacker.end():
            yield from self._feed_text(text)
        if not self.is_refused:
            head, self._head = self._head, None
            if head:
                yield from self._begin(head)
        if not self.is_refused:
            yield from self._read(self._splitter.rest())
        if self._items == 0:
            state = f"all of its {self._number:,} lines are blank" if self._number else "it is empty"
            yield from self._refuse_file(f"has no requests: {state}", f"write one request per line: {SHAPE}")
        if last := self._chunker.take():
            yield last
        self._ended = not self.is_refused

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the text. Raises RuntimeError unless the file was read to its end."""
        if not self._ended:
            raise RuntimeError("the source was not read to its end")
        return self._hash.hexdigest()

    def _feed_text(self, text: bytes) -> Iterator[list[InputItem]]:
        if self.is_refused:
            return
        self._hash.update(text)
        self.size_bytes += len(text)
        if self._head is None:
            yield from self._read(self._splitter.feed(text))
            return
        self._head += text
        if len(self._head) >= _HEAD_BYTES:
            head, self._head = self._head, None
            yield from self._begin(head)

    def _begin(self, head: bytes) -> Iterator[list[InputItem]]:
        """Check the first bytes of the text: what is not UTF-8 lines is reported once, not line by line."""
        if head.startswith(_WIDE_MARKS) or b"\0" in head[:2]:
            yield from self._refuse_file("is not UTF-8 text (it looks like UTF-16, UTF-32 or binary data)", _TO_UTF8)
            return
        head = head.removeprefix(codecs.BOM_UTF8)  # a file of nothing else is empty
        if head.lstrip()[:1] == b"[":
            yield from self._refuse_array()
            return
        yield from self._read(self._splitter.feed(head))

    def _read(self, lines: list[bytes | LongLine]) -> Iterator[list[InputItem]]:
        add, rules = self._chunker.add, self._rules
        for found in lines:
            self._number += 1
            if isinstance(found, bytes):
                line = found.removeprefix(codecs.BOM_UTF8)  # Windows programs write it; joined files have it inside
                if not line or line.isspace():
                    continue
                if self._items == 0 and line.lstrip()[:1] == b"[":
                    yield from self._refuse_array()
                    return
                read = read_line(line, self._number, rules, self.numeric_ids)
            else:
                read = [self._too_long(found)]
            self._items += 1
            if isinstance(read, InputLine):
                if full := add(read):
                    yield full
                continue
            for problem in read:
                if full := add(problem):
                    yield full

    def _too_long(self, line: LongLine) -> InputProblem:
        return InputProblem(
            line=self._number,
            field="",
            message=f"is {line.size_bytes:,} bytes long; a line may have {self._max_line_bytes:,}",
            remedy="write one request per line, and make this one smaller",
            raw=line.head[:KEPT_RAW_BYTES],
        )

    def _refuse_array(self) -> Iterator[list[InputItem]]:
        yield from self._refuse_file("is one JSON array, not one request per line", _TO_LINES)

    def _refuse_file(self, message: str, remedy: str) -> Iterator[list[InputItem]]:
        self.is_refused = True
        self._items += 1
        if full := self._chunker.add(InputProblem(line=0, field="", message=message, remedy=remedy, raw=b"")):
            yield full
