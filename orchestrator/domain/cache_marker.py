"""Puts a marker for the prompt cache into params on their way to the API, and finds markers that are there already.

What is stored stays the user's. A marker takes the same bytes wherever it stands (spaces make up for the rest), so the
exact size of a body is known from how many of its requests get one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain.cache_prefix import MARKER, Part, PrefixReader, least_tokens
from orchestrator.domain.json_text import UNREADABLE, plain_ascii

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MARKER_BYTES", "LikelyMarks", "own_marker", "takes_marker", "with_marker"]

_HOUR: Final = b'{"type":"ephemeral","ttl":"1h"}'
#: A system prompt that is a string has to become a block.
_TEXT_BLOCK: Final = b'[{"type":"text","text":%b,"cache_control":%b}]'
#: What a marker adds to params, wherever it stands.
MARKER_BYTES: Final = len(_TEXT_BLOCK % (b"", _HOUR))

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


def with_marker(params: bytes, part: Part) -> bytes:
    """*params* with a marker of one hour at the end of *part*, `MARKER_BYTES` longer. Raises as `UNREADABLE` says."""
    members = _members.decode(params)
    raw = bytes(members[part.value])
    members[part.value] = msgspec.Raw(_first_message(raw) if part is Part.MESSAGES else _section(raw))
    return _encode(members).ljust(len(params) + MARKER_BYTES)


def _section(raw: bytes) -> bytes:
    """Tools, or a system prompt: the last of its blocks is marked."""
    if raw[:1] != b"[":
        return _TEXT_BLOCK % (raw, _HOUR)
    items = _items.decode(raw)
    items[-1] = _block(items[-1])
    return _encode(items)


def _first_message(raw: bytes) -> bytes:
    """Messages: the first block of the first of them is marked."""
    turns = _items.decode(raw)
    turn = _members.decode(turns[0])
    blocks = _items.decode(turn["content"])
    blocks[0] = _block(blocks[0])
    turn["content"] = msgspec.Raw(_encode(blocks))
    turns[0] = msgspec.Raw(_encode(turn))
    return _encode(turns)


def _block(raw: msgspec.Raw) -> msgspec.Raw:
    members = _members.decode(raw)
    members["cache_control"] = msgspec.Raw(_HOUR)
    return msgspec.Raw(_encode(members))


def takes_marker(params: bytes, part: Part) -> bool:
    """Whether *params* can be taken apart and put together again with a marker."""
    try:
        return len(with_marker(params, part)) == len(params) + MARKER_BYTES
    except (*UNREADABLE, LookupError):
        return False


class LikelyMarks:
    """Marks requests at every end that their model keeps: for estimates, before it is known what others share of it."""

    def __init__(self) -> None:
        self._reader = PrefixReader()

    def marked(self, params: bytes) -> bytes:
        """*params* with markers; as they are if there is nothing to mark."""
        for end in self._reader.shareable(params):
            if end.tokens >= least_tokens(end.model) and takes_marker(params, end.part):
                params = with_marker(params, end.part).rstrip()
        return params


def own_marker(params: bytes) -> str | None:
    """The field of a marker that *params* have already, such as `params.system.0.cache_control`; None: none."""
    params = plain_ascii(params)
    if MARKER not in params:
        return None
    try:
        return next(_markers("params", _members.decode(params)), None)
    except UNREADABLE:
        return None


def _markers(place: str, members: dict[str, msgspec.Raw]) -> Iterator[str]:
    """The markers of an object, and of the blocks in it, which stand in these lists alone."""
    if bytes(members.get("cache_control", b"null")) != b"null":
        yield f"{place}.cache_control"
    for key in ("tools", "system", "messages", "content"):
        raw = bytes(members.get(key, b""))
        if MARKER in raw and raw[:1] == b"[":
            for number, item in enumerate(_items.decode(raw)):
                if bytes(item)[:1] == b"{":
                    yield from _markers(f"{place}.{key}.{number}", _members.decode(item))
