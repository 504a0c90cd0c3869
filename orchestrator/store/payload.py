"""Blocks of params: neighbours compressed together, so that what they share is stored once.

Measured on 2 cores, Python 3.11 (`benchmarks/README.md`, "Store size"): a shared 40 kB prefix shrinks to about a
hundredth; plain prompts to about a half. Every block has a checksum (zstd's own), so a damaged one raises.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Final

import zstandard

from orchestrator.domain.errors import StoreError

#: A block is closed at this many bytes of params: enough neighbours for a long prefix to pay, and little enough to
#: decompress for one request.
BLOCK_BYTES: Final = 4 * 1024 * 1024
BLOCK_REQUESTS: Final = 4096
_LEVEL: Final = 1

_compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor()


def encode_block(params: Sequence[bytes]) -> bytes:
    """Compress *params* (in order) into one block."""
    lengths = array("I", map(len, params))
    if sys.byteorder == "big":
        lengths.byteswap()
    return _compressor.compress(lengths.tobytes() + b"".join(params))


class Block:
    """A block, opened: `params(i)` is the i-th request's params, byte for byte as they were handed in."""

    def __init__(self, data: bytes, count: int) -> None:
        try:
            self._bytes = _decompressor.decompress(data)
        except zstandard.ZstdError as exc:
            raise StoreError(
                "a payload block is damaged", cause=str(exc), hint="restore the store from a backup"
            ) from exc
        lengths = array("I")
        lengths.frombytes(self._bytes[: 4 * count])
        if sys.byteorder == "big":
            lengths.byteswap()
        self._starts = array("Q", [4 * count])
        at = 4 * count
        for length in lengths:
            at += length
            self._starts.append(at)

    def params(self, index: int) -> bytes:
        """The params of the request at *index* (from 0) in the block."""
        return self._bytes[self._starts[index] : self._starts[index + 1]]
