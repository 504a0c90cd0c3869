"""What the dashboard draws of money: bars in proportion, and a question mark for what nobody knows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import pytest

from orchestrator.domain.billing import Tokens
from orchestrator.domain.budgets import Limit, Scope
from orchestrator.domain.spending import Cost, DaySpending, JobCost, Spending
from orchestrator.http_api.dashboard import money_parts, page

TODAY: Final = date(2026, 11, 29)
DOLLAR: Final = 1_000_000_000


def spent(model: str, nanos: int, *, back: int = 0, unpriced: int = 0) -> DaySpending:
    """What *model* cost *back* days ago."""
    return DaySpending(day=TODAY - timedelta(days=back), model=model, nanos=nanos, unpriced=unpriced)


def a_cost(nanos: int, unpriced: int, *names: str) -> JobCost:
    """Of a job whose answers are all of models without a price."""
    total = Cost(nanos=nanos, unpriced=unpriced, hit_rate=None, saved_nanos=None)
    lines = (Spending(name=name, requests=1, tokens=Tokens(1, 2), nanos=0, unpriced=1) for name in names)
    return JobCost(total=total, by_model=tuple(lines))


def drawn(part: str, **context: object) -> str:
    """The text of a part of a page."""
    facts = {"sandbox": False, "may_steer": True, "job": {"state": "running", "public_id": "job-abc"}}
    return page.render(part, {**facts, **context})


@pytest.mark.parametrize(
    ("spent_nanos", "reserved", "cap", "bar"),
    [
        (0, 0, None, None),
        (4, 0, None, {"spent": 100, "reserved": 0, "cap": None}),
        (30, 10, None, {"spent": 75, "reserved": 25, "cap": None}),
        (4000, 1100, 5000, {"spent": 78.43, "reserved": 21.57, "cap": 98.04}),
        (1, 0, 10_000, {"spent": 0.6, "reserved": 0, "cap": 98.04}),
        (0, 0, 5000, {"spent": 0, "reserved": 0, "cap": 98.04}),
    ],
)
def test_a_bar_has_what_is_spent_what_may_be_and_the_cap(
    spent_nanos: int, reserved: int, cap: int | None, bar: dict[str, float | None] | None
) -> None:
    """In percent; what is there at all is seen, and a cap is seen beside a full bar."""
    assert money_parts.cost_bar(spent_nanos, reserved, cap) == bar


def test_what_nobody_knows_is_a_question_mark_with_its_remedy_and_never_nothing() -> None:
    """By model and in all; what is known of it is at least so much."""
    unknown = drawn("parts/job-cost.html", money=money_parts.job_money("job-abc", a_cost(0, 1, "claude-x-9")))
    assert "$0.00" not in unknown
    assert unknown.count('aria-hidden="true">?<') == 2
    assert "1 answer without a price" in unknown
    assert "no price for claude-x-9: put it into a price file" in unknown
    assert "orchestrator prices --reprice job-abc" in unknown
    partly = drawn("parts/job-cost.html", money=money_parts.job_money("job-abc", a_cost(3_100_000_000, 1, "")))
    assert "at least </span>$3.10" in partly
    assert "no price for" not in partly
    fresh = drawn("parts/job-cost.html", money=money_parts.job_money("job-abc", a_cost(0, 0)))
    assert "Nothing is billed yet" in fresh
    assert "$0.00" not in fresh


def test_a_model_on_top_of_an_answer_of_unknown_cost_is_unknown_as_well() -> None:
    """Its line has tokens, and no answer of its own."""
    on_top = Spending(name="claude-x-9", requests=0, tokens=Tokens(1000), nanos=0, unpriced=0)
    total = Cost(nanos=DOLLAR, unpriced=0, hit_rate=None, saved_nanos=None)
    text = drawn("parts/job-cost.html", money=money_parts.job_money("j", JobCost(total=total, by_model=(on_top,))))
    assert ("$0.00" in text, text.count('aria-hidden="true">?<')) == (False, 1)


def test_a_job_in_flight_under_a_cap_shows_all_three() -> None:
    """Spent solid, in flight hatched, the cap a line; said in words, too."""
    whole: dict[str, Any] = money_parts.job_money("job-abc", a_cost(4 * DOLLAR, 0))
    whole |= {"reserved": DOLLAR, "cap": 10 * DOLLAR, "held": DOLLAR, "has_legend": True}
    whole["bar"] = money_parts.cost_bar(4 * DOLLAR, DOLLAR, 10 * DOLLAR)
    text = drawn("parts/job-cost.html", money=whole, status={"sweep_until": None})
    assert 'aria-label="$4.00 spent, at most $1.00 more in flight, of a cap of $10.00"' in text
    assert text.count('<rect class="cap-line"') == text.count('fill="url(#hatch)"') == 1
    assert "$1.00 is held for batches that may still turn up." in text
    assert 'href="/confirm?verb=cap&amp;job=job-abc">Change the cap</a>' in text


def test_a_day_is_a_bar_of_its_models_the_dearest_at_the_bottom() -> None:
    """Thirty days up to today; the highest bar is under a round number; older days are left out."""
    days = [spent("old", DOLLAR, back=30), spent("b", DOLLAR, back=29), spent("a", 2 * DOLLAR), spent("b", 6 * DOLLAR)]
    chart: dict[str, Any] = money_parts.daily_money(days, TODAY)
    assert (chart["first"], chart["today"], chart["is_ahead"]) == (date(2026, 10, 31), TODAY, False)
    assert chart["spent"] == {"nanos": 8 * DOLLAR, "unpriced": 0}
    assert chart["total"] == {"nanos": 9 * DOLLAR, "unpriced": 0}
    assert [tick["nanos"] for tick in chart["ticks"]] == [5 * DOLLAR, 10 * DOLLAR]
    first, last = chart["bars"]
    assert (first["x"], last["x"]) == (0, 96.67)
    assert [part["tone"] for part in last["parts"]] == ["a", "b"]
    ground = chart["height"]
    assert [round(ground - part["y"], 1) for part in last["parts"]] == [79.2, 105.6]
    assert [(line["name"], line["nanos"]) for line in chart["legend"]] == [("b", 7 * DOLLAR), ("a", 2 * DOLLAR)]


def test_more_models_than_colours_share_the_last_one() -> None:
    """And a model whose cost is not known has none of its own."""
    chart: dict[str, Any] = money_parts.daily_money(
        [*(spent(f"m{n}", (9 - n) * DOLLAR) for n in range(6)), spent("x", 0, unpriced=2)], TODAY
    )
    assert [line["name"] for line in chart["legend"]] == ["m0", "m1", "m2", "m3", "m4", "2 other models"]
    assert chart["legend"][-1]["unpriced"] == 2
    text = drawn("parts/spend.html", spend=chart, budgets=[])
    assert "x: 2 answers without a price" in text
    assert '<td>x</td><td><span class="unknown"' in text


def test_days_of_which_nothing_is_known_have_no_scale() -> None:
    """And days on which nothing was spent say so."""
    unknown: dict[str, Any] = money_parts.daily_money([spent("x", 0, unpriced=1)], TODAY)
    assert (unknown["ticks"], len(unknown["bars"])) == ([], 1)
    assert "$0.00" not in drawn("parts/spend.html", spend=unknown, budgets=[])
    assert "Nothing was spent" in drawn("parts/spend.html", spend=money_parts.daily_money([], TODAY), budgets=[])


def test_an_api_whose_time_runs_ahead_has_its_own_today() -> None:
    """As in the sandbox: what is spent is seen, on its day."""
    chart: dict[str, Any] = money_parts.daily_money([spent("a", DOLLAR, back=-40)], TODAY)
    assert (chart["today"], chart["is_ahead"]) == (TODAY + timedelta(days=40), True)
    assert "Spent on 2027-01-08" in drawn("parts/spend.html", spend=chart, budgets=[])


def test_budgets_of_all_jobs_are_bars_of_their_own() -> None:
    """Of the day that ends while another begins; month and total beside it."""

    def limit(scope: Scope, key: str, spent_nanos: int, reserved: int = 0) -> Limit:
        return Limit(scope=scope, key=key, cap=10 * DOLLAR, spent=spent_nanos, reserved=reserved)

    limits = [
        limit(Scope.DAY, "2026-11-29", 4 * DOLLAR, DOLLAR),
        limit(Scope.DAY, "2026-11-30", 0),
        limit(Scope.TOTAL, "", DOLLAR),
    ]
    text = drawn(
        "parts/spend.html", spend=money_parts.daily_money([], TODAY), budgets=money_parts.shared_budgets(limits)
    )
    assert "today: $4.00 of $10.00, $1.00 in flight" in text
    assert "in all: $1.00 of $10.00" in text
    assert (text.count('id="hatch-day"'), text.count('id="hatch-total"'), text.count('<svg class="bar"')) == (1, 1, 2)
