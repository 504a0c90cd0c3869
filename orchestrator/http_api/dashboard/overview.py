"""The first screen: what needs a person, how busy it is, what expires next, the newest jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

from orchestrator.domain.account import BY_USER
from orchestrator.domain.queries import JobFilter
from orchestrator.domain.result_outcome import stop_words
from orchestrator.domain.states import IN_FLIGHT, BatchState, JobState
from orchestrator.http_api.dashboard.live import point_of
from orchestrator.http_api.dashboard.page import HEADERS, Ask, Page
from orchestrator.http_api.dashboard.shown import job_row, speed_of
from orchestrator.http_api.dashboard.throughput import samples_since, settled_since
from orchestrator.views import status_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from orchestrator.http_api.services import Services
    from orchestrator.ports.reads import Reads

_NEWEST: Final = 8
_ASKING: Final = 20
_FLYING: Final = 500
_LATELY: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)


async def load(ask: Ask) -> dict[str, object]:
    """What the overview shows."""
    now = datetime.now(UTC)
    health = ask.services.health
    pulse = status_text.Pulse(now=now, speed=speed_of(ask))
    facts = await ask.services.reader.read(partial(_look, pulse))
    return {**facts, "trouble": health.last_trouble, "reads_blocked": health.reads_blocked}


def _look(pulse: status_text.Pulse, reads: Reads) -> dict[str, object]:
    now, totals = pulse.now, reads.totals()
    paused = reads.jobs(limit=_ASKING, where=JobFilter(states=frozenset({JobState.PAUSED})))
    return {
        "totals": totals,
        "stops": stop_words(totals.stop_reasons),
        "in_flight_batches": sum(totals.batches[state] for state in IN_FLIGHT),
        "next_expiry": totals.next_expiry if pulse.speed == 1 else _expiry_by_our_clock(pulse, reads),
        "in_doubt": totals.batches[BatchState.IN_DOUBT],
        "unfinished": sum(totals.jobs[state] for state in (JobState.RUNNING, JobState.PAUSED, JobState.CANCELING)),
        "settled_lately": settled_since(now - _LATELY, totals, reads),
        "lately_in_an_hour": _HOUR // _LATELY,
        "attentions": reads.attentions()[:_ASKING],
        "paused": [(job, reads.asked_again_at(job)) for job in paused if job.reason_code != BY_USER],
        "jobs": [job_row(reads.status(job)) for job in reads.jobs(limit=_NEWEST)],
        "point": point_of(totals),
    }


def _expiry_by_our_clock(pulse: status_text.Pulse, reads: Reads) -> datetime | None:
    """When the next batch would expire if the sandbox's time ran from now on as ours does."""
    flying = reads.batches_page(limit=_FLYING, states=status_text.AT_THE_API)
    left = [
        batch.expires_at - batch.created_at - (pulse.now - batch.sent_at) * pulse.speed
        for batch in flying
        if batch.expires_at is not None and batch.created_at is not None and batch.sent_at is not None
    ]
    return pulse.now + min(left) if left else None


def chart_data(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The last hour for the charts: times, in flight, waiting, settled, failed; a point holds until the next."""

    async def columns(_: Request) -> Response:
        since = datetime.now(UTC) - _HOUR
        samples = await services.reader.read(partial(samples_since, since))
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
