"""What answers cost: every model of a batch by its own price, however many there are."""

from __future__ import annotations

from datetime import UTC, date, datetime

from typing_extensions import override

from orchestrator.domain.billing import Rates
from orchestrator.domain.result_lines import ResultLine
from orchestrator.engine.pricing import Pricing
from orchestrator.ports.runtime import Price, PricesAtHand

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class ByNumber(PricesAtHand):
    """`m-7` costs $7 a million tokens; `x-7` has no price."""

    @override
    def price(self, model: str, day: date) -> Price | None:
        kind, _, number = model.partition("-")
        rate = int(number) * 10**6
        return None if kind == "x" else Price(model=model, day=day, rates=Rates(rate, rate, 0, 0, 0), source="s")


def line(model: str, geo: str | None = None) -> ResultLine:
    """An answer of *model* with a thousand tokens."""
    return ResultLine("w", "succeeded", b"{}", input_tokens=600, output_tokens=400, model=model, geo=geo, charges=None)


def test_every_model_and_place_of_a_batch_has_its_price() -> None:
    """A thousand models, and as many places; a tenth more only in the one where it is."""
    pricing = Pricing(ByNumber(), NOON)
    for number in range(1, 1001):
        assert pricing.price(line(f"m-{number}"))[1] == number * 10**6
        assert pricing.price(line(f"m-{number}", f"place {number}"))[1] == number * 10**6
        assert pricing.price(line(f"m-{number}", "us"))[1] == number * 1_100_000


def test_names_without_a_price_fill_no_table() -> None:
    """Nor do places: of a hundred thousand a hundred are kept, and the rest is as one."""
    pricing = Pricing(ByNumber(), NOON)
    unknown = {(found.model, found.geo) for number in range(500) for found in [pricing.price(line(f"x-{number}"))[0]]}
    assert len(unknown) == 101
    assert {pricing.price(line("m-1", f"place {number}"))[0].geo for number in range(500)} == {""}
