"""The API's limits, and the exact size of a batch's body."""

from __future__ import annotations

from typing import Final

from orchestrator.domain.ids import NONCE_LENGTH

#: Source: Message Batches API reference: "100,000 requests or 256 MB, whichever is reached first".
API_MAX_REQUESTS: Final = 100_000
#: MB is taken as decimal: whether the cut is at 256·10⁶ or 256·2²⁰ bytes is not documented, so the smaller one.
API_MAX_BYTES: Final = 256_000_000
#: A line of input holds one request and its custom_id, which may be long.
MAX_INPUT_LINE_BYTES: Final = API_MAX_BYTES + 1024 * 1024

#: Lines over this are large: what all uploads together hold of such lines is bounded.
LARGE_LINE_BYTES: Final = 1 << 20
#: At least the largest line fits, alone.
LARGE_LINES_BYTES: Final = MAX_INPUT_LINE_BYTES
#: The largest window of a zstd frame: it costs memory. Source: RFC 8878, 3.1.1.1.2 asks for 8 MiB at least; `zstd -d`
#: takes 128 MiB unless told otherwise. A file is its user's own, so it gets as much; an upload is anybody's.
UPLOAD_WINDOW_BYTES: Final = 8 << 20
FILE_WINDOW_BYTES: Final = 128 << 20

BODY_HEAD: Final = b'{"requests":['
BODY_TAIL: Final = b"]}"
_ITEM_FRAME: Final = len('{"custom_id":"') + NONCE_LENGTH + len("-") + len('","params":') + len("}")


def item_bytes(params_bytes: int, number: int) -> int:
    """The exact size on the wire of one request, without the comma that may follow it."""
    return _ITEM_FRAME + len(str(number)) + params_bytes


def body_bytes(items_bytes: int, count: int) -> int:
    """The exact size of a body whose *count* items (>= 1) weigh *items_bytes* together."""
    return len(BODY_HEAD) + items_bytes + (count - 1) + len(BODY_TAIL)


def largest_params(max_bytes: int) -> int:
    """How many bytes of params one request may have so that it fits a body of *max_bytes* alone."""
    return max_bytes - len(BODY_HEAD) - len(BODY_TAIL) - _ITEM_FRAME - 10
