"""What every face says of money: to the nano-dollar for programs, and never $0.00 for what nobody knows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from faces.api_world import api
from faces.cli_world import program_in, request, write_lines
from faces.client_world import requests, short_runtime_folder
from faces.test_cli_look import _status
from faces.test_stop_reasons import ended, lines_of
from support.prices import HAIKU_4_5, HAIKU_5_5
from support.world import in_a_loop

from orchestrator import Orchestrator
from orchestrator.cli.jobs_text import status_lines
from orchestrator.domain.billing import Rates, Tokens, cost_of
from orchestrator.domain.errors import UsageError
from orchestrator.domain.known_answers import Forecast
from orchestrator.domain.spending import Cost, JobCost, PricedSum, Spending, job_cost
from orchestrator.views import cost_views
from orchestrator.views.job_views import JobView
from orchestrator.views.status_text import ApiClock, BatchAges

SONNET_5_5: Final = Rates(1_000_000, 5_000_000, 1_250_000, 2_000_000, 50_000)
KNOWN: Final = Cost(nanos=3_100_000_000, unpriced=0, hit_rate=0.958, saved_nanos=5_200_000_000)


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def summed(tokens: Tokens, rates: Rates | None, nanos: int | None = None, unpriced: int = 0) -> PricedSum:
    """A thousand answers of one model."""
    paid = 0 if rates is None else cost_of(tokens, rates)
    line = Spending(name="m", requests=1000, tokens=tokens, nanos=paid if nanos is None else nanos, unpriced=unpriced)
    return PricedSum(geo="", rates=rates, spending=line)


@pytest.mark.parametrize(
    ("read", "write_1h", "saved"),
    [(0, 10_000_000, -10_000_000_000), (9_500_000, 500_000, 8_525_000_000), (9_990_000, 10_000, 9_480_500_000)],
)  # fmt: skip
def test_what_a_cache_saves_is_the_difference_to_the_same_answers_without_it(
    read: int, write_1h: int, saved: int
) -> None:
    """A thousand rows that share 10,000 tokens, Sonnet 5.5: $10.00 without; a cold cache costs $10.00 more."""
    tokens = Tokens(read=read, write_1h=write_1h)
    paid = cost_of(tokens, SONNET_5_5)
    found = job_cost([summed(tokens, SONNET_5_5)])
    assert found.total.saved_nanos == 10_000_000_000 - paid == saved
    assert found.total.hit_rate == read / 10_000_000


def test_a_saving_that_cannot_be_known_is_not_told() -> None:
    """Without a price; and where some prompts had the rates of long ones, which a sum does not tell."""
    cached = Tokens(read=1000)
    assert job_cost([summed(cached, None, unpriced=1000)]).total.saved_nanos is None
    assert job_cost([summed(Tokens(9_000_000, read=1_000_000), HAIKU_5_5, 999_999)]).total.saved_nanos is None
    assert job_cost([summed(Tokens(9_000_000), HAIKU_5_5, 999_999)]).total.saved_nanos == 0
    assert job_cost([summed(Tokens(), None, unpriced=9)]).total.saved_nanos is None
    assert job_cost([], unlisted=2).total == Cost(nanos=0, unpriced=2, hit_rate=None, saved_nanos=None)


@pytest.mark.parametrize(
    ("nanos", "unpriced", "words", "text"),
    [
        (0, 0, "$0.00", "0.000000000"),
        (3_100_000_000, 0, "$3.10", "3.100000000"),
        (3_100_000_000, 120, "at least $3.10 (120 answers without a price)", "3.100000000"),
        (0, 1, "unknown (1 answer without a price)", None),
        (1_230, 0, "$0.00000123", "0.000001230"),
    ],
)
def test_a_sum_says_what_is_not_in_it(nanos: int, unpriced: int, words: str, text: str | None) -> None:
    """And unknown is null, not nothing."""
    assert cost_views.spent_words(nanos, unpriced) == words
    assert cost_views.spent_text(nanos, unpriced) == text
    assert replace(KNOWN, nanos=nanos, unpriced=unpriced).spent == (None if text is None else Decimal(text))


def test_what_another_model_has_on_top_is_unknown_where_its_answer_is() -> None:
    """Its tokens are there, and the answer without a price is in the line of its own model."""
    line = Spending(name="m", requests=0, tokens=Tokens(1000, 10), nanos=0, unpriced=0)
    assert (cost_views.line_words(line), cost_views.SpendingView.of(line).spent) == ("unknown", None)
    assert cost_views.line_words(replace(line, requests=1)) == "$0.00"
    assert cost_views.line_words(replace(line, nanos=10_000_000)) == "$0.01"
    assert cost_views.line_words(replace(line, unpriced=1)) == "unknown (1 answer without a price)"


def test_status_says_it_and_a_server_tells_it_whole() -> None:
    """A line of its own once there is an answer; the view is the value."""
    found = replace(_status(succeeded=3), cost=KNOWN)
    clock = ApiClock(now=found.job.created_at)
    assert "cost       $3.10, cache 96 %, $5.20 saved" in list(status_lines(found, BatchAges(), clock))
    lost = replace(found, cost=replace(KNOWN, saved_nanos=-50_000_000))
    assert "cost       $3.10, cache 96 %, $0.05 lost" in list(status_lines(lost, BatchAges(), clock))
    told = replace(KNOWN, expected=Forecast(7_800_000_000, 8_400_000_000, 9_000_000_000), estimated_nanos=8_100_000_000)
    found = replace(found, cost=told)
    line = "cost       $3.10, estimated $8.10, expected $8.40 ± $0.60, cache 96 %, $5.20 saved"
    assert line in list(status_lines(found, BatchAges(), clock))
    fresh = replace(_status(queued=3), cost=Cost(nanos=0, unpriced=0, hit_rate=None, saved_nanos=0))
    assert not any(line.startswith("cost") for line in status_lines(fresh, BatchAges(), clock))
    back = msgspec.json.decode(msgspec.json.encode(JobView.of(found)), type=JobView).to_status(found.job.id)
    assert back == found
    whole = JobCost(total=KNOWN, by_model=(summed(Tokens(1, 2, 3, 4, 5, 6), HAIKU_4_5).spending,))
    view = cost_views.JobCostView.whole(whole)
    assert msgspec.json.decode(msgspec.json.encode(view), type=cost_views.JobCostView).to_job_cost() == whole


def test_since_is_days_or_a_day() -> None:
    """In UTC, as the batches are."""
    today = date(2026, 11, 29)
    assert cost_views.parse_since("7d", today) == date(2026, 11, 22)
    assert cost_views.parse_since("2026-11-23", today) == date(2026, 11, 23)
    assert cost_views.parse_since(None, today) is None
    for text in ("soon", "2026-13-01", "999999999d"):
        with pytest.raises(UsageError):
            cost_views.parse_since(text, today)


@in_a_loop
async def test_rest_tells_a_jobs_cost_and_what_was_spent(tmp_path: Path) -> None:
    """The job, its parts, all jobs and the metrics of one model agree to the nano-dollar."""
    async with api(tmp_path / "x.db") as (_, client):
        job = (await client.post("jobs?name=five", content=lines_of(requests(5)))).json()["job"]["id"]
        await ended(client, job)
        usage = [(await client.get(f"jobs/{job}/requests/r{n}")).json() for n in range(5)]
        paid = sum(
            cost_of(Tokens(one["usage"]["input_tokens"], one["usage"]["output_tokens"]), HAIKU_4_5) for one in usage
        )
        assert sum(Decimal(one["cost"]) for one in usage) == Decimal(paid).scaleb(-9)
        cost: dict[str, Any] = (await client.get(f"jobs/{job}")).json()["cost"]
        assert cost == {
            "currency": "USD", "spent": cost_views.money_text(paid), "reserved": None, "held": None, "cap": None,
            "expected": None, "expected_low": None, "expected_high": None, "estimated": None,
            "unpriced": 0, "cache": {"hit_rate": None, "saved": "0.000000000"},
        }  # fmt: skip
        whole = (await client.get(f"jobs/{job}/cost")).json()
        (line,) = whole.pop("by_model")
        assert whole.pop("caching") == {"prefixes": [], "below_minimum": 0, "waiting": 0, "waits_for": None}
        assert (whole, line["name"], line["spent"], line["requests"]) == (cost, "claude-haiku-4-5", cost["spent"], 5)
        for by, name in (("model", "claude-haiku-4-5"), ("job", job)):
            spent = (await client.get(f"spend?by={by}&since=2d")).json()
            assert [(each["name"], each["spent"]) for each in spent["lines"]] == [(name, cost["spent"])]
        metrics = (await client.get("http://engine/metrics")).text
        (told,) = re.findall(r'cost_usd_total{kind="kept",model="claude-haiku-4-5"} (\S+)', metrics)
        assert round(float(told) * 10**9) == paid
        assert (await client.get("spend?since=2999-01-01")).json()["lines"] == []


@in_a_loop
async def test_the_library_gives_money_as_decimals(tmp_path: Path) -> None:
    """Of each result, and of the job."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True) as orc:
        job = await orc.submit(requests(3))
        costs = [result.cost async for result in job.results()]
        assert all(isinstance(cost, Decimal) and cost > 0 for cost in costs)
        whole = await job.cost()
        assert whole.spent == sum(cost for cost in costs if cost is not None)
        status = await job.status()
        assert status.cost == whole.total


def test_the_commands_say_what_was_spent(tmp_path: Path) -> None:
    """In `status`, `ls --json` and `spend`; a model without a price has an unknown cost."""
    with program_in(tmp_path) as program:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(3)])
        assert program("run", "in.jsonl", "--sandbox").code == 0
        status = program("status", "@last", "--sandbox", "--json").facts["cost"]
        assert (status["unpriced"], Decimal(status["spent"]) > 0) == (0, True)
        assert "\ncost       $0.000" in program("status", "@last", "--sandbox").out
        assert program("ls", "--json", "--sandbox").facts["jobs"][0]["cost"] == status
        for by in ("day", "model", "job"):
            spent = program("spend", "--by", by, "--since", "2d", "--sandbox", "--json").facts
            assert (spent["spent"], [line["spent"] for line in spent["lines"]]) == (status["spent"], [status["spent"]])
        assert "claude-haiku-4-5" in program("spend", "--by", "model", "--sandbox").out
        assert "nothing was spent since 2999-01-01" in program("spend", "--since", "2999-01-01", "--sandbox").out
        assert program("spend", "--since", "soon", "--sandbox").code == 2
        assert "--reprice" not in program("spend", "--sandbox").err
        write_lines(tmp_path / "odd.jsonl", [request(1)])
        program("run", "odd.jsonl", "--sandbox", "--new", env={"ORCHESTRATOR_SANDBOX__FAULTS": "odd_kind=1"})
        assert "`orchestrator prices --reprice --all` counts them in" in program("spend", "--sandbox").err
        shown = program("budget", "set", "total", "5", "--sandbox")
        assert f"at least ${Decimal(status['spent']):.6f} (1 answer without a price)" in shown.out
        assert "`orchestrator prices --reprice --all` counts them in" in shown.err
        (total,) = program("budget", "--sandbox", "--json").facts["budgets"]
        assert (total["unpriced"], total["spent"]) == (1, status["spent"])


def test_results_come_with_a_sidecar_of_costs(tmp_path: Path) -> None:
    """One line a request, in input order, which add up to what the job cost; another file is never replaced."""
    with program_in(tmp_path) as program:
        write_lines(tmp_path / "in.jsonl", [request(1), request(2, max_tokens=10_000_000), request(3)])
        assert program("run", "in.jsonl", "--sandbox").code == 1
        assert program("results", "@last", "-o", "out.jsonl.gz", "--cost", "--sandbox").code == 0
        with (tmp_path / "out.costs.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert [(line["state"], line["model"]) for line in lines] == [
            ("succeeded", "claude-haiku-4-5"), ("failed", ""), ("succeeded", "claude-haiku-4-5"),
        ]  # fmt: skip
        spent = program("status", "@last", "--sandbox", "--json").facts["cost"]["spent"]
        assert sum(Decimal(line["cost_usd"]) for line in lines) == Decimal(spent)
        assert (lines[0]["web_searches"], lines[1]["cost_usd"]) == ("0", "0.000000000")
        assert program("results", "@last", "-o", "out.jsonl.gz", "--cost", "--sandbox").code == 0, "it is ours"
        (tmp_path / "other.costs.csv").write_text("precious\n")
        refused = program("results", "@last", "-o", "other.jsonl", "--cost", "--sandbox")
        assert ("is another file" in refused.err, (tmp_path / "other.jsonl").exists()) == (True, False)
        nowhere = program("results", "@last", "--cost", "--sandbox")
        assert (nowhere.code, "with -o answers.jsonl the costs are in answers.costs.csv" in nowhere.err) == (2, True)
        for name in ("a.csv", "b.TSV", "c.txt", "d.csv.gz"):
            assert program("results", "@last", "-o", name, "--cost", "--sandbox").code == 0
            assert (tmp_path / f"{name[0]}.costs.csv").exists(), name


@in_a_loop
async def test_a_server_tells_the_cost_of_each_request_and_prices_later(tmp_path: Path) -> None:
    """Page by page; there is nothing to price where every cost is known."""
    async with api(tmp_path / "x.db") as (_, client):
        job = (await client.post("jobs?name=five", content=lines_of(requests(5)))).json()["job"]["id"]
        await ended(client, job)
        first = (await client.get(f"jobs/{job}/costs?limit=3")).json()
        rest = (await client.get(f"jobs/{job}/costs?above={first['next']}")).json()
        rows = [*first["costs"], *rest["costs"]]
        assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(5)]
        total = (await client.get(f"jobs/{job}")).json()["cost"]["spent"]
        assert sum(Decimal(row["cost"]) for row in rows) == Decimal(total)
        views = [msgspec.convert(row, cost_views.RequestCostView) for row in rows]
        assert [cost_views.RequestCostView.of(view.to_row()) for view in views] == views
        repriced = (await client.post(f"jobs/{job}/reprice")).json()
        assert (repriced["priced"], repriced["job"]["cost"]["spent"]) == (0, total)


def test_the_command_says_how_many_answers_it_priced(tmp_path: Path) -> None:
    """None, where all have a price; one thing at a time."""
    with program_in(tmp_path) as program:
        write_lines(tmp_path / "in.jsonl", [request(1), request(2)])
        assert program("run", "in.jsonl", "--sandbox").code == 0
        done = program("prices", "--reprice", "@last", "--sandbox")
        assert (done.code, "0 answers priced; the job cost $0.000" in done.out) == (0, True)
        assert program("prices", "claude-haiku-4-5", "--reprice", "@last", "--sandbox").code == 4
        for wrong in (
            ("--reprice",),
            ("--all",),
            ("a", "b"),
            ("--reprice", "@last", "--all"),
            ("--update", "--reprice"),
        ):
            assert program("prices", *wrong, "--sandbox").code == 2
        assert program("prices", "--reprice", "--all", "--sandbox").out.endswith("no job has answers of unknown cost\n")


def test_answers_of_several_jobs_are_priced_together(tmp_path: Path) -> None:
    """Each job once, and none if one of them is no job; --all takes those that have such answers, the oldest first."""
    price = "input = 2, output = 10, cache_write_5m = 2.5, cache_write_1h = 4, cache_read = 0.2"
    with program_in(tmp_path) as program:
        for name, model in (("one", "mythos-preview"), ("two", "mythos-preview"), ("six", "haiku-4-5")):
            rows = [request(n, model=f"claude-{model}", system=name) for n in range(3)]
            write_lines(tmp_path / f"{name}.jsonl", rows)
            assert program("run", f"{name}.jsonl", "--sandbox").code == 0
        file = tmp_path / "prices.toml"
        file.write_text(f'"claude-mythos-preview" = {{ {price} }}')
        env = {"ORCHESTRATOR_PRICES__FILE": str(file)}
        refused = program("prices", "--reprice", "one", "nothing", "--sandbox", env=env)
        assert (refused.code, program("status", "one", "--sandbox", "--json").facts["cost"]["unpriced"]) == (4, 3)
        done = program("prices", "--reprice", "one", "six", "one", "--sandbox", "--json", env=env).facts
        assert [(each["job"]["name"], each["priced"]) for each in done["jobs"]] == [("one", 3), ("six", 0)]
        assert (done["priced"], done["jobs"][0]["job"]["cost"]["unpriced"]) == (3, 0)
        rest = program("prices", "--reprice", "--all", "--sandbox", env=env)
        assert [line.partition("-")[0] for line in rest.out.splitlines() if "priced" in line] == ["two"]
        assert ": 3 answers priced; the job cost $0.00" in rest.out
        facts = program("prices", "--reprice", "--all", "--sandbox", "--json", env=env).facts
        assert (facts["priced"], facts["jobs"]) == (0, [])
