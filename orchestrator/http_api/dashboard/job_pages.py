"""Pages of jobs: the list, filtered by state, name and tags in the address, and the page of one job.

The page of a job has its status in a sentence, its batches over time, and tabs for what is inside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain import ids, model, queries, states
from orchestrator.domain.result_outcome import RETRIED_STOPS
from orchestrator.http_api.dashboard import components, money_parts, page, request_list
from orchestrator.http_api.dashboard.timeline import timeline
from orchestrator.ports import caller
from orchestrator.views import cost_views, status_text

if TYPE_CHECKING:
    from orchestrator.ports.reads import Reads

_PAGE: Final = 50
_JOB_STATES: Final = frozenset(state.value for state in states.JobState)
#: So many batches are drawn, the newest; a list shows the others.
_DRAWN: Final = 40
#: So many batches at the API, the newest, are asked for their age.
_FLYING: Final = 500
_ORDER: Final = ("requests", "failures", "batches", "events")


async def load_jobs(request: page.PageRequest) -> dict[str, object]:
    """One page of jobs."""
    state = request.one_of("state", _JOB_STATES)
    text = request.query.get("q", "").strip()
    is_oldest = request.one_of("order", frozenset({"oldest"})) is not None
    cursor = "above" if is_oldest else "before"
    place = request.number(cursor)
    wanted = frozenset[states.JobState]() if state is None else frozenset({states.JobState(state)})
    tags = [tag for each in request.query.getlist("tag") if (tag := each.strip())]
    by = request.query.get("by") or None
    today = datetime.now(UTC).date()
    days = {name: request.query.get(name) or None for name in ("since", "until")}
    where = queries.JobFilter(
        states=wanted,
        tags=frozenset(tags),
        text=text or None,
        submitted_by=by,
        **{name: cost_views.parse_since(day, today, called=name) for name, day in days.items()},
    )
    facts = await request.services.reader.read(
        partial(_read_jobs, where, None if place is None else ids.JobId(place), is_oldest=is_oldest)
    )
    jobs = facts["jobs"]
    return {
        "rows": facts["rows"],
        "chips": components.state_chips(request, states.JobState, facts["totals"].jobs, on=state),
        "state": state,
        "q": text,
        "tags": tags,
        "by": by,
        **{name: "" if (day := getattr(where, name)) is None else day.isoformat() for name in days},
        "without_tags": request.link(tag=None, by=None, before=None, above=None),
        "order": "oldest" if is_oldest else None,
        "turned": request.link(order=None if is_oldest else "oldest", before=None, above=None),
        "first": None if place is None else request.link(**{cursor: None}),
        "more": request.link(**{cursor: jobs[_PAGE - 1].id}) if len(jobs) > _PAGE else None,
    }


def _read_jobs(
    where: queries.JobFilter, place: ids.JobId | None, reads: Reads, *, is_oldest: bool = False
) -> dict[str, Any]:
    if is_oldest:
        jobs = reads.newer_jobs(ids.JobId(0) if place is None else place, limit=_PAGE + 1, where=where)
    else:
        jobs = reads.jobs(limit=_PAGE + 1, before=place, where=where)
    return {
        "jobs": jobs,
        "rows": [components.job_row(reads.status(job)) for job in jobs[:_PAGE]],
        "totals": reads.totals(),
    }


JOBS: Final = page.Page(
    template="jobs.html", load=load_jobs, title="Jobs", parts=("parts/chips.html", "parts/rows.html")
)


async def load_job(request: page.PageRequest) -> dict[str, object]:
    """Data of the job page. Raises NoSuchThing."""
    tab = request.one_of("tab", frozenset(_ORDER)) or "requests"
    api_clock = status_text.ApiClock(now=datetime.now(UTC), speed=components.api_speed(request))
    # Grouping failures reads every one of them: it waits for nobody, and a stream does not do it over and over.
    reader = request.services.bulk if tab in {"failures", "requests"} else request.services.reader
    facts = await reader.read(partial(_read_job, request, tab, api_clock))
    tabs = [{"name": name, "on": name == tab, "href": f"{request.path}?tab={name}"} for name in _ORDER]
    return {**facts, "tab": tab, "tabs": tabs}


def _read_job(request: page.PageRequest, tab: str, api_clock: status_text.ApiClock, reads: Reads) -> dict[str, object]:
    job = reads.find(request.params["ref"])
    status, may_steer = reads.status(job), caller.may_steer(job.submitted_by)
    batches = reads.batches_page(limit=_DRAWN, job=job.id)
    return {
        "title": job.name,
        **components.job_row(status),
        "status": status,
        "counts": job.requests,
        "schema": status_text.schema_words(job),
        "batch_words": status_text.batch_words(status),
        "api_words": status_text.api_words(status, _age_words(status, api_clock, reads)),
        "may_steer": may_steer,
        "acts": _available_actions(status) if may_steer else [],
        "timeline": timeline(batches, reads.batch_histories([batch.id for batch in batches]), api_clock),
        "money": money_parts.job_money(job.public_id, reads.cost(job)),
        "undrawn": max(sum(status.batches.values()) - len(batches), 0),
        **(
            {"still": "parts/job-tab.html"}
            if request.live and tab == "failures"
            else _INSIDE[tab](request, status, reads)
        ),
    }


def _age_words(status: model.JobStatus, api_clock: status_text.ApiClock, reads: Reads) -> str:
    job = status.job.id
    flying = reads.batches_page(limit=_FLYING, job=job, states=status_text.AT_THE_API)
    return status_text.age_words(status, status_text.ages_of(flying, reads.spans(job)), api_clock)


def _available_actions(status: model.JobStatus) -> list[str]:
    """The actions that the job's state allows."""
    job, found = status.job, status.job.requests
    cut = any(status.stop_reasons.get(stop) for stop in RETRIED_STOPS)
    offered = {states.JobState.RUNNING: ["pause", "cancel"], states.JobState.PAUSED: ["resume", "cancel"]}
    acts = offered.get(job.state, [])
    again = job.state in states.OVER and (found.failed or found.canceled or cut) and job.purged_at is None
    return [*acts, "retry"] if again else list(acts)


def _failures(_: page.PageRequest, status: model.JobStatus, reads: Reads) -> dict[str, object]:
    return {
        "groups": reads.errors(status.job.id),
        "can_retry": "retry" in _available_actions(status),
        "looked_at": datetime.now(UTC),
    }


def _batches(request: page.PageRequest, status: model.JobStatus, reads: Reads) -> dict[str, object]:
    before = request.number("before")
    rows = reads.batches_page(
        limit=_PAGE + 1, before=None if before is None else ids.BatchId(before), job=status.job.id
    )
    more = request.link(before=rows[_PAGE - 1].id) if len(rows) > _PAGE else None
    return {"batches": rows[:_PAGE], "more": more, "first": None if before is None else request.link(before=None)}


def _events(request: page.PageRequest, status: model.JobStatus, reads: Reads) -> dict[str, object]:
    before = request.number("before")
    rows = reads.newest_events(status.job.id, limit=_PAGE + 1, before=before)
    more = request.link(before=rows[_PAGE - 1].id) if len(rows) > _PAGE else None
    return {"events": rows[:_PAGE], "more": more, "first": None if before is None else request.link(before=None)}


_INSIDE: Final = {"requests": request_list.load_tab, "failures": _failures, "batches": _batches, "events": _events}

JOB: Final = page.Page(
    template="job.html",
    load=load_job,
    title="Job",
    parts=tuple(f"parts/job-{part}.html" for part in ("head", "cost", "time", "tabs", "tab")),
)
