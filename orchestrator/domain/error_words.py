"""The words of an error in whatever shape it comes: the API nests them twice, gateways do not always.

Read are `{"error": {"error": {"type", "message"}}}` and every flatter form of it down to a plain text, and `detail`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain.json_text import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_texts: Final = ("message", "msg", "detail")
#: What the API calls the envelope, not the error.
_ENVELOPES: Final = frozenset({"error", "errored"})
_DEEPEST: Final = 4


class ErrorWords(msgspec.Struct, frozen=True, gc=False):
    """What an error says of itself; None where it does not."""

    type: str | None = None
    message: str | None = None
    request_id: str | None = None


def error_words(raw: bytes | msgspec.Raw) -> ErrorWords:
    """The words of the error in *raw*; the innermost win."""
    return _words(raw, _DEEPEST)


def _words(raw: bytes | msgspec.Raw, depth: int) -> ErrorWords:
    if (plain := _decoded_text(raw)) is not None:
        return ErrorWords(message=plain)
    try:
        fields = _fields.decode(raw)
    except UNREADABLE:
        return ErrorWords()
    inner = _words(fields["error"], depth - 1) if depth and "error" in fields else ErrorWords()
    kind = _text_of(fields, ("type",))
    return ErrorWords(
        type=inner.type if inner.type is not None or kind in _ENVELOPES else kind,
        message=inner.message if inner.message is not None else _text_of(fields, _texts),
        request_id=inner.request_id if inner.request_id is not None else _text_of(fields, ("request_id",)),
    )


def _text_of(fields: Mapping[str, msgspec.Raw], names: tuple[str, ...]) -> str | None:
    found = (_decoded_text(fields[name]) for name in names if name in fields)
    return next((text for text in found if text is not None), None)


def _decoded_text(raw: bytes | msgspec.Raw) -> str | None:
    try:
        return _text.decode(raw)
    except UNREADABLE:
        return None
