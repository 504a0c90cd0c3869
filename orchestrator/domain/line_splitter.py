r"""Cuts a stream of bytes into lines, at b"\n" and nowhere else, with a bound on what one line may hold in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from orchestrator.domain.limits import LARGE_LINE_BYTES

#: How much of a line that is too long is kept, to show it.
KEPT_HEAD_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LongLine:
    """A line over the cap, whose bytes were counted and dropped."""

    size_bytes: int  #: without its newline
    head: bytes  #: its first 64 KiB


class LineSplitter:
    r"""Splits chunks cut anywhere into complete lines, blank ones included, without their b"\n".

    A line may end in b"\r"; other separators (U+2028, a lone b"\r") do not end a line. Every line of the stream gives
    exactly one element, so lines can be numbered by counting. Holds at most `max_line_bytes` and one chunk.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []
        self._held = 0  # bytes in _parts
        self._skipped = 0  # bytes of the current line that were let go; then _parts holds only its head

    @property
    def held_bytes(self) -> int:
        """What is held of the line that is not complete yet."""
        return self._held

    def feed(self, chunk: bytes) -> list[bytes | LongLine]:
        """The lines that *chunk* completes."""
        first_end = chunk.find(b"\n")
        if first_end < 0:
            self._hold(chunk)
            return []
        self._hold(chunk[:first_end])
        lines: list[bytes | LongLine] = [self._take()]
        complete = chunk[first_end + 1 :].split(b"\n")
        self._hold(complete.pop())
        if len(chunk) > self._max:
            lines.extend(self._capped(line) for line in complete)
        else:
            lines.extend(complete)
        return lines

    def rest(self) -> list[bytes | LongLine]:
        """What is left at the end of the stream: the last line if it had no newline, else nothing."""
        return [self._take()] if self._held or self._skipped else []

    def _hold(self, part: bytes) -> None:
        if not part:
            return
        if self._skipped:
            self._skipped += len(part)
            return
        self._parts.append(part)
        self._held += len(part)
        if self._held > self._max:
            head = b"".join(self._parts)[:KEPT_HEAD_BYTES]
            self._skipped = self._held - len(head)
            self._parts, self._held = [head], len(head)

    def _take(self) -> bytes | LongLine:
        line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        skipped = self._skipped
        self._parts, self._held, self._skipped = [], 0, 0
        return LongLine(size_bytes=len(line) + skipped, head=line) if skipped else self._capped(line)

    def _capped(self, line: bytes) -> bytes | LongLine:
        if len(line) <= self._max:
            return line
        return LongLine(size_bytes=len(line), head=line[:KEPT_HEAD_BYTES])


class LargeLineTally:
    """Counts the bytes of the large lines in memory: in the chunk that is gathered, and in the last two given away.

    Two chunks that were given are still held: one is stored while the next waits (`engine.prefetch`).
    """

    def __init__(self) -> None:
        self._gathered = 0
        self._given: deque[int] = deque((0, 0), maxlen=2)

    def gather(self, size_bytes: int) -> None:
        """An item of so many bytes joined the chunk."""
        self._gathered += _large(size_bytes)

    def give(self) -> None:
        """The chunk was given away, and the next begins."""
        self._given.append(self._gathered)
        self._gathered = 0

    def with_line(self, size_bytes: int) -> int:
        """The bytes of all of them, if so much of the next line is here."""
        return _large(size_bytes) + self._gathered + sum(self._given)


def _large(size_bytes: int) -> int:
    return size_bytes if size_bytes > LARGE_LINE_BYTES else 0
