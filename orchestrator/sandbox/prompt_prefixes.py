"""Where a prompt may be cached: its blocks in the API's order (tools, system, messages), and the prefixes they end.

Facts: prompt caching guide (2026-11). At most four breakpoints; each looks back over 20 blocks for a prefix that is
there already; 1-hour breakpoints stand before 5-minute ones; a prefix below the model's minimum is silently not cached.
The marker is no part of what is compared. A changed `output_config` invalidates everything, `tool_choice` and
`thinking` the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from orchestrator.sandbox.model_catalog import ModelCard
from orchestrator.sandbox.token_count import PER_MESSAGE, PromptBlock, Tokenizer

MAX_BREAKPOINTS: Final = 4
LOOK_BACK: Final = 20
_LIFETIMES_S: Final = {"5m": 300, "1h": 3600}
_KNOWN_SECTIONS: Final = 64
_ORDER: Final = "blocks are processed in the following order: `tools`, `system`, `messages`."


class BadMarkError(ValueError):
    """The API refuses these `cache_control`s; the text is its message."""


class Prefix(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The beginning of a prompt up to the end of one block: a hash of it, and its length in tokens.

    `ttl_s`: the lifetime with which a breakpoint there writes it; 0: there is none, it is only looked for.
    """

    key: int
    tokens: int
    ttl_s: int


class _Block(msgspec.Struct, frozen=True, gc=False):
    digest: bytes
    tokens: int
    ttl_s: int


class _Mark(msgspec.Struct):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode_objects: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_decode_block: Final = msgspec.json.Decoder(PromptBlock)
_decode_mark: Final = msgspec.json.Decoder(_Mark | None)
_encode: Final = msgspec.json.Encoder().encode


class PrefixFinder:
    """Finds the prefixes of the prompts of one *workspace*: others have caches of their own.

    What was found in the tools or the system of one prompt is remembered for the next, which mostly has the same.
    """

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace.encode()
        self._known: dict[tuple[Tokenizer, bytes], Sequence[_Block]] = {}

    def find(self, params: bytes, model: ModelCard) -> tuple[Prefix, ...]:
        """The prefixes of *params* that a breakpoint writes or looks for, shortest first.

        *params*: valid ones, as JSON. Raises BadMarkError.
        """
        members = _decode_object.decode(params)
        reader = model.tokenizer
        head = [
            *self._section(members.get("tools"), reader, _tools),
            *self._section(members.get("system"), reader, _blocks),
        ]
        blocks = [*head, *_messages(members["messages"], reader)]
        automatic_s = _lifetime(members.get("cache_control"))
        if automatic_s and blocks and not blocks[-1].ttl_s:
            blocks[-1] = _Block(blocks[-1].digest, blocks[-1].tokens, automatic_s)
        _check([block.ttl_s for block in blocks if block.ttl_s])
        return tuple(_chain(self._keys(members, blocks, len(head)), blocks, model.min_cached_tokens))

    def _section(
        self, raw: msgspec.Raw | None, reader: Tokenizer, read: Callable[[bytes, Tokenizer], Iterator[_Block]]
    ) -> Sequence[_Block]:
        if raw is None:
            return ()
        content = bytes(raw)
        found = self._known.get((reader, content))
        if found is None:
            if len(self._known) >= _KNOWN_SECTIONS:
                self._known.clear()
            found = self._known[reader, content] = list(read(content, reader))
        return found

    def _keys(self, members: dict[str, msgspec.Raw], blocks: Sequence[_Block], head: int) -> Iterator[int]:
        """The hash of each prefix: of the one before it, and of its last block."""
        key = _digest(self._workspace, bytes(members["model"]), bytes(members.get("output_config", b"")))
        for place, block in enumerate(blocks):
            if place == head:
                key = _digest(key, bytes(members.get("tool_choice", b"")), bytes(members.get("thinking", b"")))
            key = _digest(key, block.digest)
            yield int.from_bytes(key[:8], "big")


def _chain(keys: Iterator[int], blocks: Sequence[_Block], least: int) -> Iterator[Prefix]:
    marked = [place for place, block in enumerate(blocks) if block.ttl_s]
    tokens = 0
    for place, (key, block) in enumerate(zip(keys, blocks, strict=True)):
        tokens += block.tokens
        if tokens >= least and any(place <= mark < place + LOOK_BACK for mark in marked):
            yield Prefix(key, tokens, block.ttl_s)


def _check(lifetimes_s: Sequence[int]) -> None:
    """Raise BadMarkError for breakpoints in the wrong number or order."""
    if len(lifetimes_s) > MAX_BREAKPOINTS:
        raise BadMarkError(
            f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(lifetimes_s)}."
        )
    if list(lifetimes_s) != sorted(lifetimes_s, reverse=True):
        raise BadMarkError(
            f"a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that {_ORDER}"
        )


def _tools(raw: bytes, reader: Tokenizer) -> Iterator[_Block]:
    """The tools; the system prompt that they bring comes with the first."""
    words = reader.tool_words
    for tool in _decode_objects.decode(raw):
        ttl_s = _lifetime(tool.pop("cache_control", None))
        yield _Block(_digest(_encode(tool)), words + reader.tool(tool), ttl_s)
        words = 0


def _messages(raw: msgspec.Raw, reader: Tokenizer) -> Iterator[_Block]:
    for turn in _decode_objects.decode(raw):
        more = PER_MESSAGE
        for block in _blocks(bytes(turn["content"]), reader):
            yield _Block(_digest(bytes(turn["role"]), block.digest), block.tokens + more, block.ttl_s)
            more = 0


def _blocks(content: bytes, reader: Tokenizer) -> Iterator[_Block]:
    """The blocks of *content*; a string is one block of text."""
    if content[:1] != b"[":
        yield _block(b'{"type":"text","text":%b}' % content, reader, 0)
        return
    for members in _decode_objects.decode(content):
        ttl_s = _lifetime(members.pop("cache_control", None))
        yield _block(_encode(members), reader, ttl_s)


def _block(content: bytes, reader: Tokenizer, ttl_s: int) -> _Block:
    return _Block(_digest(content), reader.block(_decode_block.decode(content)), ttl_s)


def _lifetime(mark: msgspec.Raw | None) -> int:
    """The seconds that a `cache_control` asks for; 0 for none. Raises BadMarkError."""
    try:
        found = None if mark is None else _decode_mark.decode(mark)
    except msgspec.ValidationError as exc:
        raise BadMarkError(f"cache_control: {exc}") from exc
    return 0 if found is None else _LIFETIMES_S[found.ttl]


def _digest(*parts: bytes) -> bytes:
    hasher = blake2b(digest_size=12)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "big"))
        hasher.update(part)
    return hasher.digest()
