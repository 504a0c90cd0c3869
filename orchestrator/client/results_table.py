"""Whether a table, a text or a Parquet file is an earlier output of a job: its answers are looked for in the store.

A Parquet file says itself which job it is of. The cost of an answer may have become known since, and a failure may have
been tried again.
"""

from __future__ import annotations

import asyncio
import csv
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from orchestrator.domain import answer_table, errors, ids, model, queries
from orchestrator.domain.result_choice import ALL_RESULTS, INVALID, ResultChoice
from orchestrator.domain.result_lines import MAX_LINE_BYTES
from orchestrator.domain.result_outcome import RETRIED_STOPS
from orchestrator.domain.row_columns import ColumnKind, RowColumn

if TYPE_CHECKING:
    from orchestrator.ports.reads import RemoteReader

_PAGE: Final = 500
_BOM: Final = "\ufeff"
#: What may have another result by now, since a person may ask for it again.
_NOT_FINAL: Final = frozenset({"failed", "canceled", INVALID})
#: Of these so many are looked up, which tells two jobs apart.
_LOOKED_UP: Final = 100
_MOST_LINE_BYTES: Final = 2 * MAX_LINE_BYTES

# The module's own limit is 128 KiB a cell, for the whole process.
csv.field_size_limit(max(csv.field_size_limit(), _MOST_LINE_BYTES))


async def is_rendering_of(
    path: str,
    kind: answer_table.OutputFormat,
    reader: RemoteReader,
    job: ids.JobId,
    only: ResultChoice = ALL_RESULTS,
) -> bool:
    """True if the file at *path* was written of results of *job* as a *kind*. only: of these alone, as they are now."""
    if kind is answer_table.OutputFormat.PARQUET:
        from orchestrator.results import parquet_job

        public_id = (await reader.read(lambda reads: reads.get(job))).public_id
        return not only.words and await asyncio.to_thread(parquet_job, path) == public_id
    stop = threading.Event()
    try:
        if kind is answer_table.OutputFormat.TXT:
            return await _holds_texts(_blocks(path, stop), _results(reader, job, only, with_rows=False))
        found = await reader.read(lambda reads: (reads.row_columns(job), reads.get(job)))
        return await _TableWalk(kind, *found, reader, only).holds(_records(_blocks(path, stop), kind))
    except (errors.InputError, OSError, UnicodeDecodeError, csv.Error):  # no file, or none of ours
        return False
    finally:
        stop.set()


async def _results(
    reader: RemoteReader, job: ids.JobId, only: ResultChoice, *, with_rows: bool
) -> AsyncIterator[queries.ResultRow]:
    above = 0
    while page := await reader.read(lambda reads: reads.results(job, above=above, limit=_PAGE, rows=with_rows)):  # noqa: B023 - read before it moves on
        for result in only.of(page):
            yield result
        above = page[-1].number


def _blocks(path: str, stop: threading.Event) -> Iterator[bytes]:
    from orchestrator.inputs import read_blocks, unpacked_text

    return iter(unpacked_text(path, read_blocks(path, stop)))


async def _holds_texts(blocks: Iterator[bytes], results: AsyncIterator[queries.ResultRow]) -> bool:
    """True if *blocks* are texts of *results*, in their order, and nothing else."""
    from orchestrator.results import text_piece

    ahead, has_begun = bytearray(), False

    def fill(size: int) -> None:
        while len(ahead) < size and (block := next(blocks, None)) is not None:
            ahead.extend(block)

    async for result in results:
        piece = text_piece(result, is_first=not has_begun)
        await asyncio.to_thread(fill, len(piece))
        if piece and ahead.startswith(piece):
            del ahead[: len(piece)]
            has_begun = True
    await asyncio.to_thread(fill, 1)
    return not ahead


def _records(blocks: Iterator[bytes], kind: answer_table.OutputFormat) -> Iterator[list[list[str]]]:
    """The records of a table, several at a time, the header alone."""
    reader = csv.reader(_text_lines(blocks), delimiter=kind.delimiter, strict=True)
    for header in reader:
        yield [header]
        break
    while page := list(islice(reader, _PAGE)):
        yield page


def _text_lines(blocks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _MOST_LINE_BYTES:
            raise csv.Error("a line of this length is none of ours")
        yield from (f"{line.decode()}\n" for line in lines)
    if rest:
        yield rest.decode()


class _TableWalk:
    """The records of a table beside the results of a job, in the same order."""

    def __init__(
        self,
        kind: answer_table.OutputFormat,
        own: Iterable[RowColumn],
        job: model.JobSnapshot,
        reader: RemoteReader,
        only: ResultChoice,
    ) -> None:
        self._only = only
        self._kind, self._own, self._schema = kind, tuple(own), job.answer_schema
        self._reuses = job.dedupe
        self._reader, self._job = reader, job.id
        self._results = _results(reader, job.id, only, with_rows=True)
        self._looked_up = 0

    async def holds(self, records: Iterator[list[list[str]]]) -> bool:
        """True if there is a column of answers, and each record is what a result says, or a failure of before."""
        first = await asyncio.to_thread(next, records, None)
        if not first or not first[0]:
            return False
        head, *others = first[0]
        self._is_safe = head.startswith(_BOM)
        names = self._names([head.removeprefix(_BOM), *others])
        try:
            self._table = answer_table.AnswerTable(self._own, names, self._schema, reuses=self._reuses)
        except errors.UsageError:
            return False
        if not self._table.has_answers:
            return False  # it may be what the job was made of
        while page := await asyncio.to_thread(next, records, None):
            for record in page:
                if len(record) != len(names) or not await self._is_ours(record):
                    return False
        return True

    def _names(self, header: list[str]) -> list[str]:
        """The columns that *header* means."""
        from orchestrator.results import defused

        if not self._is_safe:
            return header
        all_names = answer_table.AnswerTable(self._own, None, self._schema, reuses=self._reuses).names
        meant = {defused(name): name for name in all_names}
        return [meant.get(name, name) for name in header]

    async def _is_ours(self, record: list[str]) -> bool:
        may_differ = self._cell(record, "status") in _NOT_FINAL or self._cell(record, "stop_reason") in RETRIED_STOPS
        if may_differ and not self._only.words:
            return await self._was_failure(record)
        from orchestrator.results import defused

        wanted = self._compared(record)
        async for result in self._results:
            cells = self._table.cells(result)
            if self._compared([defused(cell) for cell in cells] if self._is_safe else cells) == wanted:
                return True
        return False

    async def _was_failure(self, record: list[str]) -> bool:
        self._looked_up += 1
        custom_id = self._cell(record, answer_table.ID)
        if custom_id is None or self._looked_up > _LOOKED_UP:
            return True
        try:
            await self._reader.read(lambda reads: reads.request(self._job, custom_id))
        except errors.NoSuchThing:
            return False
        return True

    def _cell(self, record: list[str], fact: str) -> str | None:
        place = self._table.place_of(fact)
        return None if place is None else record[place]

    def _compared(self, cells: list[str]) -> list[str]:
        columns = self._table.columns
        return [cell for cell, column in zip(cells, columns, strict=True) if column.kind is not ColumnKind.MONEY]
