"""What an answer is billed: its usage times the rates of its model, in integers.

A rate is pico-dollars a token ($1 a million tokens is 1,000,000), a cost is nano-dollars, rounded up once a request.
The rates of a batch are half of the standard ones in every line; whoever makes `Rates` has taken the half.
Sources: the API's pricing page (batch, prompt caching, data residency, long context) and its reference of `usage`;
recorded pairs of answers with iterations; the release note of 2026-09-24 on refusals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

__all__ = [
    "CHARGED_REFUSALS",
    "MOST_ANSWER_NANOS",
    "MOST_TOKENS",
    "UNPRICED_LINE",
    "UNREAD",
    "US_ONLY",
    "Charge",
    "Charges",
    "Counts",
    "Kind",
    "LongRates",
    "Payment",
    "Rates",
    "Tariff",
    "Tokens",
    "believed",
    "charges",
    "cost_of",
    "plain_cost",
]

#: Refusals before any output are free, but for these categories of `stop_details`.
CHARGED_REFUSALS: Final = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
#: The value of `inference_geo` that costs a tenth more, on every token line.
US_ONLY: Final = "us"
#: More tokens than any model can read or write: usage beyond it is not believed, and its cost is unknown.
MOST_TOKENS: Final = 1_000_000_000
#: A thousand dollars, a hundred times the longest answer's cost: more is not believed of one. So no sum overflows.
MOST_ANSWER_NANOS: Final = 1000 * 10**9
#: What stands in a line of a price file that is still to be filled in.
UNPRICED_LINE: Final = "FILL IN"
_SEARCH_PICOS: Final = 10_000_000_000  #: a web search: $10 a thousand; there is no batch price for it
_PICOS: Final = 1000  #: to a nano-dollar


class Tokens(NamedTuple):
    """The counts that are billed. `input` is without cache reads and writes, as the API gives it."""

    input: int = 0
    output: int = 0
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0
    searches: int = 0


#: The counts of `Tokens`.
Counts = tuple[int, int, int, int, int, int]
#: The rates of a long prompt: input, output, written for 5 minutes and for an hour, read.
LongRates = tuple[int, int, int, int, int]


class Rates(NamedTuple):
    """Pico-dollars a token, of one model on one day.

    above: with a longer prompt (input, writes and reads) than so many tokens the rates of `long` hold for every token
    of the request; 0: there are none.
    """

    input: int
    output: int
    write_5m: int
    write_1h: int
    read: int
    above: int = 0
    long: LongRates | None = None


class Charge(NamedTuple):
    """What one model is billed for in one answer.

    model, geo: as the answer says them (`inference_geo`), "" if it does not. tokens: None if they are not known, or
    cannot be.
    """

    model: str
    geo: str
    tokens: Tokens | None


#: Of one answer; the first is its own model's, and the others come on top. None at all: it is not billed.
Charges = tuple[Charge, ...]
#: Of an answer that was not understood: it may have been billed, to whatever model.
UNREAD: Final[Charges] = (Charge("", "", None),)
_FREE: Final = Tokens()


def believed(tokens: Tokens) -> Tokens | None:
    """*tokens*; None if one of them is no number of tokens that there can be."""
    fresh, output, write_5m, write_1h, read, searches = tokens
    # One look at all six, a third of the time of six: this is below 0 if one is, and not below any of them.
    return tokens if 0 <= fresh | output | write_5m | write_1h | read | searches <= MOST_TOKENS else None


def charges(own: Charge, more: Iterable[Charge] = (), *, refusal: str | None = None) -> Charges:
    """What an answer is billed. *own* is its `usage`, *more* what its iterations add to that.

    refusal: the category of a refusal ("" if it names none); None: it is no refusal.
    """
    is_silent = refusal is not None and own.tokens is not None and own.tokens.output == 0
    if is_silent and refusal not in CHARGED_REFUSALS:
        own = Charge(own.model, own.geo, _FREE)
    return (own, *more)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tariff:
    """What a model costs on a day (UTC, of the batch's creation), from *source*; rates: None if nobody knows.

    One object a model in a download: compared by identity, because that is done once a row.
    """

    model: str
    geo: str
    day: str
    rates: Rates | None = None
    source: str = ""


class Payment(msgspec.Struct, frozen=True, gc=False):
    """What an answer costs. nanos: all of it, `extras` included; None if not all of it is known.

    tariff, tokens: of its own model; None if they are not known. extras: what other models have on top.
    """

    tariff: Tariff
    tokens: Tokens | None
    nanos: int | None
    extras: tuple[Payment, ...] = ()


class Kind(StrEnum):
    """What the lines of a ledger are of."""

    KEPT = "kept"  #: answers of requests that succeeded
    RETRIED = "retried"  #: answers that were paid for, and are no success
    LATE = "late"  #: answers of a batch that was given up, and existed
    ASSUMED = "assumed"  #: answers that never came, and may have been billed


def cost_of(tokens: Counts, rates: Rates, geo: str = "") -> int:
    """Nano-dollars, rounded up."""
    fresh, output, write_5m, write_1h, read, searches = tokens
    of = rates if rates.long is None or fresh + write_5m + write_1h + read <= rates.above else rates.long
    picos = fresh * of[0] + output * of[1] + write_5m * of[2] + write_1h * of[3] + read * of[4]
    if geo == US_ONLY:
        picos = -(-picos * 11 // 10)
    return -(-(picos + searches * _SEARCH_PICOS) // _PICOS)


def plain_cost(fresh: int, output: int, rates: Rates) -> int:
    """`cost_of` an answer without cache and searches, by rates that no length of the prompt or place changes.

    Nearly every answer is one, so it is no more than this.
    """
    return -(-(fresh * rates[0] + output * rates[1]) // _PICOS)
