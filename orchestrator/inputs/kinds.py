"""Files that are handed in by mistake, told by their first bytes, so that one sentence says what is there."""

from __future__ import annotations

from typing import Final, NamedTuple

_UNPACK: Final = "unpack it first; .gz and .zst are read as is"
_EXPORT: Final = "write its content as JSON Lines: one request per line, as a JSON object"
_TAR_AT: Final = 257
#: Where the names of a zip's first members stand; an Office document begins with such ones.
_FIRST_NAMES: Final = 4096
_OFFICE_NAMES: Final = (b"[Content_Types].xml", b"_rels/.rels", b"mimetypeapplication/vnd.")


class Kind(NamedTuple):
    """What a file is, with its article, and what to do about it."""

    called: str
    hint: str


_ZIP: Final = Kind("a zip archive", _UNPACK)
_OFFICE: Final = Kind("an Office document (such as .xlsx)", _EXPORT)
#: The first bytes of each, at least two. Sources: the formats' own specifications; file(1)'s "magic" lists them too.
_KINDS: Final = (
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", Kind("a zip archive with nothing in it", _UNPACK)),
    (b"PK\x07\x08", _ZIP),
    (b"BZh", Kind("a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\x00", Kind("an xz archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Kind("a rar archive", _UNPACK)),
    (b"\x04\x22\x4d\x18", Kind("an lz4 archive", _UNPACK)),
    (b"\x02\x21\x4c\x18", Kind("an lz4 archive", _UNPACK)),
    (b"LZIP", Kind("an lzip archive", _UNPACK)),
    (b"\x5d\x00\x00", Kind("an lzma archive", _UNPACK)),
    (b"\xff\x06\x00\x00sNaPpY", Kind("a snappy archive", _UNPACK)),
    (b"\x1f\x9d", Kind("a .Z archive (of compress)", _UNPACK)),
    (b"\x1f\xa0", Kind("a .Z archive (of compress)", _UNPACK)),
    (b"PAR1", Kind("a Parquet file", _EXPORT)),
    (b"PARE", Kind("an encrypted Parquet file", _EXPORT)),
    (b"ARROW1", Kind("an Arrow file", _EXPORT)),
    (b"FEA1", Kind("a Feather file", _EXPORT)),
    (b"Obj\x01", Kind("an Avro file", _EXPORT)),
    (b"SQLite format 3\x00", Kind("an SQLite database", _EXPORT)),
    (b"%PDF-", Kind("a PDF document", _EXPORT)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("an Office document (such as .xls)", _EXPORT)),
    (b"\x93NUMPY", Kind("a NumPy file", _EXPORT)),
)


def foreign_kind(head: bytes) -> Kind | None:
    """What a file is that begins with *head* (four bytes or more); None: nothing that is known here."""
    for magic, kind in _KINDS:
        if head[: len(magic)] == magic[: len(head)]:
            is_office = kind is _ZIP and any(name in head[:_FIRST_NAMES] for name in _OFFICE_NAMES)
            return _OFFICE if is_office else kind
    return Kind("a tar archive", _UNPACK) if head[_TAR_AT : _TAR_AT + 5] == b"ustar" else None
