"""Prefixes that requests of a job share in the prompt cache: found at intake, and what stage plan asks of them.

Only rows with a marker cost anything, unless markers are added: without any nothing is read or written here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from typing_extensions import override

from orchestrator.domain.cache_marker import takes_marker, with_marker
from orchestrator.domain.cache_prefix import (
    ANOTHER,
    MARKER,
    Breakpoint,
    Part,
    PrefixReader,
    choose,
    kept,
    shareable_points,
)
from orchestrator.domain.ids import MAX_NUMBER, BatchId, JobId, RequestId, number_of, request_id
from orchestrator.domain.json_text import plain_ascii
from orchestrator.domain.priming import LEAST_ROWS, CacheUse, PrefixGroup, PrefixTake, SharedTokens
from orchestrator.domain.spending import poor_cache
from orchestrator.domain.states import RequestState
from orchestrator.ports.job_store import Cut, Members, PilotMember, PrefixStore
from orchestrator.ports.streams import InputLine
from orchestrator.store import facet, history, sql_rows, sql_text
from orchestrator.store.read_costs import sum_up
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("prefixes")
T = TypeVar("T")
#: In place of a digest: too short for its model.
_SHORT: Final = "short:"
#: The prefixes of a request, shortest first.
Marked = tuple[RequestId, Sequence[Breakpoint]]


class SqlPrefixStore(facet.Facet, PrefixStore):
    """Rows of `prefix` and `prefixed`."""

    @override
    @facet.snapshot
    def shared(self, c: SqlConnection, job: JobId, least: int) -> list[SharedTokens]:
        return shared_tokens(job, least, c)

    @override
    @facet.snapshot
    def groups(
        self, c: SqlConnection, job: JobId, least: int, limit: int, *, among: Collection[int] | None = None
    ) -> list[PrefixGroup]:
        ids = json.dumps(sorted(among or ()))
        values = {"job_id": job, "least": least, "limit": limit, "every": int(among is None), "ids": ids}
        return [_group(row) for row in sql_rows.dict_rows(c.execute(SQL["groups"], values))]

    @override
    @facet.snapshot
    def piloted(self, c: SqlConnection, job: JobId, limit: int) -> list[PilotMember]:
        span = {"low": request_id(job, 0), "high": request_id(job, MAX_NUMBER), "limit": limit}
        return [PilotMember(number_of(key), size, prefix) for key, size, prefix in c.execute(SQL["piloted"], span)]

    @override
    @facet.snapshot
    def loss(self, c: SqlConnection, job: JobId) -> str | None:
        return loss_of(job, c)

    @override
    @facet.snapshot
    def waiting(
        self, c: SqlConnection, groups: Sequence[PrefixGroup], *, each: int | None, limit: int
    ) -> list[Members]:
        found: list[Members] = []
        for group in groups:
            most = limit if each is None else min(each, limit)
            values = {"prefix_id": group.id, "next_id": group.next_id, "low": _low(group), "limit": most}
            rows = c.execute(SQL["waiting"], values).fetchall() if most else []
            found.append([(number_of(key), size) for key, size in rows])
            limit -= len(rows)
        return found

    @override
    @facet.snapshot
    def free(self, c: SqlConnection, job: JobId, least: int, limit: int, cut: Cut[T]) -> T:
        rows = c.execute(SQL["free"], {"job_id": job, "least": least, "limit": limit})
        return cut((number_of(key), size) for key, size in rows)

    @override
    async def emptied(self, groups: Sequence[PrefixGroup]) -> None:
        def step(c: SqlConnection) -> None:
            c.executemany(SQL["emptied"], [{"id": group.id, "next_id": group.next_id} for group in groups])

        await self._db.write(step)


def _low(group: PrefixGroup) -> int:
    is_back = group.primer is RequestState.QUEUED and group.primer_id is not None
    return min(group.primer_id or 0, group.next_id) if is_back else group.next_id


def _group(row: dict[str, Any]) -> PrefixGroup:
    return PrefixGroup(
        id=row["id"],
        part=Part(row["part"]),
        ttl_s=row["ttl_s"],
        waiting=row["waiting"],
        next_id=row["next_id"],
        primer=None if row["primer"] is None else RequestState(row["primer"]),
        tries=row["tries"],
        primer_id=row["primer_id"],
        primer_sent_at=sql_rows.from_text_or_none(row["primer_sent_at"]),
        primer_ended_at=sql_rows.from_text_or_none(row["primer_ended_at"]),
        used_at=sql_rows.from_text_or_none(row["used_at"]),
        in_flight=bool(row["in_flight"]),
    )


def shared_tokens(job: JobId, least: int, c: SqlConnection) -> list[SharedTokens]:
    """See `ports.job_store.PrefixStore.shared`."""
    return [SharedTokens(*row) for row in c.execute(SQL["shared"], {"job_id": job, "least": least})]


def note(job: JobId, first: RequestId, lines: Sequence[InputLine], use: CacheUse, c: SqlConnection) -> None:
    """Note the prefixes of new requests of *job*, *lines* from *first* on, in the transaction that adds them.

    Those that they mark, or, with `auto`, those that can be marked.
    """
    if use is CacheUse.OFF or (use is CacheUse.PRIME and not any(MARKER in plain_ascii(line.params) for line in lines)):
        return
    reader = PrefixReader()
    found = list(_shared(first, lines, reader, use))
    _count_short(job, [points[-1] for _, points in found if not kept(points)], c)
    many = [(request, long) for request, points in found if (long := kept(points))]
    if many:
        known = _known(job, {point.digest.hex() for _, points in many for point in points}, c)
        enough = LEAST_ROWS if use is CacheUse.AUTO else ANOTHER
        chosen = choose(many, lambda digest: digest.hex() in known, enough=enough)
        if use is CacheUse.AUTO:
            chosen = {
                request: point
                for request, point in chosen.items()
                if takes_marker(lines[request - first].params, point.part)
            }
        _add(job, chosen, known, c)


def _shared(first: RequestId, lines: Sequence[InputLine], reader: PrefixReader, use: CacheUse) -> Iterator[Marked]:
    for place, line in enumerate(lines):
        points = shareable_points(reader, line.params, is_added=use is CacheUse.AUTO)
        if points:
            yield RequestId(first + place), points


def _count_short(job: JobId, points: Sequence[Breakpoint], c: SqlConnection) -> None:
    """Count requests whose longest beginning, of *points*, is too short to be kept: in one row for each model."""
    models = {point.model: point for point in points}
    if not models:
        return
    digests = {model: f"{_SHORT}{model}" for model in models}
    known = _known(job, digests.values(), c)
    new = [
        (job, digests[model], model, point.part.value, point.tokens, point.ttl_s)
        for model, point in models.items()
        if digests[model] not in known
    ]
    c.insert_rows(SQL["add_prefix"], new)
    known = _known(job, digests.values(), c)
    for model, count in Counter(point.model for point in points).items():
        c.execute(SQL["count_short"], {"id": known[digests[model]], "count": count})


def _known(job: JobId, digests: Iterable[str], c: SqlConnection) -> dict[str, int]:
    """The numbers of those prefixes of *job* that there are."""
    return dict(c.execute(SQL["known"], {"job_id": job, "texts": json.dumps(sorted(digests))}).fetchall())


def _add(job: JobId, chosen: Mapping[RequestId, Breakpoint], known: Mapping[str, int], c: SqlConnection) -> None:
    points = {point.digest.hex(): point for point in chosen.values()}
    new = [
        (job, digest, point.model, point.part.value, point.tokens, point.ttl_s)
        for digest, point in points.items()
        if digest not in known
    ]
    c.insert_rows(SQL["add_prefix"], new)
    numbers = _known(job, points, c)
    c.insert_rows(SQL["add_member"], [(request, numbers[point.digest.hex()]) for request, point in chosen.items()])
    for number, count in Counter(numbers[point.digest.hex()] for point in chosen.values()).items():
        c.execute(SQL["count"], {"id": number, "count": count})


def use(job: JobId, batch: BatchId, uses: Sequence[PrefixTake], c: SqlConnection) -> bool:
    """Note what *batch* takes of its prefixes. False: one is not any more as it was read."""
    for each in uses:
        values = {
            "id": each.prefix,
            "next_id": each.next_id,
            "upto": each.next_id if each.is_picked else request_id(job, each.last) + 1,
            "count": each.requests,
            "batch_id": batch,
            "primer_id": request_id(job, each.last) if each.is_primer else None,
        }
        if not sql_rows.moved(c, SQL["use"], values):
            return False
    return True


def unmark(batch: BatchId, uses: Sequence[PrefixTake], c: SqlConnection) -> None:
    """Of requests of *batch*, those that it does not take as a prefix's next ones get no marker (`auto`).

    What is noted of a request in a batch says that it was given one: its body can be made again, byte for byte.
    """
    c.execute(SQL["unmark"], {"batch_id": batch, "keys": json.dumps([use.prefix for use in uses])})


def as_sent(members: list[tuple[RequestId, bytes]], c: SqlConnection) -> list[tuple[RequestId, bytes]]:
    """*members* of a batch, in order, with their params as they are sent: with the markers that are added."""
    if not members:
        return members
    span = {"job_id": members[0][0] >> 32, "low": members[0][0], "high": members[-1][0]}
    parts = dict(c.execute(SQL["marks"], span).fetchall())
    if not parts:
        return members
    return [(key, with_marker(params, Part(parts[key])) if key in parts else params) for key, params in members]


def loss_of(job: JobId, c: SqlConnection) -> str | None:
    """See `PrefixStore.loss`. Requests that go ahead are to write, so they are no sign."""
    return poor_cache(sum_up(c.execute(SQL["answers"], {"id": job})).total)


def stop_poor(job: JobId, now: datetime, c: SqlConnection) -> None:
    """Say it, once, if the markers that are added to requests of *job* cost more than none: no more are."""
    if c.execute(SQL["is_unwarned"], {"id": job}).fetchone() and (why := loss_of(job, c)) is not None:
        history.record(c, now, "cache.poor", job=job, why=f"{why}; no marker is added any more")


def leave_out(requests: str, c: SqlConnection) -> None:
    """Forget *requests* (a JSON list), which are no part of their job any more."""
    c.execute(SQL["leave_out"], {"ids": requests})


def give_up(requests: str, c: SqlConnection) -> None:
    """Forget the prefixes of *requests* (a JSON list), which will not be sent."""
    c.execute(SQL["leave_out"], {"ids": requests})
    c.execute(SQL["forget_members"], {"ids": requests})


def change(requests: str, c: SqlConnection) -> None:
    """Forget the prefixes of *requests* (a JSON list), which are queued again with other params: they may share none.

    Whoever waits for one of them waits no more. What is counted of a prefix stays: it says what was handed in.
    """
    c.execute(SQL["forget_primers"], {"ids": requests})
    c.execute(SQL["forget_members"], {"ids": requests})


def discard_some(job: JobId, span: Mapping[str, int], c: SqlConnection) -> bool:
    """Delete a slice of what was noted of *job*, whose requests are in *span*; True while there may be more."""
    if c.execute(SQL["discard_members"], span).rowcount > 0:
        return True
    c.execute(SQL["discard_prefixes"], {"id": job})
    return False
