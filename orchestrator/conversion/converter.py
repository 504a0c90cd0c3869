"""Reads a file line by line, and gives requests: memory is that of one line, whatever the file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.conversion.findings import Findings, LineFindings
from orchestrator.conversion.line_converter import LineConverter
from orchestrator.conversion.parameters import Wishes
from orchestrator.domain.foreign_forms import LineForm
from orchestrator.domain.limits import MAX_INPUT_LINE_BYTES
from orchestrator.domain.line_splitter import LineSplitter, LongLine
from orchestrator.inputs import read_blocks, read_stdin_blocks
from orchestrator.ports.streams import KEPT_RAW_BYTES, InputProblem
from orchestrator.tables.json_table import ArrayTable
from orchestrator.tables.table import TableRefused, TableRow, object_row
from orchestrator.tables.text_lines import TextPieces

if TYPE_CHECKING:
    import threading


__all__ = ["Converted", "Converter", "Wishes"]

_SPACE: Final = b" \t\r\n"
_AT_ONCE: Final = 1 << 20


@dataclass(slots=True, kw_only=True)
class Converted:
    """Some requests, as lines of ours, and the problems of lines that became none."""

    text: bytes = b""
    problems: list[InputProblem] = field(default_factory=list)


class Converter:
    """Converts the file at *path*, "-" is standard input. requests: so far; forms: lines of each."""

    def __init__(self, path: str, name: str, wishes: Wishes) -> None:
        self._path = path
        self._name = name
        self._lines = LineConverter(wishes)
        self.findings = Findings()
        self.requests = 0
        self.size_bytes = 0

    @property
    def forms(self) -> Counter[LineForm]:
        """How many lines of each form there were."""
        return self._lines.forms

    def pieces(self, stop: threading.Event) -> Generator[Converted, None, None]:
        """The requests, some at a time. Once only; blocks. Raises InputError where reading fails."""
        held, made = bytearray(), Converted()
        for item in self._items(stop):
            if isinstance(item, InputProblem):
                made.problems.append(item)
            else:
                held += self._convert(item, made)
            if len(held) >= _AT_ONCE or len(made.problems) >= _MOST_PROBLEMS:
                made.text, held = bytes(held), bytearray()
                yield made
                made = Converted()
        made.text = bytes(held)
        yield made

    def _convert(self, row: TableRow, made: Converted) -> bytes:
        found = LineFindings()
        text = self._lines.convert(row.values, row.raw, found)
        raw = row.raw[:KEPT_RAW_BYTES]
        made.problems += [InputProblem.of(each, row.line, raw) for each in found.problems]
        if text:
            self.requests += 1
            self.findings.add(row.line, found)
        return text

    def _items(self, stop: threading.Event) -> Iterator[TableRow | InputProblem]:
        is_stdin = self._path == "-"
        blocks = read_stdin_blocks(self._name, stop) if is_stdin else read_blocks(self._path, stop)
        pieces = TextPieces(self._name, blocks)
        try:
            yield from _rows(self._name, pieces)
        except TableRefused as exc:
            yield InputProblem(line=0, field=exc.field, message=exc.message, remedy=exc.remedy, raw=b"")
        self.size_bytes = pieces.size_bytes


_MOST_PROBLEMS: Final = 1000


class _AnyArray(ArrayTable):
    """The items of one JSON array, of whatever form."""

    @override
    def _read(self, text: bytes, line: int) -> TableRow | InputProblem:
        self._has_rows = True
        return object_row(text, line)


def _rows(name: str, pieces: TextPieces) -> Iterator[TableRow | InputProblem]:
    """The objects of JSON Lines, or of one array. Raises TableRefused."""
    text = iter(pieces)
    head = b""
    for piece in text:
        head += piece
        if head.lstrip(_SPACE):
            break
    given = _Rejoined(name, head, text)
    if head.lstrip(_SPACE)[:1] == b"[":
        yield from _AnyArray(name, given).rows()
        return
    yield from _lines(given)


class _Rejoined(TextPieces):
    """The pieces of a text whose beginning was looked at."""

    def __init__(self, name: str, head: bytes, rest: Iterator[bytes]) -> None:
        super().__init__(name, ())
        self._head, self._rest = head, rest

    @override
    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._rest


def _lines(pieces: TextPieces) -> Iterator[TableRow | InputProblem]:
    splitter, number, has_rows = LineSplitter(MAX_INPUT_LINE_BYTES), 0, False
    for found in _split(splitter, pieces):
        number += 1
        if isinstance(found, LongLine):
            message = f"is {found.size_bytes:,} bytes long; a line may have {MAX_INPUT_LINE_BYTES:,}"
            yield InputProblem(line=number, field="", message=message, remedy="make it smaller", raw=b"")
        elif text := found.removeprefix(b"\xef\xbb\xbf").strip(_SPACE):
            yield object_row(text, number)
        else:
            continue
        has_rows = True
    if not has_rows:
        raise TableRefused("has no requests: it is empty", "give a file of requests, one on each line")


def _split(splitter: LineSplitter, pieces: TextPieces) -> Iterator[bytes | LongLine]:
    for piece in pieces:
        yield from splitter.feed(piece)
    yield from splitter.rest()
