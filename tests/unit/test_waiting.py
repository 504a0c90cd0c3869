"""How long to wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.waiting import Pace, asked_pause, backoff, poll_pause

SECOND = timedelta(seconds=1)
PACE = Pace(shortest=30 * SECOND, longest=300 * SECOND)


@given(age_s=st.floats(-86_400, 10**7), jitter=st.floats(0, 1, exclude_max=True))
@settings(derandomize=True)
def test_looks_stay_within_the_pace_whatever_the_age(age_s: float, jitter: float) -> None:
    """Promise 5: also for an age below zero, which a clock that was set back gives."""
    pause = poll_pause(timedelta(seconds=age_s), PACE, jitter)
    assert PACE.shortest <= pause <= PACE.longest * 1.1


def test_an_old_batch_is_looked_at_less_often_than_a_young_one() -> None:
    """Promise 5: a twentieth of the age."""
    ages = [timedelta(minutes=m) for m in (1, 10, 20, 60, 600)]
    pauses = [poll_pause(age, PACE, 0).total_seconds() for age in ages]
    assert pauses == [30, 30, 60, 180, 300]


@given(tries=st.integers(1, 10**6), jitter=st.floats(0, 1, exclude_max=True))
@settings(derandomize=True)
def test_backing_off_doubles_up_to_the_longest_pause(tries: int, jitter: float) -> None:
    """Promise 5: no overflow, however long the storm."""
    pause = backoff(tries, PACE, jitter)
    plain = min(30 * 2 ** min(tries - 1, 20), 300)
    assert plain * SECOND <= pause <= plain * 1.25 * SECOND


@pytest.mark.parametrize(
    ("asked_s", "expected_s"),
    [(None, None), (0, None), (0.2, 1), (1, 1), (3600, 3600), (86_400, 86_400)]
    + [(nonsense, None) for nonsense in (86_401, 10**9, -5, float("nan"), float("inf"))],
)
def test_the_apis_figure_counts_alone_unless_it_is_nonsense(asked_s: float | None, expected_s: float | None) -> None:
    """T38: 0, 1, 3600, −5 and 10⁹ seconds."""
    assert asked_pause(asked_s, 0) == (None if expected_s is None else expected_s * SECOND)
    jittered = asked_pause(asked_s, 0.999)
    assert jittered is None or expected_s * SECOND < jittered < expected_s * 1.1 * SECOND  # type: ignore[operator]
