"""What failures of one cause have in common: the API's message without the numbers, ids and addresses in it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

#: Of a message so much is looked at, and of what it comes to so much is kept.
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
_STAND_INS: Final = {"id": "ID", "number": "N"}
#: A word and its number; else letters and digits together are an id.
_WORD_AND_NUMBER: Final = re.compile(r"([A-Z]?[a-z]*|[A-Z]*)\d+", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{8,}", re.ASCII)
#: Words of the API in which a digit is no number.
_WORDS: Final = frozenset({"base64", "utf8", "sha256"})


@lru_cache(maxsize=1024)
def cause_of(message: str | None) -> str:
    """`prompt is too long: N tokens > N`: *message* with N for numbers, ID for ids, URL for addresses; bounded."""
    if message is None:
        return ""
    text = message[:_READ]
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
    """What stands for letters and digits in one word."""
    if _HEX.fullmatch(text):
        return "ID"
    if found := _WORD_AND_NUMBER.fullmatch(text):
        return f"{found[1]}N"
    return "ID"
