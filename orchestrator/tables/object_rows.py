"""`ObjectRows`: requests made of the rows that a program hands over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from orchestrator.inputs import one_by_one, refuse_one
from orchestrator.ports.streams import Chunker, InputItem, InputProblem
from orchestrator.tables.json_table import api_lines, is_request, request_among_rows
from orchestrator.tables.object_values import row_of
from orchestrator.tables.row_requests import RowRequests
from orchestrator.tables.row_source import RecipeSource
from orchestrator.tables.table import TableRow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence

    from orchestrator.domain.params import ParamRules
    from orchestrator.domain.table_spec import Recipe


class ObjectRows(RecipeSource):
    """Requests made by *recipe* of the mappings in *rows*.

    Each is encoded the moment it is taken (`object_values`), so a caller may reuse and change its dict. The "line" of
    problems and requests is the row's number, from 1. A path in a column of images is relative to the current folder.
    Raises UsageError for *rows* that are one thing, not many, and for a recipe that suits no row.
    """

    name: str = "rows"

    def __init__(
        self,
        rows: Iterable[object] | AsyncIterable[object],
        recipe: Recipe,
        rules: ParamRules,
    ) -> None:
        refuse_one(rows, "rows")
        super().__init__(RowRequests(recipe, rules, folder=Path()))
        self._rows = rows
        self._size_bytes = 0

    @property
    @override
    def size_bytes(self) -> int:
        return self._size_bytes

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        """Yield the requests and the problems, in order. Once only. Awaits nothing of its own but turns for others.

        Raises UsageError for requests of the API's own form in place of rows.
        """
        chunker, number = Chunker(), 0
        async for item in one_by_one(self._rows):
            number += 1
            for each in self._requests.of_row(self._row(item, number)):
                if full := chunker.add(each):
                    yield full
        if number == 0:
            remedy = "hand over at least one row"
            chunker.add(InputProblem(line=0, field="", message="has no rows: it is empty", remedy=remedy, raw=b""))
        if last := chunker.take():
            yield last
        self._requests.end()

    def _row(self, item: object, number: int) -> TableRow | InputProblem:
        row = row_of(item, number)
        if not isinstance(row, TableRow):
            return row
        self._size_bytes += len(row.raw) + 1
        if not is_request(row):
            return row
        if number == 1:
            raise api_lines(self.name)
        return request_among_rows(row)
