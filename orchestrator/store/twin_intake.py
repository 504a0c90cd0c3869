"""Finds the identical requests of imports, and of what an open job is given later; only where a job says `dedupe`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from orchestrator.domain.fingerprint import fingerprint_of
from orchestrator.domain.ids import JobId, RequestId
from orchestrator.ports.streams import InputLine
from orchestrator.store import custom_ids, fingerprints, sql_rows, twins
from orchestrator.store.database import Database
from orchestrator.store.sql_connection import SqlConnection

_SHIFT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Portions:
    """How much is done at once. run: digests that are sorted; merged: of all runs, in one look; marked: in one step.

    held: pairs that are sorted, to be marked in the order of the requests: digests come in none, and each mark would
    write a page of its own. Some 25 MB.
    """

    run: int = custom_ids.RUN
    merged: int = 300_000
    held: int = 500_000
    marked: int = 5_000


_USUAL: Final = Portions()


class TwinIntake:
    """Digests of running imports are held in memory until they fill a run."""

    def __init__(self, database: Database, portions: Portions = _USUAL) -> None:
        self._db, self._portions = database, portions
        self._unsorted: dict[JobId, list[fingerprints.Printed]] = {}

    def begin(self, job: JobId) -> None:
        """Look for identical requests of the import *job* from now on."""
        self._unsorted[job] = []

    def forget(self, job: JobId) -> None:
        """The import *job* was given up."""
        self._unsorted.pop(job, None)

    async def add(self, job: JobId, first: RequestId, lines: Sequence[InputLine]) -> None:
        """Take the next requests of an import, *lines* from *first* on."""
        unsorted = self._unsorted.get(job)
        if unsorted is None:
            return
        digests = (fingerprint_of(line.params) for line in lines)
        unsorted.extend((digest, first + place) for place, digest in enumerate(digests))
        if len(unsorted) >= self._portions.run:
            self._unsorted[job] = []
            await self._db.write_free(partial(fingerprints.append_run, job, unsorted))

    async def find(self, job: JobId, *, stays_open: bool) -> AsyncGenerator[Sequence[bytes], None]:
        """Mark the twins among the requests of an import that is complete; yields their params, slice by slice.

        stays_open: more requests may come, which are looked up among these.
        """
        unsorted = self._unsorted.pop(job, None)
        if unsorted is None:
            return
        await self._db.write_free(partial(fingerprints.append_run, job, unsorted))
        held: list[int] = []  # a number each takes less than a pair
        after: fingerprints.AlikeCursor | None = fingerprints.AlikeCursor()
        while after is not None:
            found, after = await self._db.read_bulk(partial(fingerprints.alike, job, after, self._portions.merged))
            held += [request << _SHIFT | original for request, original in found]
            if len(held) >= self._portions.held or after is None:
                held.sort()
                for some in sql_rows.slices(held, self._portions.marked):
                    pairs = [(each >> _SHIFT, each & ((1 << _SHIFT) - 1)) for each in some]
                    if await self._db.write_free(partial(twins.mark, job, pairs)):
                        yield await self._db.read_bulk(partial(_params_of, [request for request, _ in pairs]))
                held.clear()
        if stays_open:
            await self._db.write_free(partial(fingerprints.forget_twins, job))
            return
        while await self._db.write_free(partial(fingerprints.forget_run, job)):
            pass


def _params_of(requests: Sequence[int], c: SqlConnection) -> list[bytes]:
    return list(twins.params_of(requests, c))


def extend(job: JobId, first: RequestId, lines: Sequence[InputLine], c: SqlConnection) -> None:
    """Make twins of those of *lines*, which were just added to an open job, that are identical to another request.

    What is settled already ends at once.
    """
    digests = [fingerprint_of(line.params) for line in lines]
    known = fingerprints.originals(job, digests, c)
    new: list[fingerprints.Printed] = []
    pairs: list[tuple[int, int]] = []
    for request, digest in enumerate(digests, first):
        if digest in known:
            pairs.append((request, known[digest]))
        else:
            known[digest] = request
            new.append((digest, request))
    fingerprints.grow(job, new, c)
    if twins.mark(job, pairs, c):
        twins.end(job, [request for request, _ in pairs], c, is_late=True)
