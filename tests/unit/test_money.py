"""Amounts of money: read, written for programs, and shown to people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.money import MOST_NANOS, as_text, parse_amount, parse_cap, shown, shown_cap


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("10", 10_000_000_000),
        ("$10", 10_000_000_000),
        (" $ 0.5 ", 500_000_000),
        ("10.50usd", 10_500_000_000),
        ("10.50 USD", 10_500_000_000),
        ("0.000000001", 1),
        (".5", 500_000_000),
        ("000000000010", 10_000_000_000),
        ("1000000000", MOST_NANOS),
    ],
)
def test_an_amount_is_read_to_the_nano_dollar(text: str, nanos: int) -> None:
    """A shell eats the dollar sign of "$10", so the number alone and a word behind it will do."""
    assert parse_amount(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$",
        ".",
        "1.",
        "9" * 20,
        "-1",
        "1e3",
        "1,5",
        "1,000",
        "10eur",
        "0.0000000001",
        "1000000001",
        "nan",
        "inf",
        "١",
        "0x10",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Nothing is guessed: a comma is a decimal point to some and a thousand to others."""
    with pytest.raises(
        ValueError, match=r"no amount of money: write dollars|too large: it is more than 1,000,000,000 dollars"
    ):
        parse_amount(text)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (525_000, "$0.000525"),
        (1_234_567, "$0.00123"),
        (9_999_999, "$0.01"),
        (10_000_000, "$0.01"),
        (660_000_000, "$0.66"),
        (1_234_567_890_000, "$1,234.57"),
        (-5_200_000_000, "-$5.20"),
    ],
)
def test_people_see_cents_and_below_a_cent_three_digits(nanos: int, text: str) -> None:
    """What was spent is never shown as nothing."""
    assert shown(nanos) == text


@given(st.integers(min_value=0, max_value=MOST_NANOS))
def test_what_is_written_for_programs_is_read_back_exactly(nanos: int) -> None:
    """Nine places are all there are."""
    assert parse_amount(as_text(nanos)) == nanos
    assert len(as_text(nanos).partition(".")[2]) == 9


@given(st.integers(min_value=1, max_value=MOST_NANOS))
def test_what_people_see_is_near_what_it_is(nanos: int) -> None:
    """Half a cent, or half a hundredth of it."""
    seen = parse_amount(shown(nanos).replace(",", ""))
    assert abs(seen - nanos) <= max(5_000_000 if nanos >= 10_000_000 else 0, nanos // 100)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (25_000_000, "$0.025"),
        (15_000_000, "$0.015"),
        (10**10, "$10.00"),
        (1_234_567_800_001, "$1,234.567800001"),
        (1, "$0.000000001"),
    ],
)
def test_a_cap_looks_as_it_was_typed(nanos: int, text: str) -> None:
    """Rounded, it would be another cap."""
    assert shown_cap(nanos) == text


@pytest.mark.parametrize("text", ["0", "$0.00", ".0"])
def test_a_cap_of_nothing_is_a_slip_of_a_shell(text: str) -> None:
    """An unquoted $10 is 0."""
    with pytest.raises(ValueError, match="single quotes"):
        parse_cap(text)
    assert parse_cap(".5") == 500_000_000
