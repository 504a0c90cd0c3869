"""The load over time, for the charts of the overview: at each step of a range, and what was settled lately.

Throughput counts over real time: a sample holds until the next one, so silence counts as nothing. Requests that were
settled while no engine ran are added to all sums before, so that they appear in no difference of two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response

from orchestrator.http_api.dashboard import live_updates, page
from orchestrator.http_api.responses import packed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from orchestrator.domain import queries
    from orchestrator.http_api.services import Services
    from orchestrator.ports.reads import Reads


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRange:
    """What the charts show: *span* up to now, a point for each *step*. words: after "the"."""

    span: timedelta
    step: timedelta
    words: str


HOUR: Final = "1h"
#: By the name in the address. Some 350 points each, which is what a screen has place for.
RANGES: Final = MappingProxyType(
    {
        HOUR: ChartRange(span=timedelta(hours=1), step=timedelta(seconds=10), words="last hour"),
        "24h": ChartRange(span=timedelta(days=1), step=timedelta(minutes=4), words="last 24 hours"),
        "7d": ChartRange(span=timedelta(days=7), step=timedelta(minutes=30), words="last 7 days"),
    }
)


def chart_facts(request: page.PageRequest) -> dict[str, object]:
    """The range in the address, and links to all of them. Raises UsageError."""
    name = request.one_of("range", frozenset(RANGES)) or HOUR
    links = [
        {"text": each, "on": each == name, "href": request.link(range=None if each == HOUR else each)}
        for each in RANGES
    ]
    chosen = RANGES[name]
    return {
        "range": name,
        "range_words": chosen.words,
        "range_s": int(chosen.span.total_seconds()),
        "range_step_s": int(chosen.step.total_seconds()),
        "ranges": links,
    }


def chart_endpoint(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The points of a range, by column: time, in flight, queued, settled, failed."""

    async def columns(request: Request) -> Response:
        chosen = RANGES.get(request.query_params.get("range", HOUR), RANGES[HOUR])
        since = datetime.now(UTC) - chosen.span
        samples = await services.reader.read(partial(samples_since, since, step=chosen.step))
        rows = [(s.at.timestamp(), s.in_flight_requests, s.queued, s.settled, s.failed) for s in samples]
        found = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], []]
        return packed(JSONResponse(found, headers={"cache-control": "no-store"}), request)

    return columns


def settled_since(since: datetime, totals: queries.Totals, reads: Reads) -> int | None:
    """How many requests were settled since *since*; None if no engine ran before now."""
    samples = samples_since(since, reads)
    return max(live_updates.chart_point(totals)[2] - samples[0].settled, 0) if samples else None


def samples_since(since: datetime, reads: Reads, *, step: timedelta = RANGES[HOUR].step) -> list[queries.Sample]:
    """A sample of each *step* from *since* on, beginning with the state at that time, if it is known."""
    before = reads.sample_at(since)
    first = [] if before is None else [replace(before, at=since)]
    leaps = reads.unwatched(since=since)
    return [
        replace(
            sample,
            settled=sample.settled + sum(leap.settled for leap in leaps if leap.at > sample.at),
            failed=sample.failed + sum(leap.failed for leap in leaps if leap.at > sample.at),
        )
        for sample in [*first, *reads.samples(since=since, step=step)]
    ]
