"""CSV and TSV: a header, then rows of text. "007" stays "007"."""

from __future__ import annotations

import csv
import re
from itertools import chain
from typing import TYPE_CHECKING, Final, NoReturn

from typing_extensions import override

from orchestrator.domain.humanize import count, some
from orchestrator.domain.line_splitter import LongLine
from orchestrator.tables.table import MAX_ROW_BYTES, NO_UTF8, Table, TableRefused, TableRow, encode_row, row_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.ports.streams import InputProblem
    from orchestrator.tables.table import Rows
    from orchestrator.tables.text_lines import TextLines

#: What a header of CSV may be cut at, if nobody said; a tie goes to the first.
DELIMITERS: Final = (",", ";", "\t", "|")
_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')
_UNDECODABLE: Final = re.compile("[\udc80-\udcff]")
_TO_LF: Final = r"give every line a line feed: tr '\r' '\n' < in.csv > out.csv"
_NO_INDEX: Final = "name it, or write the file without it (pandas: to_csv(..., index=False))"

# The module's own limit is 128 KiB a cell, for the whole process: a row is bounded here.
csv.field_size_limit(max(csv.field_size_limit(), 2 * MAX_ROW_BYTES))


class _Record:
    """The lines that the row which is being read has so far."""

    def __init__(self) -> None:
        self.first_line = 1
        self.lines: list[bytes] = []
        self.size_bytes = 0
        self.is_odd = False  #: it has a NUL, or is not UTF-8

    def begin(self, line: int) -> None:
        """The next row begins in *line*. The same object: a new one for each row is a tenth of the time."""
        self.first_line, self.lines, self.size_bytes, self.is_odd = line, [], 0, False

    def text(self) -> bytes:
        """All of it."""
        return b"\n".join(self.lines)


class CsvTable(Table):
    """The rows of a CSV or TSV text. *delimiter*: between cells; None: the one that the header has most of.

    Quotes are those of RFC 4180: a quote inside of a quoted cell is written twice, and a quoted cell may have line
    feeds. With something behind a closing quote, or a quote that is never closed, the table is
    refused: where the next row begins is not known.
    """

    id_column = None

    def __init__(self, lines: TextLines, *, delimiter: str | None) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._record = _Record()
        self._number = 0  # of the line last read
        self._columns: tuple[str, ...] | None = None

    @property
    @override
    def columns(self) -> tuple[str, ...] | None:
        return self._columns

    @property
    @override
    def size_bytes(self) -> int:
        return self._lines.size_bytes

    @override
    def rows(self) -> Rows:
        texts = self._texts()
        first = next((text for text in texts if text.strip()), None)
        if first is None:
            raise TableRefused("has no header: it is empty", "write the names of the columns in its first line")
        delimiter = _delimiter_of(first) if self._delimiter is None else self._delimiter
        reader = csv.reader(chain((first,), texts), delimiter=delimiter, strict=True)
        self._columns = columns = self._header(reader)
        record, has_rows = self._record, False
        record.begin(self._number + 1)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as exc:
                yield self._broken(exc, delimiter)
                cells = []
            else:
                if len(cells) == 1 < len(columns) and not cells[0].strip():
                    cells = []  # a line of white space
                elif cells:
                    yield self._row(columns, cells)
            has_rows = has_rows or bool(cells or record.text().strip())
            record.begin(self._number + 1)
        if not has_rows:
            raise TableRefused("has a header and no rows", "write a line of cells for every request")

    def _texts(self) -> Iterator[str]:
        """The lines as text, for `csv`; what is not UTF-8 stands in them as surrogates."""
        record = self._record
        for raw in self._lines:
            self._number += 1
            if isinstance(raw, LongLine):
                self._too_long()
            record.lines.append(raw)
            record.size_bytes += len(raw)
            if record.size_bytes > MAX_ROW_BYTES:
                self._too_long()
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                text, record.is_odd = raw.decode("utf-8", "surrogateescape"), True
            if "\0" in text:
                record.is_odd = True
            yield text + "\n"

    def _too_long(self) -> NoReturn:
        first = self._record.first_line
        if self._record.lines:
            message = f"has a row that begins in line {first} and has no end within {MAX_ROW_BYTES:,} bytes"
            raise TableRefused(message, f"look for a quote that is not closed, in line {first}", line=first)
        raise TableRefused(
            f"has more than {MAX_ROW_BYTES:,} bytes in line {self._number}", "is it a table?", line=self._number
        )

    def _header(self, reader: Iterator[list[str]]) -> tuple[str, ...]:
        try:
            columns = [name.strip() for name in next(reader)]
        except csv.Error as exc:
            number = self._record.first_line
            message = f"has a header that cannot be read, in line {number}: {_why(exc)}"
            raise TableRefused(message, _header_remedy(exc), line=number) from exc
        line = f"in line {self._number}"
        if self._record.is_odd:
            raise TableRefused(f"has a header that is not UTF-8 text, {line}", NO_UTF8, line=self._number)
        places: dict[str, int] = {}
        for place, name in enumerate(columns, start=1):
            if not name:
                raise TableRefused(f"has a column without a name: {line}, column {place}", _NO_INDEX, line=self._number)
            first = places.setdefault(name, place)
            if first != place:
                message = f"has the column {name!r} twice: {line}, columns {first} and {place}"
                raise TableRefused(message, "give every column a name of its own", line=self._number)
        return tuple(columns)

    def _row(self, columns: tuple[str, ...], cells: list[str]) -> TableRow | InputProblem:
        record = self._record
        if len(cells) == len(columns) and not record.is_odd:
            values = dict(zip(columns, cells, strict=True))
            return TableRow(record.first_line, values, encode_row(values))
        if record.is_odd:
            return self._odd(columns, cells)
        counts = f"this row has {count(len(cells), 'cell')}, the header has {len(columns):,}"
        if len(cells) < len(columns):
            remedy = "write an empty cell where there is nothing"
            return row_problem(record.first_line, columns[len(cells)], f"is missing: {counts}", remedy, record.text())
        message = f"column {len(columns) + 1:,} has no name: {counts}"
        remedy = "put cells that have the delimiter in them into quotes"
        return row_problem(record.first_line, "", message, remedy, record.text())

    def _odd(self, columns: tuple[str, ...], cells: list[str]) -> InputProblem:
        """The first cell that has a NUL or is not UTF-8."""
        record = self._record
        for name, cell in zip(columns, cells, strict=False):
            found = _UNDECODABLE.search(cell)
            if found is not None:
                message = f"is not UTF-8 (byte 0x{ord(found[0]) - 0xDC00:02x})"
                return row_problem(record.first_line, name, message, NO_UTF8, record.text())
            if "\0" in cell:
                remedy = "remove it: tr -d '\\000' < in.csv > out.csv"
                return row_problem(record.first_line, name, "has a NUL byte", remedy, record.text())
        return row_problem(record.first_line, "", "is not UTF-8 text", NO_UTF8, record.text())

    def _broken(self, exc: csv.Error, delimiter: str) -> InputProblem:
        """The problem of a row that `csv` refused. Raises TableRefused if that took the rest of the file with it."""
        record = self._record
        if "end of data" in str(exc):
            text = record.text().decode("utf-8", "replace")
            place = len(next(csv.reader([text], delimiter=delimiter), []))
            columns = () if self._columns is None else self._columns
            column = columns[place - 1] if 0 < place <= len(columns) else str(place)
            where = f"in the row of line {record.first_line}, column {column}"
            message, remedy = f"has a quote that is not closed: {where}", "close it; inside of a cell write it twice"
            raise TableRefused(message, remedy, line=record.first_line)
        if "new-line" in str(exc):
            return row_problem(record.first_line, "", "has a carriage return inside", _TO_LF, record.text())
        where = f"in the row of line {record.first_line}"
        remedy = 'inside of a quoted cell write a quote twice: "5"" wide"'
        message = f"has more behind a closing quote, {where}: where its rows end cannot be told"
        raise TableRefused(message, remedy, line=record.first_line)


def _delimiter_of(header: str) -> str:
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)


def _why(exc: csv.Error) -> str:
    """What `csv` found, in words of ours."""
    if "new-line" in str(exc):
        return "it has a carriage return inside, as where lines end with one alone"
    return "a quote is not closed" if "end of data" in str(exc) else "there is more behind a closing quote"


def _header_remedy(exc: csv.Error) -> str:
    if "new-line" in str(exc):
        return _TO_LF
    return "close its quotes" if "end of data" in str(exc) else f"cells are put between {some(DELIMITERS)}"
