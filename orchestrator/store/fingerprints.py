"""Digests of the params of jobs that send identical requests once, in sorted runs; see `store/custom_ids` for why.

An import fills runs, which are merged once it is complete: so the identical ones are found. Then they are deleted, but
for those of an open job, in which later requests are looked up. Other jobs have none.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from orchestrator.domain.ids import JobId
from orchestrator.store import custom_ids, sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("fingerprints")
_GROWING: Final = 0

#: (digest, request) as it is known.
Printed = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeCursor:
    """Where a look for identical requests goes on: above this digest and request; `first` has the same digest first."""

    digest: str = ""
    request: int = 0
    first: int = 0


@dataclass(slots=True)
class _Alike:
    """Requests with one digest, ascending. first: the first of all that have it, 0: it is among them."""

    first: int
    members: list[int] = field(default_factory=list)


def append_run(job: JobId, printed: Iterable[Printed], c: SqlConnection) -> None:
    """Store digests of an import as a run of their own. Nothing is stored for one that was discarded."""
    if c.execute(custom_ids.SQL["importing"], {"id": job}).fetchone() is None:
        return
    run = max(_runs(job, c), default=_GROWING) + 1
    c.insert_rows(SQL["add"], [(job, run, digest, request) for digest, request in sorted(printed)])


def grow(job: JobId, printed: Iterable[Printed], c: SqlConnection) -> None:
    """Store digests of an open job, of requests that are sent."""
    c.insert_rows(SQL["add"], [(job, _GROWING, digest, request) for digest, request in sorted(printed)])


def originals(job: JobId, digests: Iterable[str], c: SqlConnection) -> dict[str, int]:
    """By digest, the request of an open *job* that is sent and has it: the newest, if the first has failed."""
    listed = json.dumps(sorted(set(digests)))
    found: dict[str, int] = {}
    for run in _runs(job, c):
        for digest, request in c.execute(SQL["originals_in_run"], {"id": job, "run": run, "texts": listed}):
            found[digest] = max(request, found.get(digest, 0))
    return found


def alike(
    job: JobId, after: AlikeCursor, most: int, c: SqlConnection
) -> tuple[list[tuple[int, int]], AlikeCursor | None]:
    """(request, first with the same digest) of the next requests of an import, in no order; None: there are no more.

    most: digests that are merged; 300,000 keep a connection busy for about half a second. Requests that were left out
    of the import are passed over.
    """
    at, request, count = after.digest, after.request, 0
    group, shared = _Alike(after.first), list[_Alike]()
    with ExitStack() as opened:
        runs = [
            opened.enter_context(closing(c.stream(SQL["above"], (job, run, after.digest, after.request))))
            for run in _runs(job, c)
        ]
        for digest, request in islice(heapq.merge(*runs), most):
            count += 1
            if digest != at:
                if group.first or len(group.members) > 1:
                    shared.append(group)
                at, group = digest, _Alike(0)
            group.members.append(request)
    found = _pairs([*shared, group], c)
    is_over = count < most
    return found, None if is_over else AlikeCursor(digest=at, request=request, first=group.first)


def _pairs(groups: Sequence[_Alike], c: SqlConnection) -> list[tuple[int, int]]:
    """(request, first of its group), and the first of each group, of those requests that are there."""
    existing = _existing([member for group in groups for member in group.members], c)
    found: list[tuple[int, int]] = []
    for group in groups:
        there = [member for member in group.members if member in existing]
        if there and not group.first:
            group.first = there.pop(0)
        found += [(member, group.first) for member in there]
    return found


def _existing(requests: Sequence[int], c: SqlConnection) -> set[int]:
    return {key for (key,) in c.execute(SQL["existing"], {"ids": json.dumps(requests)})}


def forget_twins(job: JobId, c: SqlConnection) -> None:
    """Delete the digests of those requests that turned out to be twins."""
    for run in _runs(job, c):
        c.execute(SQL["forget_twins"], {"id": job, "run": run})


def forget_run(job: JobId, c: SqlConnection) -> bool:
    """Delete one run of the digests of a job; False if it has none."""
    return c.execute(SQL["forget_run"], {"id": job}).rowcount > 0


def _runs(job: JobId, c: SqlConnection) -> list[int]:
    return [row[0] for row in c.execute(SQL["runs"], {"id": job})]
