"""The rows of a table that requests were made of, in blocks beside those of the params; a job without rows has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.ids import MAX_NUMBER, JobId, RequestId, request_id
from orchestrator.domain.row_columns import ColumnTally, RowColumn
from orchestrator.ports.streams import InputLine
from orchestrator.store import sql_text
from orchestrator.store.payload import Block, cut_blocks, encode_block
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("source_rows")
_CHECKS_SQL: Final = sql_text.load("checks")


def add(job: JobId, first: RequestId, lines: Sequence[InputLine], c: SqlConnection) -> None:
    """Store the rows of *lines*, the requests of *job* from *first* on. Does nothing where there are none."""
    rows = [line.row for line in lines]
    if not any(rows):
        return
    at = int(first)
    for block in cut_blocks(rows):
        c.execute(SQL["add_rows"], {"first_id": at, "count": len(block), "data": encode_block(block)})
        at += len(block)
    c.execute(SQL["count_rows"], {"id": job, "count": sum(map(bool, rows))})


def of_requests(keys: Sequence[int], c: SqlConnection) -> Iterator[bytes]:
    """The row of each of *keys*, requests of one job in ascending order; empty where there is none.

    Each block is opened once, and only if one of *keys* lies in it.
    """
    if not keys:
        return
    values = {"start": keys[0] & ~MAX_NUMBER, "low": keys[0], "high": keys[-1]}
    spans = iter(c.execute(SQL["spans"], values).fetchall())
    first, count = next(spans, (0, 0))
    block: Block | None = None
    for key in keys:
        while count and first + count <= key:
            first, count = next(spans, (0, 0))
        if not count or key < first:
            yield b""
            continue
        if block is None or not block.holds(key):
            block = Block.of(key, c.execute(SQL["block"], {"first_id": first}).fetchone())
        yield block.part(key)


def columns_of(job: JobId, c: SqlConnection) -> tuple[RowColumn, ...]:
    """The columns of the rows of *job*. One block is held at a time."""
    tally = ColumnTally()
    low = request_id(job, 0)
    values = {"start": low, "low": low, "high": request_id(job, MAX_NUMBER)}
    for first, count in c.execute(SQL["spans"], values).fetchall():
        block = Block.of(first, c.execute(SQL["block"], {"first_id": first}).fetchone())
        for key in range(first, first + count):
            tally.add(block.part(key))
    return tally.columns()


def contradictions(c: SqlConnection) -> Iterator[str]:
    """What is wrong with the rows of jobs that are not purged: a damaged block, or one that is gone."""
    found: Counter[int] = Counter()
    damaged: set[int] = set()
    for first, count, data in c.stream(_CHECKS_SQL["row_blocks"]):
        job = first >> 32
        try:
            found[job] += Block(first, count, data).count_filled()
        except errors.StoreError as exc:
            damaged.add(job)
            yield f"the rows of the requests from {first & 0xFFFFFFFF} of job {job}: {exc.cause}"
    for job, wanted in c.execute(_CHECKS_SQL["rows_counted"]):
        if job not in damaged and found[job] != wanted:
            yield f"job {job}: {wanted} of its requests have a row, and {found[job]} are there"
