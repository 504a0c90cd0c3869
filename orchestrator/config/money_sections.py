"""`[prices]`, `[budget]` and `[cache]`: what a token costs, how much may be spent, and what saves some of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from orchestrator.config import values
from orchestrator.config.setting import ALLOWED, REFUSED, means
from orchestrator.domain.priming import CacheUse


@dataclass(frozen=True, slots=True, kw_only=True)
class PricesSection:
    """`[prices]`: what a token costs, where the list that comes with the program is not what you pay."""

    file: Path | None = field(
        default=None,
        metadata=means(
            values.path(),
            "Your own prices, in dollars per million tokens; a model that stands there is priced by it alone.\n"
            "`orchestrator prices MODEL` prints the line to write for a model without a price.",
            unset="the prices of the package genai-prices",
            example='"~/.config/orchestrator/prices.toml"',
            project=REFUSED,
        ),
    )
    factor: Decimal = field(
        default=Decimal(1),
        metadata=means(
            values.decimal_factor(100),
            "Every price is multiplied by it: 0.85 for a contract with 15 % off. What shows a cost says so.",
            project=REFUSED,
        ),
    )
    max_age: timedelta = field(
        default=timedelta(days=90),
        metadata=means(
            values.duration(),
            "Warn where the newest price of the package is older.",
            project=ALLOWED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSection:
    """`[budget]`: how much may be spent."""

    max_job: int | None = field(
        default=None,
        metadata=means(
            values.amount(is_cap=True),
            "The most that a job may cost which is handed in without --max-cost. It is never exceeded: what may be\n"
            "billed is reserved before it is sent.",
            unset="no cap",
            example='"$10"',
            project=REFUSED,
        ),
    )
    max_day: int | None = field(
        default=None,
        metadata=means(
            values.amount(is_cap=True),
            "The most that all jobs together may cost in a day, UTC. Jobs wait for the next day.\n"
            "`orchestrator budget set` comes before it.",
            unset="no budget",
            example='"$50"',
            project=REFUSED,
        ),
    )
    max_month: int | None = field(
        default=None,
        metadata=means(
            values.amount(is_cap=True), "The same for a month.", unset="no budget", example='"$500"', project=REFUSED
        ),
    )
    confirm_above: int | None = field(
        default=5 * 10**9,
        metadata=means(
            values.amount(),
            "`run` and `submit` ask before they take in an input that may cost more, by its bytes and max_tokens,\n"
            "or nobody knows how much (no price, tools that the API runs itself);\n"
            "without a terminal they need --yes, and else end with 5. The dashboard's form has a box to tick for it.\n"
            "Nothing is asked in sandbox mode, nor of programs over REST.",
            unset="never",
            project=REFUSED,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSection:
    """`[cache]`: the prompt cache of the API."""

    mode: str = field(
        default=CacheUse.PRIME.value,
        metadata=means(
            values.choice(*CacheUse),
            'For jobs that are handed in without --cache. "prime": one request of each marked prefix goes ahead, the\n'
            'others read it; "auto": so, and markers are added where requests share a beginning (not to jobs of the\n'
            'drop-in address: those are primed); "off": sent in their order.',
            project=REFUSED,
        ),
    )
