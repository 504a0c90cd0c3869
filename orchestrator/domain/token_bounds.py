"""What a request can cost at most, by its bytes alone: no tokenizer, no call.

A token has at least one byte of text. Sources: 127 recorded pairs of a plain request and its usage, all of them with
at most as many tokens as bytes of text, ten more a message and twenty; the API's page on tool use for the system prompt
that tools bring; on vision for images. Text is measured as it stands in JSON, where an escape is never shorter.
"""

from __future__ import annotations

import binascii
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from orchestrator.domain.billing import US_ONLY, LongRates, Rates, Tokens, cost_of
from orchestrator.domain.json_text import UNREADABLE, plain_ascii
from orchestrator.domain.model_generation import Generation, generation_of, takes_geo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


__all__ = [
    "FORMAT_WORDS",
    "PricedRequest",
    "PromptContent",
    "WorstUsage",
    "content_of",
    "content_of_block",
    "dearest",
    "image_tokens",
    "most_image_tokens",
    "plain_bound",
    "read_request",
    "size_of_image",
    "unbounded_field",
    "worst_cost",
    "worst_input",
    "worst_of",
]

_PER_MESSAGE: Final = 10
_PER_REQUEST: Final = 20
_QUOTES: Final = 2  #: around a text, or a list
#: More than any model reads or writes at once; what a file that is not text takes is not told by its bytes.
_CONTEXT: Final = 1_000_000
#: A schema for the answer brings words of its own. Source: three recorded pairs.
FORMAT_WORDS: Final = 200
#: The system prompt that tools bring, the larger of the two that `tool_choice` decides between.
_TOOL_WORDS: Final[Mapping[Generation, int]] = MappingProxyType({(4, 5): 589, (4, 6): 589, (4, 8): 410, (5, 0): 474})
_MOST_TOOL_WORDS: Final = 804
#: Tools that the caller runs himself; every other one with a type of its own is run by the API, which then reads again.
_OWN_TOOLS: Final = ("custom", "bash_", "text_editor_", "computer_", "memory_")
_MEDIA: Final = (b'"image"', b'"document"', b'"file"')
_RAW: Final = msgspec.Raw(b"")


class PricedRequest(msgspec.Struct, gc=False):
    """What decides the price of a request, untouched. others: bytes of fields that nothing is known of."""

    model: str
    max_tokens: int
    messages: msgspec.Raw
    system: msgspec.Raw = _RAW
    tools: msgspec.Raw = _RAW
    tool_choice: msgspec.Raw = _RAW
    thinking: msgspec.Raw = _RAW
    output_config: msgspec.Raw = _RAW
    output_format: msgspec.Raw = _RAW
    cache_control: msgspec.Raw = _RAW
    inference_geo: str | None = None
    mcp_servers: msgspec.Raw = _RAW
    context_management: msgspec.Raw = _RAW
    others: int = msgspec.field(default=0, name=" others")  # set by read_request, whatever params say


class _KnownRequest(PricedRequest, forbid_unknown_fields=True, gc=False):
    """With the fields that cost nothing."""

    metadata: msgspec.Raw = _RAW
    service_tier: msgspec.Raw = _RAW
    stop_sequences: msgspec.Raw = _RAW
    stream: msgspec.Raw = _RAW
    temperature: msgspec.Raw = _RAW
    top_k: msgspec.Raw = _RAW
    top_p: msgspec.Raw = _RAW


class PromptContent(NamedTuple):
    """What messages hold: bytes of text in JSON, how many messages, tokens of images, and files that are not text."""

    text_bytes: int
    messages: int = 1
    image_tokens: int = 0
    files: int = 0


class WorstUsage(NamedTuple):
    """What a request can take at most. write: how long its prompt may be written to the cache, "", "5m" or "1h"."""

    input: int
    output: int
    write: str = ""
    is_us: bool = False


class _PromptMessage(msgspec.Struct, gc=False):
    content: msgspec.Raw


class _MediaSource(msgspec.Struct, gc=False):
    type: str = ""
    media_type: str = ""
    data: msgspec.Raw = _RAW
    content: msgspec.Raw = _RAW


class _MediaBlock(msgspec.Struct, gc=False):
    type: str = ""
    source: _MediaSource | str | None = None
    content: msgspec.Raw = _RAW


class _TypedTool(msgspec.Struct, gc=False):
    type: str | None = None


_request: Final = msgspec.json.Decoder(PricedRequest)
_known: Final = msgspec.json.Decoder(_KnownRequest)
_KNOWN: Final = frozenset(_KnownRequest.__struct_encode_fields__)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_messages: Final = msgspec.json.Decoder(list[_PromptMessage])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_block: Final = msgspec.json.Decoder(_MediaBlock)
_tools: Final = msgspec.json.Decoder(list[_TypedTool])


def read_request(params: bytes) -> PricedRequest:
    """The request in *params*, checked by intake. Raises msgspec.DecodeError for one that the API would refuse.

    A max_tokens beyond what any model writes is read as the most that one could: no sum of costs overflows a store.
    """
    params = plain_ascii(params)
    request: PricedRequest
    try:
        request = _known.decode(params)
        request.others = 0
    except msgspec.ValidationError:
        request = _request.decode(params)
        members = _members.decode(params).items()
        request.others = sum(len(name.encode()) + len(raw) for name, raw in members if name not in _KNOWN)
    request.max_tokens = min(request.max_tokens, _CONTEXT)
    return request


def content_of(request: PricedRequest) -> PromptContent:
    """What the messages of *request* hold."""
    raw = bytes(request.messages)
    messages = _messages.decode(raw)
    if not any(word in raw for word in _MEDIA):
        return PromptContent(sum(len(message.content) - _QUOTES for message in messages), len(messages))
    parts = [_content(bytes(message.content), generation_of(request.model)) for message in messages]
    return _sum(parts, len(messages))


def _content(raw: bytes, generation: Generation) -> PromptContent:
    """The content of one message, or of a block inside of it that has content of its own."""
    if raw[:1] == b"{":
        return content_of_block(raw, generation)
    if raw[:1] != b"[":
        return PromptContent(len(raw) - _QUOTES)
    parts = [PromptContent(0), *(content_of_block(bytes(item), generation) for item in _items.decode(raw))]
    return _sum(parts, 1)


def _sum(parts: Sequence[PromptContent], messages: int) -> PromptContent:
    text, _, images, files = (sum(column) for column in zip(*parts, strict=True))
    return PromptContent(text, messages, images, files)


def content_of_block(raw: bytes, generation: Generation) -> PromptContent:
    """What one block of a message holds, for a model of *generation*."""
    try:
        block = _block.decode(raw)
    except UNREADABLE:
        return PromptContent(len(raw))  # of a form that is not known: as the text that it is
    source = block.source if isinstance(block.source, _MediaSource) else None
    if block.type == "image":
        return PromptContent(0, 1, _image(source, generation))
    if block.type == "document" and not (source is not None and source.type in {"text", "content"}):
        return PromptContent(0, 1, 0, 1)
    inside = block.content or (_RAW if source is None else source.content)
    if not inside:
        return PromptContent(len(raw))
    inner = _content(bytes(inside), generation)
    return inner._replace(text_bytes=inner.text_bytes + len(raw) - len(inside))


def _image(source: _MediaSource | None, generation: Generation) -> int:
    if source is None or source.type != "base64":
        return most_image_tokens(generation)
    return image_tokens(size_of_image(bytes(source.data)[1:-1]), generation)


def worst_of(request: PricedRequest, content: PromptContent) -> WorstUsage:
    """What *request* with that *content* can take at most, if it has no `unbounded_field`."""
    tokens = content.text_bytes + _PER_MESSAGE * content.messages + content.image_tokens + _CONTEXT * content.files
    tokens += _PER_REQUEST + len(request.system) + request.others
    if request.tools:
        tokens += len(request.tools) + _TOOL_WORDS.get(generation_of(request.model), _MOST_TOOL_WORDS)
    for schema in filter(None, (request.output_config, request.output_format)):
        tokens += len(schema) + FORMAT_WORDS
    return WorstUsage(tokens, request.max_tokens, _write(request), _may_be_us(request))


def _write(request: PricedRequest) -> str:
    """The longest lifetime that a marker for the cache may ask for."""
    parts = (request.cache_control, request.system, request.tools, request.messages)
    marked = [raw for part in parts if part and b'"cache_control"' in (raw := bytes(part))]
    if request.cache_control and bytes(request.cache_control) != b"null":
        marked.append(bytes(request.cache_control))
    if not marked:
        return ""
    return "1h" if any(b'"1h"' in raw for raw in marked) else "5m"


def _may_be_us(request: PricedRequest) -> bool:
    """Whether it may be worked on in the US alone: it says so, or says nothing, and the workspace may."""
    if request.inference_geo is None:
        return takes_geo(request.model)
    return request.inference_geo == US_ONLY


def plain_bound(request: PricedRequest, size_bytes: int, *, is_typed: bool) -> int | None:
    """More tokens than its prompt has, told by a look at a request of *size_bytes* that is nothing but text.

    is_typed: whether there is a `"type"` in it at all. None: it may have more. What JSON has around a text and a
    message is longer than what the API adds there.
    """
    if request.tools or request.mcp_servers or request.context_management:
        return None
    if is_typed and any(word in bytes(request.messages) for word in _MEDIA):
        return None
    return size_bytes + FORMAT_WORDS if request.output_config or request.output_format else size_bytes


def worst_input(params: bytes) -> int:
    """How many tokens the prompt in *params* has at most, cached ones included. Raises as `read_request`."""
    request = read_request(params)
    return worst_of(request, content_of(request)).input


def unbounded_field(request: PricedRequest) -> str | None:
    """The part of *request* that makes the API read and answer more often than once, for a person; None: there is none.

    What such a request costs has no bound: tools that the API runs itself, MCP servers, compaction, an advisor.
    """
    return next(_unbounded(request), None)


def _unbounded(request: PricedRequest) -> Iterator[str]:
    if bytes(request.mcp_servers).strip(b"[] \t\r\nnull"):
        yield "mcp_servers"
    if b'"compact' in bytes(request.context_management):
        yield "context_management (compaction)"
    if not request.tools or b'"type"' not in bytes(request.tools):
        return
    for place, tool in enumerate(_tools.decode(request.tools)):
        if tool.type is not None and not tool.type.startswith(_OWN_TOOLS):
            yield f"tools.{place} ({tool.type})"


def worst_cost(worst: WorstUsage, rates: Rates) -> int:
    """Nano-dollars that a request costs at most: every token of it at the `dearest` rate."""
    rates = dearest(rates, worst.input, worst.write)
    return cost_of(Tokens(worst.input, worst.output), rates, US_ONLY if worst.is_us else "")


def dearest(rates: Rates, longest: int, write: str) -> Rates:
    """The dearest `input` and `output` among *rates* for a prompt of at most *longest* tokens; the others are 0.

    Nothing is taken for granted of a list of prices: a shorter prompt may be dearer, and so may what is only read.
    """
    used, output = _dearest(rates[:5], write)
    if rates.long is not None and longest > rates.above:
        long_used, long_output = _dearest(rates.long, write)
        used, output = max(used, long_used), max(output, long_output)
    return Rates(used, output, 0, 0, 0)


def _dearest(rates: LongRates, write: str) -> tuple[int, int]:
    fresh, output, write_5m, write_1h, read = rates
    written = max(write_5m, write_1h if write == "1h" else 0) if write else 0
    return max(fresh, read, written), output


class _ImageTier(NamedTuple):
    """Of models. Checked on recorded answers: 1001 by 1001 pixels took 1,296 tokens, 540 by 360 260, 60 by 30 6."""

    edge: int  #: pixels of the longer side, at most
    tokens: int  #: at most


_OLD: Final = _ImageTier(1_568, 1_568)
_NEW: Final = _ImageTier(2_576, 4_784)
_FIRST_NEW: Final = (4, 7)
_SQUARE: Final = 28
#: A JPEG may have a picture of itself before its size.
_HEAD_CHARS: Final = 4 * 16 * 1024
#: A frame header of a JPEG: its marker (not DHT, JPG or DAC), two bytes of length, one of precision, height, width.
_FRAME: Final = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]...(..)(..)", re.DOTALL)
_SEGMENT: Final = re.compile(rb"\xff+([^\xff\x00])(..)", re.DOTALL)


def image_tokens(size: tuple[int, int] | None, generation: Generation) -> int:
    """What an image of *size* (width, height) takes at most; None: a size that is not known."""
    tier = _NEW if generation >= _FIRST_NEW else _OLD
    if size is None or min(size) < 1:
        return tier.tokens
    width, height = size
    longest = max(width, height)
    if longest > tier.edge:
        width, height = (max(1, -(-side * tier.edge // longest)) for side in size)
    return min(tier.tokens, -(-width // _SQUARE) * -(-height // _SQUARE))


def most_image_tokens(generation: Generation) -> int:
    """What any image takes at most: one whose file is not here."""
    return image_tokens(None, generation)


def size_of_image(data: bytes) -> tuple[int, int] | None:
    """Width and height of the PNG, JPEG, GIF or WebP whose base64 *data* is; None if it is none of them."""
    try:
        head = binascii.a2b_base64(data[: min(len(data) // 4 * 4, _HEAD_CHARS)].replace(b"\\/", b"/"))
    except binascii.Error:
        return None
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head.startswith(b"\xff\xd8"):
        return _jpeg(head)
    return _webp(head) if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """By its segments, one after the other: a picture inside of one has a size of its own."""
    at = 2
    while (segment := _SEGMENT.match(head, at)) is not None:
        frame = _FRAME.match(head, segment.start(1) - 1)
        if frame is not None:
            return int.from_bytes(frame[2]), int.from_bytes(frame[1])
        at = segment.end(1) + int.from_bytes(segment[2])
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(head) >= 30:
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None
