"""The batches page: ours, those in doubt with what can be done, and on demand all that the API lists."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain import api_answers, errors, ids, model, states
from orchestrator.domain.waiting import listed_after
from orchestrator.http_api.dashboard import components, page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.ports.reads import Reads

_PAGE: Final = 50
_DOUBTS: Final = 20
_REMOTE: Final = 200
_STATES: Final = frozenset(state.value for state in states.BatchState)


async def load(request: page.PageRequest) -> dict[str, object]:
    """Data of the batches page."""
    state = request.one_of("state", _STATES)
    before = request.number("before")
    remote = request.query.get("remote") == "1"
    look = partial(_read, state, None if before is None else ids.BatchId(before))
    facts: dict[str, Any] = await request.services.reader.read(look)
    rows = facts["rows"]
    return {
        **facts,
        "doubt_wait": listed_after(request.services.settings.limits.doubt_wait) / components.api_speed(request),
        "batches": [batch for batch, _ in rows[:_PAGE]],
        "jobs": [job for _, job in rows[:_PAGE]],
        "chips": components.state_chips(request, states.BatchState, facts["totals"].batches, on=state),
        "first": None if before is None else request.link(before=None),
        "more": request.link(before=rows[_PAGE - 1][0].id) if len(rows) > _PAGE else None,
        "remote": await _remote(request, facts["doubts"]) if remote else None,
        "remote_href": request.link(remote=1, before=None),
        "live": not remote,
    }


def _read(state: str | None, before: ids.BatchId | None, reads: Reads) -> dict[str, object]:
    wanted = frozenset() if state is None else frozenset({states.BatchState(state)})
    rows = reads.batches_page(limit=_PAGE + 1, before=before, states=wanted)
    doubts = reads.batches_page(limit=_DOUBTS, states=frozenset({states.BatchState.IN_DOUBT}))
    return {
        "rows": _with_jobs(rows, reads),
        "doubts": [(batch, reads.get(batch.job_id), reads.candidates(batch.id)) for batch in doubts],
        "totals": reads.totals(),
    }


def _with_jobs(batches: Sequence[model.Batch], reads: Reads) -> list[tuple[model.Batch, model.JobSnapshot]]:
    jobs = {batch.job_id: reads.get(batch.job_id) for batch in batches}
    return [(batch, jobs[batch.job_id]) for batch in batches]


async def _remote(
    request: page.PageRequest, doubts: list[tuple[model.Batch, model.JobSnapshot, object]]
) -> dict[str, object]:
    """The newest batches at the API, and whose they are."""
    found: list[api_answers.RemoteBatch] = []
    try:
        async for remote in request.services.remote_batches():
            found.append(remote)
            if len(found) > _REMOTE:
                break
    except errors.ProviderError as exc:
        return {"rows": [], "trouble": exc.message, "more": False}
    shown = list(islice(found, _REMOTE))
    ours = await request.services.reader.read(partial(_ours, [remote.id for remote in shown]))
    sizes = {batch.count for batch, _, _ in doubts}
    rows = [
        {
            "remote": remote,
            "owned": ours.get(remote.id),
            "whose": "ours" if remote.id in ours else "in doubt" if remote.counts.total in sizes else "elsewhere",
        }
        for remote in shown
    ]
    return {"rows": rows, "trouble": None, "more": len(found) > _REMOTE}


def _ours(remote_ids: list[str], reads: Reads) -> dict[str, tuple[model.Batch, model.JobSnapshot]]:
    found = reads.batches_by_remote(remote_ids)
    pairs = _with_jobs(list(found.values()), reads)
    return {str(remote_id): pair for remote_id, pair in zip(found, pairs, strict=True)}


PAGE: Final = page.Page(
    template="batches.html",
    load=load,
    title="Batches",
    parts=("parts/doubts.html", "parts/chips.html", "parts/batch-rows.html"),
)
