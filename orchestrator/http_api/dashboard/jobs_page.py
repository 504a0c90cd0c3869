"""The list of jobs, filtered by state and name; the filter is in the address."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain.ids import JobId
from orchestrator.domain.queries import JobFilter
from orchestrator.domain.states import JobState
from orchestrator.http_api.dashboard.components import job_row, state_chips
from orchestrator.http_api.dashboard.page import Page, PageRequest

if TYPE_CHECKING:
    from orchestrator.ports.reads import Reads

_PAGE: Final = 50
_STATES: Final = frozenset(state.value for state in JobState)


async def load(request: PageRequest) -> dict[str, object]:
    """One page of jobs."""
    state = request.one_of("state", _STATES)
    text = request.query.get("q", "").strip()
    before = request.number("before")
    states = frozenset[JobState]() if state is None else frozenset({JobState(state)})
    tags = request.query.getlist("tag")
    where = JobFilter(states=states, tags=frozenset(tags), text=text or None)
    facts = await request.services.reader.read(partial(_read, where, None if before is None else JobId(before)))
    jobs = facts["jobs"]
    return {
        "rows": facts["rows"],
        "chips": state_chips(request, JobState, facts["totals"].jobs, on=state),
        "state": state,
        "q": text,
        "tags": tags,
        "without_tags": request.link(tag=None, before=None),
        "first": None if before is None else request.link(before=None),
        "more": request.link(before=jobs[_PAGE - 1].id) if len(jobs) > _PAGE else None,
    }


def _read(where: JobFilter, before: JobId | None, reads: Reads) -> dict[str, Any]:
    jobs = reads.jobs(limit=_PAGE + 1, before=before, where=where)
    return {"jobs": jobs, "rows": [job_row(reads.status(job)) for job in jobs[:_PAGE]], "totals": reads.totals()}


PAGE: Final = Page(template="jobs.html", load=load, title="Jobs", parts=("parts/chips.html", "parts/rows.html"))
