"""A stand-in for the tokenizers of the models: how many tokens a prompt has, as a function of its text alone.

The rates are those of recorded pairs of requests and usage (2026-11): some 0.23 tokens a byte of English for the models
up to 4.6, 1.47 times that from 4.7 on, where Chinese stays what it was. Each kind of character has a rate, so one text
has more tokens a byte than another. Never more tokens than bytes of text, ten a message, and twenty.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from math import ceil, sqrt
from typing import Final, NamedTuple

import msgspec

PER_MESSAGE: Final = 4
PER_REQUEST: Final = 4
_HEAD_CHARS: Final = 1 << 16
_PDF_PAGE_WORDS: Final = 2000
_FORMAT_WORDS: Final = 100
_KNOWN_TEXTS: Final = 64
_REQUIRED: Final = ("max_tokens", "messages", "model")
EXTRA: Final = "Extra inputs are not permitted"


class PromptSource(msgspec.Struct, gc=False):
    """The source of an image or a document: `data` is base64, or text."""

    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b'""')


class PromptBlock(msgspec.Struct, gc=False):
    """A block of content, or of the system; only what is validated or counted is decoded."""

    type: str = "text"
    text: str = ""
    citations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    source: PromptSource | None = None
    content: msgspec.Raw = msgspec.Raw(b"")
    input: msgspec.Raw = msgspec.Raw(b"")


class MessageTurn(msgspec.Struct):
    """A message of a prompt."""

    role: str
    content: str | list[PromptBlock]


_Any = msgspec.Raw | msgspec.UnsetType


class CountedParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The parameters that count_tokens takes (SDK 2.14, without its betas): those that decide a prompt's length."""

    model: str
    messages: list[MessageTurn]
    system: _Any = msgspec.UNSET
    tools: _Any = msgspec.UNSET
    tool_choice: _Any = msgspec.UNSET
    thinking: _Any = msgspec.UNSET
    output_config: _Any = msgspec.UNSET
    cache_control: _Any = msgspec.UNSET


class _Rates(NamedTuple):
    """Thousandths of a token: for one character of each kind, by the first byte of its UTF-8."""

    letter: int
    space: int
    sign: int
    two_bytes: int
    three_bytes: int
    four_bytes: int


def _kind(byte: int) -> int:
    """l, s, p: a letter, a space, any other of ASCII; 2, 3, 4: begins a longer character; c: goes on with it."""
    if byte >= 0x80:
        return b"c234"[(byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)]
    sign = chr(byte)
    return b"l"[0] if sign.isalpha() else b"s"[0] if sign.isspace() else b"p"[0]


_KINDS: Final = bytes(map(_kind, range(256)))
_decode_content: Final = msgspec.json.Decoder(str | list[PromptBlock])
_decode_tools: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


class Tokenizer:
    """Counts for one family of models: its rates, its tools' system prompt, its limits for images (edge, tokens)."""

    def __init__(self, rates: _Rates, *, tool_words: int, edge: int, most: int) -> None:
        self._rates = rates
        self.tool_words = tool_words
        self._edge, self._most = edge, most
        self._known: dict[bytes, int] = {}

    def text(self, text: bytes) -> int:
        """Tokens of UTF-8 text."""
        rates, kinds = self._rates, text.translate(_KINDS)
        spaces, signs = kinds.count(b"s"), kinds.count(b"p")
        letters = len(kinds) - spaces - signs
        thousandths = spaces * rates.space + signs * rates.sign
        if not text.isascii():
            two, three, four = kinds.count(b"2"), kinds.count(b"3"), kinds.count(b"4")
            letters -= two + three + four + kinds.count(b"c")
            thousandths += two * rates.two_bytes + three * rates.three_bytes + four * rates.four_bytes
        return -(-(thousandths + letters * rates.letter) // 1000)

    def turn(self, content: str | list[PromptBlock]) -> int:
        """Tokens of one message."""
        return PER_MESSAGE + self._content(content)

    def block(self, block: PromptBlock) -> int:
        """Tokens of one block. What is not text, image or document is counted by its JSON."""
        match block.type:
            case "text":
                return self.text(block.text.encode("utf-8", "surrogatepass"))
            case "image":
                return tokens_of(_image_size(block.source), edge=self._edge, most=self._most)
            case "document":
                return self._document(block.source)
            case _:
                return self._nested(bytes(block.content)) + self.text(bytes(block.input))

    def system(self, raw: bytes) -> int:
        """Tokens of a `system`. Requests mostly have the same one, so it is remembered."""
        found = self._known.get(raw)
        if found is None:
            if len(self._known) >= _KNOWN_TEXTS:
                self._known.clear()
            found = self._known[raw] = self._nested(raw)
        return found

    def tools(self, raw: bytes) -> int:
        """Tokens of `tools` with the system prompt that they bring."""
        found = self._known.get(raw)
        if found is None:
            tools = _decode_tools.decode(raw)
            found = self._known[raw] = sum(map(self.tool, tools)) + self.tool_words * bool(tools)
        return found

    def tool(self, members: dict[str, msgspec.Raw]) -> int:
        """Tokens of one tool by its JSON; what marks it for the cache is not read by the model."""
        return self.text(_encode({name: value for name, value in members.items() if name != "cache_control"}))

    def format(self, output_config: bytes) -> int:
        """Tokens that a schema for the answer adds."""
        return _FORMAT_WORDS + self.text(output_config) if b'"format"' in output_config else 0

    def _content(self, content: str | list[PromptBlock]) -> int:
        if isinstance(content, str):
            return self.text(content.encode("utf-8", "surrogatepass"))
        return sum(map(self.block, content))

    def _nested(self, raw: bytes) -> int:
        """Tokens of content inside a block, or of JSON that is no content."""
        if not raw:
            return 0
        try:
            return self._content(_decode_content.decode(raw))
        except msgspec.ValidationError:
            return self.text(raw)

    def _document(self, source: PromptSource | None) -> int:
        """A text as it is; of a file each page as text and as an image."""
        if source is not None and source.type == "text":
            return self._nested(bytes(source.data))
        return _pages(source) * (_PDF_PAGE_WORDS + self._most)


OLDER: Final = Tokenizer(_Rates(158, 560, 500, 640, 1040, 2300), tool_words=346, edge=1568, most=1568)
NEWER: Final = Tokenizer(_Rates(232, 823, 620, 860, 1040, 2600), tool_words=264, edge=2576, most=4784)


def prompt_tokens(params: CountedParams, tokenizer: Tokenizer) -> int:
    """The tokens that a prompt is billed, however they are divided between input, reads and writes."""
    total = PER_REQUEST
    for turn in params.messages:
        total += tokenizer.turn(turn.content)
    if params.system is not msgspec.UNSET:
        total += tokenizer.system(bytes(params.system))
    if params.tools is not msgspec.UNSET:
        total += tokenizer.tools(bytes(params.tools))
    if params.output_config is not msgspec.UNSET:
        total += tokenizer.format(bytes(params.output_config))
    return total


def diagnose(raw: bytes, reason: str, wanted: type[CountedParams]) -> str:
    """The API's message for params that *wanted* does not decode: a missing field, an unknown one, or a wrong type."""
    try:
        members = _decode_object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"params: {reason}"
    for name in _REQUIRED:
        if name in wanted.__struct_fields__ and name not in members:
            return f"{name}: Field required"
    for name in members:
        if name not in wanted.__struct_fields__:
            return f"{name}: {EXTRA}"
    what, _, path = reason.partition(" - at `$.")
    return f"{path.rstrip('`') or 'params'}: {what}"


def _image_size(source: PromptSource | None) -> tuple[int, int] | None:
    """The size of an image that was sent along; None for one at a URL or in a file."""
    if source is None or source.type != "base64":
        return None
    head = bytes(memoryview(source.data)[1 : 1 + _HEAD_CHARS]).rstrip(b'"')
    return size_in(_decoded(head[: len(head) // 4 * 4]))


def _pages(source: PromptSource | None) -> int:
    if source is None or source.type != "base64":
        return 1
    content = _decoded(bytes(source.data)[1:-1]).replace(b"/Type/", b"/Type /")
    return max(1, content.count(b"/Type /Page") - content.count(b"/Type /Pages"))


def _decoded(content: bytes) -> bytes:
    try:
        return b64decode(content)
    except Base64Error:
        return b""


_PATCH: Final = 28
_SOF: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})

Size = tuple[int, int]


def size_in(head: bytes) -> Size | None:
    """(width, height) in pixels; None for a file that is none of the four, or whose *head* ends too early."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _pair(head, 16, 4, "big")
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _pair(head, 6, 2, "little")
    if head.startswith(b"\xff\xd8"):
        return _jpeg(head)
    return _webp(head) if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def tokens_of(size: Size | None, *, edge: int, most: int) -> int:
    """The tokens of an image of *size* pixels for a model with these limits; *most* for one of unknown size.

    Source: vision guide (2026-11): an image is scaled down until its longer edge and its tokens fit the model's limits;
    then it has one token for each started square of 28 × 28 pixels.
    """
    if size is None or min(size) < 1:
        return most
    width, height = size
    scale = min(1.0, edge / max(size), sqrt(most * _PATCH * _PATCH / (width * height)))
    return min(most, ceil(width * scale / _PATCH) * ceil(height * scale / _PATCH))


def _pair(head: bytes, at: int, length: int, order: str) -> Size | None:
    if len(head) < at + 2 * length:
        return None
    first, second = head[at : at + length], head[at + length : at + 2 * length]
    if order == "big":
        return int.from_bytes(first, "big"), int.from_bytes(second, "big")
    return int.from_bytes(first, "little"), int.from_bytes(second, "little")


def _jpeg(head: bytes) -> Size | None:
    """Walk over the segments to the frame header, which has the height before the width."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in _SOF:
            found = _pair(head, at + 5, 2, "big")
            return None if found is None else (found[1], found[0])
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _webp(head: bytes) -> Size | None:
    """The three kinds of WebP: lossy, lossless, extended."""
    if len(head) < 30:
        return None
    match head[12:16]:
        case b"VP8 ":
            return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case _:
            return None
