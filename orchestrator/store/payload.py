"""Blocks of params, and of rows: neighbours compressed together, so that what they share is stored once.

What a store takes of its input is in `benchmarks/README.md` (`store_size`). Every block has a checksum (zstd's own), so
a damaged one raises.

What is stored stays as it was handed in. Where params are changed (`param_change`), that is applied wherever they are
read to be sent.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Final, Self

import zstandard

from orchestrator.domain import errors
from orchestrator.domain.ids import JobId
from orchestrator.domain.json_text import UNREADABLE
from orchestrator.domain.param_change import ParamChange, applied, change_of
from orchestrator.store import sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("retrying")
_SUBMIT_SQL: Final = sql_text.load("submit")
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
        params = self.part(key)
        if len(params) != size_bytes:
            raise _damaged(f"request {key} has {len(params)} bytes of params, not {size_bytes}")
        return params

    def part(self, key: int) -> bytes:
        """What is in here of the request *key*, whatever its size."""
        index = key - self._first
        return self._bytes[self._starts[index] : self._starts[index + 1]]

    def count_filled(self) -> int:
        """How many requests have something in here."""
        return sum(end > start for start, end in pairwise(self._starts))


class Blocks:
    """The blocks of requests that are read in ascending order: each is opened once, and one is held."""

    def __init__(self, c: SqlConnection) -> None:
        self._c = c
        self._last: Block | None = None

    def of(self, key: int) -> Block:
        """The block with the params of the request *key*."""
        block = self._last
        if block is None or not block.holds(key):
            block = self._last = Block.of(key, self._c.execute(_SUBMIT_SQL["block_of"], {"id": key}).fetchone())
        return block


class Changes:
    """The changes of requests that are read one after the other: each is asked for once."""

    def __init__(self, c: SqlConnection) -> None:
        self._c = c
        self._found: dict[int, ParamChange] = {}

    def params(self, block: Block, key: int, size_bytes: int, change: int | None) -> bytes:
        """The params of the request *key* as they are sent, which must have *size_bytes*."""
        if change is None:
            return block.params(key, size_bytes)
        params = self.applied(block.part(key), change)
        if len(params) != size_bytes:
            raise _damaged(f"request {key} has {len(params)} bytes of params as they are changed, not {size_bytes}")
        return params

    def applied(self, params: bytes, change: int) -> bytes:
        """*params*, which were handed in, changed."""
        try:
            return applied(params, self.of(change))
        except UNREADABLE as exc:
            raise _damaged(f"params cannot be read: {exc}") from exc

    def of(self, change: int) -> ParamChange:
        """The change of that number."""
        found = self._found.get(change)
        if found is None:
            row = self._c.execute(SQL["spec"], {"id": change}).fetchone()
            if row is None or row[0] is None:
                raise _damaged(f"there is no change {change} of params")
            found = self._found[change] = change_of(row[0].encode())
        return found


def number_of_change(job: JobId, spec: bytes, c: SqlConnection) -> int:
    """The number of the change *spec*, which is stored if *job* has none like it."""
    values = {"job_id": job, "digest": sha256(spec).hexdigest()}
    while (row := c.execute(SQL["change"], values).fetchone()) is None:
        c.execute(SQL["add_change"], {**values, "spec": spec.decode()})
    number: int = row[0]
    return number


def _damaged(cause: str) -> errors.StoreError:
    """The error of a block from which a request cannot be read."""
    return errors.StoreError("a payload block is damaged", cause=cause, hint="restore the store from a backup")
