"""Durations and sizes: the forms that are read, and that what is written reads the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("0.2s", 0.2), ("250ms", 0.25), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("1m5ms", 60.005)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """The forms that the documentation uses."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "1m1h", "5x", "1e3s", ".5s", "٥s", "367d", "9" * 400 + "s"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    """A number without a unit is the usual slip: seconds or minutes is not for us to guess."""
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the caller's business
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=366)))
def test_a_duration_that_is_written_reads_the_same(duration: timedelta) -> None:
    """`config show` prints what could be pasted into a file."""
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(min_value=1, max_value=10**15))
def test_a_size_that_is_written_reads_the_same(size_bytes: int) -> None:
    """Sizes are exact to the byte."""
    assert parse_size(format_size(size_bytes)) == size_bytes
