"""The sidecar of `results --cost`: what each request cost, as CSV beside the results."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.cli.group import HintedUsageError
from orchestrator.cli.output_files import beside
from orchestrator.client.results_file import Output, is_device
from orchestrator.domain import errors, humanize, ids, money, queries

if TYPE_CHECKING:
    from orchestrator.ports.reads import RemoteReader

_PAGE: Final = 5000
_COLUMNS: Final = (
    *("custom_id", "state", "model", "input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_searches", "cost_usd"),
)
_HEADER: Final = ",".join(_COLUMNS).encode() + b"\n"


def cost_path(output: Output) -> Path:
    """`answers.costs.csv` beside `answers.jsonl`. Raises UsageError where results go to no file."""
    if output.path == "-" or is_device(output.path):
        raise HintedUsageError(
            "--cost writes a second file beside the results, and these go to no file",
            hint="name one: with -o answers.jsonl the costs are in answers.costs.csv",
        )
    return beside(output.path, ".costs.csv")


def refuse_foreign(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a file lies at *path* that no `results --cost` wrote."""
    try:
        with path.open("rb") as file:
            is_ours = file.readline(len(_HEADER)) in (b"", _HEADER)
    except FileNotFoundError:
        return
    if not is_ours and not overwrite:
        where = humanize.plain(str(path))
        raise errors.OutputError(f"{where} is another file", hint="move it away, or replace it with --overwrite")


async def write_costs(reader: RemoteReader, job: ids.JobId, path: Path) -> int:
    """Write what every settled request of *job* cost; how many."""
    from orchestrator.results import open_sink

    count = 0
    sink = open_sink(path)
    try:
        await sink.write(_HEADER)
        async for page in _pages(reader, job):
            await sink.write(await asyncio.to_thread(_lines, page))
            count += len(page)
        await sink.commit()
    except BaseException:
        await sink.abort()
        raise
    return count


async def _pages(reader: RemoteReader, job: ids.JobId) -> AsyncIterator[list[queries.RequestCost]]:
    above = 0
    while page := await reader.read(lambda reads: reads.request_costs(job, above=above, limit=_PAGE)):  # noqa: B023 - read before it moves on
        yield page
        above = page[-1].number


def _lines(page: list[queries.RequestCost]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_fields, page))
    return text.getvalue().encode()


def _fields(row: queries.RequestCost) -> tuple[object, ...]:
    _, own, state, *rest, nanos = msgspec.structs.astuple(row)
    return own, state.value, *rest, None if nanos is None else money.as_text(nanos)
