"""The lines of a text file: unpacked, without a byte order mark, each of bounded length."""

from __future__ import annotations

import codecs
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from orchestrator.domain.line_splitter import LineSplitter, LongLine
from orchestrator.inputs import OF_FILES, Bounds, unpacked_text, unpacks_to_too_much
from orchestrator.tables.table import MAX_ROW_BYTES, TableRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WIDE_MARKS: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_TO_UTF8: Final = "save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 in > out"


class TextPieces:
    """The text of a file, given its *blocks*, in pieces. Iterate once. Raises InputError for a damaged archive.

    most_bytes: more of it, unpacked, is BodyTooLarge.
    """

    def __init__(
        self, name: str, blocks: Iterable[bytes], *, bounds: Bounds = OF_FILES, most_bytes: int = sys.maxsize
    ) -> None:
        self.name = name
        self._text = unpacked_text(name, blocks, bounds=bounds)
        self._most_bytes = most_bytes
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raises TableRefused for what is not UTF-8 from its first bytes on."""
        head: bytes | None = b""
        with closing(self._text):  # and with it the file, if nobody wants more
            for piece in self._text:
                self.size_bytes += len(piece)
                if self.size_bytes > self._most_bytes:
                    raise unpacks_to_too_much(self.name, self._most_bytes)
                if head is None:
                    yield piece
                    continue
                head += piece
                if len(head) >= len(codecs.BOM_UTF32_LE):
                    yield _begun(head)
                    head = None
        if head:
            yield _begun(head)


def _begun(head: bytes) -> bytes:
    if head.startswith(_WIDE_MARKS) or b"\0" in head[:2]:
        raise TableRefused("is not UTF-8 text (it looks like UTF-16, UTF-32 or binary data)", _TO_UTF8)
    return head.removeprefix(codecs.BOM_UTF8)


class TextLines:
    """The lines of a file, without their newline; a line over `MAX_ROW_BYTES` is not held. Iterate once."""

    def __init__(self, pieces: TextPieces) -> None:
        self._pieces = pieces

    @property
    def size_bytes(self) -> int:
        """Bytes of text read so far."""
        return self._pieces.size_bytes

    def __iter__(self) -> Iterator[bytes | LongLine]:
        """Raises what reading the text raises."""
        splitter = LineSplitter(MAX_ROW_BYTES)
        for piece in self._pieces:
            yield from splitter.feed(piece)
        yield from splitter.rest()
