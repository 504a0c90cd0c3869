"""Which beginning of a prompt requests share in the API's prompt cache, and from which length on a model keeps one.

Source: the API's page on prompt caching (2026-11): a prompt is read as tools, system, messages; `cache_control` on a
block, at most four, or once for the whole request, which marks its last block; what is kept is identical up to there,
the marker aside. Another model, schema of the answer, choice of tools or thinking is another prefix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from orchestrator.domain.cache_gain import HOUR_S
from orchestrator.domain.json_text import UNREADABLE, plain_ascii
from orchestrator.domain.model_generation import Generation, generation_of
from orchestrator.domain.rough_size import rough_content, script_of
from orchestrator.domain.token_bounds import PricedRequest, content_of_block, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ANOTHER",
    "MARKER",
    "MOST_BREAKPOINTS",
    "Breakpoint",
    "Part",
    "PrefixReader",
    "choose",
    "kept",
    "least_tokens",
    "shareable_points",
]
K = TypeVar("K")

#: Params without these bytes have no marker.
MARKER: Final = b'"cache_control"'
MOST_BREAKPOINTS: Final = 4
#: A marked prefix counts as shared if one other request has it.
ANOTHER: Final = 2
_LIFETIMES_S: Final[Mapping[str, int]] = MappingProxyType({"5m": 300, "1h": HOUR_S})
_DIGEST_BYTES: Final = 16
_KNOWN_SECTIONS: Final = 64
#: Shortest prefix that is kept, in tokens; a shorter one is silently read anew. Not found for the 5.2 and 5.5 models.
_LEAST: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("fable-5", "fable-5-1", "mythos-5", "mythos-5-1", "opus-5"), 512),
        **dict.fromkeys(("opus-4-8", "sonnet-5", "sonnet-4-6", "sonnet-4-5"), 1024),
        **dict.fromkeys(("opus-4-7", "mythos-preview"), 2048),
    }
)
_LEAST_UNKNOWN: Final = 4096
_FAMILY: Final = re.compile(r"claude-(.+?)(?:-\d{8}|-latest)?", re.ASCII)


class Part(StrEnum):
    """Where a breakpoint stands. END: on the last block of all, so the prefix is the whole prompt."""

    TOOLS = "tools"
    SYSTEM = "system"
    MESSAGES = "messages"
    END = "end"


class Breakpoint(NamedTuple):
    """The end of a prefix. digest: of all that has to be identical; tokens: rough ones; ttl_s: how long it is kept."""

    part: Part
    digest: bytes
    tokens: int
    ttl_s: int
    model: str


class _PromptBlock(msgspec.Struct, frozen=True, gc=False):
    digest: bytes
    tokens: float
    ttl_s: int
    takes_marker: bool


class _Turn(msgspec.Struct, gc=False):
    role: msgspec.Raw
    content: msgspec.Raw


class _Marker(msgspec.Struct, gc=False):
    ttl: str = "5m"


_turns: Final = msgspec.json.Decoder(list[_Turn])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_marker: Final = msgspec.json.Decoder(_Marker | None)
_encode: Final = msgspec.json.Encoder().encode


def least_tokens(model: str) -> int:
    """The shortest prefix that *model* keeps, in tokens."""
    found = _FAMILY.fullmatch(model)
    return _LEAST_UNKNOWN if found is None else _LEAST.get(found[1], _LEAST_UNKNOWN)


def kept(points: Sequence[Breakpoint]) -> list[Breakpoint]:
    """Those of *points* whose model keeps a prefix of that length."""
    return [point for point in points if point.tokens >= least_tokens(point.model)]


def choose(
    many: Sequence[tuple[K, Sequence[Breakpoint]]], is_known: Callable[[bytes], bool], *, enough: int
) -> dict[K, Breakpoint]:
    """The one prefix that each request counts for: the longest that *enough* have, as far as it can be seen here.

    many: requests that are taken in together, with their prefixes, shortest first; is_known: those before had it.
    """
    counts = Counter(point.digest for _, points in many for point in points)
    chosen: dict[K, Breakpoint] = {}
    for request, points in many:
        shared = [point for point in points if counts[point.digest] >= enough or is_known(point.digest)]
        chosen[request] = shared[-1] if shared else points[0]
    return chosen


def shareable_points(reader: PrefixReader, params: bytes, *, is_added: bool) -> list[Breakpoint]:
    """What a request may share: what it marks, or, where markers are added, what can be marked.

    The end of a whole prompt is nothing that others share.
    """
    points = reader.shareable(params) if is_added else reader.marked(params)
    return [point for point in points if point.part is not Part.END]


class PrefixReader:
    """Finds the prefixes of requests. Tools and system prompts that come again are read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, Generation], Sequence[_PromptBlock]] = {}

    def marked(self, params: bytes) -> tuple[Breakpoint, ...]:
        """As `marks_of`; none for params that cannot be read."""
        if MARKER not in plain_ascii(params):
            return ()
        try:
            return self.marks_of(read_request(params))
        except UNREADABLE:
            return ()

    def shareable(self, params: bytes) -> tuple[Breakpoint, ...]:
        """As `ends_of`; none for params that cannot be read."""
        try:
            return self.ends_of(read_request(params))
        except UNREADABLE:
            return ()

    def marks_of(self, request: PricedRequest) -> tuple[Breakpoint, ...]:
        """The prefixes that *request* marks itself, shortest first; none for too many. Raises as `UNREADABLE` says."""
        found = tuple(self._marks(request))
        return found if len(found) <= MOST_BREAKPOINTS else ()

    def ends_of(self, request: PricedRequest) -> tuple[Breakpoint, ...]:
        """Where a marker could stand in *request*, which has none; shortest first. Raises as `UNREADABLE` says.

        At the ends of its tools, of its system prompt, and of what its first message leads with before other blocks.
        """
        return tuple(self._ends(request))

    def _marks(self, request: PricedRequest) -> Iterator[Breakpoint]:
        blocks = [*self._head(request), *_messages(request)]
        last = len(blocks) - 1
        automatic_s = _lifetime(request.cache_control)
        for place, (part, digest, tokens, block) in enumerate(_chain(request, blocks)):
            ttl_s = block.ttl_s or (automatic_s if place == last else 0)
            if ttl_s:
                yield Breakpoint(Part.END if place == last else part, digest, tokens, ttl_s, request.model)

    def _ends(self, request: PricedRequest) -> Iterator[Breakpoint]:
        blocks = [*self._head(request), *_leading_block(request)]
        ends = {part: place for place, (part, _) in enumerate(blocks)}
        for place, (part, digest, tokens, block) in enumerate(_chain(request, blocks)):
            if place == ends[part] and block.takes_marker:
                yield Breakpoint(part, digest, tokens, HOUR_S, request.model)

    def _head(self, request: PricedRequest) -> Iterator[tuple[Part, _PromptBlock]]:
        generation = generation_of(request.model)
        for part, raw in ((Part.TOOLS, bytes(request.tools)), (Part.SYSTEM, bytes(request.system))):
            if raw and raw != b"null":
                yield from ((part, block) for block in self._section(raw, generation))

    def _section(self, raw: bytes, generation: Generation) -> Sequence[_PromptBlock]:
        found = self._known.get((raw, generation))
        if found is None:
            if len(self._known) >= _KNOWN_SECTIONS:
                self._known.clear()
            found = self._known[raw, generation] = list(_blocks(raw, generation))
        return found


def _chain(
    request: PricedRequest, blocks: Sequence[tuple[Part, _PromptBlock]]
) -> Iterator[tuple[Part, bytes, int, _PromptBlock]]:
    """What each of *blocks* ends: the digest of all up to there, and its tokens."""
    others = (request.output_config, request.tool_choice, request.thinking)
    digest = _digest(request.model.encode(), *map(bytes, others))
    tokens = 0.0
    for part, block in blocks:
        digest = _digest(digest, block.digest)
        tokens += block.tokens
        yield part, digest, round(tokens), block


def _messages(request: PricedRequest) -> Iterator[tuple[Part, _PromptBlock]]:
    generation = generation_of(request.model)
    for turn in _turns.decode(request.messages):
        for block in _blocks(bytes(turn.content), generation, bytes(turn.role)):
            yield Part.MESSAGES, block


def _leading_block(request: PricedRequest) -> Iterator[tuple[Part, _PromptBlock]]:
    """The first block of the first message, if it has more than one."""
    turns = _turns.decode(request.messages)
    if not turns or bytes(turns[0].content)[:1] != b"[":
        return
    items = _items.decode(turns[0].content)
    if len(items) > 1:
        yield Part.MESSAGES, _block(bytes(items[0]), generation_of(request.model), bytes(turns[0].role))


def _blocks(content: bytes, generation: Generation, role: bytes = b"") -> Iterator[_PromptBlock]:
    """What *content* is made of; a string is one block."""
    if content[:1] != b"[":
        yield _block(b'{"type":"text","text":%b}' % content, generation, role)
        return
    for item in _items.decode(content):
        yield _block(bytes(item), generation, role)


def _block(raw: bytes, generation: Generation, role: bytes) -> _PromptBlock:
    members = _members.decode(raw)
    ttl_s = _lifetime(members.pop("cache_control", None))
    tokens = rough_content(content_of_block(raw, generation), *script_of(raw), generation)
    return _PromptBlock(_digest(role, _encode(members)), tokens, ttl_s, _takes_marker(members))


def _takes_marker(members: Mapping[str, msgspec.Raw]) -> bool:
    """The API takes none on an empty text, nor on a tool that is loaded later."""
    return bytes(members.get("text", b"")) != b'""' and bytes(members.get("defer_loading", b"")) != b"true"


def _lifetime(raw: msgspec.Raw | None) -> int:
    """The seconds that a `cache_control` asks for; 0 for none."""
    found = _marker.decode(raw) if raw else None
    return 0 if found is None else _LIFETIMES_S.get(found.ttl, 0)


def _digest(*parts: bytes) -> bytes:
    hasher = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "big"))
        hasher.update(part)
    return hasher.digest()
