"""What the prompt cache can save, and when it pays: in integers and fractions, by the rates of a batch.

The first request of a prefix writes it, dearer than it would be read without a cache; the others read it, far cheaper,
as far as they hit. Saved is always measured against the same requests in batches without a cache.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from orchestrator.domain.billing import Rates

__all__ = ["HOUR_S", "break_even", "prefix_nanos", "rows_that_pay", "write_rate"]

HOUR_S: Final = 3600
_PICOS: Final = 1000
_ALL: Final = Fraction(1)


def write_rate(rates: Rates, ttl_s: int) -> int:
    """Pico-dollars a token that is written to be kept for *ttl_s*."""
    return rates.write_1h if ttl_s >= HOUR_S else rates.write_5m


def break_even(rates: Rates, ttl_s: int = HOUR_S) -> Fraction:
    """The hit rate of many requests from which on the cache pays."""
    write = write_rate(rates, ttl_s)
    return Fraction(write - rates.input, write - rates.read) if write > rates.read else Fraction(0)


def rows_that_pay(rates: Rates, hits: Fraction, ttl_s: int = HOUR_S) -> int | None:
    """From how many requests on a prefix pays if *hits* of those after the first hit; None: never."""
    write = write_rate(rates, ttl_s)
    gain = rates.input - hits * rates.read - (1 - hits) * write
    return None if gain <= 0 else max(1, 1 + -(-(write - rates.input) // gain))


def prefix_nanos(rates: Rates, rows: int, tokens: int, *, ttl_s: int = HOUR_S, hits: Fraction | None = _ALL) -> int:
    """What *rows* requests pay for the prefix of so many *tokens* that they share.

    hits: the share of those after the first that read it (whole requests, rounded down); None: there is no cache.
    """
    if hits is None:
        return -(-rows * tokens * rates.input // _PICOS)
    reads = int(max(rows - 1, 0) * hits)
    return -(-tokens * ((rows - reads) * write_rate(rates, ttl_s) + reads * rates.read) // _PICOS)
