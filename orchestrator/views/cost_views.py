"""What was spent, as JSON and in words. Money is a string of dollars with nine places; what nobody knows is null."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Self

import msgspec

from orchestrator.config.values import parse_duration
from orchestrator.domain import humanize, money
from orchestrator.domain.billing import Tokens
from orchestrator.domain.budgets import Limit, Scope
from orchestrator.domain.errors import UsageError
from orchestrator.domain.known_answers import Forecast
from orchestrator.domain.queries import RequestCost
from orchestrator.domain.spending import CacheReport, Cost, JobCost, PrefixShare, SpendBy, Spending
from orchestrator.domain.states import RequestState
from orchestrator.views.view import Count, Timestamp, View, time_text

Money = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^-?\d+\.\d{9}$",
        description="Dollars with nine places.",
        extra_json_schema={"examples": ["0.660000000"]},
    ),
]
_PLACES: Final = 9
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

#: What to do where sums lack answers.
HOW_TO_PRICE: Final = (
    "some answers have no price: `orchestrator spend --by job` says of which jobs, `--by model` of which models; "
    "then `orchestrator prices --reprice --all` counts them in"
)


class CacheView(View, frozen=True, kw_only=True):
    """What the prompt cache did. hit_rate: of the tokens that met it, the part that was read; null: none did.

    saved: against the same answers without it; may be negative; null: not known.
    """

    hit_rate: float | None
    saved: Money | None


class CostView(View, frozen=True, kw_only=True):
    """What a job has cost. spent: what is known of it, null if nothing is; unpriced: answers whose cost is not known.

    expected: in the end, by what its answers cost so far, in 95 of 100 cases between low and high; null when it is
    over. estimated: what was expected when it was made. cap: the most that it may cost; reserved: what may still be
    billed under a cap, held: of that, what is kept for batches that were given up and may turn up yet, and for answers
    whose cost is not known. The others are null where there is nothing to say.
    """

    currency: str = "USD"
    spent: Money | None
    reserved: Money | None = None
    held: Money | None = None
    cap: Money | None = None
    expected: Money | None = None
    expected_low: Money | None = None
    expected_high: Money | None = None
    estimated: Money | None = None
    unpriced: Count
    cache: CacheView

    @classmethod
    def of(cls, cost: Cost) -> Self:
        """The view of *cost*."""
        cache = CacheView(hit_rate=_rounded(cost.hit_rate), saved=money_text(cost.saved_nanos))
        low, expected, high = (None, None, None) if cost.expected is None else map(money.as_text, cost.expected)
        is_capped = cost.cap_nanos is not None or cost.reserved_nanos > 0  # else what is in flight has reserved nothing
        return cls(
            spent=spent_text(cost.nanos, cost.unpriced),
            reserved=money_text(cost.reserved_nanos) if is_capped else None,
            held=money_text(cost.held_nanos) if is_capped else None,
            cap=money_text(cost.cap_nanos),
            expected=expected,
            expected_low=low,
            expected_high=high,
            estimated=money_text(cost.estimated_nanos),
            unpriced=cost.unpriced,
            cache=cache,
        )

    def to_cost(self) -> Cost:
        """Convert back to a `Cost`."""
        spent = parse_money(self.spent)
        return Cost(
            nanos=0 if spent is None else spent,
            unpriced=self.unpriced,
            hit_rate=self.cache.hit_rate,
            saved_nanos=parse_money(self.cache.saved),
            expected=self._expected(),
            estimated_nanos=parse_money(self.estimated),
            cap_nanos=parse_money(self.cap),
            reserved_nanos=parse_money(self.reserved) or 0,
            held_nanos=parse_money(self.held) or 0,
        )

    def _expected(self) -> Forecast | None:
        low, expected, high = map(parse_money, (self.expected_low, self.expected, self.expected_high))
        return None if low is None or expected is None or high is None else Forecast(low, expected, high)


class TokensView(View, frozen=True, kw_only=True):
    """Billed tokens by kind. input: without those of the cache."""

    input: Count
    output: Count
    cache_write_5m: Count
    cache_write_1h: Count
    cache_read: Count
    web_searches: Count

    @classmethod
    def of(cls, tokens: Tokens) -> Self:
        """The view of *tokens*."""
        return cls(**dict(zip(cls.__struct_fields__, tokens, strict=True)))

    def to_tokens(self) -> Tokens:
        """Convert back to `Tokens`."""
        return Tokens(*msgspec.structs.astuple(self))


class SpendingView(View, frozen=True, kw_only=True):
    """What was spent on one model, day (UTC, of the batches' creation) or job. A model "" is not known."""

    name: str
    requests: Count
    spent: Money | None
    unpriced: Count
    tokens: TokensView

    @classmethod
    def of(cls, line: Spending) -> Self:
        """The view of *line*."""
        return cls(
            name=line.name,
            requests=line.requests,
            spent=None if line.is_unknown else money.as_text(line.nanos),
            unpriced=line.unpriced,
            tokens=TokensView.of(line.tokens),
        )

    def to_spending(self) -> Spending:
        """Convert back to a `Spending`."""
        spent = parse_money(self.spent)
        return Spending(
            name=self.name,
            requests=self.requests,
            tokens=self.tokens.to_tokens(),
            nanos=0 if spent is None else spent,
            unpriced=self.unpriced,
        )


class PrefixShareView(View, frozen=True, kw_only=True):
    """What requests did with a prefix that they share. part: where it ends; tokens: rough ones, of each request.

    hit_rate: of the tokens that met the cache (read, written), the part that was read; null: none did.
    """

    model: str
    part: str
    tokens: Count
    requests: Count
    read: Count
    written: Count
    hit_rate: float | None

    @classmethod
    def of(cls, use: PrefixShare) -> Self:
        """The view of *use*."""
        return cls(**use._asdict(), hit_rate=_rounded(use.hit_rate))

    def to_use(self) -> PrefixShare:
        """Convert back to a `PrefixShare`."""
        return PrefixShare(self.model, self.part, self.tokens, self.requests, self.read, self.written)


class JobCacheView(View, frozen=True, kw_only=True):
    """What a job does with the prompt cache. prefixes: the largest that at least three requests share.

    below_minimum: requests with too short a one for their model. waiting: requests that wait until one of their prefix
    was answered, which went ahead in the batch waits_for.
    """

    prefixes: list[PrefixShareView] = msgspec.field(default_factory=list)
    below_minimum: Count = 0
    waiting: Count = 0
    waits_for: Count | None = None

    @classmethod
    def of(cls, report: CacheReport) -> Self:
        """The view of *report*."""
        return cls(
            prefixes=[PrefixShareView.of(use) for use in report.prefixes],
            below_minimum=report.below_minimum,
            waiting=report.waiting,
            waits_for=report.waits_for,
        )

    def to_report(self) -> CacheReport:
        """Convert back to a `CacheReport`."""
        return CacheReport(
            prefixes=tuple(view.to_use() for view in self.prefixes),
            below_minimum=self.below_minimum,
            waiting=self.waiting,
            waits_for=self.waits_for,
        )


class JobCostView(CostView, frozen=True, kw_only=True):
    """What a job has cost, with its parts."""

    by_model: list[SpendingView]
    caching: JobCacheView = msgspec.field(default_factory=JobCacheView)

    @classmethod
    def whole(cls, cost: JobCost) -> Self:
        """The view of *cost*, by model and prefix."""
        return cls(
            **CostView.of(cost.total).fields(),
            by_model=[SpendingView.of(line) for line in cost.by_model],
            caching=JobCacheView.of(cost.cache),
        )

    def to_job_cost(self) -> JobCost:
        """Convert back to a `JobCost`."""
        return JobCost(
            total=self.to_cost(),
            by_model=tuple(line.to_spending() for line in self.by_model),
            cache=self.caching.to_report(),
        )


class BudgetView(View, frozen=True, kw_only=True):
    """A budget of all jobs together. key: the day (UTC) or month that it stands for now. ends_at: when that is over.

    unpriced: answers whose cost is not known, and not in spent.
    """

    scope: Scope
    key: str
    cap: Money
    spent: Money
    reserved: Money
    ends_at: Timestamp | None
    unpriced: Count = 0

    @classmethod
    def of(cls, limit: Limit) -> Self:
        """The view of *limit*."""
        return cls(
            scope=limit.scope,
            key=limit.key,
            cap=money.as_text(limit.cap),
            spent=money.as_text(limit.spent),
            reserved=money.as_text(limit.reserved),
            ends_at=time_text(limit.heals_at),
            unpriced=limit.unpriced,
        )

    def to_limit(self) -> Limit:
        """Convert back to a `Limit`."""
        cap, spent, reserved = (parse_money(text) or 0 for text in (self.cap, self.spent, self.reserved))
        return Limit(scope=self.scope, key=self.key, cap=cap, spent=spent, reserved=reserved, unpriced=self.unpriced)


class BudgetsView(View, frozen=True, kw_only=True):
    """The budgets of all jobs together; shortly before midnight UTC those of both days."""

    currency: str = "USD"
    budgets: list[BudgetView]


class RequestCostView(View, frozen=True, kw_only=True):
    """What one settled request cost; what is not known is null. model: of its answer."""

    number: int
    custom_id: str
    state: RequestState
    model: str | None
    input_tokens: Count | None
    output_tokens: Count | None
    cache_write_5m_tokens: Count | None
    cache_write_1h_tokens: Count | None
    cache_read_tokens: Count | None
    web_searches: Count | None
    cost: Money | None

    @classmethod
    def of(cls, row: RequestCost) -> Self:
        """The view of *row*, with its dollars."""
        fields = msgspec.structs.asdict(row)
        return cls(cost=money_text(fields.pop("cost_nanos")), **fields)

    def to_row(self) -> RequestCost:
        """Convert back to a `RequestCost`."""
        fields = self.fields()
        return RequestCost(cost_nanos=parse_money(fields.pop("cost")), **fields)


class RequestCostsView(View, frozen=True, kw_only=True):
    """What settled requests cost, in input order; `next` is the number to go on `above`."""

    costs: list[RequestCostView]
    next: int | None


class SpendView(View, frozen=True, kw_only=True):
    """What was spent, line by line, and together. since: the first day (UTC); null: ever."""

    currency: str = "USD"
    by: SpendBy
    since: str | None
    spent: Money | None
    unpriced: Count
    lines: list[SpendingView]

    @classmethod
    def of(cls, by: SpendBy, since: str | None, lines: Sequence[Spending]) -> Self:
        """The view of *lines*."""
        unpriced = sum(line.unpriced for line in lines)
        spent = spent_text(sum(line.nanos for line in lines), unpriced)
        views = [SpendingView.of(line) for line in lines]
        return cls(by=by, since=since, spent=spent, unpriced=unpriced, lines=views)


def parse_since(text: str | None, today: date, *, called: str = "since") -> date | None:
    """The day that `7d` (before *today*) or `2026-11-23` means; None: none is asked for. Raises UsageError."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else today - parse_duration(text)
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{called} is {text!r}", hint='give days such as "7d", or a day such as "2026-11-23"') from exc


def money_text(nanos: int | None) -> str | None:
    """*nanos* for programs; None stays None."""
    return None if nanos is None else money.as_text(nanos)


def spent_text(nanos: int, unpriced: int) -> str | None:
    """A sum for programs; None if nothing of it is known."""
    return None if unpriced and not nanos else money.as_text(nanos)


def parse_money(text: str | None) -> int | None:
    """The nano-dollars that `money_text` wrote. Raises ValueError."""
    return None if text is None else int(Decimal(text).scaleb(_PLACES))


def spent_words(nanos: int, unpriced: int) -> str:
    """A sum for people: `$3.10`, `at least $3.10 (120 answers without a price)`, `unknown (…)`."""
    if not unpriced:
        return money.shown(nanos)
    known = f"at least {money.shown(nanos)}" if nanos else "unknown"
    return f"{known} ({humanize.count(unpriced, 'answer')} without a price)"


def line_words(line: Spending) -> str:
    """The cost of *line* for people, as `spent_words` says it."""
    return "unknown" if line.is_unknown and not line.unpriced else spent_words(line.nanos, line.unpriced)


def forecast_words(cost: Cost) -> str | None:
    """`estimated $8.10`, `expected $8.40 ± $0.60`, or both; None: neither is known."""
    words = [] if cost.estimated_nanos is None else [f"estimated {money.shown(cost.estimated_nanos)}"]
    if cost.expected is not None:
        low, expected, high = cost.expected
        words.append(f"expected {money.shown(expected)} ± {money.shown(max(high - expected, expected - low))}")
    return ", ".join(words) or None


def cap_words(cost: Cost) -> str | None:
    """`of $10.00, $1.40 in flight, $4.10 held for batches that may turn up`; None if the job has no cap."""
    if cost.cap_nanos is None and not cost.reserved_nanos:
        return None
    flying = cost.reserved_nanos - cost.held_nanos
    unknown = " or answers of unknown cost" if cost.unpriced else ""
    parts = (
        None if cost.cap_nanos is None else f"of {money.shown_cap(cost.cap_nanos)}",
        f"{money.shown(flying)} in flight" if flying else None,
        f"{money.shown(cost.held_nanos)} held for batches that may still turn up{unknown}" if cost.held_nanos else None,
    )
    return ", ".join(filter(None, parts))


def cache_words(cost: Cost) -> str | None:
    """`cache 96 %, $5.20 saved`; None if no token met it."""
    if cost.hit_rate is None:
        return None
    words = f"cache {cost.hit_rate:.0%}".replace("%", " %")
    if cost.saved_nanos is None:
        return words
    is_lost = cost.saved_nanos < 0
    return f"{words}, {money.shown(abs(cost.saved_nanos))} {'lost' if is_lost else 'saved'}"


def token_words(tokens: Tokens) -> str:
    """`1,000 in, 64 out, 10 read`: what there is of each kind."""
    names = ("in", "out", "written for 5m", "written for 1h", "read", "web searches")
    return ", ".join(f"{count:,} {name}" for count, name in zip(tokens, names, strict=True) if count)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def report_lines(report: CacheReport) -> Iterator[str]:
    """*report* for people: who waits, each prefix, and what is too short; nothing where there is nothing to say."""
    if report.waiting:
        yield f"{humanize.count(report.waiting, 'request')} wait for batch {report.waits_for}, which went ahead"
    for use in report.prefixes:
        share = f"{humanize.count(use.requests, 'request')} share about {use.tokens:,} tokens ({use.part})"
        yield share if use.hit_rate is None else f"{share}: {use.hit_rate:.0%}".replace("%", " %") + " read"
    if report.below_minimum:
        each = humanize.count(report.below_minimum, "request")
        yield f"{each} with too short a beginning for the model: nothing is kept of it"
