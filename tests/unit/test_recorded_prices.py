"""Our rates beside three other tables: one that was recorded by hand, genai-prices' own sums, and model-prices."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal
from typing import Final

import genai_prices
import pytest
from support.length import IS_LONG

from orchestrator.config import PricesSection
from orchestrator.domain.billing import Rates, Tokens, cost_of
from orchestrator.ports.runtime import Price
from orchestrator.prices.package_prices import installed
from orchestrator.prices.price_book import PriceBook

Lines = tuple[str, str, str, str, str]

DAY: Final = date(2026, 11, 28)
#: Standard prices in dollars per million tokens: in, out, write 5m, write 1h, read. A batch is half of each.
#: Source: the API's pricing page as of 2026-08-21, model pages of 2026-10 and 11.
RECORDED: Final[dict[str, Lines]] = {
    "claude-fable-5-2": ("8", "40", "10", "16", "0.20"),
    "claude-mythos-5-2": ("8", "40", "10", "16", "0.20"),
    "claude-fable-5-1": ("10", "50", "12.50", "20", "0.25"),
    "claude-fable-5": ("10", "50", "12.50", "20", "1.00"),
    "claude-opus-5-5": ("4", "20", "5", "8", "0.20"),
    "claude-opus-5": ("5", "25", "6.25", "10", "0.50"),
    "claude-opus-4-8": ("5", "25", "6.25", "10", "0.50"),
    "claude-opus-4-7": ("5", "25", "6.25", "10", "0.50"),
    "claude-opus-4-6": ("5", "25", "6.25", "10", "0.50"),
    "claude-opus-4-5": ("5", "25", "6.25", "10", "0.50"),
    "claude-sonnet-5-5": ("2", "10", "2.50", "4", "0.10"),
    "claude-sonnet-5": ("2", "10", "2.50", "4", "0.20"),
    "claude-sonnet-4-6": ("3", "15", "3.75", "6", "0.30"),
    "claude-sonnet-4-5": ("3", "15", "3.75", "6", "0.30"),
    "claude-haiku-5-5": ("0.10", "0.50", "0.125", "0.20", "0.01"),
    "claude-haiku-4-5": ("1", "5", "1.25", "2", "0.10"),
}
#: The same for a prompt of more than so many tokens.
RECORDED_LONG: Final[dict[str, tuple[int, Lines]]] = {
    "claude-haiku-5-5": (100_000, ("0.50", "2.50", "0.625", "1.00", "0.05")),
    "claude-sonnet-4-5": (200_000, ("6", "22.50", "7.50", "12", "0.60")),
}
#: The package has no price of these two; a price file can give them one.
UNKNOWN: Final = ("claude-mythos-5", "claude-mythos-5-1")
#: The package has batch prices from this day on, but for models that are newer; before, we take the half of its others.
BATCHES_SINCE: Final = date(2026, 10, 14)
NEWER: Final = ("claude-fable-5-2", "claude-mythos-5-2")
DAYS: Final = (
    date(2026, 10, 13),
    BATCHES_SINCE,
    date(2026, 11, 8),
    date(2026, 11, 9),
    date(2026, 11, 27),
    DAY,
    date(2026, 12, 31),
)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(PricesSection())


def priced(book: PriceBook, model: str, day: date = DAY) -> Price:
    found = book.price(model, day)
    assert found is not None, f"no price for {model}"
    return found


def half(lines: Lines) -> tuple[int, int, int, int, int]:
    """Pico-dollars a token in a batch."""
    fresh, output, write_5m, write_1h, read = (int(Decimal(line) * 10**6 / 2) for line in lines)
    return fresh, output, write_5m, write_1h, read


def test_every_model_that_can_be_had_was_recorded(book: PriceBook) -> None:
    """A model that is new in the package is looked up by a person once, and joins the table."""
    assert sorted(book.models()) == sorted(RECORDED)
    assert [model for model in UNKNOWN if book.price(model, DAY) is not None] == []


@pytest.mark.parametrize("model", RECORDED)
def test_the_rates_are_half_of_the_recorded_prices(book: PriceBook, model: str) -> None:
    """A difference shows both numbers: one of the two lists is wrong, and each has money behind it."""
    rates = priced(book, model).rates
    above, long = RECORDED_LONG.get(model, (0, None))
    assert rates == Rates(*half(RECORDED[model]), above, None if long is None else half(long))


def sum_by_package(model: str, day: date, tokens: Tokens) -> Decimal:
    """Dollars, by genai-prices. Its `input_tokens` has the cache in it, ours has not."""
    writes = tokens.write_5m + tokens.write_1h
    usage = genai_prices.Usage(
        input_tokens=tokens.input + writes + tokens.read,
        output_tokens=tokens.output,
        cache_write_tokens=writes,
        cache_write_1h_tokens=tokens.write_1h,
        cache_read_tokens=tokens.read,
        web_searches=tokens.searches,
    )
    return genai_prices.calc_price(
        usage,
        model,
        provider_id="anthropic",
        genai_request_timestamp=datetime.combine(day, time(12), UTC),
        price_context={"processing": "batch"},
    ).total_price


def nanos(dollars: Decimal) -> int:
    """Rounded up, as a request is."""
    return int((dollars * 10**9).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize("day", DAYS, ids=str)
@pytest.mark.parametrize("model", RECORDED)
def test_the_package_comes_to_the_same_sums(book: PriceBook, model: str, day: date) -> None:
    """Line by line, on both sides of each border of the tiers, in a batch."""
    above = max(RECORDED_LONG.get(model, (0,))[0], 1000)
    rates = priced(book, model, day).rates
    for tokens in (
        Tokens(above),
        Tokens(above + 1),
        Tokens(output=1_000_000),
        Tokens(write_5m=above),
        Tokens(write_5m=above + 1),
        Tokens(write_1h=above),
        Tokens(write_1h=above + 1),
        Tokens(read=above),
        Tokens(1, 64, 0, 0, above),
    ):
        found = sum_by_package(model, day, tokens)
        of_a_batch = found if day >= BATCHES_SINCE or model in NEWER else found / 2
        assert cost_of(tokens, rates) == nanos(of_a_batch), (model, day, tokens)


def test_random_usages_cost_what_the_package_says(book: PriceBook) -> None:
    """Of every model, with and without cache, long prompts and searches: not a nano-dollar of difference."""
    chance = random.Random(14)
    models = sorted(RECORDED)
    for number in range(12_000 if IS_LONG else 600):
        model = models[number % len(models)]
        scale = chance.choice((300, 20_000, 400_000))
        fresh, output, write_5m, write_1h, read = (chance.choice((0, chance.randrange(scale))) for _ in range(5))
        tokens = Tokens(fresh, output, write_5m, write_1h, read, chance.choice((0, 0, 3)))
        by_us = cost_of(tokens, priced(book, model).rates)
        assert by_us == nanos(sum_by_package(model, DAY, tokens)), (model, tokens)


@pytest.mark.parametrize("model", RECORDED)
def test_another_list_says_the_same(book: PriceBook, model: str) -> None:
    """model-prices has another origin (models.dev). In 0.0.5 its data are of 2026-10-23: some models are newer."""
    other = pytest.importorskip("model_prices", reason="a tool of development: pip install model-prices")
    theirs = other.rates(model, mode="batch", at="2026-11-28T12:00:00Z")
    if theirs is None:
        assert model in NEWER
        return
    ours = priced(book, model).rates
    write_1h = theirs.input * theirs.cache_write_1h_multiple
    lines = (theirs.input, theirs.output, theirs.cache_write, write_1h, theirs.cache_read)
    assert ours[:5] == tuple(round(line * 10**6) for line in lines)
    if model == "claude-haiku-5-5":
        (tier,) = theirs.tiers
        assert ours.long is not None
        assert (ours.above, ours.long[0], ours.long[1]) == (
            tier.above,
            round(tier.input * 10**6),
            round(tier.output * 10**6),
        )


@pytest.mark.parametrize(
    ("model", "tokens", "geo", "expected"),
    [
        ("claude-haiku-4-5", Tokens(1_000, 64), "", 660_000),
        ("claude-haiku-4-5", Tokens(1_000, 10), "", 525_000),
        ("claude-haiku-4-5", Tokens(1_200, 30, write_1h=11_189), "", 11_864_000),
        ("claude-haiku-4-5", Tokens(1_200, 30, read=11_189), "", 1_234_450),
        ("claude-haiku-5-5", Tokens(100_000), "", 5_000_000),
        ("claude-haiku-5-5", Tokens(100_001), "", 25_000_250),
        ("claude-sonnet-5-5", Tokens(1_000, 100), "", 1_500_000),
        ("claude-sonnet-5-5", Tokens(1_000, 100), "us", 1_650_000),
        ("claude-opus-5-5", Tokens(1_000), "", 2_000_000),
        ("claude-sonnet-4-6", Tokens(162 + 99_195, 11 + 81), "", 149_725_500),
    ],
)
def test_requests_cost_what_was_worked_out_by_hand(
    book: PriceBook, model: str, tokens: Tokens, geo: str, expected: int
) -> None:
    """From the name of the model to the nano-dollar; the dated name of an answer costs the same."""
    assert cost_of(tokens, priced(book, model).rates, geo) == expected
    assert cost_of(tokens, priced(book, f"{model}-20261001").rates, geo) == expected


def test_a_thousand_rows_at_their_worst(book: PriceBook) -> None:
    """1,000 rows of 1,000 tokens and max_tokens 64: 66 cents."""
    assert 1000 * cost_of(Tokens(1_000, 64), priced(book, "claude-haiku-4-5").rates) == 660_000_000


def test_the_models_of_the_package_are_found_by_their_own_names() -> None:
    """None of them is taken for another that its name begins with."""
    package = installed()
    found = {model: package.find(model, DAY) for model in package.models()}
    assert [model for model, prices in found.items() if prices is None] == []
