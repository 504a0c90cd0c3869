"""Blocks of params: neighbours compressed together, so that what they share is stored once.

What a store takes of its input is in `benchmarks/README.md` (`store_size`). Every block has a checksum (zstd's own), so
a damaged one raises.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, Self

import zstandard

from orchestrator.domain import errors

_LEVEL: Final = 1
#: Level 1 looks back 512 KiB: a larger block finds nothing more to share, and every upload holds one, opened.
BLOCK_BYTES: Final = 512 * 1024
#: What large requests share (a long prompt) is stored once a block, so a block has at least so many of them.
_LEAST_REQUESTS: Final = 64
#: A block holds at most one chunk of intake: 4 MiB of params, or one larger request, which fits a body of 256 MB.
_MOST_BYTES: Final = 512 * 1024 * 1024


def cut_blocks(params: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """*params* in runs of about `BLOCK_BYTES`: opening a block takes little memory, and one block has many requests."""
    start = size = 0
    for end, one in enumerate(params):
        if size + len(one) > BLOCK_BYTES and end - start >= _LEAST_REQUESTS:
            yield params[start:end]
            start, size = end, 0
        size += len(one)
    yield params[start:]


def encode_block(params: Sequence[bytes]) -> bytes:
    """Compress *params* (in order) into one block."""
    lengths = array("I", map(len, params))
    if sys.byteorder == "big":
        lengths.byteswap()
    # One compressor per block: they are not safe to share between threads, and cost microseconds.
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
    return compressor.compress(lengths.tobytes() + b"".join(params))


class Block:
    """A block, opened: the params of neighbouring requests, byte for byte as they were handed in."""

    def __init__(self, first: int, count: int, data: bytes) -> None:
        try:
            if zstandard.frame_content_size(data) > _MOST_BYTES:  # a damaged header must not ask for all memory
                raise _damaged("its header names an impossible size")
            self._bytes = zstandard.ZstdDecompressor().decompress(data)
        except zstandard.ZstdError as exc:
            raise _damaged(str(exc)) from exc
        if len(self._bytes) < 4 * count:
            raise _damaged(f"{len(self._bytes)} bytes cannot hold {count} requests")
        lengths = array("I")
        lengths.frombytes(self._bytes[: 4 * count])
        if sys.byteorder == "big":
            lengths.byteswap()
        self._first = first
        self._starts = array("Q", accumulate(lengths, initial=4 * count))
        if self._starts[-1] != len(self._bytes):
            raise _damaged(f"its parts have {self._starts[-1]} bytes, not {len(self._bytes)}")

    @classmethod
    def of(cls, key: int, row: tuple[int, int, bytes] | None) -> Self:
        """The block in *row* (first id, count, data), which must hold the request *key*."""
        block = None if row is None else cls(*row)
        if block is None or not block.holds(key):
            raise _damaged(f"request {key} has no payload")
        return block

    def holds(self, key: int) -> bool:
        """True if the params of the request *key* are in here."""
        return self._first <= key < self._first + len(self._starts) - 1

    def params(self, key: int, size_bytes: int) -> bytes:
        """The params of the request *key*, which must have *size_bytes*."""
        index = key - self._first
        start, end = self._starts[index], self._starts[index + 1]
        if end - start != size_bytes:
            raise _damaged(f"request {key} has {end - start} bytes of params, not {size_bytes}")
        return self._bytes[start:end]


def _damaged(cause: str) -> errors.StoreError:
    return errors.StoreError("a payload block is damaged", cause=cause, hint="restore the store from a backup")
