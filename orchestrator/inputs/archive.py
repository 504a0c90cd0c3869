"""Unpacks gzip and zstd as they stream in, told by their first bytes, with a bound on every piece that comes out."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from orchestrator.domain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC_BYTES: Final = 4
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"  # after one byte 0x50-0x5f; RFC 8878, 3.1.2
_FOREIGN: Final = ((b"PK\x03\x04", "a zip"), (b"BZh", "a bzip2"), (b"\xfd7zX", "an xz"))

_PIECE_BYTES: Final = 1 << 20
#: zlib's "gzip wrapper only".
_GZIP_WBITS: Final = 31
#: zstandard cannot cap its output per call, so it is fed little: 256 bytes of input give at most 64 blocks of 128 KiB
#: (RFC 8878, 3.1.1.2), so a file made to explode stays at 8 MiB per piece.
_ZSTD_INPUT_BYTES: Final = 256
_ZSTD_WRITE_BYTES: Final = 16 * 1024


class _Format(Protocol):
    def feed(self, block: bytes) -> Iterator[bytes]: ...

    def end(self) -> None: ...


class Unpacker:
    """Give it the bytes of a file, in blocks cut anywhere; it gives the text in pieces of bounded size.

    Several gzip members or zstd frames after each other are one text. Raises InputError, which names the source, if
    the archive is damaged, cut short, or of a kind that is not read.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = b""
        self._format: _Format | None = None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The text that *block* completes."""
        if self._format is None:
            self._head += block
            if len(self._head) < _MAGIC_BYTES:
                return
            block, self._head = self._head, b""
            self._format = self._recognise(block)
        yield from self._format.feed(block)

    def end(self) -> Iterator[bytes]:
        """What is left when the file ends."""
        if self._format is not None:
            self._format.end()
        elif self._head.startswith(_GZIP):
            raise _cut_short(self._name)
        elif self._head:
            yield self._head

    def _recognise(self, head: bytes) -> _Format:
        for magic, kind in _FOREIGN:
            if head.startswith(magic):
                raise InputError(f"{self._name} is {kind} archive", hint="unpack it first; .gz and .zst are read as is")
        if head.startswith(_GZIP):
            return _Gzip(self._name)
        if head.startswith(_ZSTD) or (0x50 <= head[0] <= 0x5F and head[1:4] == _ZSTD_SKIPPABLE):
            return _Zstd(self._name)
        return _Plain()


class _Plain:
    def feed(self, block: bytes) -> Iterator[bytes]:
        if block:
            yield block

    def end(self) -> None:
        return


class _Gzip:
    def __init__(self, name: str) -> None:
        self._name = name
        self._member = zlib.decompressobj(_GZIP_WBITS)
        self._is_between = False  # a member has ended and no other has begun

    def feed(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._is_between:
                block = block.lstrip(b"\0")  # gzip files may be padded with zeros (tar, tapes)
                if not block:
                    return
                self._member, self._is_between = zlib.decompressobj(_GZIP_WBITS), False
            try:
                piece = self._member.decompress(block, _PIECE_BYTES)
            except zlib.error as exc:
                raise _damaged(self._name, "gzip", exc) from exc
            if piece:
                yield piece
            self._is_between = self._member.eof
            block = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def end(self) -> None:
        if not self._is_between:
            raise _cut_short(self._name)


class _Zstd:
    def __init__(self, name: str) -> None:
        self._name = name
        self._unpacker = zstandard.ZstdDecompressor()
        self._frame = self._unpacker.decompressobj(write_size=_ZSTD_WRITE_BYTES)
        self._is_between = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        for start in range(0, len(block), _ZSTD_INPUT_BYTES):
            yield from self._feed_little(block[start : start + _ZSTD_INPUT_BYTES])

    def _feed_little(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._is_between:
                self._frame, self._is_between = self._unpacker.decompressobj(write_size=_ZSTD_WRITE_BYTES), False
            try:
                piece = self._frame.decompress(block)
            except zstandard.ZstdError as exc:
                raise _damaged(self._name, "zstd", exc) from exc
            if piece:
                yield piece
            self._is_between = self._frame.eof
            block = self._frame.unused_data if self._frame.eof else b""

    def end(self) -> None:
        if not self._is_between:
            raise _cut_short(self._name)


def _damaged(name: str, kind: str, exc: Exception) -> InputError:
    return InputError(f"{name} is a damaged {kind} archive", cause=str(exc), hint="make or download it again")


def _cut_short(name: str) -> InputError:
    return InputError(f"{name} is an archive that ends too early", hint="make or download it again")
