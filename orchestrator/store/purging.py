"""Facet of purge: deletes the params, rows and results of jobs that are over. Counts, ids, errors and history stay.

A job is marked first: from then on no body of it is shown. Its rows are deleted in slices, each a short transaction,
so that other work goes on between them. A crash leaves the mark, and the next purge goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from typing_extensions import override

from orchestrator.domain import errors
from orchestrator.domain.humanize import IMPORT_ENDS
from orchestrator.domain.ids import MAX_NUMBER, JobId, request_id
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.states import OVER, JobState
from orchestrator.ports.job_store import PurgeStore
from orchestrator.store import facet, history, sql_rows, sql_text
from orchestrator.store.read import JobReader
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("purging")
#: Requests that are looked up at once. Their results are deleted in the order in which they lie, not in that of the
#: requests: a page of results that came shuffled is written once, not once per result.
_WINDOW: Final = 50_000
#: Rows, and blocks of params or of a table's rows (up to 512 KiB each), of one transaction.
_ROWS: Final = 2_000
_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The next requests of a purge: above one id, up to another; (result, request) of each that has a result.

    is_last: there are none; what is left lies beside the requests.
    """

    job: JobId
    above: int
    upto: int
    results: Sequence[tuple[int, int]]
    blocks: Sequence[int]
    row_blocks: Sequence[int]
    is_last: bool


class SqlPurgeStore(facet.Facet, PurgeStore):
    """Deletes by windows over the requests; where it was is kept in the job's row."""

    @override
    @facet.transaction
    def mark(self, c: SqlConnection, job: JobId, by: str, now: datetime) -> bool:
        found = sql_rows.to_job(sql_rows.dict_rows(c.execute(SQL["job"], {"id": job}))[0])
        if found.purged_at is not None:
            return False
        if found.state not in OVER:
            raise errors.GuardRefused(
                f"job {found.public_id} is {found.state}: its requests and results are still needed",
                hint=IMPORT_ENDS if found.state is JobState.IMPORTING else "wait until it is over, or cancel it",
            )
        if sql_rows.moved(c, SQL["purge"], {"id": job, "by": by, "now": sql_rows.to_text(now)}):
            history.record(c, now, "job.purged", job=job, why=by)
        return True

    @override
    @facet.snapshot
    def over_since(self, c: SqlConnection, until: datetime) -> list[JobSnapshot]:
        return JobReader(c).over_since(until)

    @override
    async def purge_some(self) -> bool:
        window = await self._db.read_bulk(_next_window)
        if window is None:
            return False
        for results in sql_rows.slices(window.results, _ROWS):
            await self._db.write(partial(_forget_results, results))
        for blocks in sql_rows.slices(window.blocks, _BLOCKS):
            await self._db.write(partial(_forget_blocks, "forget_block", blocks))
        for blocks in sql_rows.slices(window.row_blocks, _BLOCKS):
            await self._db.write(partial(_forget_blocks, "forget_row_block", blocks))
        for above in range(window.above, window.upto, _ROWS):
            values = {"above": above, "upto": min(above + _ROWS, window.upto)}
            await self._db.write(partial(_change, "forget_attempts", values))
        if window.is_last:
            await self._clear_rest(window.job)
        else:
            values = {"id": window.job, "above": window.above, "upto": window.upto}
            await self._db.write(partial(_change, "advance", values))
        return True

    async def _clear_rest(self, job: JobId) -> None:
        """Delete what belongs to no single request; then the purge of the job is complete."""
        while await self._db.write(partial(_change, "forget_refused", {"id": job, "limit": _ROWS})):
            pass
        await self._db.write(partial(_change, "forget_spares", {"id": job}))
        await self._db.write(partial(_change, "forget_changes", {"id": job}))
        await self._db.write(partial(_change, "purged_whole", {"id": job}))


def _next_window(c: SqlConnection) -> _Window | None:
    found = c.execute(SQL["purging"]).fetchone()
    if found is None:
        return None
    job, above = JobId(found[0]), found[1]
    high = request_id(job, MAX_NUMBER)
    rows = c.execute(SQL["window"], {"above": above, "high": high, "limit": _WINDOW}).fetchall()
    upto = rows[-1][0] if rows else above
    # The last blocks may begin above the last request: those that were left out of an import keep their place.
    span = {"above": above, "upto": upto if rows else high}
    return _Window(
        job=job,
        above=above,
        upto=upto,
        results=sorted((result, request) for request, result in rows if result is not None),
        blocks=[first for (first,) in c.execute(SQL["blocks"], span)],
        row_blocks=[first for (first,) in c.execute(SQL["row_blocks"], span)],
        is_last=not rows,
    )


def _forget_results(results: Sequence[tuple[int, int]], c: SqlConnection) -> None:
    c.executemany(SQL["forget_result"], results)


def _forget_blocks(query: str, blocks: Sequence[int], c: SqlConnection) -> None:
    c.executemany(SQL[query], [(first,) for first in blocks])


def _change(query: str, values: dict[str, int], c: SqlConnection) -> int:
    return c.execute(SQL[query], values).rowcount
