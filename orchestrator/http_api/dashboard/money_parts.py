"""What pages show of money: a job's bar and its models, and thirty days of bars. What nobody knows is never nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Final

from orchestrator.domain import humanize
from orchestrator.domain.budgets import Limit, Scope
from orchestrator.domain.spending import Cost, DaySpending, JobCost, Spending
from orchestrator.views import cost_views, estimate_views

#: Days of the chart, the last of them today.
DAYS: Final = 30
#: Colours of models, for those that cost most; the others share one.
_TONES: Final = ("a", "b", "c", "d", "e")
_OTHERS: Final = "rest"
#: Pixels: the chart without its words, and what a bar with anything in it has at least.
_HEIGHT: Final = 132
_TOP: Final = 16
_LEAST: Final = 2
#: Percents: what a part of the job's bar has at least, and how far its end is from a cap.
_THINNEST: Final = 0.6
_BEYOND: Final = 1.02
_BUDGETS: Final = {Scope.DAY: "today", Scope.MONTH: "this month", Scope.TOTAL: "in all"}
_NAMELESS: Final = "not known"


def job_money(job: str, whole: JobCost) -> dict[str, object]:
    """The cost of *job* (its public id) for its page. Amounts are nano-dollars; None: there is nothing to say."""
    total = whole.total
    view = cost_views.CostView.of(total)
    reserved, held, cap, expected, estimated = map(
        cost_views.parse_money, (view.reserved, view.held, view.cap, view.expected, view.estimated)
    )
    cache = cost_views.cache_words(total)
    return {
        "nanos": total.nanos,
        "unpriced": total.unpriced,
        "reserved": reserved,
        "held": held or None,
        "cap": cap,
        "expected": expected,
        "estimated": estimated,
        "cache": cache,
        "caching": list(cost_views.report_lines(whole.cache)),
        "is_cache_poor": total.saved_nanos is not None and total.saved_nanos < 0,
        "has_legend": bool(reserved) or any(each is not None for each in (cap, expected, estimated, cache)),
        "bar": cost_bar(total.nanos, reserved or 0, cap),
        "words": cost_views.spent_words(total.nanos, total.unpriced),
        "remedy": remedy(whole.by_model, job) if total.unpriced else None,
        "models": [_model(line) for line in whole.by_model],
    }


def _model(line: Spending) -> dict[str, object]:
    tokens = line.tokens
    return {
        "name": line.name or _NAMELESS,
        "requests": line.requests,
        "tokens": (tokens.input, tokens.output, tokens.write_5m + tokens.write_1h, tokens.read),
        "nanos": line.nanos,
        "unpriced": line.unpriced or int(line.is_unknown),
    }


def cost_bar(spent: int, reserved: int, cap: int | None) -> dict[str, float | None] | None:
    """One bar, in percent of its width: spent, then reserved, and where the cap is; None: there is nothing to draw."""
    whole = max(spent + reserved, 0 if cap is None else round(cap * _BEYOND))
    if not whole:
        return None

    def part(nanos: int) -> float:
        return round(max(nanos * 100 / whole, _THINNEST), 2) if nanos else 0

    return {
        "spent": part(spent),
        "reserved": part(reserved),
        "cap": None if cap is None else round(cap * 100 / whole, 2),
    }


def request_money(nanos: int | None) -> dict[str, int]:
    """What one request cost; None: nobody knows."""
    return {"nanos": 0, "unpriced": 1} if nanos is None else {"nanos": nanos, "unpriced": 0}


def remedy(models: Iterable[Spending], job: str) -> dict[str, str]:
    """What to do so that the cost of *job* is known: words, and the command that does the rest."""
    names = ", ".join(humanize.plain(line.name) for line in models if line.unpriced and line.name)
    words = f"no price for {names}: {estimate_views.REMEDY}" if names else ""
    return {"words": words, "command": f"orchestrator prices --reprice {job}"}


def row_money(cost: Cost | None, settled: int) -> dict[str, object] | None:
    """The cost of a job in a list; None before its first answer."""
    if cost is None or not (cost.nanos or cost.unpriced or settled):
        return None
    return {"nanos": cost.nanos, "unpriced": cost.unpriced}


def last_day(days: Sequence[DaySpending], today: date) -> date:
    """The day that counts as today."""
    return max([today, *(each.day for each in days)])


def shared_budgets(limits: Sequence[Limit]) -> list[dict[str, object]]:
    """A bar for each budget of all jobs together; around midnight, of the day that ends."""
    first = {limit.scope: limit for limit in reversed(limits)}
    return [
        {
            "words": words,
            "limit": first[scope],
            "bar": cost_bar(first[scope].spent, first[scope].reserved, first[scope].cap),
        }
        for scope, words in _BUDGETS.items()
        if scope in first
    ]


def daily_money(days: Sequence[DaySpending], today: date) -> dict[str, object]:
    """Thirty days of bars by model, up to *today* (UTC), or to the newest day of an API whose time runs ahead."""
    last = last_day(days, today)
    first = last - timedelta(days=DAYS - 1)
    shown = [each for each in days if each.day >= first]
    tones = _tones(shown)
    most = max((_sum(some) for some in _by_day(shown).values()), default=0)
    top = _round_up(most)

    def height(nanos: int) -> float:
        return round(max(nanos * _HEIGHT / top, _LEAST), 1) if nanos else 0

    return {
        "today": last,
        "is_ahead": last > today,
        "first": first,
        "spent": _amount([each for each in shown if each.day == last]),
        "total": _amount(shown),
        "bars": [_bar(day, some, first, tones, height) for day, some in _by_day(shown).items()],
        "ticks": [{"y": _TOP + _HEIGHT - _HEIGHT * half / 2, "nanos": top * half // 2} for half in (1, 2)]
        if most
        else [],
        "height": _TOP + _HEIGHT,
        "legend": _legend(shown, tones),
    }


def _tones(days: Sequence[DaySpending]) -> dict[str, str]:
    """The colour of each model that has one of its own: those that cost most, the most first."""
    sums: dict[str, int] = {}
    for each in days:
        sums[each.model] = sums.get(each.model, 0) + each.nanos
    most = sorted((name for name in sums if sums[name]), key=lambda name: (-sums[name], name))
    return dict(zip(most, _TONES, strict=False))


def _by_day(days: Sequence[DaySpending]) -> dict[date, list[DaySpending]]:
    found: dict[date, list[DaySpending]] = {}
    for each in days:
        found.setdefault(each.day, []).append(each)
    return found


def _bar(
    day: date, some: Sequence[DaySpending], first: date, tones: dict[str, str], height: Callable[[int], float]
) -> dict[str, object]:
    """One day: its parts from the ground up, the models that cost most at the bottom."""
    order = [*tones.values(), _OTHERS]
    parts: list[dict[str, object]] = []
    y = float(_TOP + _HEIGHT)
    for each in sorted(some, key=lambda each: order.index(tones.get(each.model, _OTHERS))):
        tall = height(each.nanos)
        y = round(y - tall, 1)
        if tall:
            parts.append({"tone": tones.get(each.model, _OTHERS), "y": y, "height": tall})
    return {
        "day": day,
        "x": round((day - first).days * 100 / DAYS, 2),
        "parts": parts,
        "y": y,
        **_amount(some),
        "models": [{"name": each.model or _NAMELESS, "nanos": each.nanos, "unpriced": each.unpriced} for each in some],
    }


def _legend(days: Sequence[DaySpending], tones: dict[str, str]) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for name, tone in tones.items():
        lines.append(
            {"tone": tone, "name": name or _NAMELESS, **_amount([each for each in days if each.model == name])}
        )
    others = [each for each in days if each.model not in tones]
    if others:
        names = {each.model for each in others}
        name = next(iter(names)) or _NAMELESS if len(names) == 1 else f"{len(names)} other models"
        lines.append({"tone": _OTHERS, "name": name, **_amount(others)})
    return lines


def _amount(some: Sequence[DaySpending]) -> dict[str, object]:
    return {"nanos": _sum(some), "unpriced": sum(each.unpriced for each in some)}


def _sum(some: Sequence[DaySpending]) -> int:
    return sum(each.nanos for each in some)


def _round_up(nanos: int) -> int:
    """The next of 1, 2, 5, 10, 20 … that is not below."""
    step = int(f"1{'0' * (len(str(nanos)) - 1)}")
    return next(step * times for times in (1, 2, 5, 10) if step * times >= nanos)
