"""Answers as a table: the row's own columns, then what became of its request; by the text of cells, or by values.

Where a schema was asked for, the fields of the answer stand in place of its text.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain.answers import Answer, answer_of
from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import plain, some
from orchestrator.domain.money import as_decimal, as_text
from orchestrator.domain.result_choice import ALL_RESULTS, ResultChoice, status_of
from orchestrator.domain.row_columns import ColumnKind, RowColumn, cell_text, cell_value, members_of

if TYPE_CHECKING:
    import msgspec

    from orchestrator.domain.answer_schema import AnswerSchema
    from orchestrator.domain.queries import ResultRow

ID: Final = "custom_id"
ANSWER: Final = "answer"
#: The text of an answer that is not as its schema says: refused, cut, or invalid. Of tables with a schema alone.
UNPARSED: Final = "unparsed_answer"
_FACTS: Final = {
    "status": ColumnKind.TEXT,
    "error": ColumnKind.TEXT,
    "model": ColumnKind.TEXT,
    "stop_reason": ColumnKind.TEXT,
    "input_tokens": ColumnKind.INTEGER,
    "output_tokens": ColumnKind.INTEGER,
    "cost_usd": ColumnKind.MONEY,
}
#: The last column, of a job that sends identical requests once.
REUSED: Final = "reused_from"
_PLACES: Final = {name: place for place, name in enumerate((ID, ANSWER, *_FACTS, UNPARSED, REUSED))}
_KINDS: Final = {"integer": ColumnKind.INTEGER, "number": ColumnKind.NUMBER, "boolean": ColumnKind.BOOLEAN}
_CLASH: Final = "answer_"
_TOLD: Final = 50
_MOST_INTEGER: Final = (1 << 63) - 1


class OutputFormat(StrEnum):
    """What results are written as."""

    JSONL = "jsonl"  #: the API's own lines
    CSV = "csv"
    TSV = "tsv"
    TXT = "txt"  #: the text of the answers alone
    PARQUET = "parquet"

    @property
    def has_columns(self) -> bool:
        """True for tables."""
        return self not in {OutputFormat.JSONL, OutputFormat.TXT}

    @property
    def delimiter(self) -> str:
        """What stands between cells."""
        return "\t" if self is OutputFormat.TSV else ","


#: Files of spreadsheets are neither read nor written.
SPREADSHEETS: Final = (".xlsx", ".xls", ".ods")
_SUFFIXES: Final = {f".{each.value}": each for each in OutputFormat}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputShape:
    """What is written of results. columns: which, in this order; None: all. excel_safe: no cell is a formula."""

    format: OutputFormat = OutputFormat.JSONL
    columns: tuple[str, ...] | None = None
    excel_safe: bool = False
    only: ResultChoice = ALL_RESULTS


def told_format(path: str) -> OutputFormat:
    """The format that the suffix of *path* says, before `.gz` and `.zst`; JSON Lines where it says none."""
    name = path.lower()
    packed = name.removesuffix(".gz").removesuffix(".zst")
    if packed.endswith(SPREADSHEETS):
        hint = "write .csv (--excel-safe, in the library excel_safe=True), and open that"
        raise UsageError("files of spreadsheets are not written", hint=hint)
    found = next((each for suffix, each in _SUFFIXES.items() if packed.endswith(suffix)), OutputFormat.JSONL)
    if found is OutputFormat.PARQUET and packed != name:
        raise UsageError("Parquet is compressed by itself", hint="leave .gz or .zst away")
    return found


def split_names(text: str) -> list[str]:
    """The names in *text*, with commas between; one with a comma stands in quotes, as in CSV."""
    return next(csv.reader([text]), [])


def shape_of(
    path: str,
    kind: str | None = None,
    columns: Iterable[str] | None = None,
    *,
    excel_safe: bool = False,
    only: Iterable[str] = (),
) -> OutputShape:
    """The shape of the results at *path*. Raises UsageError for what does not go together."""
    if kind is not None and kind not in set(OutputFormat):
        raise UsageError(f"{kind!r} is no format of results", hint=f"one of {', '.join(OutputFormat)}")
    chosen = told_format(path) if kind is None else OutputFormat(kind)
    names = None if columns is None else tuple(columns)
    if names is not None and not chosen.has_columns:
        raise UsageError(f"{chosen.value} has no columns to choose", hint="write .csv, .tsv or .parquet")
    if names is not None and (not names or len(set(names)) < len(names)):
        raise UsageError("a column is named once, and at least one is", hint="such as id,answer")
    if excel_safe and chosen not in {OutputFormat.CSV, OutputFormat.TSV}:
        raise UsageError(f"{chosen.value} has no formulas to quote", hint="it is for .csv and .tsv")
    return OutputShape(format=chosen, columns=names, excel_safe=excel_safe, only=ResultChoice(frozenset(only)))


class Origin(StrEnum):
    """Where a cell comes from."""

    ROW = "row"  #: a member of the row
    FIELD = "field"  #: a member of the answer
    FACT = "fact"  #: what became of the request


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. key: the member of the row or the answer, or which fact."""

    name: str
    kind: ColumnKind
    origin: Origin
    key: str


class AnswerTable:
    """The columns of a job's results, and the cells of each.

    own: the columns of the rows. names: only these columns. schema: of the answers, whose fields are columns then, and
    `answer` is one only if it is named. reuses: the job sends identical requests once. Raises UsageError for a name
    that is none.
    """

    def __init__(
        self,
        own: Sequence[RowColumn],
        names: Sequence[str] | None = None,
        schema: AnswerSchema | None = None,
        *,
        reuses: bool = False,
    ) -> None:
        self._schema = schema if schema is not None and schema.fields else None
        columns = _columns(own, self._schema, reuses=reuses)
        self.columns = columns if names is None else _chosen(columns, names, has_more=self._schema is not None)
        self._placed = [(_place(column), column.key, column.kind) for column in self.columns]
        self._needs_fields = any(column.origin is Origin.FIELD or column.key == UNPARSED for column in self.columns)

    @property
    def has_answers(self) -> bool:
        """True if a column is neither of the row nor the id."""
        return any(column.origin is not Origin.ROW and column.key != ID for column in self.columns)

    def place_of(self, fact: str) -> int | None:
        """Where the column of *fact* is; None if there is none."""
        columns = enumerate(self.columns)
        return next((place for place, each in columns if each.origin is Origin.FACT and each.key == fact), None)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def cells(self, result: ResultRow) -> list[str]:
        """The cells of *result* as text; empty where there is nothing, or it is not known."""
        members, fields, facts = self._read(result)
        cells = []
        for place, key, _ in self._placed:
            if place >= 0:
                fact = facts[place]
                cells.append("" if fact is None else fact if isinstance(fact, str) else str(fact))
            else:
                value = (members if place == _OF_ROW else fields).get(key)
                cells.append("" if value is None or bytes(value) == _NULL else cell_text(value))
        return cells

    def typed_cells(self, result: ResultRow) -> list[str | int | float | None]:
        """The cells of *result* as the kinds of their columns have them, money as text; None where there is nothing.

        A number of an answer that its kind cannot hold is None.
        """
        members, fields, facts = self._read(result)
        cells: list[str | int | float | None] = []
        for place, key, kind in self._placed:
            if place >= 0:
                cells.append(facts[place])
            elif place == _OF_ROW:
                cells.append(_typed(members.get(key), kind))
            else:
                cells.append(_fitting(fields.get(key), kind))
        return cells

    def values(self, result: ResultRow) -> dict[str, Any]:
        """The cells of *result* by column, as Python's own: the cost a Decimal, lists and objects as they are."""
        members, fields, facts = self._read(result)
        values: dict[str, Any] = {}
        for column in self.columns:
            if column.origin is not Origin.FACT:
                value = (members if column.origin is Origin.ROW else fields).get(column.key)
                values[column.name] = None if value is None else cell_value(value)
            elif column.kind is ColumnKind.MONEY:
                values[column.name] = None if result.cost_nanos is None else as_decimal(result.cost_nanos)
            else:
                values[column.name] = facts[_PLACES[column.key]]
        return values

    def _read(
        self, result: ResultRow
    ) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw], tuple[str | int | None, ...]]:
        """The members of the row, those of the answer, and the facts by place."""
        answer = answer_of(result)
        fields, unparsed = _NO_FIELDS, None
        if self._needs_fields and self._schema is not None and answer.text is not None:
            found = self._schema.members(answer.text)
            fields, unparsed = ({}, answer.text) if found is None else (found, None)
        return members_of(result.row), fields, _facts(result, answer, unparsed)


def _place(column: Column) -> int:
    """Where the cell of a column is: a place among the facts, or a member of the row or the answer."""
    if column.origin is Origin.FACT:
        return _PLACES[column.key]
    return _OF_ROW if column.origin is Origin.ROW else _OF_ANSWER


_OF_ROW, _OF_ANSWER = -1, -2
_NULL: Final = b"null"
_NO_FIELDS: Final[dict[str, msgspec.Raw]] = {}


def _typed(value: msgspec.Raw | None, kind: ColumnKind) -> str | int | float | None:
    if value is None or bytes(value) == _NULL:
        return None
    if kind is ColumnKind.TEXT:
        return cell_text(value)
    found = cell_value(value)
    return float(found) if kind is ColumnKind.NUMBER and isinstance(found, int) else found  # type: ignore[return-value]


def _fitting(value: msgspec.Raw | None, kind: ColumnKind) -> str | int | float | None:
    """The same of an answer: whole numbers may be written as `1.0`, and be of any length."""
    try:
        found = _typed(value, kind)
    except OverflowError:
        return None
    if kind is not ColumnKind.INTEGER or found is None:
        return found
    whole = int(found)
    return whole if abs(whole) <= _MOST_INTEGER else None


def _facts(result: ResultRow, answer: Answer, unparsed: str | None) -> tuple[str | int | None, ...]:
    return (
        result.custom_id,
        answer.text,
        status_of(result, answer),
        answer.error or None,
        answer.model,
        answer.stop_reason,
        answer.input_tokens,
        answer.output_tokens,
        None if result.cost_nanos is None else as_text(result.cost_nanos),
        unparsed,
        result.reused_from,
    )


def _columns(own: Sequence[RowColumn], schema: AnswerSchema | None, *, reuses: bool) -> list[Column]:
    """All columns: a name of the row's own stays, then the facts have theirs, then the fields of the answer."""
    taken = {column.name for column in own}
    first = [] if ID in taken else [Column(ID, ColumnKind.TEXT, Origin.FACT, ID)]
    columns = [*first, *(Column(column.name, column.kind, Origin.ROW, column.name) for column in own)]
    last = {REUSED: ColumnKind.TEXT} if reuses else {}
    if schema is None:
        return columns + _named({ANSWER: ColumnKind.TEXT, **_FACTS, **last}, Origin.FACT, taken)
    facts = _named({**_FACTS, UNPARSED: ColumnKind.TEXT, **last}, Origin.FACT, taken)
    kinds = {name: _KINDS.get(kind or "", ColumnKind.TEXT) for name, kind in schema.field_types.items()}
    return [*columns, *_named(kinds, Origin.FIELD, taken), *facts]


def _named(kinds: Mapping[str, ColumnKind], origin: Origin, taken: set[str]) -> list[Column]:
    """Columns whose names are none of *taken*, which has them then."""
    columns = []
    for key, kind in kinds.items():
        name = _free_name(key, taken)
        taken.add(name)
        columns.append(Column(name, kind, origin, key))
    return columns


def _free_name(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"{_CLASH}{name}"
    return name


def _chosen(columns: Sequence[Column], names: Sequence[str], *, has_more: bool) -> list[Column]:
    """The columns of *names*; has_more: the whole text of the answer is one, if another is not called so."""
    known = {column.name: column for column in columns}
    if has_more:
        known.setdefault(ANSWER, Column(ANSWER, ColumnKind.TEXT, Origin.FACT, ANSWER))
    for name in names:
        if name not in known:
            there = some([plain(each) for each in known], _TOLD)
            raise UsageError(f"there is no column {plain(name)}", hint=f"there are {there}")
    return [known[name] for name in names]
