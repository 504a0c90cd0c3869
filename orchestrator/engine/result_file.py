"""Reads a result file from its download, line by line, and stops when a stream brings nothing new."""

from __future__ import annotations

from typing import Final

from orchestrator.domain.line_splitter import LineSplitter
from orchestrator.domain.result_lines import MAX_LINE_BYTES, BadLine, ResultLine, decode_split
from orchestrator.ports.provider import Download

#: So many bytes in a row with nothing new for the reader end a download: four lines of the largest size.
MAX_STALLED_BYTES: Final = 4 * MAX_LINE_BYTES
_SHORT_LINE_BYTES: Final = 1024


class ResultFile:
    """Iterates over the decoded lines of *download*, those of one chunk (some 256 KiB) at a time.

    The reader calls `found_new` whenever a chunk had something new for it. A stream that goes on without that (the same
    lines again and again, or blank ones) is abandoned, and `is_endless` set. ended: the stream came to its end, and the
    lines given now are its last one, if that has no newline: perhaps cut off.
    """

    def __init__(self, download: Download) -> None:
        self.meta = download.meta
        self.ended = False
        self._chunks = download.chunks
        self._splitter = LineSplitter(MAX_LINE_BYTES)
        self._stalled_bytes = 0

    def __aiter__(self) -> ResultFile:
        return self

    async def __anext__(self) -> list[ResultLine | BadLine]:
        if self.ended or self.is_endless:
            raise StopAsyncIteration
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self.ended = True
            return decode_split(self._splitter.rest())
        lines = self._splitter.feed(chunk)
        self._stalled_bytes += max(len(chunk), len(lines) * _SHORT_LINE_BYTES)  # a blank line costs time as well
        return decode_split(lines)

    def found_new(self) -> None:
        """The lines given last brought something new."""
        self._stalled_bytes = 0

    @property
    def is_endless(self) -> bool:
        """Too much has come in a row that brought nothing new."""
        return self._stalled_bytes > MAX_STALLED_BYTES
