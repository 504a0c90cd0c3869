"""An event of the log as people read it: what happened, in words, and why, with numbers that can be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from orchestrator.domain import humanize
from orchestrator.domain.budgets import without_raising
from orchestrator.domain.states import BatchState, JobState

if TYPE_CHECKING:
    from orchestrator.domain.model import Event

#: What a job does after a step, by its new state; and what it had not done before, by both.
_JOB_STEPS: Final[Mapping[str, str]] = {
    JobState.IMPORTING: "is being taken in",
    JobState.RUNNING: "runs again",
    JobState.PAUSED: "is paused",
    JobState.CANCELING: "is being canceled",
    JobState.CANCELED: "is canceled",
    JobState.FINISHED: "is finished",
}
_BATCH_STEPS: Final[Mapping[str, str]] = {
    BatchState.PLANNED: "waits to be sent again",
    BatchState.SUBMITTING: "is being sent",
    BatchState.IN_DOUBT: "is in doubt: the API may have it, or not",
    BatchState.IN_PROGRESS: "is at the API",
    BatchState.CANCELING: "is being canceled at the API",
    BatchState.ENDED: "has ended at the API",
    BatchState.SETTLED: "is settled",
    BatchState.VOID: "never reached the API",
    BatchState.ABANDONED: "was not sent",
}
_FROM: Final[Mapping[tuple[str | None, str | None], str]] = {
    (JobState.IMPORTING, JobState.RUNNING): "is taken in, and runs",
    (BatchState.IN_DOUBT, BatchState.IN_PROGRESS): "was found at the API",
}
#: What else happens to a job or a batch.
_OF_JOB: Final[Mapping[str, str]] = {
    "job.created": "was made",
    "job.closed": "takes no more requests",
    "job.retried": "tries requests again",
    "job.capped": "has another cap",
    "job.purged": "has no prompts and answers any more",
    "job.repriced": "has prices of answers that had none",
    "trial.set": "sends only some of its requests",
    "trial.left": "sends all of its requests",
    "trial.over": "has ended its trial",
    "pilot.over": "has ended its pilot",
    "budget.warned": "has spent most of a limit",
    "budget.reached": "has reached a limit",
    "cache.poor": "gains little from the prompt cache",
}
_OF_BATCH: Final[Mapping[str, str]] = {
    "batch.planned": "is planned",
    "batch.collected": "is collected",
    "batch.adopted": "was found at the API, and taken for ours",
    "batch.deleted": "was deleted at the API",
    "batch.duplicate": "is at the API twice",
    "budget.exceeded": "cost more than a limit",
    "cache.primed": "goes ahead for the prompt cache",
}
_OTHERS: Final[Mapping[str, str]] = {
    "budget.set": "a budget was set",
    "budget.by_settings": "a budget is that of the settings",
    "candidate.disowned": "a batch at the API is not ours",
    "webhook.tested": "a test notice was sent",
    "webhook.replayed": "a notice was sent again",
    "store.reconciled": "a store that was put back agrees with the API",
}
#: What we count ourselves; other reasons have words of the API, and ids.
_COUNTED: Final = frozenset({"batch.planned", "batch.collected", "job.moved", "job.retried"})
_BYTES: Final = re.compile(r"\b(\d+) bytes\b")
_ONE: Final = re.compile(r"(?<![\d,.])1 (request|result|answer)s\b")
_MANY: Final = re.compile(r"\b(\d{4,})(?= (?:requests|results|answers)\b)")


def event_words(event: Event) -> str:
    """`batch 3 is at the API`, `the job is finished`; a kind that is not known, in its own words."""
    job, batch = _OF_JOB.get(event.kind), _OF_BATCH.get(event.kind)
    if event.kind == "job.renamed":
        job = f"is called {event.new}, and was {event.old}"
    if event.kind == "job.moved":
        job = _step(_JOB_STEPS, event)
    if event.kind == "batch.moved":
        batch = _step(_BATCH_STEPS, event)
    if batch is not None:
        return f"batch {event.batch_id} {batch}"
    return _OTHERS.get(event.kind, _own_words(event.kind)) if job is None else f"the job {job}"


def event_reason(event: Event) -> str:
    """Why, with thousands, units and one thing of its kind; empty if nothing is said."""
    if event.why is None or event.kind not in _COUNTED:
        return without_raising(event.why or "")
    sized = _BYTES.sub(lambda found: humanize.size(int(found[1])), without_raising(event.why))
    return _ONE.sub(r"1 \1", _MANY.sub(lambda found: f"{int(found[1]):,}", sized))


def _step(steps: Mapping[str, str], event: Event) -> str:
    new = event.new or ""
    return _FROM.get((event.old, event.new)) or steps.get(new, new)


def _own_words(kind: str) -> str:
    subject, _, what = kind.partition(".")
    return f"{subject}: {what}".replace("_", " ")
