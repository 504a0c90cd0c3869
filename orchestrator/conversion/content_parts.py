"""The parts of a message, as content blocks: texts, images, files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from orchestrator.conversion.findings import LineFindings

Block = dict[str, Any]
Part = Mapping[str, Any]

_DATA: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,", re.ASCII | re.IGNORECASE)
#: Source: the API's reference of image blocks. image/jpg is what programs write and no registered name.
_IMAGES: Final[Mapping[str, str]] = {
    **{each: each for each in ("image/jpeg", "image/png", "image/gif", "image/webp")},
    "image/jpg": "image/jpeg",
}
_PDF: Final = "application/pdf"
_OTHER_CONTENT: Final = "leave that part out, or say it in words"
_UPLOADED: Final = "put the content itself there, as a data: URL: the file lies at OpenAI"


def content_of(content: object, place: str, found: LineFindings) -> str | list[Block] | None:
    """The content of a message: text, or blocks; None: it is empty, or wrong, which *found* is told."""
    if content is None or isinstance(content, str):
        return content or None
    if not isinstance(content, list):
        found.wrong(place, f"must be a text or a list, not {kind(content)}", "write a text")
        return None
    blocks = blocks_of(content, place, found)
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks or None


def blocks_of(parts: Sequence[object], place: str, found: LineFindings) -> list[Block]:
    """The blocks of *parts*; empty texts, which the API refuses, are left out."""
    made = (_block(part, f"{place}.{number}", found) for number, part in enumerate(parts))
    return [block for block in made if block is not None]


def text_of(content: object, place: str, found: LineFindings) -> str:
    """Content that may only be text; parts are joined by line feeds."""
    made = content_of(content, place, found)
    if made is None or isinstance(made, str):
        return made or ""
    if any(block["type"] != "text" for block in made):
        found.wrong(place, "has more than text", _OTHER_CONTENT)
    return "\n".join(str(block.get("text", "")) for block in made)


def _block(part: object, place: str, found: LineFindings) -> Block | None:
    if isinstance(part, str):
        return _text(part, found)
    if not isinstance(part, dict):
        found.wrong(place, f"must be an object, not {kind(part)}", 'write {"type": "text", "text": "…"}')
        return None
    made = _READERS.get(str(part.get("type")))
    if made is None:
        message = f"{part.get('type')!r} has no counterpart in the Messages API"
        found.wrong(f"{place}.type", message, _OTHER_CONTENT, is_alike=True)
        return None
    return made(part, place, found)


def _own(part: Part, _place: str, _found: LineFindings) -> Block:
    """A block of our own API."""
    return {**part}


def _said(part: Part, place: str, found: LineFindings) -> Block | None:
    return _text(part.get("text"), found, place)


def _refusal(part: Part, place: str, found: LineFindings) -> Block | None:
    found.changed("refusal", "is text of the assistant")
    return _text(part.get("refusal"), found, place)


def _text(text: object, found: LineFindings, place: str = "") -> Block | None:
    if isinstance(text, str):
        if not text:
            found.default("an empty text")
            return None
        return {"type": "text", "text": text}
    found.wrong(f"{place}.text", f"must be a text, not {kind(text)}", "write it in quotes")
    return None


def _image(part: Part, place: str, found: LineFindings) -> Block | None:
    named: Any = part.get("image_url")
    inner: Part = named if isinstance(named, dict) else {"url": named}
    given, detail = inner.get("url"), inner.get("detail", part.get("detail"))
    if detail not in {None, "auto"}:
        found.lost("detail", "of an image: the Messages API has no such setting")
    where = f"{place}.image_url"
    if not isinstance(given, str) or not given:
        has_id = part.get("file_id") is not None
        message = "is a file at OpenAI" if has_id else "names no image"
        found.wrong(f"{place}.file_id" if has_id else where, message, _UPLOADED, is_alike=has_id)
        return None
    data = _DATA.match(given)
    if data is None:
        return _fetched("image", given, where, found)
    media_type = _IMAGES.get((data[1] or "").lower())
    if media_type is None:
        message = f"is {data[1] or 'of no kind that is said'}, which Claude does not read"
        found.wrong(where, message, "use PNG, JPEG, GIF or WebP", is_alike=True)
        return None
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": given[data.end() :]}}


def _file(part: Part, place: str, found: LineFindings) -> Block | None:
    inner = part.get("file")
    given: Part = inner if isinstance(inner, dict) else part
    named = given.get("filename")
    title = {"title": named} if isinstance(named, str) and named else {}
    where = f"{place}.file_data"
    if isinstance(given.get("file_url"), str):
        block = _fetched("document", given["file_url"], f"{place}.file_url", found)
        return None if block is None else {**block, **title}
    data = given.get("file_data")
    if not isinstance(data, str):
        found.wrong(f"{place}.file_id", "is a file at OpenAI", _UPLOADED, is_alike=True)
        return None
    head = _DATA.match(data)
    if head is None or (head[1] or "").lower() != _PDF:
        what = "is no data: URL" if head is None else f"is {head[1]}, no PDF"
        found.wrong(where, what, "write data:application/pdf;base64,…, or its text as text", is_alike=True)
        return None
    source = {"type": "base64", "media_type": _PDF, "data": data[head.end() :]}
    return {"type": "document", "source": source, **title}


def _fetched(name: str, address: str, place: str, found: LineFindings) -> Block | None:
    if not address.lower().startswith("https://"):
        found.wrong(place, f"{address[:60]!r} is no https address", "the API fetches by https only", is_alike=False)
        return None
    return {"type": name, "source": {"type": "url", "url": address}}


#: By the type of a part, of either API; the last are blocks of our own, which some rows have already.
_READERS: Final[Mapping[str, Callable[[Part, str, LineFindings], Block | None]]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _said),
    "refusal": _refusal,
    **dict.fromkeys(("image_url", "input_image"), _image),
    **dict.fromkeys(("file", "input_file"), _file),
    **dict.fromkeys(("image", "document", "tool_use", "tool_result"), _own),
}


def kind(value: object) -> str:
    """What *value* is in JSON, for people."""
    names = {bool: str(value).lower(), type(None): "null", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
