"""Components of several pages: a job's row, its progress bar, filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.domain import budgets, model, result_outcome, states
from orchestrator.http_api.dashboard import money_parts
from orchestrator.ports import caller
from orchestrator.views import status_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import StrEnum

    from orchestrator.domain.queries import RequestFilter
    from orchestrator.http_api.dashboard.page import PageRequest

#: The segments of a job's bar, in their order: the count's name, what it is called, its class.
_SEGMENTS: Final = (
    ("succeeded", "succeeded", "ok"),
    ("failed", "failed", "bad"),
    ("canceled", "canceled", "mute"),
    ("batched", "in batches", "run"),
    ("queued", "waiting", "wait"),
)
_UNSENT: Final = ("in batches, to send", "wait")
_SENT: Final = states.IN_FLIGHT | {states.BatchState.ENDED}
_WIDE: Final = 1000
#: The sign of a job: by its state, and of one that is finished by its tone.
_SIGNS: Final = {
    states.JobState.IMPORTING: "clock",
    states.JobState.RUNNING: "play",
    states.JobState.PAUSED: "pause",
    states.JobState.CANCELING: "stop",
    states.JobState.CANCELED: "cross",
}
_FINISHED_SIGNS: Final = {status_text.Tone.OK: "check", status_text.Tone.WARN: "alert", status_text.Tone.BAD: "cross"}


def api_speed(request: PageRequest) -> float:
    """Seconds of API time per second of ours; 1 outside the sandbox."""
    return request.services.settings.sandbox.speed if request.services.identity.sandbox else 1.0


def job_row(status: model.JobStatus) -> dict[str, object]:
    """One job of a list, as who asks has it."""
    found = status.job.requests
    settled = found.settled
    return {
        "job": status.job,
        "may_steer": caller.may_steer(status.job.submitted_by),
        "stops": result_outcome.stop_words(status.stop_reasons),
        "invalid": result_outcome.invalid_words(status.invalid_answers),
        "sentence": budgets.without_raising(status_text.sentence(status)),
        "segments": segments(found, sent=any(status.batches[state] for state in _SENT)),
        "settled": settled,
        "cost": money_parts.row_money(status.cost, settled),
        "percent": 0 if found.total == 0 else settled * 100 // found.total,
        "attention": len(status.attention),
        "next_expiry": status.next_expiry,
        "batches": status_text.batches_ended(status),
    }


def state_badge(job: model.JobSnapshot) -> dict[str, str]:
    """The badge of a job's state: tone, icon and text."""
    tone = status_text.tone_of(job)
    icon = _FINISHED_SIGNS[tone] if job.state is states.JobState.FINISHED else _SIGNS[job.state]
    return {"tone": tone.value, "icon": icon, "text": status_text.state_words(job)}


def segments(counts: model.RequestCounts, *, sent: bool) -> list[dict[str, object]]:
    """Segments of the progress bar on a 1000-unit scale; a non-zero count always gets a visible width.

    sent: whether any batch of them was; batches that still wait look as what waits does.
    """
    parts = [(getattr(counts, name), *(shown if sent or name != "batched" else _UNSENT)) for name, *shown in _SEGMENTS]
    total = counts.total
    found: list[dict[str, object]] = []
    x = 0.0
    for number, text, tone in parts:
        if number:
            width = max(number * _WIDE / total, 4)
            found.append({"count": number, "text": text, "tone": tone, "x": round(x, 1), "width": round(width, 1)})
            x += width
    return found


def state_chips(
    request: PageRequest, known: Iterable[StrEnum], counts: Mapping[str, int], *, on: str | None
) -> list[dict[str, object]]:
    """The filter by state, as links; empty states are left out, except the selected one, *on*."""
    shown = [each for each in known if counts[each] or each == on]
    anew = {"before": None, "from": None, "stop": None, "error": None, "cause": None}
    everything = {
        "text": "all",
        "count": sum(counts.values()),
        "on": on is None and not request.query.get("stop"),
        "href": request.link(state=None, **anew),
    }
    return [
        everything,
        *(
            {
                "text": each.value,
                "count": counts[each],
                "on": each == on,
                "href": request.link(state=each.value, **anew),
            }
            for each in shown
        ),
    ]


def answer_chips(request: PageRequest, status: model.JobStatus, where: RequestFilter) -> list[dict[str, object]]:
    """The filter by how answers ended, as links; none if every answer ended by itself, and none is invalid."""
    counts, on = status.stop_reasons, where.stop_reason
    shown = [name for name in counts if name == on or result_outcome.stop_words({name: counts[name]})]
    anew = {"from": None, "state": None, "error": None, "cause": None, "stop": None}
    chips = [
        {"text": name, "count": counts[name], "on": name == on, "href": request.link(**{**anew, "stop": name})}
        for name in shown
    ]
    kind = result_outcome.INVALID_ANSWER
    if status.invalid_answers or where.error_type == kind:
        href = request.link(**{**anew, "state": states.RequestState.FAILED.value, "error": kind})
        is_on = where.error_type == kind
        chips.append({"text": "invalid answers", "count": status.invalid_answers, "on": is_on, "href": href})
    return chips
