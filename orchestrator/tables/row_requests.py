"""The requests that a recipe makes of rows: ids, images, problems, and which content they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.domain.humanize import count, some
from orchestrator.domain.params import ParamRules, problems_in
from orchestrator.domain.result_lines import input_line
from orchestrator.ports.streams import KEPT_RAW_BYTES, Chunker, InputItem, InputLine, InputProblem
from orchestrator.tables.images import image_block
from orchestrator.tables.table import TableRefused, TableRow, row_problem
from orchestrator.tables.template import Renderer, RowRefused

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    from orchestrator.domain.table_spec import Recipe
    from orchestrator.tables.table import Table

_OWN_ID: Final = "give every row text or a whole number there, or name no id column"

_encode: Final = msgspec.json.Encoder().encode


class RowRequests:
    """Makes requests of rows by *recipe*; limit: of the first so many, for a preview.

    folder: what a path of an image is relative to; None: no file is read. Raises UsageError for a recipe that suits no
    row.
    """

    def __init__(self, recipe: Recipe, rules: ParamRules, *, folder: Path | None, limit: int | None = None) -> None:
        self._recipe = recipe
        self._rules = rules
        self._folder = folder
        self._limit = limit
        self._renderer = Renderer(recipe, rules)
        self._hash = hashlib.sha256()
        self._chunker = Chunker()
        self._empty: Counter[str] = Counter()
        self._count = 0
        self._bytes_taken = 0  # of a table, up to its last row
        self._is_checked = False  # the template, against the columns that all rows have
        self._is_ended = False

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the requests, their rows, and what was refused. Raises RuntimeError before the end."""
        if not self._is_ended:
            raise RuntimeError("the source was not read to its end")
        return self._hash.hexdigest()

    @property
    def is_full(self) -> bool:
        """The limit is reached."""
        return self._count == self._limit

    @property
    def notices(self) -> list[str]:
        """How many rows have nothing where the template prints a column: they ask all the same, and are paid for."""
        return [f"{count(rows, 'row')} where {name} is empty" for name, rows in sorted(self._empty.items())]

    def chunks(self, table: Table, stop: threading.Event, name: str) -> Generator[list[InputItem], None, None]:
        """The requests and the problems of *table*, which is called *name*, in chunks.

        Raises what reading it raises, but TableRefused.
        """
        chunker = self._chunker
        try:
            with closing(table.rows()) as rows:
                for row in rows:
                    for item in self.of_row(row, columns=table.columns, id_column=table.id_column):
                        if full := chunker.add(item):
                            yield full
                    self._bytes_taken = table.size_bytes
                    if self.is_full:
                        break
        except TableRefused as exc:
            place = f"{name}:{exc.line}" if exc.line else ""
            problem = InputProblem(
                line=0, field=exc.field, message=exc.message, remedy=exc.remedy, raw=b"", place=place
            )
            if full := chunker.add(problem):
                yield full
        else:
            self._is_ended = not stop.is_set()
        if last := chunker.take():
            yield last

    def large_bytes(self, table: Table) -> int:
        """What is held of large rows of *table*: in chunks, and in the row that is being read."""
        return self._chunker.held.with_line(table.size_bytes - self._bytes_taken)

    def end(self) -> None:
        """All rows were there."""
        self._is_ended = True

    def of_row(
        self, row: TableRow | InputProblem, *, columns: tuple[str, ...] | None = None, id_column: str | None = None
    ) -> list[InputItem]:
        """The request of the next row, or its problems. *columns*, *id_column*: those of the table, as it knows them.

        Raises TableRefused for a column that no row has.
        """
        self._count += 1
        items: list[InputItem] = [row] if isinstance(row, InputProblem) else self._items(row, columns, id_column)
        for item in items[:1]:
            if isinstance(item, InputLine):
                self._hash.update(input_line(item.custom_id, item.params, item.row) + b"\n")
            else:
                self._hash.update(b"!%b\n" % row.raw)
        return items

    def _items(self, row: TableRow, columns: tuple[str, ...] | None, id_column: str | None) -> list[InputItem]:
        try:
            if not self._is_checked and columns is not None:
                self._renderer.refuse_unknown(columns)
                self._is_checked = True
            custom_id = self._custom_id(id_column, row.values)
            of_images = self._recipe.image_columns
            images = [image_block(column, row.values, self._folder) for column in of_images] if of_images else ()
            params = self._renderer.params(row.values, images)
        except RowRefused as exc:
            if exc.is_unknown and columns is not None:
                message = f"{exc.message.replace('column of this row', 'column')} (line {row.line:,})"
                raise TableRefused(message, exc.remedy, exc.field, line=row.line) from exc
            return [row_problem(row.line, exc.field, exc.message, exc.remedy, row.raw)]
        found = problems_in(params, self._rules)
        if found:
            return [InputProblem.of(each, row.line, row.raw[:KEPT_RAW_BYTES]) for each in found]
        for name in self._renderer.printed:
            if _is_empty(row.values.get(name)):
                self._empty[name] += 1
        return [InputLine(row.line, custom_id, params, row.raw)]

    def _custom_id(self, of_table: str | None, values: dict[str, Any]) -> str:
        """The value of the column of ids, whatever it looks like; else the number of the row."""
        column = self._recipe.id_column or of_table
        if column is None:
            return f"row-{self._count}"
        if column not in values:
            remedy = f"the id column is one of {some(list(values))}"
            raise RowRefused(column, "is no column of this row", remedy, is_unknown=True)
        value = values[column]
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise RowRefused(column, f"is {_kind(value)}, which is no id", _OWN_ID)
        if not value:
            raise RowRefused(column, "is empty", _OWN_ID)
        if "\0" in value:
            raise RowRefused(column, "has a NUL character", "remove it")
        return value


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def _kind(value: object) -> str:
    return "null" if value is None else f"{_encode(value).decode()[:32]}"
