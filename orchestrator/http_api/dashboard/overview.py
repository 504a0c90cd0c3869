"""The first screen: what needs a person, how busy it is, what expires next, the newest jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

from orchestrator.domain.account import BY_USER
from orchestrator.domain.looks import JobFilter
from orchestrator.domain.states import IN_FLIGHT, BatchState, JobState
from orchestrator.domain.stops import stop_words
from orchestrator.http_api import look
from orchestrator.http_api.dashboard.live import point_of
from orchestrator.http_api.dashboard.page import HEADERS, Ask, Page
from orchestrator.http_api.dashboard.shown import job_row, speed_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.domain.looks import Sample, Totals
    from orchestrator.http_api.services import Services
    from orchestrator.ports.commands import Reads

_NEWEST: Final = 8
_ASKING: Final = 20
_FLYING: Final = 500
_RATE_OVER: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)
_STEP: Final = timedelta(seconds=10)


async def load(ask: Ask) -> dict[str, object]:
    """What the overview shows."""
    now = datetime.now(UTC)
    health = ask.services.health
    pulse = look.Pulse(now=now, speed=speed_of(ask))
    facts = await ask.services.reader.read(partial(_look, pulse))
    return {**facts, "trouble": health.last_trouble, "reads_blocked": health.reads_blocked}


def _look(pulse: look.Pulse, reads: Reads) -> dict[str, object]:
    now, totals = pulse.now, reads.totals()
    paused = reads.jobs(limit=_ASKING, where=JobFilter(states=frozenset({JobState.PAUSED})))
    return {
        "totals": totals,
        "stops": stop_words(totals.stop_reasons),
        "in_flight_batches": sum(totals.batches[state] for state in IN_FLIGHT),
        "next_expiry": totals.next_expiry if pulse.speed == 1 else _expiry_by_our_clock(pulse, reads),
        "in_doubt": totals.batches[BatchState.IN_DOUBT],
        "unfinished": sum(totals.jobs[state] for state in (JobState.RUNNING, JobState.PAUSED, JobState.CANCELING)),
        "rate": _rate(reads.samples(since=now - _RATE_OVER, step=_STEP), totals, now),
        "attentions": reads.attentions()[:_ASKING],
        "paused": [(job, reads.asked_again_at(job)) for job in paused if job.reason_code != BY_USER],
        "jobs": [job_row(reads.status(job)) for job in reads.jobs(limit=_NEWEST)],
        "point": point_of(totals),
    }


def _expiry_by_our_clock(pulse: look.Pulse, reads: Reads) -> datetime | None:
    """When the next batch would expire if the sandbox's time ran from now on as ours does."""
    flying = reads.batches_page(limit=_FLYING, states=look.AT_THE_API)
    left = [
        batch.expires_at - batch.created_at - (pulse.now - batch.sent_at) * pulse.speed
        for batch in flying
        if batch.expires_at is not None and batch.created_at is not None and batch.sent_at is not None
    ]
    return pulse.now + min(left) if left else None


def _rate(samples: Sequence[Sample], totals: Totals, now: datetime) -> int | None:
    """Requests settled per hour, judged by the last minutes; None where nothing is known of them."""
    if not samples:
        return None
    settled = point_of(totals)[2] - samples[0].settled
    over = max((now - samples[0].at).total_seconds(), _STEP.total_seconds())
    return round(max(settled, 0) * 3600 / over)


def chart_data(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The last hour as columns for the charts: times, in flight, waiting, settled, failed."""

    async def columns(_: Request) -> Response:
        since = datetime.now(UTC) - _HOUR
        samples = await services.reader.read(lambda reads: reads.samples(since=since, step=_STEP))
        rows = [(s.at.timestamp(), s.in_flight_requests, s.queued, s.settled, s.failed) for s in samples]
        found = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], []]
        return JSONResponse(found, headers=HEADERS)

    return columns


PAGE: Final = Page(
    template="overview.html",
    load=load,
    title="Overview",
    parts=("parts/attention.html", "parts/tiles.html", "parts/newest.html"),
)
