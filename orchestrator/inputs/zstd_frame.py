"""What the header of a zstd frame says that it needs. Source: RFC 8878, 3.1.1.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The longest header: magic number, descriptor, window, dictionary id, content size.
HEADER_BYTES: Final = 4 + 1 + 1 + 4 + 8
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_CONTENT_BYTES: Final = (0, 2, 4, 8)
_CONTENT_MORE: Final = 256  #: what a size of two bytes leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """window_bytes: how much of what it unpacked must be kept."""

    window_bytes: int
    has_dictionary: bool


def frame_of(header: bytes) -> Frame | None:
    """What the frame that begins with *header* needs; None if that is not all there, or it is no frame."""
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
        return Frame(window_bytes=base + (base >> 3) * mantissa, has_dictionary=has_dictionary)
    flag = descriptor >> 6
    size_bytes = 1 if flag == 0 else _CONTENT_BYTES[flag]
    if len(header) < content_at + size_bytes:
        return None
    content = int.from_bytes(header[content_at : content_at + size_bytes], "little")
    return Frame(window_bytes=content + (_CONTENT_MORE if flag == 1 else 0), has_dictionary=has_dictionary)
