"""Prices as the faces show them: JSON, a table, and what to do for a model without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final

from orchestrator.domain.billing import UNPRICED_LINE, Rates
from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.humanize import plain
from orchestrator.ports.runtime import Price
from orchestrator.views.view import View

_FROM: Final = "`from`"
_TO_FILL_IN: Final = f'"{UNPRICED_LINE}"'


class LinesView(View, frozen=True, kw_only=True):
    """The five lines: decimal strings of dollars per million tokens, in a batch."""

    input: str
    output: str
    cache_write_5m: str
    cache_write_1h: str
    cache_read: str

    @classmethod
    def of(cls, rates: Sequence[int]) -> LinesView:
        """The view of five rates, in the order of `Rates`."""
        fresh, output, write_5m, write_1h, read = map(_dollars, rates)
        return cls(input=fresh, output=output, cache_write_5m=write_5m, cache_write_1h=write_1h, cache_read=read)


class RatesView(LinesView, frozen=True, kw_only=True):
    """The rates of a model. `long` holds for every token of a request whose prompt has more than `above` tokens."""

    above: int | None
    long: LinesView | None

    @classmethod
    def of_rates(cls, rates: Rates) -> RatesView:
        """The view of *rates*."""
        long = rates.long
        return cls(
            **LinesView.of(rates[:5]).fields(),
            above=None if long is None else rates.above,
            long=None if long is None else LinesView.of(long),
        )


class PriceView(View, frozen=True, kw_only=True):
    """The price of a model in a batch on a day, with its source."""

    model: str
    day: str
    batch: RatesView
    source: str

    @classmethod
    def of(cls, price: Price) -> PriceView:
        """The view of *price*."""
        rates = RatesView.of_rates(price.rates)
        return cls(model=price.model, day=price.day.isoformat(), batch=rates, source=price.source)


class ChangeView(View, frozen=True, kw_only=True):
    """What the newest list says of a model from a day on, and the installed one; null: no price."""

    model: str
    day: str
    before: RatesView | None
    after: RatesView | None

    @classmethod
    def of(cls, model: str, day: date, before: Rates | None, after: Rates | None) -> ChangeView:
        """The view of a change."""
        views = [None if rates is None else RatesView.of_rates(rates) for rates in (before, after)]
        return cls(model=model, day=day.isoformat(), before=views[0], after=views[1])


class PriceListView(View, frozen=True, kw_only=True):
    """`orchestrator prices --json`. newest: the day of the package's newest price; warning: that it is long ago."""

    day: str
    currency: str = "USD"
    tokens: int = 1_000_000
    source: str
    newest: str | None
    warning: str | None
    prices: list[PriceView]


def no_price(model: str, file: Path | None, begins: date | None = None) -> NoSuchThing:
    """The error for a *model* without a price, with the line to write. file: the price file of the settings.

    begins: the later day from which that file has one.
    """
    if begins is not None:
        return NoSuchThing(
            f"no price for {plain(model)} before {begins}",
            cause=f"{file} has it from {begins} on, and genai-prices has none under this very name",
            hint=f"write there what it costs until then: give it an earlier {_FROM}, or a second entry without one",
        )
    where = "a file that [prices] file names, or ORCHESTRATOR_PRICES__FILE" if file is None else str(file)
    return NoSuchThing(
        f"no price for {plain(model)}; put it in prices.toml",
        cause="it is neither in your price file nor, under this very name, in genai-prices",
        hint=f"write into {where}, with its standard prices in place of {_TO_FILL_IN}, in dollars per million tokens:\n"
        f"{entry(model)}",
    )


def entry(model: str) -> str:
    """The line of a price file that gives *model* a price, once prices are filled in: as it is, it is refused."""
    return f"{_quoted(model)} = {{ {', '.join(f'{name} = {_TO_FILL_IN}' for name in LinesView.__struct_fields__)} }}"


def change_lines(changes: Sequence[ChangeView]) -> Iterator[str]:
    """*changes*, which stand together by model, as a price file has them; what was before, in comments."""
    for model, found in groupby(changes, key=lambda each: each.model):
        entries = list(found)
        for each in entries:
            yield f"# {plain(model)} was, until {each.day}: {_in_braces(each.before)}"
        known = [f"{{ {_in_braces(each.after)}, from = {each.day} }}" for each in entries if each.after is not None]
        if known:
            yield f"{_quoted(model)} = {known[0] if len(known) == 1 else '[' + ', '.join(known) + ']'}"
        else:
            yield "# it has no price any more"


def _in_braces(rates: RatesView | None) -> str:
    if rates is None:
        return "without a price"
    long = "" if rates.long is None else f", above = {rates.above}, long = {{ {_lines(rates.long)} }}"
    return f'{_lines(rates)}, as = "batch"{long}'


def _lines(lines: LinesView) -> str:
    return ", ".join(f"{name} = {_trimmed(getattr(lines, name))}" for name in LinesView.__struct_fields__)


def price_rows(prices: Sequence[Price], usual: str) -> list[list[str]]:
    """A table with its header; the price of long prompts stands below that of others.

    usual: the source of most, which is said above the table.
    """
    rows = [["MODEL", "IN", "OUT", "WRITE 5M", "WRITE 1H", "READ", ""]]
    for price in prices:
        source = "" if price.source == usual else price.source
        rows.append([plain(price.model), *map(_short, price.rates[:5]), source])
        if price.rates.long is not None:
            rows.append([f"  over {price.rates.above:,}", *map(_short, price.rates.long), ""])
    return rows


def _short(rate: int) -> str:
    return _trimmed(_dollars(rate))


def _dollars(rate: int) -> str:
    """Dollars per million tokens, from pico-dollars a token: exact, six places."""
    return f"{Decimal(rate).scaleb(-6):.6f}"


def _trimmed(text: str) -> str:
    """*text* without zeros at its end, but for two places: `0.0625`, `2.50`."""
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def _quoted(model: str) -> str:
    import msgspec

    return msgspec.json.encode(model).decode()
