"""The prices that hold: the user's file before the package, times the factor of the settings."""

from __future__ import annotations

import asyncio
from datetime import date
from functools import lru_cache
from typing import Final

from typing_extensions import override

from orchestrator.config import PricesSection
from orchestrator.config.values import format_duration
from orchestrator.ports.runtime import Price, Prices
from orchestrator.prices import package_prices
from orchestrator.prices.price_list import PriceFile, read_price_file

#: Models and days that are remembered. An answer says what model it is of, so the number is not ours to choose.
_MOST: Final = 1024


class PriceBook(Prices):
    """The prices by the settings. What it said once it says again, until it is told other settings.

    Raises UsageError for a price file that cannot be used.
    """

    def __init__(self, section: PricesSection) -> None:
        self.reload(section)

    def reload(self, section: PricesSection) -> None:
        """Go by *section* from now on, and read its file again. Raises UsageError, and then nothing has changed."""
        own = PriceFile() if section.file is None else read_price_file(section.file)
        self._section, self._own = section, own
        self._find = lru_cache(_MOST)(self._look_up)

    @override
    async def load(self) -> None:
        if not package_prices.is_loaded():
            await asyncio.to_thread(package_prices.installed)

    @override
    def price(self, model: str, day: date) -> Price | None:
        return self._find(model, day)

    @override
    def begins(self, model: str, day: date) -> date | None:
        return self._own.begins(model, day)

    @property
    def section(self) -> PricesSection:
        """The settings that it goes by."""
        return self._section

    @override
    def models(self) -> list[str]:
        # The user's own come first.
        return list(dict.fromkeys([*self._own.models(), *package_prices.installed().models()]))

    def package_source(self) -> str:
        """Where every price comes from that is not in the user's file."""
        return self._sourced(package_prices.installed().edition)

    def newest(self, today: date) -> date | None:
        """The newest day, up to *today*, from which the package knows a price: as old are its data."""
        return package_prices.installed().newest(today)

    def staleness(self, today: date) -> tuple[str, str] | None:
        """What to say, and to do, if the prices of the package are older than `max_age`; None if they are not."""
        newest = self.newest(today)
        if newest is None or today - newest <= self._section.max_age:
            return None
        limit = format_duration(self._section.max_age)
        fact = f"the newest price in {package_prices.installed().edition} is of {newest}, more than {limit} ago"
        return fact, "`orchestrator prices --update` shows what has changed since"

    def _look_up(self, model: str, day: date) -> Price | None:
        found = self._own.find(model, day) or package_prices.installed().find(model, day)
        if found is None:
            return None
        return Price(model=model, day=day, rates=found.rates(self._section.factor), source=self._sourced(found.source))

    def _sourced(self, source: str) -> str:
        factor = self._section.factor
        return source if factor == 1 else f"{source}, times {factor:f}"
