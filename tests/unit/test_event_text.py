"""What happened, in words."""

import re
from datetime import UTC, datetime

import pytest

from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.known_answers import Forecast
from orchestrator.domain.model import Event
from orchestrator.domain.pilot import over_words
from orchestrator.domain.states import BATCH_STEPS, JOB_STEPS
from orchestrator.ports.estimates import TrialEstimate
from orchestrator.views.estimate_views import trial_words
from orchestrator.views.event_text import event_reason, event_words


def event(kind: str, old: str | None = None, new: str | None = None, why: str | None = None) -> Event:
    """An event of batch 3."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return Event(id=1, at=at, job_id=JobId(1), batch_id=BatchId(3), kind=kind, old=old, new=new, why=why)


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        (event("batch.moved", "submitting", "in_progress"), "batch 3 is at the API"),
        (event("batch.moved", "in_doubt", "in_progress"), "batch 3 was found at the API"),
        (event("job.moved", "importing", "running"), "the job is taken in, and runs"),
        (event("job.moved", "paused", "running"), "the job runs again"),
        (event("job.renamed", "a", "b"), "the job is called b, and was a"),
        (event("budget.set"), "a budget was set"),
        (event("attention.in_doubt"), "attention: in doubt"),
    ],
)
def test_an_event_is_told_in_words(happened: Event, words: str) -> None:
    """Also one of a kind that this version does not know."""
    assert event_words(happened) == words


def test_every_step_has_words() -> None:
    """No state is shown by its name in the code."""
    for kind, steps in (("job", JOB_STEPS), ("batch", BATCH_STEPS)):
        for old, after in steps.items():
            for new in after:
                said = event_words(event(f"{kind}.moved", old.value, new.value))
                assert said.startswith(("the job ", "batch 3 "))
                assert not re.search(r"[a-z]_[a-z]", said)
                assert said != f"{'the job' if kind == 'job' else 'batch 3'} {new.value}"


def test_a_range_is_shown_where_it_can_be_seen() -> None:
    """`$0.01 ($0.01 … $0.01)` says nothing more than `$0.01`; one request is one."""
    same, wide = Forecast(6_000_000, 6_000_000, 6_000_000), Forecast(5_000_000, 6_000_000, 7_000_000)
    assert over_words("trial", 1, same) == "the trial has ended; the other one is expected to cost $0.006"
    assert over_words("pilot", 2, wide).endswith("the other 2 are expected to cost $0.006 ($0.005 to $0.007)")
    assert trial_words(TrialEstimate(1, 2, *same)) == "1 of 2 requests: $0.006"


def test_numbers_of_a_reason_can_be_read() -> None:
    """What we counted ourselves; the words of the API stay as they are."""
    assert event_reason(event("batch.planned", why="3130 requests, 528942 bytes")) == "3,130 requests, 529 kB"
    assert event_reason(event("job.moved", why="12 requests")) == "12 requests"
    assert event_reason(event("batch.planned", why="1 requests, 368 bytes")) == "1 request, 368 B"
    assert event_reason(event("job.moved", why="1001 requests")) == "1,001 requests"
    said = "400: 20000 requests"
    assert event_reason(event("batch.adopted", why=said)) == said
    assert not event_reason(event("job.closed"))
