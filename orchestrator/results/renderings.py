"""What makes CSV, TSV and text of results; Parquet has a module of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from orchestrator.domain.answer_table import AnswerTable, OutputFormat, OutputShape
from orchestrator.domain.answers import answer_of
from orchestrator.ports.streams import Rendering

if TYPE_CHECKING:
    from orchestrator.domain.answer_schema import AnswerSchema
    from orchestrator.domain.queries import ResultRow
    from orchestrator.domain.row_columns import RowColumn

#: By it Excel tells UTF-8.
_BOM: Final = b"\xef\xbb\xbf"
#: What a spreadsheet takes for a formula, or strips to find one (OWASP, "CSV injection"); a number is none.
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def open_rendering(
    shape: OutputShape,
    own: Sequence[RowColumn],
    job: str,
    schema: AnswerSchema | None = None,
    *,
    reuses: bool = False,
) -> Rendering | None:
    """What makes *shape* of the results of *job*, whose rows have the columns *own*; None for the API's own lines.

    schema: of its answers, if it has one. reuses: the job sends identical requests once. Raises UsageError for a column
    that is not there, and where what writes Parquet is not installed.
    """
    if shape.format is OutputFormat.JSONL:
        return None
    if shape.format is OutputFormat.TXT:
        return TextRendering()
    table = AnswerTable(own, shape.columns, schema, reuses=reuses)
    if shape.format is OutputFormat.PARQUET:
        from orchestrator.results.parquet_rendering import ParquetRendering

        return ParquetRendering(table, job)
    return DelimitedRendering(table, shape)


def refuse_unwritable(shape: OutputShape) -> None:
    """Raise UsageError where what writes *shape* is not installed: better before a day of waiting than after it."""
    if shape.format is OutputFormat.PARQUET:
        from orchestrator.results.parquet_rendering import load_arro3

        load_arro3()


def parquet_job(path: str) -> str | None:
    """The job that the Parquet file at *path* is of, by what it says itself; None if it does not, or is none."""
    from orchestrator.results.parquet_rendering import job_of

    return job_of(path)


class DelimitedRendering(Rendering):
    r"""CSV as RFC 4180 has it, with `\n` between records; TSV likewise, with tabs."""

    def __init__(self, table: AnswerTable, shape: OutputShape) -> None:
        self._table = table
        self._delimiter = shape.format.delimiter
        self._needs_quotes = re.compile(rf'[{self._delimiter}"\r\n]').search
        self._is_safe = shape.excel_safe

    @override
    def begin(self) -> bytes:
        return (_BOM if self._is_safe else b"") + self._encoded([self._table.names])

    @override
    def render(self, page: Sequence[ResultRow]) -> bytes:
        return self._encoded(map(self._table.cells, page))

    @override
    def end(self) -> bytes:
        return b""

    @override
    def close(self) -> None:
        pass

    def _encoded(self, records: Iterable[list[str]]) -> bytes:
        lines = [self._line([defused(cell) for cell in record] if self._is_safe else record) for record in records]
        return "".join(lines).encode("utf-8", "replace")

    def _line(self, cells: list[str]) -> str:
        needs_quotes = self._needs_quotes
        quoted = ['"' + cell.replace('"', '""') + '"' if needs_quotes(cell) else cell for cell in cells]
        return (self._delimiter.join(quoted) or '""') + "\n"  # one empty cell alone would be no record


def defused(cell: str) -> str:
    """*cell*, with an apostrophe before what a spreadsheet takes for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


class TextRendering(Rendering):
    """The text of the answers, with a blank line between; what has no text is left out."""

    def __init__(self) -> None:
        self._has_begun = False

    @override
    def begin(self) -> bytes:
        return b""

    @override
    def render(self, page: Sequence[ResultRow]) -> bytes:
        pieces = []
        for result in page:
            if piece := text_piece(result, is_first=not self._has_begun):
                self._has_begun = True
                pieces.append(piece)
        return b"".join(pieces)

    @override
    def end(self) -> bytes:
        return b""

    @override
    def close(self) -> None:
        pass


def text_piece(result: ResultRow, *, is_first: bool) -> bytes:
    """What stands for *result* behind those before it; nothing if it has no text."""
    text = (answer_of(result).text or "").rstrip("\n")
    return f"{'' if is_first else _LF}{text}{_LF}".encode("utf-8", "replace") if text else b""


_LF: Final = "\n"
