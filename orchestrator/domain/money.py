"""Amounts of money: whole nano-dollars inside, decimal strings of dollars outside. Never a float."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

__all__ = ["MOST_NANOS", "NANOS", "NO_ZERO", "as_decimal", "as_text", "parse_amount", "parse_cap", "shown", "shown_cap"]

_PLACES: Final = 9
#: In a dollar.
NANOS: Final = 10**_PLACES
#: The largest amount that is read or stored: a billion dollars. Nine of them fit into SQLite's integers.
MOST_NANOS: Final = 10**9 * NANOS
_AMOUNT: Final = re.compile(r"\$?\s*(?=\.?\d)(\d*)(?:\.(\d{1,9}))?\s*(?:usd)?", re.ASCII | re.IGNORECASE)
_WHOLE_DIGITS: Final = 10
_TOLD: Final = 40
_TOO_LARGE: Final = f"is too large: it is more than {MOST_NANOS // NANOS:,} dollars"
_HOW: Final = "write dollars with a point, such as 10, '$10' or 10.50usd, with up to nine decimal places"
NO_ZERO: Final = (
    "a shell makes 0 of $10 without single quotes ('$10'); to stop jobs, pause them, and to be free of a cap, clear it"
)
_CENT: Final = NANOS // 100


def parse_amount(text: str) -> int:
    """The nano-dollars that *text* says: `10`, `$10`, `10.50usd`. Raises ValueError with the remedy."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no amount of money: {_HOW}")
    whole, part = found.groups()
    if len(whole.lstrip("0")) > _WHOLE_DIGITS:
        raise ValueError(f"{text[:_TOLD]!r} {_TOO_LARGE}")
    nanos = int(whole or 0) * NANOS + int((part or "").ljust(_PLACES, "0"))
    if nanos > MOST_NANOS:
        raise ValueError(f"{text!r} {_TOO_LARGE}")
    return nanos


def parse_cap(text: str) -> int:
    """As `parse_amount`, of the most that may be spent. Raises ValueError for 0, too: it is a slip of a shell."""
    nanos = parse_amount(text)
    if nanos == 0:
        raise ValueError(f"{text!r} is no cap: {NO_ZERO}")
    return nanos


def as_text(nanos: int) -> str:
    """The exact amount for programs: dollars with nine places, `12.340000000`; below zero `-0.050000000`."""
    whole, part = divmod(abs(nanos), NANOS)  # a Decimal would take five times as long, once a request
    return f"{'-' if nanos < 0 else ''}{whole}.{part:09}"


def as_decimal(nanos: int) -> Decimal:
    """The exact amount in dollars, with nine places."""
    return Decimal(nanos).scaleb(-_PLACES)


def shown(nanos: int) -> str:
    """The amount for people, rounded: `$1,234.56`, `$0.66`; below a cent three digits, `$0.00123`; `-$5.20`."""
    sign = "-" if nanos < 0 else ""
    size = abs(nanos)
    if size == 0 or size >= _CENT:
        dollars, cents = divmod((size + _CENT // 2) // _CENT, 100)
        return f"{sign}${dollars:,}.{cents:02}"
    digits = max(len(str(size)) - 3, 0)
    rounded = (size + 10**digits // 2) // 10**digits * 10**digits
    return f"{sign}${f'{Decimal(rounded).scaleb(-_PLACES):f}'.rstrip('0')}"


def shown_cap(nanos: int) -> str:
    """A cap for people, as it was typed, for it is not rounded: `$10.00`, `$0.025`, `$0.000000001`."""
    if nanos % _CENT == 0:
        return shown(nanos)
    dollars, part = divmod(nanos, NANOS)
    return f"${dollars:,}.{f'{part:09}'.rstrip('0')}"
