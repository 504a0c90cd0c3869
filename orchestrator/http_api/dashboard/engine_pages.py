"""Pages of the engine as a whole: the overview, the event log, health, and the fleet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

from orchestrator.config import setting_rows
from orchestrator.domain import model, result_outcome, states
from orchestrator.domain.errors import NoSuchThing
from orchestrator.http_api.dashboard import attention_parts, components, live_updates, load_chart, money_parts, page
from orchestrator.http_api.self_checks import findings_of
from orchestrator.ports.dispatch import UnitKind
from orchestrator.views import status_text
from orchestrator.views.fleet_views import alive_count, fleet_attentions, is_silent, units_of

if TYPE_CHECKING:
    from orchestrator.ports.dispatch import FleetDaemon, FleetView
    from orchestrator.ports.reads import Reads


_NEWEST: Final = 8
_FLYING: Final = 500
_LATELY: Final = timedelta(minutes=5)
_HOUR: Final = timedelta(hours=1)
_EVENTS_PAGE: Final = 100


async def load_overview(request: page.PageRequest) -> dict[str, object]:
    """Data of the overview."""
    now = datetime.now(UTC)
    health = request.services.health
    api_clock = status_text.ApiClock(now=now, speed=components.api_speed(request))
    facts = await request.services.reader.read(partial(_read_overview, api_clock))
    return {
        **facts,
        **load_chart.chart_facts(request),
        "trouble": health.last_trouble,
        "reads_blocked": health.reads_blocked,
    }


def _read_overview(api_clock: status_text.ApiClock, reads: Reads) -> dict[str, object]:
    now, totals = api_clock.now, reads.totals()
    found = totals.requests
    waiting = found.total - found.settled - totals.in_flight_requests
    return {
        "totals": totals,
        "waiting": waiting,
        "in_batches": waiting - found.queued,
        "stops": result_outcome.stop_words(totals.stop_reasons),
        "invalid": result_outcome.invalid_words(totals.invalid_answers),
        "in_flight_batches": sum(totals.batches[state] for state in states.IN_FLIGHT),
        "next_expiry": totals.next_expiry if api_clock.speed == 1 else _expiry_by_our_clock(api_clock, reads),
        "in_doubt": totals.batches[states.BatchState.IN_DOUBT],
        "unfinished": sum(
            totals.jobs[state] for state in (states.JobState.RUNNING, states.JobState.PAUSED, states.JobState.CANCELING)
        ),
        "paused": totals.jobs[states.JobState.PAUSED],
        "settled_lately": load_chart.settled_since(now - _LATELY, totals, reads),
        "lately_in_an_hour": _HOUR // _LATELY,
        "matters": attention_parts.matters(reads),
        "jobs": [components.job_row(reads.status(job)) for job in reads.jobs(limit=_NEWEST)],
        **_spend(now, reads),
        "point": live_updates.chart_point(totals),
    }


def _spend(now: datetime, reads: Reads) -> dict[str, object]:
    today = now.date()
    days = reads.daily_spending(since=today - timedelta(days=money_parts.DAYS - 1))
    return {
        "spend": money_parts.daily_money(days, today),
        "budgets": money_parts.shared_budgets(reads.budgets(now)),
    }


def _expiry_by_our_clock(api_clock: status_text.ApiClock, reads: Reads) -> datetime | None:
    """When the next batch would expire if the sandbox's time ran at our speed from now on."""
    flying = reads.batches_page(limit=_FLYING, states=status_text.AT_THE_API)
    left = [
        batch.expires_at - batch.created_at - (api_clock.now - batch.sent_at) * api_clock.speed
        for batch in flying
        if batch.expires_at is not None and batch.created_at is not None and batch.sent_at is not None
    ]
    return api_clock.now + min(left) if left else None


OVERVIEW: Final = page.Page(
    template="overview.html",
    load=load_overview,
    title="Overview",
    parts=("parts/attention.html", "parts/tiles.html", "parts/spend.html", "parts/newest.html"),
)


async def load_events(request: page.PageRequest) -> dict[str, object]:
    """One page of the event log."""
    before = request.number("before")
    rows = await request.services.reader.read(partial(_read_events, before))
    more = request.link(before=rows[_EVENTS_PAGE - 1][0].id) if len(rows) > _EVENTS_PAGE else None
    return {"events": rows[:_EVENTS_PAGE], "more": more, "first": None if before is None else request.link(before=None)}


def _read_events(before: int | None, reads: Reads) -> list[tuple[model.Event, model.JobSnapshot | None]]:
    events = reads.newest_events(None, limit=_EVENTS_PAGE + 1, before=before)
    jobs = reads.known({event.job_id for event in events if event.job_id is not None})
    return [(event, None if event.job_id is None else jobs.get(event.job_id)) for event in events]


EVENTS: Final = page.Page(template="events.html", load=load_events, title="Events", parts=("parts/event-rows.html",))


async def load_health(request: page.PageRequest) -> dict[str, object]:
    """What `doctor` checks without the network."""
    return {"findings": await findings_of(request.services)}


async def load_settings(request: page.PageRequest) -> dict[str, object]:
    """What is in force, by section: all, or what was set. No setting holds a secret, and passwords are not shown."""
    rows = list(setting_rows(request.services.settings))
    found = [row for row in rows if row.is_set]
    only_set = request.one_of("only", frozenset({"set"})) is not None
    shown = found if only_set else rows
    return {
        "sections": [(name, list(those)) for name, those in groupby(shown, key=lambda row: row.name.partition(".")[0])],
        "chips": [
            {"text": "all", "count": len(rows), "on": not only_set, "href": request.link(only=None)},
            {"text": "that were set", "count": len(found), "on": only_set, "href": request.link(only="set")},
        ],
    }


SETTINGS: Final = page.Page(template="settings.html", load=load_settings, title="Settings")
HEALTH: Final = page.Page(template="health.html", load=load_health, title="Health", parts=("parts/findings.html",))


async def load_fleet(request: page.PageRequest) -> dict[str, object]:
    """Data of the page. Raises NoSuchThing where one process owns the store."""
    fleet = await request.services.view_fleet()
    if fleet is None:
        raise NoSuchThing("this store has one daemon", hint="[database] url names one that several share")
    return fleet_facts(fleet)


def fleet_facts(fleet: FleetView) -> dict[str, object]:
    """What the page shows of *fleet*."""
    return {
        "daemons": [_daemon_row(daemon, fleet) for daemon in fleet.daemons],
        "waiting": fleet.waiting,
        "alive": alive_count(fleet),
        "troubles": list(fleet_attentions(fleet)),
        "offset_ms": round(fleet.offset.total_seconds() * 1000),
    }


def _daemon_row(daemon: FleetDaemon, fleet: FleetView) -> dict[str, object]:
    state = "silent" if is_silent(daemon, fleet.at) else "works" if daemon.works else "command"
    return {
        "daemon": daemon,
        "state": state,
        "stages": sorted(each.what for each in units_of(daemon, fleet, UnitKind.STAGE)),
        "uploads": units_of(daemon, fleet, UnitKind.SUBMIT),
        "downloads": units_of(daemon, fleet, UnitKind.COLLECT),
    }


FLEET: Final = page.Page(template="fleet.html", load=load_fleet, title="Fleet", parts=("parts/fleet-daemons.html",))
