"""Rows, each made a request by a recipe: what all sources of them share, and `RowSource`, a table of this machine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from orchestrator.inputs import chunks_in_thread
from orchestrator.ports.streams import InputItem, NoticingSource
from orchestrator.tables.kinds import TableInput, open_rows
from orchestrator.tables.row_requests import RowRequests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from orchestrator.domain.params import ParamRules
    from orchestrator.domain.table_spec import Recipe
    from orchestrator.tables.table import Table


class RecipeSource(NoticingSource):
    """*requests*, made of rows by a recipe.

    The content is that of the requests and their rows: the same rows with a recipe that makes the same of them are the
    same job.
    """

    def __init__(self, requests: RowRequests) -> None:
        self._requests = requests

    @property
    @override
    def content_hash(self) -> str:
        return self._requests.content_hash

    @property
    @override
    def notices(self) -> Sequence[str]:
        return self._requests.notices


class TableSource(RecipeSource):
    """*requests*, made of the rows of a table that is opened once it is read."""

    def __init__(self, requests: RowRequests) -> None:
        super().__init__(requests)
        self._stop = threading.Event()
        self._table: Table | None = None

    @property
    @override
    def size_bytes(self) -> int:
        return 0 if self._table is None else self._table.size_bytes


class RowSource(TableSource):
    """Requests made of the rows of *given* by *recipe*. Raises UsageError for a recipe that suits no row."""

    def __init__(self, given: TableInput, recipe: Recipe, rules: ParamRules) -> None:
        super().__init__(RowRequests(recipe, rules, folder=given.folder))
        self._given = given

    @property
    @override
    def name(self) -> str:
        return self._given.name

    @override
    def chunks(self) -> AsyncGenerator[Sequence[InputItem], None]:
        return chunks_in_thread(self._steps(), self._stop)

    def _steps(self) -> Generator[list[InputItem], None, None]:
        self._table = open_rows(self._given, self._stop)
        yield from self._requests.chunks(self._table, self._stop, self.name)
