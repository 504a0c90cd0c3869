"""Questions about JSON text that need no full parse: its kind, its encoding, where the items of a list end.

JSON is untrusted input: deep nesting, half surrogate pairs and bad UTF-8 are ordinary here, not exceptional.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Everything that decoding hostile text with msgspec was seen to raise (measured with msgspec 0.22).
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_KINDS: Final[Mapping[int, str]] = MappingProxyType(
    {ord("{"): "an object", ord("["): "an array", ord('"'): "a string"}
    | {ord("t"): "true", ord("f"): "false", ord("n"): "null"}
)
#: An escape of any kind, so that a backslash which is itself escaped does not start one; pairs match as one.
_ESCAPES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
#: An escape that stands for a character of ASCII, which needs none.
_ASCII_ESCAPE: Final = re.compile(rb"\\u00[2-7][0-9a-fA-F]")
#: Such an escape, or another one: a backslash that is itself escaped does not start one.
_UNESCAPED: Final = re.compile(rb"\\(?:u00([2-7][0-9a-fA-F])|.)", re.DOTALL)
_TEXT_OR_SPACE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[ \t\r\n]+')
_PIECE_BYTES: Final = 1 << 20


def kind_of(value: bytes) -> str:
    """The JSON type of *value*, with its article: "an object", "null", "a number"."""
    return _KINDS.get(value[0], "a number") if value else "nothing"


def one_line(text: bytes) -> bytes:
    """The valid JSON *text* without line feeds: where it has some, without any white space outside of its strings."""
    if b"\n" not in text and b"\r" not in text:
        return text
    return _TEXT_OR_SPACE.sub(lambda found: found[0] if found[0][:1] == b'"' else b"", text)


def is_utf8(text: bytes) -> bool:
    """True if *text* is valid UTF-8. Needs no memory in proportion to its length."""
    if text.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(text), _PIECE_BYTES):
            decoder.decode(text[start : start + _PIECE_BYTES], final=start + _PIECE_BYTES >= len(text))
    except UnicodeDecodeError:
        return False
    return True


def has_lone_surrogate(text: bytes) -> bool:
    r"""True if *text* has half a surrogate pair as an escape, such as `"\ud83d"`."""
    return any(found[1] for found in _ESCAPES.finditer(text))


def mask_lone_surrogates(text: bytes) -> bytes:
    r"""*text* with every half of a surrogate pair replaced by `\ufffd`, which is as long: offsets stay true."""
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def plain_ascii(text: bytes) -> bytes:
    r"""The JSON *text*, which means the same, with characters such as `\u0074` as they are: for a search of bytes.

    To look at, not to store or send. What is never written so is left as it is, a quote and a backslash among it.
    """
    if b"\\u00" not in text or _ASCII_ESCAPE.search(text) is None:
        return text
    return _UNESCAPED.sub(_character, text)


def _character(found: re.Match[bytes]) -> bytes:
    character = bytes.fromhex(found[1].decode()) if found[1] else b'"'
    return found[0] if character in b'"\\' else character


def readable_object(text: bytes) -> dict[str, Any]:
    """As much of the JSON object *text* as can be read: characters that are none become U+FFFD; {} if it is no object.

    Takes what decoders refuse and APIs were seen to send: half surrogate pairs, bad UTF-8, NaN, numbers out of range.
    """
    masked = mask_lone_surrogates(text)
    try:
        found = json.loads(masked.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def why_unreadable(text: bytes, exc: Exception) -> str:
    """What is wrong with *text*, as a predicate ("is not valid JSON: …"), from what its decoder raised."""
    if isinstance(exc, RecursionError):
        return "is nested too deeply (about 1,000 levels are read)"
    if isinstance(exc, UnicodeDecodeError):
        return "is not valid UTF-8"
    if has_lone_surrogate(text):
        return r"has half a surrogate pair (an escape like \ud83d alone), which is not a character"
    mark = text.find(codecs.BOM_UTF8)
    if mark >= 0 and str(exc).endswith(f"(byte {mark})"):
        return f"has a byte order mark (U+FEFF, which editors do not show) at byte {mark + 1}: remove it"
    detail = str(exc).removeprefix("JSON is malformed: ")
    return f"is not valid JSON: {'it ends too early' if detail == 'Input data was truncated' else detail}"


_STRUCTURE: Final = re.compile(rb'["{}\[\]]')


class ItemScanner:
    """Finds the ends of the items of a JSON list that arrives in pieces; continues where it stopped."""

    def __init__(self) -> None:
        self._at = 0
        self._depth = 0
        self._in_string = False

    def ends(self, buffer: bytearray) -> Iterator[int]:
        """Positions just past the items of *buffer*; stops at its end or at the `]` that closes the list."""
        while True:
            if self._in_string and not self._leave_string(buffer):
                return
            token = _STRUCTURE.search(buffer, self._at)
            if token is None:
                self._at = len(buffer)
                return
            self._at = token.end()
            sign = token.group()
            if sign == b'"':
                self._in_string = True
                continue
            self._depth += 1 if sign in b"{[" else -1
            if self._depth < 0:
                return
            if self._depth == 0:
                yield self._at

    def _leave_string(self, buffer: bytearray) -> bool:
        """Move past the quote that ends the string; False when it is not here yet."""
        while (quote := buffer.find(b'"', self._at)) >= 0:
            slashes = 0
            while buffer[quote - 1 - slashes] == ord("\\"):
                slashes += 1
            self._at = quote + 1
            if slashes % 2 == 0:
                self._in_string = False
                return True
        self._at = len(buffer)
        return False
