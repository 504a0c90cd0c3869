"""Index of a job's custom ids, in sorted runs: random ids (UUIDs) cost no more than ascending ones.

A single index over all of them would be touched everywhere by ids that come in no order (measured: a million UUIDs took
30 s to take in, a million ids in order 5). Here every `RUN` ids are sorted in memory and appended as one run; an id is
looked for in each run, and ids that come twice are found by merging the runs once, when an import is complete. An open
job grows in run 0.
"""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.domain.ids import JobId, RequestId
from orchestrator.ports.job_store import DuplicatesCursor
from orchestrator.store import sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("custom_ids")

#: Ids that are held and sorted at once: some 5 MB. Ten million requests make 611 runs.
RUN: Final = 16_384
#: Ids that one look for repeats merges: it keeps a connection busy for about half a second.
_MERGED_AT_ONCE: Final = 300_000
_GROWING: Final = 0
#: Code points that no text has: halves of pairs, and the first behind them.
_SURROGATES: Final = 0xD800
_AFTER_SURROGATES: Final = 0xE000
#: No id is behind it that has anything else in it.
_BEHIND_ALL: Final = chr(sys.maxunicode) * 1024

#: (custom id, request) as it is known.
Known = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedId:
    """A request whose custom id an earlier request of the job has."""

    custom_id: str
    request: RequestId
    first: RequestId
    run: int


def append_run(job: JobId, known: Iterable[Known], c: SqlConnection) -> None:
    """Store ids as a run of their own. They may repeat each other, or ids of other runs: `repeats` tells.

    Nothing is stored for an import that was discarded.
    """
    if c.execute(SQL["importing"], {"id": job}).fetchone() is None:
        return
    run = max(_runs(job, c), default=_GROWING) + 1
    c.insert_rows(SQL["add"], [(job, run, custom_id, request) for custom_id, request in sorted(known)])


def grow(job: JobId, known: Iterable[Known], c: SqlConnection) -> None:
    """Store ids of an open job, each of which `find` did not know."""
    c.insert_rows(SQL["add"], [(job, _GROWING, custom_id, request) for custom_id, request in sorted(known)])


def find(job: JobId, custom_id: str, c: SqlConnection) -> RequestId | None:
    """The request with this custom id."""
    return find_many(job, [custom_id], c).get(custom_id)


def find_many(job: JobId, custom_ids: Sequence[str], c: SqlConnection) -> dict[str, RequestId]:
    """The requests with these custom ids; ids without a request are left out."""
    listed = json.dumps([custom_id for custom_id in custom_ids if "\0" not in custom_id])
    alone = [custom_id for custom_id in custom_ids if "\0" in custom_id]  # SQLite's JSON would cut it there
    found: dict[str, RequestId] = {}
    for run in _runs(job, c):
        found.update(c.execute(SQL["many_in_run"], {"id": job, "run": run, "custom_ids": listed}).fetchall())
        for custom_id in alone:
            found.update(c.execute(SQL["in_run"], {"id": job, "run": run, "custom_id": custom_id}).fetchall())
    return found


def between(prefix: str) -> tuple[str, str]:
    """Ids that begin with *prefix* are from the first of these on, and before the second.

    Both databases compare texts by their code points.
    """
    for end in range(len(prefix), 0, -1):
        if (last := ord(prefix[end - 1])) < sys.maxunicode:
            following = chr(_AFTER_SURROGATES if last + 1 == _SURROGATES else last + 1)
            return prefix, prefix[: end - 1] + following
    return prefix, _BEHIND_ALL


def find_between(values: Mapping[str, Any], c: SqlConnection, *, is_backwards: bool) -> list[RequestId]:
    """At most `limit` requests of the job `id` between `above` and `below`, whose ids are from `low` on, before `high`.

    The first of them, or the last, the last first. A run is read only where those before it had too few.
    """
    query, limit = SQL["last_between" if is_backwards else "between"], values["limit"]
    found: list[RequestId] = []
    runs = _runs_between(values["id"], values["above"], values["below"], c)
    for run in reversed(runs) if is_backwards else runs:
        if len(found) >= limit:
            break
        found += [key for (key,) in c.execute(query, {**values, "run": run}).fetchall()]
    return found[:limit]


def _runs_between(job: JobId, above: int, below: int, c: SqlConnection) -> list[int]:
    """The runs that can have requests between two, in the order of their requests.

    Later runs have later requests, and what an open job grows by comes after all of them: so one request of each tells
    which runs lie wholly before or behind.
    """
    of_each = c.execute(SQL["one_of_each_run"], {"id": job}).fetchall()
    ordered = sorted(of_each, key=lambda one: (one[0] == _GROWING, one[0]))
    before = sum(request <= above for _, request in ordered)
    upto = sum(request < below for _, request in ordered)
    return [run for run, _ in ordered[max(before - 1, 0) : upto + 1]]


def repeats(
    job: JobId, after: DuplicatesCursor, most: int, c: SqlConnection
) -> tuple[list[RepeatedId], DuplicatesCursor | None]:
    """At most *most* repeated ids above *after*, ascending, and the next cursor (None at the end)."""
    runs = [c.stream(SQL["above"], (job, run, after.custom_id, after.request)) for run in _runs(job, c)]
    found: list[RepeatedId] = []
    at, last, first = after.custom_id, after.request, after.first
    try:
        for merged, (custom_id, request, run) in enumerate(heapq.merge(*runs)):
            if len(found) >= most or merged >= _MERGED_AT_ONCE:
                return found, DuplicatesCursor(custom_id=at, request=last, first=first)
            if custom_id == at:
                found.append(
                    RepeatedId(custom_id=custom_id, request=RequestId(request), first=RequestId(first), run=run)
                )
            else:
                at, first = custom_id, request
            last = request
    finally:
        for cursor in runs:
            cursor.close()
    return found, None


def forget(job: JobId, repeated: Iterable[RepeatedId], c: SqlConnection) -> None:
    """Delete repeated ids; the first of each stays."""
    c.executemany(SQL["forget"], [(job, one.run, one.custom_id, one.request) for one in repeated])


def forget_run(job: JobId, c: SqlConnection) -> bool:
    """Delete one run of a job; False if there was none."""
    return c.execute(SQL["forget_run"], {"id": job}).rowcount > 0


def _runs(job: JobId, c: SqlConnection) -> list[int]:
    return [row[0] for row in c.execute(SQL["runs"], {"id": job})]
