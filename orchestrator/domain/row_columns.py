"""The columns of rows: which members they have, in which order, and of which kind."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.json_text import UNREADABLE, readable_object

#: A table with more has data for names; nobody opens it, and names would fill the memory.
MOST_COLUMNS: Final = 10_000
_MOST_DIGITS: Final = 18
_INTEGER, _NUMBER, _BOOLEAN, _OTHER = 1, 2, 4, 8


class ColumnKind(StrEnum):
    """What the values of a column are, apart from null."""

    INTEGER = "integer"  #: of 64 bits
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"  #: everything else, and what is of several kinds
    MONEY = "money"  #: dollars with nine places; of no row


_KINDS: Final = {
    _INTEGER: ColumnKind.INTEGER,
    _NUMBER: ColumnKind.NUMBER,
    _INTEGER | _NUMBER: ColumnKind.NUMBER,
    _BOOLEAN: ColumnKind.BOOLEAN,
}


class RowColumn(msgspec.Struct, frozen=True, gc=False):
    """A member that rows have."""

    name: str
    kind: ColumnKind


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder().decode


def members_of(row: bytes) -> dict[str, msgspec.Raw]:
    """The members of *row*, a JSON object, each as its text; {} for no row."""
    if not row:
        return {}
    try:
        return _members(row)
    except UNREADABLE:
        return {_clean(name): msgspec.Raw(msgspec.json.encode(value)) for name, value in readable_object(row).items()}


def cell_text(value: msgspec.Raw) -> str:
    """A member's value as a cell: a text as it is, all else as JSON, without blanks that mean nothing."""
    text = bytes(value)
    if text[:1] == b'"':
        return str(_read(text))
    return (msgspec.json.format(text, indent=-1) if text[:1] in b"{[" else text).decode("utf-8", "replace")


def cell_value(value: msgspec.Raw) -> object:
    """A member's value as Python has it."""
    return _read(bytes(value))


def _read(text: bytes) -> object:
    try:
        return _value(text)
    except UNREADABLE:
        return readable_object(b'{"value":%b}' % text).get("value")


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class ColumnTally:
    """Gathers the columns of many rows."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def add(self, row: bytes) -> None:
        """Take *row*, a JSON object. Raises GuardRefused for more columns than a table can have."""
        seen = self._seen
        for name, value in members_of(row).items():
            seen[name] = seen.get(name, 0) | _bit(value)
        if len(seen) > MOST_COLUMNS:
            raise GuardRefused(
                f"its rows have more than {MOST_COLUMNS:,} columns, which are no table",
                hint="write .jsonl, or the text of the answers with .txt",
            )

    def columns(self) -> tuple[RowColumn, ...]:
        """The columns so far, in the order of the first row that has them."""
        return tuple(RowColumn(name, _KINDS.get(bits, ColumnKind.TEXT)) for name, bits in self._seen.items())


def _bit(value: msgspec.Raw) -> int:
    view = memoryview(value)
    first = view[0]
    if first == 0x22 or first == 0x7B or first == 0x5B:  # noqa: PLR1714 - once a cell: a set takes three times as long
        return _OTHER
    if first == 0x6E:  # null
        return 0
    if first in b"tf":
        return _BOOLEAN
    text = bytes(view)
    if text.lstrip(b"-").isdigit():
        return _INTEGER if len(text) <= _MOST_DIGITS else _OTHER
    return _NUMBER
