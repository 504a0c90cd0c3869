"""Rows as JSON objects: one per line, or as the items of one array."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.errors import UsageError
from orchestrator.domain.json_text import ItemScanner, kind_of
from orchestrator.domain.line_splitter import LongLine
from orchestrator.tables.table import MAX_ROW_BYTES, Table, TableRefused, TableRow, object_row, row_problem, too_long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.ports.streams import InputProblem
    from orchestrator.tables.table import Rows
    from orchestrator.tables.text_lines import TextLines, TextPieces

_SPACE: Final = b" \t\r\n"
_SPACES: Final = re.compile(rb"[ \t\r\n]*")
#: An item that is no object and no list, whether it is JSON or not.
_SCALAR: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[^ \t\r\n,\[\]{}"]+', re.DOTALL)
#: What the API's own lines have; a row has at most one of them.
_REQUEST_KEYS: Final = frozenset({"custom_id", "params"})


class _ObjectTable(Table):
    """What both kinds share: each row has its own columns, and the API's own requests are no rows."""

    columns = None
    id_column = None

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_rows = False

    def _read(self, text: bytes, line: int) -> TableRow | InputProblem:
        row = object_row(text, line)
        is_first, self._has_rows = not self._has_rows, True
        if isinstance(row, TableRow) and is_request(row):
            if is_first:
                raise api_lines(self._name)
            return request_among_rows(row)
        return row

    def _end(self) -> None:
        if not self._has_rows:
            raise TableRefused("has no rows: it is empty", 'write an object for every request: {"column": "value", …}')


class ObjectLinesTable(_ObjectTable):
    """The rows of JSON Lines: one object per line."""

    def __init__(self, name: str, lines: TextLines) -> None:
        super().__init__(name)
        self._lines = lines

    @property
    @override
    def size_bytes(self) -> int:
        return self._lines.size_bytes

    @override
    def rows(self) -> Rows:
        for number, found in enumerate(self._lines, start=1):
            if isinstance(found, LongLine):
                self._has_rows = True
                yield too_long(number, found.size_bytes, found.head)
            elif text := found.strip(_SPACE):
                yield self._read(text, number)
        self._end()


class ArrayTable(_ObjectTable):
    """The rows of one JSON array of objects, item by item: at most one of them is held. Their number is their line."""

    def __init__(self, name: str, pieces: TextPieces) -> None:
        super().__init__(name)
        self._pieces = pieces
        self._buffer = bytearray()
        self._scanner = ItemScanner()
        self._number = 0  # of the item last read
        self._is_item_last = False  # and not a comma behind it

    @property
    @override
    def size_bytes(self) -> int:
        return self._pieces.size_bytes

    @override
    def rows(self) -> Rows:
        is_open = False
        for piece in self._pieces:
            self._buffer += piece
            if not is_open:
                del self._buffer[: _blanks(self._buffer)]
                is_open = self._opened()
            if is_open:
                yield from self._items()
        if is_open:
            for text in self._split(bytes(self._buffer), is_last=True):
                yield self._read(text, self._number)
        self._end()

    def _opened(self) -> bool:
        """Take the bracket that opens the array. Raises TableRefused for something else."""
        if not self._buffer:
            return False
        if self._buffer[:1] != b"[":
            raise TableRefused(
                f"is not a JSON array: it begins as {kind_of(bytes(self._buffer[:1]))}", "say its format"
            )
        del self._buffer[:1]
        return True

    def _items(self) -> Iterator[TableRow | InputProblem]:
        """The items that are complete."""
        buffer, start = self._buffer, 0
        for end in self._scanner.ends(buffer):
            for text in self._split(bytes(buffer[start:end])):
                if len(text) > MAX_ROW_BYTES:
                    yield too_long(self._number, len(text), text)
                else:
                    yield self._read(text, self._number)
            start = end
        if start:
            del buffer[:start]
            self._scanner = ItemScanner()
        if len(buffer) > 2 * MAX_ROW_BYTES:
            message = f"has an item {self._number + 1:,} that does not end within {2 * MAX_ROW_BYTES:,} bytes"
            raise TableRefused(message, "is it a JSON array of objects?")

    def _split(self, text: bytes, *, is_last: bool = False) -> Iterator[bytes]:
        """The items in *text*: up to the end of an object or a list, or is_last: up to that of the array.

        The scanner sees the ends of objects and lists alone: numbers and texts stand before the next one.
        """
        at = 0
        while (at := _SPACES.match(text, at).end()) < len(text):  # type: ignore[union-attr]  # matches nothing as well
            sign = text[at : at + 1]
            if sign == b",":
                self._take_comma()
                at += 1
                continue
            if is_last and sign == b"]":
                self._take_end(text[at + 1 :])
                return
            if self._is_item_last:
                raise TableRefused(f"has no comma behind item {self._number:,}", "is it JSON Lines? say its format")
            found = None if sign in b"{[" else _SCALAR.match(text, at)
            if found is None and not is_last and sign not in b"{[":
                raise self._no_array(f"{sign.decode('ascii', 'replace')} is no item")
            if found is None and is_last:
                break
            item = text[at:] if found is None else found[0]
            at += len(item)
            self._is_item_last = True
            self._number += 1
            yield item
        if is_last:
            raise self._no_array("it ends too early")

    def _take_comma(self) -> None:
        if not self._is_item_last:
            raise self._no_array("there is no item before a comma")
        self._is_item_last = False

    def _take_end(self, behind: bytes) -> None:
        if behind.strip(_SPACE):
            raise self._no_array("there is more behind its end")
        if self._number and not self._is_item_last:
            raise self._no_array("there is a comma behind its last item")

    def _no_array(self, why: str) -> TableRefused:
        after = f" (after item {self._number:,})" if self._number else ""
        return TableRefused(f"is no JSON array of objects: {why}{after}", "write it again with a JSON library")


def is_request(row: TableRow) -> bool:
    """True if *row* is a request of the API's own form."""
    return row.values.keys() >= _REQUEST_KEYS


def request_among_rows(row: TableRow) -> InputProblem:
    """The problem of a request that stands among rows."""
    remedy = "hand requests in by themselves, without a template"
    return row_problem(row.line, "", "is a request of the API's own form, among rows", remedy, row.raw)


def api_lines(name: str) -> UsageError:
    """The error for a file of requests that was given with a template."""
    return UsageError(
        f"{name} has requests of the API's own form, and a template makes requests of rows",
        cause='the first has "custom_id" and "params"',
        hint="leave the template and what goes with it out: these requests are sent as they are",
    )


def _blanks(buffer: bytearray) -> int:
    return len(buffer) - len(buffer.lstrip(_SPACE))
