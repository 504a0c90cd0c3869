"""Export: settled requests in the order of the input, each line in exactly the API's own shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.domain.ids import JobId
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.result_lines import settled_lines
from orchestrator.ports.reads import RemoteReader, RemoteReads
from orchestrator.ports.streams import Sink

_PAGE: Final = 1000


async def export(reader: RemoteReader, job: JobId, sink: Sink) -> int:
    """Write every request of *job* that is settled now, and commit the sink, or abort it. Returns how many."""
    written = above = 0
    try:
        while rows := await reader.read(_page(job, above)):  # a snapshot each: settled requests never change
            above = rows[-1].number
            written += len(rows)
            await sink.write(settled_lines(rows))
        await sink.commit()
    except BaseException:
        await sink.abort()
        raise
    return written


def _page(job: JobId, above: int) -> Callable[[RemoteReads], list[ResultRow]]:
    return lambda reads: reads.results(job, above=above, limit=_PAGE)
