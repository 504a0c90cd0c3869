"""Images of a prompt as pictures in the page: bytes that were sent, and are of a kind that a browser may draw."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.domain import humanize

#: How the files of each kind begin; WebP has its length in between.
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
#: A page with more than that in one picture is slow; it is named in place of being shown.
_MOST_CHARS: Final = 2_000_000
#: Nor has it more than that in all of them.
_MOST_OF_PAGE: Final = 4_000_000


def image_parts(block: Mapping[str, Any]) -> dict[str, object]:
    """What the page has of an image's block: words for it, and `src`, None where it is not drawn."""
    source = block.get("source")
    match source:
        case {"type": "base64", "data": str(data), **more}:
            content = None if len(data) > _MOST_CHARS else _bytes(data)
            kind = None if content is None else _kind(content)
            words = f"{more.get('media_type', 'of no kind')}, {humanize.size(len(data) * 3 // 4)}"
            if kind is None:
                why = "too large to be shown" if len(data) > _MOST_CHARS else "no PNG, JPEG, GIF or WebP"
                return {"words": f"{words}: {why}", "src": None}
            return {"words": words, "src": f"data:{kind};base64,{data}"}
        case {"type": "url", "url": str(url)}:
            return {"words": url, "src": None}
        case {"type": str(other)}:
            return {"words": other, "src": None}
        case _:
            return {"words": "without a source", "src": None}


def keep_within_page(blocks: Iterable[dict[str, object]]) -> None:
    """Of pictures that are more than one page has room for, name those that do not fit in place of drawing them."""
    room = _MOST_OF_PAGE
    for block in blocks:
        match block:
            case {"src": str(src), "words": words} if len(src) > room:
                block.update(src=None, words=f"{words}: not shown, as this page has enough of pictures")
            case {"src": str(src)}:
                room -= len(src)


def _bytes(data: str) -> bytes | None:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def _kind(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)
