"""The text of the API's errors: read from any nesting, and reduced to what failures of one cause have in common.

The API nests an error twice, gateways do not always. Read are `{"error": {"error": {"type", "message"}}}`, every
flatter form of it down to a plain text, and `detail`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain.json_text import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How many characters of a message are read, and how many of its cause are kept.
_READ: Final = 2_000
_KEPT: Final = 300
_URL: Final = re.compile(r"\b(?:[a-zA-Z][a-zA-Z0-9+.-]{0,30}://|data:[a-z]+/)[^\s\"'<>`]+")
#: Tried at the beginning of a word alone: at every letter it would cost three times as much (measured).
_VARIABLE: Final = re.compile(
    r"""
      (?<![A-Za-z0-9])(?:
        (?P<id> [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b           # a UUID
              | [A-Za-z]{2,12}_(?=[A-Za-z0-9]*[0-9A-Z])[A-Za-z0-9]{16,} )        # msg_01AbC…, file_011C…
      | (?<!_)(?P<number> \d(?:[\d.,]*\d)?(?=[A-Za-z]{0,3}(?![A-Za-z0-9])) )     # 17, 200,000, 0.5s
      | (?P<mixed> [A-Za-z]*\d[A-Za-z0-9]* ) )                                   # row17, 9f86d081
    """,
    re.VERBOSE,
)
#: What the verdict on an answer begins with (`domain/invalid_answers`); then where, and what is wrong with which value.
NO_MATCH: Final = "the answer does not match the schema: "
_VALUE: Final = re.compile(
    rf"^({NO_MATCH}(?:/.*?: )?)[\"\[{{0-9tfn-].*"
    r"( (?:is not (?:of types? |one of |valid )|does not match |has (?:less|more) ))"
)
_UNEXPECTED: Final = re.compile(r"\('.*' (?:was|were) unexpected\)")
_LONGEST_VERDICT: Final = 500
_STAND_INS: Final = {"id": "ID", "number": "N"}
#: A word and its number; else letters and digits together are an id.
_WORD_AND_NUMBER: Final = re.compile(r"([A-Z]?[a-z]*|[A-Z]*)\d+", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{8,}", re.ASCII)
#: Words of the API in which a digit is no number.
_WORDS: Final = frozenset({"base64", "utf8", "sha256"})


@lru_cache(maxsize=1024)
def cause_of(message: str | None) -> str:
    """`prompt is too long: N tokens > N`: *message* with N for numbers, ID for ids, URL for addresses; bounded.

    Of an answer that does not match its schema VALUE stands for what is there in place of what should be.
    """
    if message is None:
        return ""
    text = _without_value(message) if message.startswith(NO_MATCH) else message[:_READ]
    if "://" in text or "data:" in text:
        text = _URL.sub("URL", text)
    return _VARIABLE.sub(_stand_in, text)[:_KEPT]


def _stand_in(match: re.Match[str]) -> str:
    kind, text = match.lastgroup, match[0]
    if kind in _STAND_INS:
        return _STAND_INS[kind]
    if text in _WORDS:
        return text
    if text.isdigit():
        return "N"
    return _of_mixed(text)


def _of_mixed(text: str) -> str:
    """What replaces a word of letters and digits."""
    if _HEX.fullmatch(text):
        return "ID"
    if found := _WORD_AND_NUMBER.fullmatch(text):
        return f"{found[1]}N"
    return "ID"


def _without_value(message: str) -> str:
    """*message*, which says that an answer does not match, without the value that it shows; field names stay."""
    return _UNEXPECTED.sub("(NAME unexpected)", _VALUE.sub(r"\1VALUE\2", message[:_LONGEST_VERDICT]))


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_texts: Final = ("message", "msg", "detail")
#: What the API calls the envelope, not the error.
_ENVELOPES: Final = frozenset({"error", "errored"})
_DEEPEST: Final = 4


class ErrorFields(msgspec.Struct, frozen=True, gc=False):
    """The fields of an error; None where it has none."""

    type: str | None = None
    message: str | None = None
    request_id: str | None = None


def error_fields(raw: bytes | msgspec.Raw) -> ErrorFields:
    """The fields of the error in *raw*; the innermost win."""
    return _words(raw, _DEEPEST)


def _words(raw: bytes | msgspec.Raw, depth: int) -> ErrorFields:
    if (plain := _decoded_text(raw)) is not None:
        return ErrorFields(message=plain)
    try:
        fields = _fields.decode(raw)
    except UNREADABLE:
        return ErrorFields()
    inner = _words(fields["error"], depth - 1) if depth and "error" in fields else ErrorFields()
    kind = _text_of(fields, ("type",))
    return ErrorFields(
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
