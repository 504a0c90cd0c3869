"""Results as tables over HTTP: what was asked for, by a suffix or `Accept`, and the stream of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import Depends, Query

from orchestrator.domain import model, queries
from orchestrator.domain.answer_table import OutputFormat, OutputShape, shape_of, split_names
from orchestrator.domain.errors import UsageError
from orchestrator.domain.result_choice import HELP, RequestChoice
from orchestrator.http_api.api import request_query, route_docs
from orchestrator.http_api.services import Services
from orchestrator.ports.reads import Reads
from orchestrator.ports.streams import Rendering
from orchestrator.results import open_rendering

_PAGE: Final = 500
MEDIA_TYPES: Final = MappingProxyType(
    {
        OutputFormat.CSV: "text/csv",
        OutputFormat.TSV: "text/tab-separated-values",
        OutputFormat.TXT: "text/plain",
        OutputFormat.PARQUET: "application/vnd.apache.parquet",
    }
)
#: What each of their routes answers with.
ABOUT: Final = MappingProxyType(
    {
        OutputFormat.CSV: "The results so far as CSV, in input order: the columns of the rows, then those of the "
        "answers.\n\nWith `follow` nothing is sent before the job is over. An unknown column is told with those that "
        "there are.",
        OutputFormat.TSV: "The same table with tabs between the cells.",
        OutputFormat.TXT: "The text of the answers alone, in input order, with a blank line between.",
        OutputFormat.PARQUET: "The same table as Parquet; the server needs the extra `[parquet]`.",
    }
)
LINES: Final = "application/x-ndjson"
_EXAMPLES: Final = {
    OutputFormat.CSV: "custom_id,answer,status\nhello-1,Hello!,succeeded\n",
    OutputFormat.TSV: "custom_id\tanswer\tstatus\nhello-1\tHello!\tsucceeded\n",
    OutputFormat.TXT: "Hello!\n\nGood day!\n",
}


def content_of(kind: OutputFormat) -> dict[str, Any]:
    """How an answer of *kind* is described."""
    if kind in _EXAMPLES:
        return {MEDIA_TYPES[kind]: {"schema": {"type": "string"}, "example": _EXAMPLES[kind]}}
    return {MEDIA_TYPES[kind]: {"schema": {"type": "string", "format": "binary"}}}


#: How all of them are, by media type.
CONTENTS: Final = {MEDIA_TYPES[kind]: content_of(kind)[MEDIA_TYPES[kind]] for kind in MEDIA_TYPES}


def responses(kind: OutputFormat) -> dict[int | str, dict[str, Any]]:
    """How a route that answers with a *kind* alone is described."""
    what = "One record per settled request. A stream that was not ended is cut."
    return {200: {"description": what, "content": content_of(kind)}, **route_docs.error_responses(404, 410)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableQuery:
    """What the query says of a table. only: which results; choice: of which requests."""

    columns: str | None
    excel_safe: bool
    only: tuple[str, ...]
    choice: RequestChoice

    def shape(self, kind: OutputFormat) -> OutputShape:
        """The shape of a *kind* that is asked for. Raises UsageError for what it does not have."""
        names = None if self.columns is None else split_names(self.columns)
        return shape_of("", kind.value, names, excel_safe=self.excel_safe, only=self.only)


async def table_query(
    choice: Annotated[RequestChoice, Depends(request_query.states_and_filter)],
    columns: Annotated[
        str | None, Query(max_length=10_000, description="The columns of a table, with commas between. Default: all.")
    ] = None,
    excel_safe: Annotated[
        bool, Query(description="In CSV: what Excel takes for a formula is quoted, and a BOM is added.")
    ] = False,
    only: Annotated[
        list[str] | None, Query(max_length=20, description=f"Only results of which one of these is true: {HELP}")
    ] = None,
) -> TableQuery:
    """The query of a table."""
    return TableQuery(columns=columns, excel_safe=excel_safe, only=() if only is None else tuple(only), choice=choice)


def accepted_format(accept: str) -> OutputFormat:
    """What the header *accept* likes best of lines, tables and text; of what it likes as well, the first it names.

    Lines stand for JSON and for anything: what an HTTP library sends by itself (`application/json, text/plain, */*`).
    """
    best, most = OutputFormat.JSONL, 0.0
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        kind = _BY_TYPE.get(name)
        weight = _weight(parameters)
        if kind is not None and weight > most:
            best, most = kind, weight
    return best


_BY_TYPE: Final = {
    **dict.fromkeys((LINES, "application/json", "*/*"), OutputFormat.JSONL),
    **{media_type: kind for kind, media_type in MEDIA_TYPES.items()},
}


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def refuse_places(kind: OutputFormat, *, after: str | None, as_settled: bool) -> None:
    """Raise UsageError for a table that is to begin in the middle, or in another order."""
    if after is not None or as_settled:
        name = "after" if after is not None else "order=settled"
        raise UsageError(f"{kind.value} has no {name}", hint="a table is whole, in input order; lines can do that")


async def opened(services: Services, job: model.JobSnapshot, shape: OutputShape) -> Rendering:
    """What makes *shape* of the results of *job*. Raises UsageError for a column that is not there, and Purged."""
    own = await services.bulk.read(lambda reads: reads.row_columns(job.id))
    rendering = open_rendering(shape, own, job.public_id, job.answer_schema, reuses=job.dedupe)
    assert rendering is not None  # noqa: S101 - only lines have none
    return rendering


async def stream(
    services: Services, job: model.JobSnapshot, shape: OutputShape, choice: RequestChoice
) -> AsyncGenerator[bytes, None]:
    """The results of *job* that are settled now and wanted, page by page."""
    rendering, above = await opened(services, job, shape), 0
    try:
        if piece := await asyncio.to_thread(rendering.begin):
            yield piece
        while found := await services.bulk.read(partial(_page, job, choice, above)):
            above = found[-1].number
            wanted = await asyncio.to_thread(shape.only.of, found)
            if wanted and (piece := await asyncio.to_thread(rendering.render, wanted)):
                yield piece
        yield await asyncio.to_thread(rendering.end)
    finally:
        await asyncio.to_thread(rendering.close)


def _page(job: model.JobSnapshot, choice: RequestChoice, above: int, reads: Reads) -> list[queries.ResultRow]:
    return reads.results(job.id, above=above, limit=_PAGE, rows=True, choice=choice)
