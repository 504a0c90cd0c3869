"""What a refusal says: the API's own error object, a flat shape of it, or a stranger's page in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from orchestrator.domain.error_text import error_fields
from orchestrator.domain.json_text import UNREADABLE

_MESSAGE_MAX: Final = 2000
_SNIPPET_MAX: Final = 120


class _ErrorDetails(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str
    message: str
    details: msgspec.Raw = msgspec.Raw(b"null")


class _ErrorBody(msgspec.Struct):
    type: Literal["error"]
    error: _Error


_error: Final = msgspec.json.Decoder(_ErrorBody)
_details: Final = msgspec.json.Decoder(_ErrorDetails)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What an answer that is not a plain yes says. *api_error*: it was the API's own error object."""

    message: str
    error_code: str | None
    api_error: bool


def read_trouble(body: bytes, headers: Mapping[str, str]) -> Trouble:
    """What *body* says, whatever it is."""
    try:
        error = _error.decode(body).error
    except UNREADABLE:
        words = error_fields(body)
        message = words.message if words.message is not None else _stranger(body, headers)
        return Trouble(message=message[:_MESSAGE_MAX], error_code=None, api_error=False)
    return Trouble(message=error.message[:_MESSAGE_MAX], error_code=_error_code(error.details), api_error=True)


def _error_code(details: msgspec.Raw) -> str | None:
    try:
        return _details.decode(details).error_code
    except UNREADABLE:
        return None


def _stranger(body: bytes, headers: Mapping[str, str]) -> str:
    kind = headers.get("content-type", "no content type")
    text = " ".join(body[: 8 * _SNIPPET_MAX].decode("utf-8", "replace").split())
    printable = "".join(c for c in text if c.isprintable())[:_SNIPPET_MAX]
    return f"not an answer of the API ({kind}, {len(body)} bytes): {printable}" if printable else f"no words ({kind})"
