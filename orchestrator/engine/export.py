"""Export: settled requests in the order of the input, each line in exactly the API's own shape, or as told.

And requests as an input, to be corrected and handed in again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

from orchestrator.domain.ids import JobId
from orchestrator.domain.queries import RequestLine, ResultRow
from orchestrator.domain.result_choice import ALL_RESULTS, RequestChoice, ResultChoice
from orchestrator.domain.result_lines import settled_lines
from orchestrator.ports.reads import RemoteReader, RemoteReads
from orchestrator.ports.streams import Rendering, Sink

_PAGE: Final = 1000


async def export(
    reader: RemoteReader,
    job: JobId,
    sink: Sink,
    rendering: Rendering | None = None,
    only: ResultChoice = ALL_RESULTS,
    *,
    trial: bool = False,
) -> int:
    """Write every request of *job* that is settled now, if it is one of *only*, and commit the sink, or abort it.

    Returns how many.

    rendering: what makes bytes of them, with their rows; closed at the end. None: the API's own lines. trial: only
    requests of its trials.
    """
    written = 0
    try:
        if rendering is not None:
            await sink.write(await asyncio.to_thread(rendering.begin))
        async for settled in _pages(reader, job, with_rows=rendering is not None, trial=trial):
            if not (page := await asyncio.to_thread(only.of, settled) if only.words else settled):
                continue
            written += len(page)
            await sink.write(
                settled_lines(page) if rendering is None else await asyncio.to_thread(rendering.render, page)
            )
        if rendering is not None:
            await sink.write(await asyncio.to_thread(rendering.end))
        await sink.commit()
    except BaseException:
        await sink.abort()
        raise
    finally:
        if rendering is not None:
            await asyncio.to_thread(rendering.close)
    return written


async def export_requests(
    reader: RemoteReader, job: JobId, choice: RequestChoice, write: Callable[[bytes], Awaitable[None]], *, rows: bool
) -> int:
    """Give every request of *job* that is wanted to *write*, as lines of an input, in its order. Returns how many.

    rows: each with the row that it was made of.
    """
    written, after = 0, None
    while page := await reader.read(_lines(job, choice, after, rows)):
        await write(b"".join([line.text for line in page]))
        written += len(page)
        after = page[-1].custom_id
    return written


def _lines(
    job: JobId, choice: RequestChoice, after: str | None, rows: bool
) -> Callable[[RemoteReads], list[RequestLine]]:
    return lambda reads: reads.request_lines(job, choice, after=after, limit=_PAGE, rows=rows)


async def _pages(reader: RemoteReader, job: JobId, *, with_rows: bool, trial: bool) -> AsyncIterator[list[ResultRow]]:
    above = 0
    while page := await reader.read(  # a snapshot each: settled requests never change
        partial(_page, job, above, with_rows, trial)
    ):
        yield page
        above = page[-1].number


def _page(job: JobId, above: int, with_rows: bool, trial: bool, reads: RemoteReads) -> list[ResultRow]:
    return reads.results(job, above=above, limit=_PAGE, rows=with_rows, trial=trial)
