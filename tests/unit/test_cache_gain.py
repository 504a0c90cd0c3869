"""When the prompt cache pays."""

from __future__ import annotations

from fractions import Fraction

import pytest

from orchestrator.domain.billing import Rates
from orchestrator.domain.cache_gain import break_even, prefix_nanos, rows_that_pay

HAIKU_4_5 = Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000)
SONNET_5_5 = Rates(1_000_000, 5_000_000, 1_250_000, 2_000_000, 50_000)
FABLE_5_2 = Rates(4_000_000, 20_000_000, 5_000_000, 8_000_000, 100_000)


@pytest.mark.parametrize(
    ("hits", "nanos"),
    [
        (None, 10_000_000_000),
        (Fraction(0), 20_000_000_000),
        (Fraction(95, 100), 1_494_500_000),
        (Fraction(1), 519_500_000),
    ],
)
def test_a_thousand_requests_that_share_ten_thousand_tokens(hits: Fraction | None, nanos: int) -> None:
    """Written once and read by 949 or 999 others, it is a tenth; written by each, twice what it costs uncached."""
    assert prefix_nanos(SONNET_5_5, 1_000, 10_000, hits=hits) == nanos


@pytest.mark.parametrize(
    ("rates", "ttl_s", "percent"),
    [
        (HAIKU_4_5, 300, "21.7"),
        (HAIKU_4_5, 3600, "52.6"),
        (SONNET_5_5, 3600, "51.3"),
        (FABLE_5_2, 3600, "50.6"),
    ],
)
def test_the_hit_rate_that_just_pays(rates: Rates, ttl_s: int, percent: str) -> None:
    """An hour is dearer to write, so more must hit; the discount of a batch drops out."""
    assert f"{float(100 * break_even(rates, ttl_s)):.1f}" == percent


def test_how_many_requests_pay() -> None:
    """With nearly all hits two pay for five minutes and three for an hour; below the break-even none ever do."""
    most = Fraction(95, 100)
    assert rows_that_pay(HAIKU_4_5, most, 300) == 2
    assert rows_that_pay(HAIKU_4_5, most) == 3
    assert rows_that_pay(HAIKU_4_5, Fraction(1, 2)) is None
