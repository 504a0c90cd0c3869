"""The event log of all jobs, newest first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from orchestrator.http_api.dashboard.page import Page, PageRequest

if TYPE_CHECKING:
    from orchestrator.domain.model import Event, JobSnapshot
    from orchestrator.ports.reads import Reads

_PAGE: Final = 100


async def load(request: PageRequest) -> dict[str, object]:
    """One page of the event log."""
    before = request.number("before")
    rows = await request.services.reader.read(partial(_read, before))
    more = request.link(before=rows[_PAGE - 1][0].id) if len(rows) > _PAGE else None
    return {"events": rows[:_PAGE], "more": more, "first": None if before is None else request.link(before=None)}


def _read(before: int | None, reads: Reads) -> list[tuple[Event, JobSnapshot | None]]:
    events = reads.newest_events(None, limit=_PAGE + 1, before=before)
    jobs = reads.known({event.job_id for event in events if event.job_id is not None})
    return [(event, None if event.job_id is None else jobs.get(event.job_id)) for event in events]


PAGE: Final = Page(template="events.html", load=load, title="Events", parts=("parts/event-rows.html",))
