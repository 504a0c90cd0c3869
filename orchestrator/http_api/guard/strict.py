r"""HTTP/1.1 heads that every proxy reads as we do: what h11 forgives is refused.

A line that ends without b"\r" (RFC 9112, 2.2 lets a server take it), a header over several lines (5.2) and a length
said twice (RFC 9110, 8.6) are nobody's honest request any more; behind a proxy that reads them in another way, each can
hide a second request. How HTTP/1.0 may be framed is for the guard's middleware, which sees the whole head.
"""

from __future__ import annotations

import re
from typing import Final

import h11
from h11._receivebuffer import ReceiveBuffer

_LENIENT: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]")
_LENGTHS: Final = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"[0-9A-Fa-f]+(?:;[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?\r\n")


class StrictBuffer(ReceiveBuffer):
    """h11's buffer, that looks at the very bytes of a head before h11 takes them apart."""

    def __init__(self) -> None:
        super().__init__()
        self._is_head = False

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or of trailers. Raises LocalProtocolError, which h11 makes the client's error of."""
        self._is_head = True
        try:
            return super().maybe_extract_lines()
        finally:
            self._is_head = False

    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk. Raises LocalProtocolError."""
        line = super().maybe_extract_next_line()
        if line is not None and _CHUNK.fullmatch(line) is None:
            raise h11.LocalProtocolError("illegal chunk header")
        return line

    def _extract(self, count: int) -> bytearray:
        taken = super()._extract(count)
        if self._is_head and (_LENIENT.search(taken) or _says_length_twice(taken)):
            raise h11.LocalProtocolError("illegal line in a head")
        return taken


def _says_length_twice(head: bytearray) -> bool:
    lengths = _LENGTHS.findall(head)
    return len(lengths) > 1 or any(b"," in length for length in lengths)
