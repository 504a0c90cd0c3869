"""The results of a batch: lines in the API's own shape, in input order, page by page."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from orchestrator.domain.result_lines import settled_lines
from orchestrator.http_api.gzipped import gzipped, takes_gzip

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import ResultRow
    from orchestrator.ports.reads import Reader, Reads

#: How many results are held at once: an answer may be hundreds of kilobytes long.
_PAGE: Final = 200


async def results_answer(request: Request, reader: Reader, job: JobId) -> Response:
    """Every result of *job*, which is over. Raises Purged if they went meanwhile."""
    first = await reader.read(partial(_page, job, 0))
    lines = _lines(reader, job, first)
    headers = {"vary": "accept-encoding"}
    if takes_gzip(request.headers.get("accept-encoding", "")):
        lines = gzipped(lines)
        headers["content-encoding"] = "gzip"
    return StreamingResponse(_closed_at_the_end(lines), media_type="application/x-jsonl", headers=headers)


async def _lines(reader: Reader, job: JobId, page: list[ResultRow]) -> AsyncGenerator[bytes, None]:
    """The next page is read when the one before is sent: a slow client holds one of them."""
    while page:
        yield settled_lines(page)
        page = await reader.read(partial(_page, job, page[-1].number))


async def _closed_at_the_end(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


def _page(job: JobId, above: int, reads: Reads) -> list[ResultRow]:
    return reads.results(job, above=above, limit=_PAGE)
