"""The words that choose requests or results, and what is said of one that nothing of a job is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.cli import jobs_text
from orchestrator.cli.group import HintedUsageError
from orchestrator.domain import humanize
from orchestrator.domain.queries import RequestFilter
from orchestrator.domain.result_choice import OFFERED, RequestChoice
from orchestrator.domain.result_outcome import KNOWN_ERRORS, KNOWN_STOPS

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.domain.model import JobSnapshot, JobStatus
    from orchestrator.ports.reads import RemoteReads

_MOST_GROUPS: Final = 1000


def refuse_unknown(
    reads: RemoteReads,
    status: JobStatus,
    only: Collection[str],
    stops: Collection[str] = (),
    *,
    undone: str = "written",
) -> None:
    """Raise a usage error for one of *only*, or of *stops*, that is no word of ours, and that no request is.

    undone: what was not done for it.
    """
    asked: list[tuple[str, Collection[str], RequestChoice]]
    asked = [(word, (*OFFERED, *KNOWN_ERRORS), RequestChoice(only=frozenset({word}))) for word in only]
    asked += [(word, KNOWN_STOPS, RequestChoice(stops=frozenset({word}))) for word in stops]
    for word, known, choice in asked:
        if word not in known and not reads.chosen_requests(status.job.id, choice, above=0, limit=1):
            meant = humanize.nearest(word, known)
            raise HintedUsageError(
                f'no request of job {status.job.public_id} is "{humanize.plain(word)}"; nothing was {undone}',
                hint=" ".join(filter(None, (meant, words_there_are(reads, status)))),
            )


def refuse_unknown_causes(reads: RemoteReads, job: JobSnapshot, causes: Collection[str]) -> None:
    """Raise a usage error for one of *causes* that no request failed for."""
    for cause in causes:
        choice = RequestChoice(within=RequestFilter(cause=cause))
        if not reads.chosen_requests(job.id, choice, above=0, limit=1):
            words = f'no request of job {job.public_id} failed for "{humanize.plain(cause)}"; nothing was queued'
            raise HintedUsageError(words, hint=f"`orchestrator errors {job.public_id}` lists the causes")


def words_there_are(reads: RemoteReads, status: JobStatus) -> str:
    """The error types of its failures, and how its answers ended, where there are some."""
    told = [jobs_text.failure_types(reads.errors(status.job.id, groups=_MOST_GROUPS, examples=0))]
    if status.stop_reasons:
        told.append(f"its answers ended by: {humanize.plain(', '.join(status.stop_reasons))}")
    return "; ".join(told)
