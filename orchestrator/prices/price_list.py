"""Price lists: five lines of dollars on their way to integer rates, and the user's own list, a TOML file.

That file has dollars per million tokens, standard prices unless it says `as = "batch"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from orchestrator.config.safe_files import UnusableFileError, read_regular_file
from orchestrator.config.toml_text import parse_toml
from orchestrator.domain.billing import UNPRICED_LINE, Rates
from orchestrator.domain.errors import UsageError
from orchestrator.domain.humanize import nearest, plain

_PICOS: Final = 10**6  #: $1 a million tokens, in pico-dollars a token
#: The keys of the five lines, in the order of `PriceLines`.
_LINES: Final = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_FROM, _AS, _ABOVE, _LONG = "from", "as", "above", "long"
_KEYS: Final = (*_LINES, _FROM, _AS, _ABOVE, _LONG)
_SHARES: Final = {"standard": Decimal("0.5"), "batch": Decimal(1)}
_MOST_DOLLARS: Final = 1_000_000
_MOST_TOKENS: Final = 1_000_000_000
_DATED: Final = re.compile(r"-20\d{6}$", re.ASCII)
_HINT: Final = 'write for each model: "claude-x-9" = { input = 3.00, output = 15.00, … }'


class PriceLines(NamedTuple):
    """Dollars per million tokens, in the order of `Rates`."""

    input: Decimal
    output: Decimal
    write_5m: Decimal
    write_1h: Decimal
    read: Decimal

    def times(self, factor: Decimal) -> PriceLines:
        """Every line times *factor*."""
        return PriceLines(*(line * factor for line in self))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPrices:
    """What a batch costs. `long` holds for every token of a request whose prompt is longer than `above` tokens.

    source: where the prices stand, for people.
    """

    lines: PriceLines
    above: int = 0
    long: PriceLines | None = None
    source: str

    def rates(self, factor: Decimal) -> Rates:
        """The rates, times *factor*; a part of a pico-dollar counts as a whole one."""
        long = None if self.long is None else _picos(self.long, factor)
        return Rates(*_picos(self.lines, factor), self.above, long)


def _picos(lines: PriceLines, factor: Decimal) -> tuple[int, int, int, int, int]:
    fresh, output, write_5m, write_1h, read = (
        int((line * factor * _PICOS).to_integral_value(ROUND_CEILING)) for line in lines
    )
    return fresh, output, write_5m, write_1h, read


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPrices:
    """Prices from a day on; None: from the beginning."""

    since: date | None
    prices: BatchPrices


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What a price file says, by model; of each model the newest prices first."""

    entries: Mapping[str, tuple[DatedPrices, ...]] = field(default_factory=dict)

    def models(self) -> Iterator[str]:
        """The models in the order of the file."""
        yield from self.entries

    def find(self, model: str, day: date) -> BatchPrices | None:
        """What a batch of *model* costs on *day*. A model whose name has a date is priced as the one without.

        None for a day before the first `from`: then the file says nothing of it.
        """
        return next((each.prices for each in self._of(model) if each.since is None or each.since <= day), None)

    def begins(self, model: str, day: date) -> date | None:
        """The first day after *day* from which the file has a price of *model*; None: it has none after it."""
        later = (each.since for each in self._of(model) if each.since is not None and each.since > day)
        return min(later, default=None)

    def _of(self, model: str) -> tuple[DatedPrices, ...]:
        return self.entries.get(model) or self.entries.get(_DATED.sub("", model), ())


def read_price_file(path: Path) -> PriceFile:
    """Read the file at *path*. Raises UsageError with the file, the field and the remedy."""
    try:
        content, _ = read_regular_file(path)
    except (OSError, UnusableFileError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) else str(exc)
        hint = "[prices] file names it: make it a file that you can read, or leave the setting out"
        raise UsageError(f"the price file cannot be read: {path}", cause=cause, hint=hint) from exc
    tables = parse_toml(content, str(path), hint=_HINT, shape=_HINT, parse_float=Decimal)
    return PriceFile({model: _entries(_Place(path, plain(model)), table) for model, table in tables.items()})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in which file something stands."""

    path: Path
    name: str

    def below(self, key: str) -> _Place:
        return _Place(self.path, f"{self.name}.{key}")

    def refuse(self, what: str, hint: str) -> NoReturn:
        raise UsageError(f"{self.path}: {self.name}: {what}", hint=hint)


def _entries(place: _Place, value: object) -> tuple[DatedPrices, ...]:
    tables = value if isinstance(value, list) else [value]
    found = [_entry(place, table) for table in tables if isinstance(table, dict)]
    if not found or len(found) < len(tables):
        place.refuse("expected the prices of a model, or a list of them", _HINT)
    days = [each.since for each in found]
    if len(set(days)) < len(days):
        place.refuse("two prices hold from the same day", f"give each its own {_FROM} = YYYY-MM-DD; one may be without")
    return tuple(sorted(found, key=lambda each: each.since or date.min, reverse=True))


def _entry(place: _Place, table: Mapping[str, Any]) -> DatedPrices:
    _check_keys(place, table, _KEYS)
    share = _share(place.below(_AS), table.get(_AS, "standard"))
    if (_ABOVE in table) != (_LONG in table):
        hint = "above = 100000, long = { input = … }: the prices of every token where the prompt is longer"
        place.refuse("above and long go together", hint)
    source = f"your prices in {place.path}"
    since = _day(place.below(_FROM), table[_FROM]) if _FROM in table else None
    lines = _lines(place, table).times(share)
    if _LONG not in table:
        return DatedPrices(since=since, prices=BatchPrices(lines=lines, source=source))
    above, long = _tokens(place.below(_ABOVE), table[_ABOVE]), _long(place.below(_LONG), table[_LONG])
    return DatedPrices(since=since, prices=BatchPrices(lines=lines, above=above, long=long.times(share), source=source))


def _share(place: _Place, value: object) -> Decimal:
    share = _SHARES.get(value) if isinstance(value, str) else None
    if share is None:
        place.refuse(
            f"expected {' or '.join(map(repr, _SHARES))}", 'write as = "batch" where the prices are halved already'
        )
    return share


def _check_keys(place: _Place, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            place.refuse(f"unknown key {key}", nearest(key, known) or f"the keys are: {', '.join(known)}")


def _long(place: _Place, value: object) -> PriceLines:
    if not isinstance(value, dict):
        place.refuse("expected prices", "write for instance: long = { input = 6.00, … }")
    _check_keys(place, value, _LINES)
    return _lines(place, value)


def _lines(place: _Place, table: Mapping[str, Any]) -> PriceLines:
    missing = [name for name in _LINES if name not in table]
    if missing:
        hint = "a model is priced by this file alone, so it needs every line: " + ", ".join(_LINES)
        place.refuse(f"no {' and no '.join(missing)}", hint)
    return PriceLines(*(_dollars(place.below(name), table[name]) for name in _LINES))


def _dollars(place: _Place, value: object) -> Decimal:
    if value == UNPRICED_LINE:
        place.refuse(
            "is to be filled in: a price of its own, in dollars per million tokens",
            f"write the number in place of {UNPRICED_LINE!r}, without quotes, or take the line of the model out",
        )
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    found = Decimal(value) if is_number else None  # type: ignore[arg-type]  # it is a number
    if found is None or not found.is_finite() or not 0 <= found <= _MOST_DOLLARS:
        place.refuse(
            "expected dollars per million tokens, without quotes",
            f"write for instance: {place.name.rpartition('.')[2]} = 3.75",
        )
    return found


def _tokens(place: _Place, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST_TOKENS:
        place.refuse("expected a number of tokens", "write for instance: above = 100000")
    return value


def _day(place: _Place, value: object) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        place.refuse("expected a day, without quotes", "write for instance: from = 2026-11-09")
    return value
