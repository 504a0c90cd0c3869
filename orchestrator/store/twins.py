"""Twins: requests that are not sent, since one with the same params, their original, is. They end as it does.

They follow in slices, each a transaction: before the batch of their originals is settled, or, where no batch brought
the end of an original, once nothing else of their job is left. So a crash in between leaves the rest for the next look.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.states import RequestState
from orchestrator.store import prefixes, sql_text
from orchestrator.store.payload import Blocks
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("twins")
_COLLECT_SQL: Final = sql_text.load("collect")
#: Twins that end in one transaction.
_AT_ONCE: Final = 5_000


def mark(job: JobId, pairs: Sequence[tuple[int, int]], c: SqlConnection) -> bool:
    """Make twins of queued requests of *job*: (request, original). False: its import was discarded."""
    if not pairs or c.execute(SQL["count_marked"], {"id": job, "count": len(pairs)}).rowcount == 0:
        return False
    c.update_rows(SQL["mark"], pairs)
    prefixes.give_up(json.dumps([request for request, _ in pairs]), c)
    return True


def params_of(requests: Sequence[int], c: SqlConnection) -> Iterator[bytes]:
    """The params of *requests*, ascending."""
    blocks = Blocks(c)
    for key, size_bytes in c.execute(SQL["params_of"], {"ids": json.dumps(requests)}).fetchall():
        yield blocks.of(key).params(key, size_bytes)


def follow_batch(job: JobId, batch: BatchId, c: SqlConnection) -> int:
    """End a slice of the twins whose originals are settled in *batch*; 0: none waits any more."""
    if not c.execute(SQL["twins_waiting"], {"id": job}).fetchone()[0]:
        return 0
    rows = c.execute(SQL["of_batch"], {"id": batch, "limit": _AT_ONCE})
    return end(job, [key for (key,) in rows], c)


def follow_left_over(c: SqlConnection) -> int:
    """End a slice of the twins of jobs of which nothing else is left; 0: none waits so."""
    done = 0
    for (job,) in c.execute(SQL["left_over"]).fetchall():
        rows = c.execute(SQL["waiting"], {"id": job, "limit": _AT_ONCE})
        done += end(JobId(job), [key for (key,) in rows], c, is_late=True)
    return done


def end(job: JobId, requests: Sequence[int], c: SqlConnection, *, is_late: bool = False) -> int:
    """End those of *requests*, which are twins, whose originals are settled; how many.

    is_late: no batch of theirs is still to be settled.
    """
    if not requests:
        return 0
    ids = json.dumps(requests)
    ends = [(RequestState(state), stop, count) for state, stop, count in c.execute(SQL["ends"], {"ids": ids})]
    total: int = sum(count for *_, count in ends)
    if not total:
        return 0
    c.execute(SQL["count_ended"], {"id": job, "count": total})
    c.execute(SQL["end"], {"ids": ids, "late": int(is_late)})
    succeeded = [(stop, count) for state, stop, count in ends if state is RequestState.SUCCEEDED]
    for stop, count in succeeded:
        if stop is not None:
            c.execute(_COLLECT_SQL["count_stopped"], {"id": job, "stop": stop, "count": count})
    if succeeded:
        c.execute(SQL["count_succeeded"], {"id": job, "count": sum(count for _, count in succeeded)})
    return total


class Ends(NamedTuple):
    """How many twins have ended, how many of them with success, and those by stop reason."""

    total: int
    succeeded: int
    stops: Counter[int]


def ends_with(originals: Sequence[int], c: SqlConnection) -> Ends:
    """How the twins of *originals* have ended."""
    settled = c.execute(SQL["settled_twins"], {"ids": json.dumps(originals)}).fetchall()
    return Ends(
        total=sum(count for *_, count in settled),
        succeeded=sum(count for state, _, count in settled if state == RequestState.SUCCEEDED),
        stops=Counter({stop: count for _, stop, count in settled if stop is not None}),
    )


def queue_again(job: JobId, originals: Sequence[int], ends: Ends, c: SqlConnection) -> None:
    """Queue the twins of *originals*, which are queued again in this transaction."""
    if ends.total:
        c.execute(SQL["queue_again"], {"ids": json.dumps(originals)})
        c.execute(SQL["count_queued_again"], {"id": job, "count": ends.total, "succeeded": ends.succeeded})
