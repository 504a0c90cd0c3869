"""What needs a person, for the overview: one matter for each cause, with the jobs that it is true of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from orchestrator.domain import account, error_text, model, queries, states

if TYPE_CHECKING:
    from orchestrator.ports.reads import Reads

#: So many paused jobs are asked for their cause, the newest.
_ASKED: Final = 200
#: So many jobs are named, and so many matters told.
_NAMED: Final = 5
_TOLD: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One cause. code: why the jobs are paused; None of a matter that does not stop them.

    jobs: the first of them; more: how many others. since: when the oldest began. again: when the API is next asked
    whether it is over. alike: how many more messages there are that differ from the words in numbers and ids.
    """

    code: str | None
    words: str
    jobs: list[model.JobSnapshot]
    more: int
    since: datetime | None = None
    again: datetime | None = None
    alike: int = 0


def matters(reads: Reads) -> list[Matter]:
    """Causes for which jobs are paused (but by a person), then matters that the engine noted."""
    paused = reads.jobs(limit=_ASKED, where=queries.JobFilter(states=frozenset({states.JobState.PAUSED})))
    return [*_pauses([job for job in paused if job.reason_code != account.BY_USER], reads), *_noted(reads)][:_TOLD]


def _pauses(paused: Iterable[model.JobSnapshot], reads: Reads) -> list[Matter]:
    found: dict[tuple[str, str], list[model.JobSnapshot]] = {}
    for job in paused:
        found.setdefault((str(job.reason_code), str(job.reason)), []).append(job)
    return [
        Matter(
            code=code,
            words=words,
            jobs=jobs[:_NAMED],
            more=len(jobs[_NAMED:]),
            again=min(filter(None, (reads.asked_again_at(job) for job in jobs)), default=None),
        )
        for (code, words), jobs in found.items()
    ]


def _noted(reads: Reads) -> list[Matter]:
    """Messages that differ in numbers and ids alone are one matter."""
    found: dict[tuple[str, str], list[tuple[model.JobSnapshot, model.Attention]]] = {}
    for job, attention in reads.attentions():
        found.setdefault((attention.kind, error_text.cause_of(attention.message)), []).append((job, attention))
    return [_of_notes(notes) for notes in found.values()]


def _of_notes(notes: list[tuple[model.JobSnapshot, model.Attention]]) -> Matter:
    jobs = list({job.id: job for job, _ in notes}.values())
    return Matter(
        code=None,
        words=notes[-1][1].message,
        jobs=jobs[:_NAMED],
        more=len(jobs[_NAMED:]),
        since=min(attention.since for _, attention in notes),
        alike=len({attention.message for _, attention in notes}) - 1,
    )
