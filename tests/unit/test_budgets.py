"""Limits on spending: which days a batch may belong to, when a limit heals, and what to do at one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.domain.budgets import (
    Book,
    Limit,
    Room,
    Scope,
    books_of,
    days_of,
    headroom,
    is_dribble,
    reached,
    room_for,
)
from orchestrator.domain.packing import Affordable

JOB = Limit(scope=Scope.JOB, key="", cap=1000, spent=300, reserved=200, planned=100)
DAY = Limit(scope=Scope.DAY, key="2026-12-31", cap=1000, spent=900, reserved=0)


@pytest.mark.parametrize(
    ("at", "days"),
    [
        (datetime(2026, 11, 23, 12, tzinfo=UTC), ("2026-11-23",)),
        (datetime(2026, 11, 23, 23, 29, 59, tzinfo=UTC), ("2026-11-23",)),
        (datetime(2026, 11, 23, 23, 30, tzinfo=UTC), ("2026-11-23", "2026-11-24")),
        (datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=2))), ("2026-11-23",)),
        (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), ("2026-11-30", "2026-12-01")),
    ],
)
def test_shortly_before_midnight_a_batch_may_belong_to_two_days(at: datetime, days: tuple[str, ...]) -> None:
    """By UTC: half an hour is what its upload may take."""
    assert days_of(at) == days


def test_an_amount_is_kept_for_its_days_its_months_and_in_all() -> None:
    """Each once, in one order."""
    assert books_of(("2026-11-30", "2026-12-01")) == [
        Book(Scope.DAY, "2026-11-30"),
        Book(Scope.DAY, "2026-12-01"),
        Book(Scope.MONTH, "2026-11"),
        Book(Scope.MONTH, "2026-12"),
        Book(Scope.TOTAL, ""),
    ]


def test_a_day_and_a_month_heal_and_the_others_do_not() -> None:
    """At their end, also at the end of a year."""
    assert DAY.heals_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert replace(DAY, scope=Scope.MONTH, key="2026-12").heals_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert replace(DAY, scope=Scope.MONTH, key="2026-01").heals_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert JOB.heals_at is replace(DAY, scope=Scope.TOTAL, key="").heals_at is None


def test_what_is_left_is_the_least_of_all_limits() -> None:
    """Planned batches count: they are about to be sent. A cap that was lowered leaves less than nothing."""
    assert (JOB.headroom, headroom([JOB, DAY])) == (400, 100)
    assert replace(JOB, cap=100).headroom == -500


def test_a_limit_that_something_may_free_is_waited_for() -> None:
    """One that is below the request is never enough; one that nothing frees stops the job; a day passes."""
    still = replace(JOB, spent=900, reserved=0, planned=0)
    assert room_for([JOB, DAY], 1001) == (Room.PAUSE, JOB)
    assert room_for([JOB], 500) == (Room.WAIT, JOB)
    assert room_for([still, DAY], 500) == (Room.PAUSE, still)
    assert room_for([JOB, DAY], 300) == (Room.NEXT_DAY, DAY)
    assert room_for([replace(DAY, reserved=1)], 300)[0] is Room.WAIT
    assert room_for([replace(JOB, planned=0, late=JOB.reserved)], 501)[0] is Room.LATE
    assert room_for([replace(JOB, late=JOB.reserved)], 500)[0] is Room.WAIT
    assert room_for([replace(JOB, planned=0, unknown=JOB.reserved)], 501)[0] is Room.PAUSE


def test_little_is_not_sent_while_more_may_be_freed() -> None:
    """Below a fiftieth of the cap; if nothing is in flight it is all there will be."""
    low = replace(JOB, spent=781, reserved=200, planned=0)
    assert is_dribble([low], 10)
    assert not is_dribble([replace(low, spent=780)], 10)
    assert not is_dribble([replace(low, spent=981, reserved=0)], 10)


def test_a_person_is_told_both_numbers() -> None:
    """What is left, and what is needed."""
    assert (
        reached(JOB, 500)
        == "the job's cap is $0.000001, $0.0000004 of it is left, and the next request may cost $0.0000005"
    )
    assert reached(DAY, 5000) == "the budget of a day is $0.000001, and the next request alone may cost $0.000005"


def test_the_longest_prefix_that_can_be_paid_is_taken() -> None:
    """In order: a cheap request behind a dear one is not taken before it."""
    taken = Affordable(100)
    assert [taken.take(number, 10, worst) for number, worst in ((1, 60), (2, 50), (3, 1))] == [True, False, False]
    pack = taken.pack(full=True)
    assert (list(pack.numbers), pack.nanos, taken.first_left) == ([1], 60, 50)
