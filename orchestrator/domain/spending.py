"""What was spent, summed: of a job, a model or a day. What nobody knows is counted beside it, never as nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from operator import add
from typing import NamedTuple

from orchestrator.domain import money
from orchestrator.domain.billing import Kind, Rates, Tokens, cost_of
from orchestrator.domain.known_answers import Forecast


class SpendBy(StrEnum):
    """What spending is listed by."""

    DAY = "day"  #: UTC, of the creation of the batch at the API
    MODEL = "model"  #: of the answer; "" where that is not known
    JOB = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One line. name: a model, a day or the id of a job. unpriced: of `requests`, those whose cost is not in `nanos`.

    requests: that were billed, or may have been; one that two batches answered counts twice.
    """

    name: str
    requests: int
    tokens: Tokens
    nanos: int
    unpriced: int

    @property
    def is_empty(self) -> bool:
        """There is nothing in it any more: what was not known was found."""
        return not (self.requests or self.nanos or any(self.tokens))

    @property
    def is_unknown(self) -> bool:
        """Whether nothing of its cost is known. Tokens without a request are on top of another model's answer.

        Where not all of such an answer is known, it is `unpriced` in the line of that model, and costs nothing here.
        """
        return not self.nanos and (self.unpriced > 0 or (not self.requests and any(self.tokens)))


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpending:
    """What was spent on answers of one model, and of one kind: whether they were kept, or paid for in vain."""

    model: str
    kind: Kind
    nanos: int
    unpriced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpending:
    """What one model cost on one day. model, day, nanos, unpriced: as in `Spending`."""

    day: date
    model: str
    nanos: int
    unpriced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a job has cost so far. unpriced: answers whose cost is not known, and not in `nanos`.

    hit_rate: of the tokens that met the prompt cache, the part that was read; None: none did. saved_nanos: what the
    same answers would have cost without it, less what they cost; may be below 0; None: not known. expected: what it
    will have cost in the end, by what its answers cost so far; None: it is over, or nobody knows. estimated_nanos: what
    was expected when it was made; None: there was no history. cap_nanos: what it may cost at
    most; reserved_nanos: what may still be billed under a cap; held_nanos: that part of it which is kept for batches
    that were given up and may turn up yet, and for answers whose cost is not known.
    """

    nanos: int
    unpriced: int
    hit_rate: float | None
    saved_nanos: int | None
    expected: Forecast | None = None
    estimated_nanos: int | None = None
    cap_nanos: int | None = None
    reserved_nanos: int = 0
    held_nanos: int = 0

    @property
    def spent(self) -> Decimal | None:
        """What is known of it, in dollars; None if nothing is. Without `unpriced` answers it is all of it."""
        return None if self.unpriced and not self.nanos else money.as_decimal(self.nanos)


class PrefixShare(NamedTuple):
    """What *requests* of a job did with a prefix that they share. part: where it ends; tokens: rough ones, of each.

    read, written: tokens of the answers kept so far.
    """

    model: str
    part: str
    tokens: int
    requests: int
    read: int
    written: int

    @property
    def hit_rate(self) -> float | None:
        """Of the tokens that met the cache, the part that was read; None: none did."""
        return self.read / (self.read + self.written) if self.read + self.written else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """What a job does with the prompt cache. prefixes: the largest of those that at least three requests share.

    below_minimum: requests with too short a one for their model. waiting: requests that wait until one of their prefix
    was answered, which went ahead; waits_for: its batch.
    """

    prefixes: tuple[PrefixShare, ...] = ()
    below_minimum: int = 0
    waiting: int = 0
    waits_for: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCost:
    """The cost of a job with its parts, by the models of the answers."""

    total: Cost
    by_model: tuple[Spending, ...]
    cache: CacheReport = CacheReport()

    @property
    def spent(self) -> Decimal | None:
        """As in `total`."""
        return self.total.spent


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedSum:
    """What one price was paid for. rates: None if nobody knows them."""

    geo: str
    rates: Rates | None
    spending: Spending

    @property
    def saved_nanos(self) -> int | None:
        """What the cache saved; None without a price, and for prompts of which some had the rates of long ones."""
        tokens = self.spending.tokens
        if not _cached(tokens):
            return None if self.spending.unpriced and not any(tokens) else 0
        if self.rates is None or self.spending.unpriced:
            return None
        flat = self.rates._replace(long=None)
        paid = cost_of(tokens, flat, self.geo)
        if self.rates.long is not None and abs(paid - self.spending.nanos) > self.spending.requests:
            return None
        plain = Tokens(tokens.input + _cached(tokens), tokens.output, searches=tokens.searches)
        return cost_of(plain, flat, self.geo) - paid


def job_cost(sums: Sequence[PricedSum], *, unlisted: int = 0) -> JobCost:
    """The cost of a job. unlisted: answers that are in no sum: their cost is not known."""
    lines = [each.spending for each in sums]
    saved = [each.saved_nanos for each in sums]
    known = [each for each in saved if each is not None]
    tokens = _total([line.tokens for line in lines])
    total = Cost(
        nanos=sum(line.nanos for line in lines),
        unpriced=sum(line.unpriced for line in lines) + unlisted,
        hit_rate=tokens.read / _cached(tokens) if _cached(tokens) else None,
        saved_nanos=sum(known) if len(known) == len(saved) and not unlisted else None,
    )
    return JobCost(total=total, by_model=tuple(by_name(lines)))


def poor_cache(cost: Cost) -> str | None:
    """Why the prompt cache did not pay, for a person; None: it did, or was not used, or nobody knows."""
    if cost.hit_rate is None or cost.saved_nanos is None or cost.saved_nanos >= 0:
        return None
    lost = money.shown(-cost.saved_nanos)
    return f"{cost.hit_rate:.0%} of the marked tokens were found in the cache: it cost {lost} more than without"


def by_name(lines: Sequence[Spending]) -> list[Spending]:
    """One line for each name, in their order."""
    names: dict[str, list[Spending]] = {}
    for line in sorted(lines, key=lambda line: line.name):
        names.setdefault(line.name, []).append(line)
    return [line for line in (_together(name, some) for name, some in names.items()) if not line.is_empty]


def renamed(line: Spending, name: str) -> Spending:
    """The same under another *name*."""
    return replace(line, name=name)


def _together(name: str, lines: Sequence[Spending]) -> Spending:
    return Spending(
        name=name,
        requests=sum(line.requests for line in lines),
        tokens=_total([line.tokens for line in lines]),
        nanos=sum(line.nanos for line in lines),
        unpriced=sum(line.unpriced for line in lines),
    )


def _total(some: Sequence[Tokens]) -> Tokens:
    total = Tokens()
    for tokens in some:
        total = Tokens(*map(add, total, tokens))
    return total


def _cached(tokens: Tokens) -> int:
    return tokens.read + tokens.write_5m + tokens.write_1h
