"""The images of a row, as content blocks: read when the row is read, or passed on as an address."""

from __future__ import annotations

import base64
import os
import re
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

from orchestrator.domain.humanize import readable, some
from orchestrator.domain.token_bounds import size_of_image
from orchestrator.tables.template import RowRefused

#: As base64. Source: the API's own error, "image exceeds 10 MB maximum: … > 10485760 bytes"; platforms of others and
#: older deployments take half of it.
MOST_BASE64_BYTES: Final = 10 * 1024 * 1024
#: On each side. Source: vision guide, "Maximum dimensions"; "At least one of the image dimensions exceed max allowed
#: size: 8000 pixels".
MOST_PIXELS: Final = 8000
_MOST_BYTES: Final = MOST_BASE64_BYTES // 4 * 3
_TYPES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_TAKEN: Final = "use PNG, JPEG, GIF or WebP"
_OF_UPLOADS: Final = "give an https address, or hand the table in from the command line, which reads the file itself"
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

_encode: Final = msgspec.json.Encoder().encode


def image_block(column: str, values: dict[str, Any], folder: Path | None) -> bytes:
    """The content block of the image that *column* names: a path, relative to *folder*, or an https address.

    folder: None where no file is read.
    Raises RowRefused, which says what is wrong with it.
    """
    if column not in values:
        raise RowRefused(column, "is no column of this row", f"its columns are {some(list(values))}", is_unknown=True)
    named = values[column]
    if not isinstance(named, str) or not named.strip():
        raise RowRefused(column, "names no image", "write a path or an https address there")
    named = named.strip()
    if _ADDRESS.match(named):
        return _address_block(column, named)
    if folder is None:
        raise RowRefused(column, "is a path, and a server reads no files for others", _OF_UPLOADS)
    data = _read(column, folder / named)
    media_type = _media_type(data)
    if media_type is None:
        raise RowRefused(column, f"{named!r} is not an image that the API takes", _TAKEN)
    encoded = base64.b64encode(data)
    pixels = size_of_image(encoded)
    if pixels is not None and max(pixels) > MOST_PIXELS:
        message = f"{named!r} has {pixels[0]:,} x {pixels[1]:,} pixels; the API takes {MOST_PIXELS:,} on a side"
        raise RowRefused(column, message, "make it smaller")
    source = b'{"type":"base64","media_type":%b,"data":"%b"}' % (_encode(media_type), encoded)
    return b'{"type":"image","source":%b}' % source


def _address_block(column: str, address: str) -> bytes:
    if not address.lower().startswith("https://"):
        raise RowRefused(column, f"{address!r} is no https address", "the API fetches images by https only")
    return _encode({"type": "image", "source": {"type": "url", "url": address}})


def _read(column: str, path: Path) -> bytes:
    """The bytes of the file. Raises RowRefused for what is none, or too large; a pipe is not waited for."""
    shown = readable(str(path))
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RowRefused(column, f"{shown} is no file", "name the file of an image")
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        remedy = "a path is relative to the folder of the table"
        raise RowRefused(column, f"cannot read {shown}: {why}", remedy) from exc
    if len(data) > _MOST_BYTES:
        message = f"{shown} is larger than {_MOST_BYTES:,} bytes, which is what the API takes"
        raise RowRefused(column, message, "make it smaller")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _media_type(data: bytes) -> str | None:
    """By its first bytes, whatever its name says."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in _TYPES if data.startswith(magic)), None)
