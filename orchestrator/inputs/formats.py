"""File formats by their first bytes: gzip and zstd are unpacked as they stream in, others are named and refused."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import zstandard

from orchestrator.domain.errors import InputError
from orchestrator.domain.limits import FILE_WINDOW_BYTES, UPLOAD_WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

_MAGIC_BYTES: Final = 4
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"  # after one byte 0x50-0x5f; RFC 8878, 3.1.2

_PIECE_BYTES: Final = 1 << 20
#: zlib's "gzip wrapper only".
_GZIP_WBITS: Final = 31
#: zstandard cannot cap its output per call, so it is fed little: four bytes of input give at most a block of 128 KiB
#: (RFC 8878, 3.1.1.2).
_ZSTD_MOST_PER_BYTE: Final = 32 * 1024
_ZSTD_WRITE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on unpacking. window_bytes: of a zstd frame. piece_bytes: the most that comes out at once."""

    window_bytes: int
    piece_bytes: int


OF_FILES: Final = Bounds(window_bytes=FILE_WINDOW_BYTES, piece_bytes=8 << 20)
#: Many at a time, from anybody.
OF_UPLOADS: Final = Bounds(window_bytes=UPLOAD_WINDOW_BYTES, piece_bytes=2 << 20)


class _Format(Protocol):
    def feed(self, block: bytes) -> Iterator[bytes]: ...

    def end(self) -> None: ...


class Unpacker:
    """Turns the bytes of a file, in blocks cut anywhere, into its text, in pieces of bounded size.

    Several gzip members or zstd frames after each other are one text. Raises InputError, which names the source, if the
    archive is damaged, cut short, of an unsupported kind, or a zstd frame that needs a dictionary or a larger window
    than *bounds* allow.
    """

    def __init__(self, name: str, *, bounds: Bounds = OF_FILES) -> None:
        self._name = name
        self._bounds = bounds
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
        """The rest of the text, at the end of the file."""
        if self._format is not None:
            self._format.end()
        elif self._head.startswith(_GZIP):
            raise _cut_short(self._name)
        elif self._head:
            yield self._head

    def _recognise(self, head: bytes) -> _Format:
        if (kind := foreign_kind(head)) is not None:
            raise InputError(f"{self._name} is {kind.called}", hint=kind.hint)
        if head.startswith(_GZIP):
            return _Gzip(self._name)
        if head.startswith(_ZSTD) or (0x50 <= head[0] <= 0x5F and head[1:4] == _ZSTD_SKIPPABLE):
            return _Zstd(self._name, self._bounds)
        return _NotCompressed()


def unpacked_text(name: str, blocks: Iterable[bytes], *, bounds: Bounds = OF_FILES) -> Generator[bytes, None, None]:
    """The text of a whole file, given its *blocks*. Raises InputError as `Unpacker` does."""
    unpacker = Unpacker(name, bounds=bounds)
    for block in blocks:
        yield from unpacker.feed(block)
    yield from unpacker.end()


class _NotCompressed:
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
    def __init__(self, name: str, bounds: Bounds) -> None:
        self._name = name
        self._max_window_bytes = bounds.window_bytes
        self._input_bytes = bounds.piece_bytes // _ZSTD_MOST_PER_BYTE
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=bounds.window_bytes)
        self._frame = self._unpacker.decompressobj(write_size=_ZSTD_WRITE_BYTES)
        self._header = b""  # the first bytes of the frame, which say what it needs
        self._is_between = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        for start in range(0, len(block), self._input_bytes):
            yield from self._feed_little(block[start : start + self._input_bytes])

    def _feed_little(self, block: bytes) -> Iterator[bytes]:
        while block:
            if self._is_between:
                self._frame, self._is_between = self._unpacker.decompressobj(write_size=_ZSTD_WRITE_BYTES), False
                self._header = b""
            self._header += block[: HEADER_BYTES - len(self._header)]
            try:
                piece = self._frame.decompress(block)
            except zstandard.ZstdError as exc:
                raise self._refused(frame_of(self._header), exc) from exc
            if piece:
                yield piece
            self._is_between = self._frame.eof
            block = self._frame.unused_data if self._frame.eof else b""

    def _refused(self, frame: ZstdFrame | None, exc: Exception) -> InputError:
        """The error for a sound archive that needs more than the bounds."""
        if frame is not None and frame.window_bytes > self._max_window_bytes:
            needed, taken = _binary(frame.window_bytes), _binary(self._max_window_bytes)
            return InputError(
                f"{self._name} needs a window of {needed} to be unpacked",
                cause=f"at most {taken} is taken",
                hint="compress it again without --long and --ultra, or pipe it in: zstd -dc --long=31",
            )
        if frame is not None and frame.has_dictionary:
            hint = "compress it again without -D, or unpack it first"
            return InputError(f"{self._name} needs the dictionary that it was compressed with", hint=hint)
        return _damaged(self._name, "zstd", exc)

    def end(self) -> None:
        if not self._is_between:
            raise _cut_short(self._name)


def _binary(size_bytes: int) -> str:
    """`8 MiB`, `2 GiB`: windows are powers of two, or eighths between them."""
    size, units = float(size_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:,.4g} {units[0]}"


def _damaged(name: str, kind: str, exc: Exception) -> InputError:
    return InputError(f"{name} is a damaged {kind} archive", cause=str(exc), hint="make or download it again")


def _cut_short(name: str) -> InputError:
    return InputError(f"{name} is an archive that ends too early", hint="make or download it again")


_UNPACK: Final = "unpack it first; .gz and .zst are read as is"
_EXPORT: Final = (
    "save its content as CSV, TSV or Parquet and give a prompt (-p), or write JSON Lines: one request per line"
)
_TAR_AT: Final = 257
_PARQUET: Final = "give it as a file of its own, with a prompt (-p)"
#: Where the names of a zip's first members stand; an Office document begins with such ones.
_FIRST_NAMES: Final = 4096
_OFFICE_NAMES: Final = (b"[Content_Types].xml", b"_rels/.rels", b"mimetypeapplication/vnd.")


class ForeignKind(NamedTuple):
    """What a file is, with its article, and what to do about it."""

    called: str
    hint: str


_ZIP: Final = ForeignKind("a zip archive", _UNPACK)
_OFFICE: Final = ForeignKind("an Office document (such as .xlsx)", _EXPORT)
#: The first bytes of each, at least two. Sources: the formats' own specifications; file(1)'s "magic" lists them too.
_KINDS: Final = (
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", ForeignKind("a zip archive with nothing in it", _UNPACK)),
    (b"PK\x07\x08", _ZIP),
    (b"BZh", ForeignKind("a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\x00", ForeignKind("an xz archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", ForeignKind("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", ForeignKind("a rar archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", ForeignKind("an lz4 archive", _UNPACK)),
    (b"\x02\x21\x4c\x18", ForeignKind("an lz4 archive", _UNPACK)),
    (b"LZIP", ForeignKind("an lzip archive", _UNPACK)),
    (b"\x5d\x00\x00", ForeignKind("an lzma archive", _UNPACK)),
    (b"\xff\x06\x00\x00sNaPpY", ForeignKind("a snappy archive", _UNPACK)),
    (b"\x1f\x9d", ForeignKind("a .Z archive (of compress)", _UNPACK)),
    (b"\x1f\xa0", ForeignKind("a .Z archive (of compress)", _UNPACK)),
    (b"PAR1", ForeignKind("a Parquet file", _PARQUET)),
    (b"PARE", ForeignKind("an encrypted Parquet file", _EXPORT)),
    (b"ARROW1", ForeignKind("an Arrow file", _EXPORT)),
    (b"FEA1", ForeignKind("a Feather file", _EXPORT)),
    (b"Obj\x01", ForeignKind("an Avro file", _EXPORT)),
    (b"SQLite format 3\x00", ForeignKind("an SQLite database", _EXPORT)),
    (b"%PDF-", ForeignKind("a PDF document", _EXPORT)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ForeignKind("an Office document (such as .xls)", _EXPORT)),
    (b"\x93NUMPY", ForeignKind("a NumPy file", _EXPORT)),
)


def foreign_kind(head: bytes) -> ForeignKind | None:
    """The kind of a file that begins with *head* (four bytes or more); None if it is not known."""
    for magic, kind in _KINDS:
        if head[: len(magic)] == magic[: len(head)]:
            is_office = kind is _ZIP and any(name in head[:_FIRST_NAMES] for name in _OFFICE_NAMES)
            return _OFFICE if is_office else kind
    return ForeignKind("a tar archive", _UNPACK) if head[_TAR_AT : _TAR_AT + 5] == b"ustar" else None


#: The longest header: magic number, descriptor, window, dictionary id, content size.
HEADER_BYTES: Final = 4 + 1 + 1 + 4 + 8
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_CONTENT_BYTES: Final = (0, 2, 4, 8)
_CONTENT_MORE: Final = 256  #: what a size of two bytes leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class ZstdFrame:
    """The header of a frame. window_bytes: how much of its output must be kept. Source: RFC 8878, 3.1.1.1."""

    window_bytes: int
    has_dictionary: bool


def frame_of(header: bytes) -> ZstdFrame | None:
    """The frame that begins with *header*; None if the header is incomplete, or is none."""
    if len(header) < 6 or header[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = header[4]
    is_single = bool(descriptor & 0x20)  # one segment: the window is the content
    dictionary_at = 5 if is_single else 6
    content_at = dictionary_at + _DICTIONARY_BYTES[descriptor & 3]
    has_dictionary = any(header[dictionary_at:content_at])
    if not is_single:
        exponent, mantissa = header[5] >> 3, header[5] & 7
        base = 1 << (10 + exponent)
        return ZstdFrame(window_bytes=base + (base >> 3) * mantissa, has_dictionary=has_dictionary)
    flag = descriptor >> 6
    size_bytes = 1 if flag == 0 else _CONTENT_BYTES[flag]
    if len(header) < content_at + size_bytes:
        return None
    content = int.from_bytes(header[content_at : content_at + size_bytes], "little")
    return ZstdFrame(window_bytes=content + (_CONTENT_MORE if flag == 1 else 0), has_dictionary=has_dictionary)
