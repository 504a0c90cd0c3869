"""Prices for tests: a small table of real rates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from typing_extensions import override

from orchestrator.domain.billing import Rates
from orchestrator.ports.runtime import Price, PricesAtHand

HAIKU_4_5: Final = Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000)
HAIKU_5_5: Final = Rates(
    50_000, 250_000, 62_500, 100_000, 5_000, 100_000, (250_000, 1_250_000, 312_500, 500_000, 25_000)
)
SONNET_4_6: Final = Rates(1_500_000, 7_500_000, 1_875_000, 3_000_000, 150_000)
TABLE: Final = {
    "claude-haiku-4-5": HAIKU_4_5,
    "claude-haiku-5-5": HAIKU_5_5,
    "claude-sonnet-4-6": SONNET_4_6,
}


class PriceTable(PricesAtHand):
    """Half of the API's list, by the names that tests send. asked: for which models and days it was asked."""

    def __init__(self, rates: Mapping[str, Rates] = TABLE) -> None:
        self.rates = dict(rates)
        self.asked: list[tuple[str, date]] = []

    @override
    def price(self, model: str, day: date) -> Price | None:
        self.asked.append((model, day))
        rates = self.rates.get(model)
        return None if rates is None else Price(model=model, day=day, rates=rates, source="table of the tests")
