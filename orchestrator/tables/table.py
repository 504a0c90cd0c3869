"""What every kind of table is to those who read it, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, Protocol

import msgspec

from orchestrator.domain.json_text import UNREADABLE, is_utf8, kind_of, one_line, why_unreadable
from orchestrator.ports.streams import KEPT_RAW_BYTES, InputProblem

#: A row may have so many bytes: four million tokens of text, which no model reads. What is longer is a quote that is
#: not closed, or no table.
MAX_ROW_BYTES: Final = 16 << 20
NO_UTF8: Final = "save it as UTF-8; from Latin-1: iconv -f LATIN1 -t UTF-8 in > out"

encode_row: Final = msgspec.json.Encoder().encode
_decode_row: Final = msgspec.json.Decoder(dict[str, Any]).decode


class TableRow(msgspec.Struct, frozen=True, gc=False):
    """One row. A msgspec struct, as there are millions."""

    line: int  #: 1-based: of a text the line that it begins in, else its number among the rows
    values: dict[str, Any]  #: by column, for the template
    raw: bytes  #: the row as one JSON object, in one line


Rows = Generator[TableRow | InputProblem, None, None]


class Table(Protocol):
    """What rows come from; read once, in order, in a worker thread."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that every row has, once one was read; None where each row has its own."""

    @property
    def id_column(self) -> str | None:
        """The column that names a row, where the kind of table has one."""

    @property
    def size_bytes(self) -> int:
        """Bytes of it read so far, unpacked."""

    def rows(self) -> Rows:
        """The rows, and what is wrong with those that cannot be read. At least one, or it raises.

        Raises TableRefused for what cannot be read as a whole, InputError where reading itself fails.
        """


class TableRefused(Exception):
    """Nothing of the table can be taken: *message* as a predicate ("has no header"), and what to do.

    line: where it shows; 0: nowhere in particular.
    """

    def __init__(self, message: str, remedy: str, field: str = "", *, line: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.remedy = remedy
        self.field = field


def row_problem(line: int, field: str, message: str, remedy: str, raw: bytes) -> InputProblem:
    """A problem of one row; *raw*: the row."""
    return InputProblem(line=line, field=field, message=message, remedy=remedy, raw=raw[:KEPT_RAW_BYTES])


def too_long(line: int, size_bytes: int, head: bytes) -> InputProblem:
    """The problem of a row that is over `MAX_ROW_BYTES`."""
    message = f"is {size_bytes:,} bytes long; a row may have {MAX_ROW_BYTES:,}"
    return row_problem(line, "", message, "make it smaller", head)


def object_row(text: bytes, line: int) -> TableRow | InputProblem:
    """The row in the JSON *text*, which has no white space around it; every value is what JSON makes of it."""
    try:
        return TableRow(line, _decode_row(text), one_line(text))
    except msgspec.ValidationError:
        if text[:1] == b"{":
            message, remedy = "has a number that is out of range, over 1.8e308", "write it as text"
        else:
            message, remedy = f"must be an object, not {kind_of(text)}", 'write {"column": "value", …}'
    except UNREADABLE as exc:
        message = why_unreadable(text, exc)
        remedy = "write it again with a JSON library" if is_utf8(text) else NO_UTF8
    return row_problem(line, "", message, remedy, text)
