"""What a source of requests holds of large lines, counted: the one that arrives, those gathered, those worked on."""

from __future__ import annotations

from collections import deque

from orchestrator.domain.limits import LARGE_LINE_BYTES


class LargeHeld:
    """Tell it every item that joins a chunk (`gather`) and every chunk that is given away (`give`).

    Two chunks that were given are still held: one is stored while the next waits. See `engine.ahead`.
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
