"""What an answer is billed, by its usage and the rates of its model: whole nano-dollars, request by request."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.billing import Rates, Tokens, cost_of

HAIKU_4_5 = Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000)
HAIKU_5_5 = Rates(50_000, 250_000, 62_500, 100_000, 5_000, 100_000, (250_000, 1_250_000, 312_500, 500_000, 25_000))
SONNET_5_5 = Rates(1_000_000, 5_000_000, 1_250_000, 2_000_000, 50_000)
COUNTS = st.integers(min_value=0, max_value=2_000_000)


@pytest.mark.parametrize(
    ("tokens", "rates", "geo", "nanos"),
    [
        (Tokens(1_000, 64), HAIKU_4_5, "", 660_000),
        (Tokens(1_200, 30, write_1h=11_189), HAIKU_4_5, "", 11_864_000),
        (Tokens(1_200, 30, read=11_189), HAIKU_4_5, "", 1_234_450),
        (Tokens(100_000), HAIKU_5_5, "", 5_000_000),
        (Tokens(100_001), HAIKU_5_5, "", 25_000_250),
        (Tokens(1, read=100_000), HAIKU_5_5, "", 2_500_250),
        (Tokens(1_000, 100), SONNET_5_5, "", 1_500_000),
        (Tokens(1_000, 100), SONNET_5_5, "us", 1_650_000),
        (Tokens(1_000, 100), SONNET_5_5, "global", 1_500_000),
        (Tokens(searches=3), SONNET_5_5, "", 30_000_000),
        (Tokens(read=1), HAIKU_4_5, "", 50),
        (Tokens(read=1), HAIKU_5_5, "us", 6),
    ],
)
def test_the_cost_of_one_request(tokens: Tokens, rates: Rates, geo: str, nanos: int) -> None:
    """A longer prompt has other rates, the US a tenth more, a search a price of its own; rounded up once."""
    assert cost_of(tokens, rates, geo) == nanos


@given(tokens=st.builds(Tokens, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 9)), in_us=st.booleans())
def test_the_cost_is_the_exact_one_rounded_up(tokens: Tokens, in_us: bool) -> None:
    """Against fractions, which round nothing."""
    prompt = tokens.input + tokens.write_5m + tokens.write_1h + tokens.read
    rates = HAIKU_5_5[:5] if prompt <= 100_000 else HAIKU_5_5.long
    assert rates is not None
    order = (tokens.input, tokens.output, tokens.write_5m, tokens.write_1h, tokens.read)
    picos = sum((Fraction(count * rate) for count, rate in zip(order, rates, strict=True)), Fraction(0))
    exact = (picos * (Fraction(11, 10) if in_us else 1) + tokens.searches * 10**10) / 1000
    assert exact <= cost_of(tokens, HAIKU_5_5, "us" if in_us else "") < exact + 1 + Fraction(1, 1000)
