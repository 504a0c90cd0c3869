"""How a job goes under a cap, told before it is sent: rounds, where it pauses, and a `max_tokens` that would do."""

from __future__ import annotations

import pytest

from orchestrator.domain.cap_course import CapCourse

CENT = 10_000_000


def course(cap: int, **more: int | None) -> str | None:
    """Of 300 requests: $0.0003 of prompt at most, 4,096 tokens of answer at $2.50 a million, of which 210 are used."""
    values: dict[str, int | None] = {
        "requests": 300,
        "worst": 300 * (300_000 + 4_096 * 2_500),
        "expected": 300 * (150_000 + 210 * 2_500),
        "max_tokens": 300 * 4_096,
        "answers": 300 * 210,
        "output": 300 * 4_096 * 2_500,
        **more,
    }
    return CapCourse(cap=cap, **values).words  # type: ignore[arg-type]  # None where it may be


def test_many_rounds_are_told_with_what_would_do_it_in_two() -> None:
    """A cap a half above what it will cost, and one of three times as much; the largest power of two that will do."""
    assert course(30 * CENT) == "max_tokens 4,096, answers about 210: 512 would let the cap finish in 3 rounds, not 18"
    assert course(60 * CENT) == "max_tokens 4,096, answers about 210: 1,024 would let the cap finish in 2 rounds, not 7"


def test_what_ends_in_two_rounds_is_not_spoken_of() -> None:
    """Nor a cap that nothing can reach."""
    assert course(320 * CENT) is None
    assert course(200 * CENT) is None


def test_a_cap_below_what_it_costs_is_told_with_where_it_pauses() -> None:
    """When what is left is less than one request can cost: by the mean of all."""
    assert course(10 * CENT) == (
        "the job pauses after about 133 of 300 requests: the cap is $0.10, about $0.20 is expected in all, and a "
        "request may cost $0.01"
    )
    assert "pauses after about 296 of 300" in str(course(21 * CENT)), "not even the last few fit"


def test_a_cap_below_one_request_sends_nothing() -> None:
    """With both numbers."""
    assert course(CENT) == "the cap is $0.01, and a request may cost $0.01: none is sent"


def test_without_history_only_what_goes_at_a_time_is_known() -> None:
    """And only where that is a small part."""
    told = course(20 * CENT, expected=None, answers=None)
    assert told is not None
    assert told.startswith("about 18 of 300 requests go at a time under the cap of $0.20")
    assert course(200 * CENT, expected=None, answers=None) is None


@pytest.mark.parametrize("cap", [10**18, 1])
def test_extremes_are_no_trouble(cap: int) -> None:
    """A cap of a billion dollars, one of a nano-dollar; no requests at all, or without answers."""
    for more in ({"requests": 0}, {"max_tokens": 300, "answers": 300, "output": 0}):
        course(cap, **more)
