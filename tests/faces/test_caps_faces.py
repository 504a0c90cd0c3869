"""Caps at every face: a job stops with what it may cost, says so with exit code 5, and goes on when that is raised."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from faces.api_world import NDJSON, api, lines
from faces.cli_world import Program, request, write_lines
from faces.client_world import requests, short_runtime_folder
from faces.messages_world import requests as sdk_requests
from faces.messages_world import served
from support.world import in_a_loop

from orchestrator import BudgetExceeded, BudgetRefused, Orchestrator, UnknownPrice, UsageError

MODEL: Final = "claude-x-9"
SEARCH: Final[dict[str, object]] = {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def outcome(program: Program) -> dict[str, Any]:
    """What `status` says of the only job."""
    return program("status", "@last", "--sandbox", "--json").facts


def test_a_run_stops_at_its_cap_and_goes_on_with_a_larger_one(program: Program) -> None:
    """Exit code 5, with the results so far; the same command with more goes on where it stopped."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(60)])
    stopped = program("run", source, "--sandbox", "--max-cost", "$0.001", "-o", "out.jsonl")
    assert stopped.code == 5
    assert "the job's cap is $0.001" in stopped.err
    assert "orchestrator budget set in" in stopped.err
    assert "larger --max-cost" in stopped.err
    told = outcome(program)
    assert (told["state"], told["reason_code"], told["cost"]["cap"]) == ("paused", "budget", "0.001000000")
    assert told["cost"]["reserved"] == told["cost"]["held"] == "0.000000000"
    assert 0 < Decimal(told["cost"]["spent"]) <= Decimal("0.001")
    remedy = f"raise it, and the job goes on: orchestrator budget set {told['id']} AMOUNT --sandbox"
    assert told["reason"].endswith(f" — {remedy}")
    seen = program("status", "@last", "--sandbox")
    assert (remedy in seen.out, "to do:" in seen.out) == (True, False)
    assert "once its cap is raised, `orchestrator serve" in seen.err
    done = len((program.folder / "out.jsonl").read_text().splitlines())
    assert 0 < done == told["requests"]["succeeded"] < 60
    assert f"results  out.jsonl  {done} of 60 requests" in stopped.err
    lower = program("budget", "set", "@last", "0.000001", "--sandbox")
    assert " is spent already: nothing more is sent until it is raised" in lower.err
    assert "spent already" not in program("budget", "set", "@last", "0.5", "--sandbox").err
    assert program("run", source, "--sandbox", "--max-cost", "1", "-o", "out.jsonl").code == 0
    assert outcome(program)["requests"]["succeeded"] == 60


def test_what_a_stopped_run_says_leads_to_all_results(program: Program) -> None:
    """The two commands of its hint: the second one writes the file that holds only a part."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(60)])
    stopped = program("run", source, "--sandbox", "--max-cost", "$0.001")
    raising, going_on = re.findall(r"`orchestrator ([^`]+)`", stopped.err)
    assert program(*shlex.split(raising.replace("AMOUNT", "1"))).code == 0
    assert program(*shlex.split(going_on)).code == 0
    (written,) = program.folder.glob("*.results.jsonl")
    assert len(written.read_text().splitlines()) == 60


def test_budget_set_lets_a_stopped_job_go_on(program: Program) -> None:
    """By the job, and by the total of all jobs; `resume` does the rest."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(4)])
    assert program("budget", "set", "total", "$0.00005", "--sandbox").code == 0
    stopped = program("run", source, "--sandbox", "-o", "out.jsonl")
    assert stopped.code == 5
    assert "the budget of all jobs together is $0.00005, and the next request alone may cost $0.000" in stopped.err
    assert "`orchestrator budget set total AMOUNT --sandbox` raises it" in stopped.err
    assert "--max-cost" not in stopped.err
    lowered = program("budget", "set", "total", "$0.00004", "--sandbox")
    assert "that a cap had stopped" not in lowered.err
    told = program("budget", "set", "@last", "0.025", "--sandbox").out
    assert told.endswith("may cost $0.025\n"), "a cap as it was typed, and not that it goes on"
    raised = program("budget", "set", "total", "1", "--sandbox")
    assert "1 job that a cap had stopped is tried again" in raised.err
    assert program("budget", "set", "@last", "0.5", "--sandbox").out.endswith("may cost $0.50\n")
    assert program("resume", "@last", "--sandbox", "-o", "out.jsonl").code == 0
    (shown,) = program("budget", "--sandbox", "--json").facts["budgets"]
    assert (shown["scope"], shown["cap"], shown["ends_at"]) == ("total", "1.000000000", None)
    assert shown["spent"] == outcome(program)["cost"]["spent"]
    assert program("budget", "clear", "total", "--sandbox").out.splitlines()[-1].startswith("there is no budget")
    assert program("budget", "set", "@last", "9", "--sandbox").code == 5


def test_what_has_no_bound_is_refused_under_a_cap(program: Program) -> None:
    """Exit code 5 with the remedy, and no job; with an allowance it is sent."""
    source = write_lines(program.folder / "x.jsonl", [request(1, model=MODEL)])
    refused = program("run", source, "--sandbox", "--max-cost", "10")
    assert (refused.code, f"line 1: there is no price for {MODEL}" in refused.err) == (5, True)
    assert f"`orchestrator prices {MODEL} --sandbox` shows how" in refused.err
    seen = program("check", source, "--sandbox", "--max-cost", "10", "--allow-per-request", "$0.50")
    assert f"cap      it would be refused: there is no price for {MODEL}, and a cap is in force" in seen.out
    assert (seen.code, program("check", source, "--sandbox").code) == (5, 0)
    source = write_lines(program.folder / "s.jsonl", [request(1, **SEARCH)])
    refused = program("submit", source, "--sandbox", "--max-cost", "10")
    assert (refused.code, "--allow-per-request" in refused.err) == (5, True)
    assert program("ls", "--sandbox", "--json").facts["jobs"] == []
    nothing = program("submit", source, "--sandbox", "--max-cost", "10", "--allow-per-request", "$0.00")
    assert (nothing.code, "above zero" in nothing.err) == (2, True)
    seen = program("check", source, "--sandbox", "--max-cost", "10", "--json")
    assert (seen.code, "would be refused: " in seen.facts["estimate"]["under_cap"]) == (5, True)
    allowed = ("--max-cost", "10", "--allow-per-request", "$0.50")
    assert program("check", source, "--sandbox", *allowed).code == 0
    assert program("submit", source, "--sandbox", *allowed).code == 0


def test_a_month_that_is_used_up_is_not_waited_for_if_nobody_wants_to(program: Program) -> None:
    """`[budget] max_month` is in force from the start of an engine."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(150)])
    few = {"ORCHESTRATOR_BUDGET__MAX_MONTH": "$0.0008", "ORCHESTRATOR_SANDBOX__SPEED": "3000"}
    stopped = program("run", source, "--sandbox", "--no-wait-budget", "-o", "out.jsonl", env=few)
    assert stopped.code == 5
    assert "the budget of a month is $0.0008" in stopped.err
    assert "00:00 UTC by itself" in stopped.err
    assert "`orchestrator budget set month AMOUNT --sandbox` raises it" in stopped.err
    assert outcome(program)["state"] == "running"


def test_a_budget_below_what_is_spent_says_that_nothing_more_is_sent(program: Program) -> None:
    """At once, with the amount; one with room says nothing."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(20)])
    assert program("run", source, "--sandbox", "-o", "out.jsonl").code == 0
    for scope, until in (("month", "this month (UTC)"), ("total", "until it is raised")):
        low = program("budget", "set", scope, "0.000001", "--sandbox")
        assert f" is spent already: nothing more is sent {until}" in low.err
        assert "spent already" not in program("budget", "set", scope, "50", "--sandbox").err


@pytest.mark.parametrize("amount", ["ten", "-1", "1e3", "10,50", "", "0", "$0.00"])
def test_an_amount_that_is_none_is_refused(program: Program, amount: str) -> None:
    """With how to write it."""
    source = write_lines(program.folder / "in.jsonl", [request(1)])
    refused = program("submit", source, "--sandbox", "--max-cost", amount)
    assert (refused.code, "10.50usd" in refused.err) == (2, True)
    refused = program("budget", "set", "day", amount, "--sandbox")
    assert (refused.code, "$10" in refused.err or amount == "-1") == (2, True)


@in_a_loop
async def test_caps_over_rest(tmp_path: Path) -> None:
    """A hand-in, a PATCH and budgets; a refusal is a problem document, and nothing is stored."""
    async with api(tmp_path / "store.db", sandbox__speed=12.0) as (_, client):
        made = await client.post("jobs", params={"max_cost": "$10"}, content=lines(3), headers=NDJSON)
        assert made.json()["job"]["cost"]["cap"] == "10.000000000"
        job = made.json()["job"]["id"]
        changed = await client.patch(f"jobs/{job}", json={"max_cost": "20.00"})
        assert changed.json()["cost"]["cap"] == "20.000000000"
        assert (await client.patch(f"jobs/{job}", json={"max_cost": None})).json()["cost"]["cap"] is None
        for wrong in ({"max_cost": 20}, {}, {"cap": "1"}, {"max_cost": "much"}, {"max_cost": "0"}):
            assert (await client.patch(f"jobs/{job}", json=wrong)).status_code == 400
        untyped = await client.put("budgets/month", content=b'{"cap": "50"}')
        assert (untyped.status_code, "content-type: application/json" in untyped.json()["title"]) == (415, True)
        assert "application/json" in untyped.json()["hint"]
        assert "ndjson" not in untyped.json()["hint"]
        for body, told in (
            ({"max_cost": 1}, "max_cost is not a text"), ({"x": 1}, "'x' is no member"), ({}, "no member 'max_cost'"),
        ):  # fmt: skip
            refused = (await client.patch(f"jobs/{job}", json=body)).json()
            assert told in refused["detail"]
            assert '{"max_cost": "10.00"}' in refused["hint"]
        refused = (await client.post("jobs", json={"requests": requests(1), "max_cost": 1})).json()
        assert (refused["detail"], '"max_cost": "10.00"' in refused["hint"]) == (
            'max_cost is not a text, such as "10.00"', True,
        )  # fmt: skip
        put = await client.put("budgets/month", json={"cap": "50"})
        for now in (put, await client.get("budgets")):  # what is reserved moves: the job runs
            assert [(one["scope"], one["cap"]) for one in now.json()["budgets"]] == [("month", "50.000000000")]
        unknown = json.dumps({**requests(1)[0], "params": {**requests(1)[0]["params"], "model": MODEL}}).encode()
        refused = await client.post("jobs", content=unknown, headers=NDJSON)
        assert (refused.status_code, refused.json()["type"]) == (422, "unknown-price")
        searching = json.dumps({**requests(1)[0], "params": {**requests(1)[0]["params"], **SEARCH}}).encode()
        refused = await client.post("jobs", content=searching, headers=NDJSON)
        assert (refused.status_code, refused.json()["type"]) == (409, "budget-refused")
        assert (await client.put("budgets/month", json={"cap": None})).json()["budgets"] == []
        assert len((await client.get("jobs")).json()["jobs"]) == 1
        assert (
            await client.post("jobs", params={"max_cost": "0"}, content=lines(3), headers=NDJSON)
        ).status_code == 400
        await client.post(f"jobs/{job}/cancel")
        over_by_now = {"canceled", "finished"}
        while (await client.get(f"jobs/{job}", params={"wait": "60s"})).json()["state"] not in over_by_now:
            pass
        over = await client.patch(f"jobs/{job}", json={"max_cost": "1"})
        assert (over.status_code, "is over" in over.json()["title"]) == (409, True)


@in_a_loop
async def test_caps_in_the_library(tmp_path: Path) -> None:
    """A cap is a text, an int or a Decimal; one that is reached is BudgetExceeded, and the results stay."""
    async with Orchestrator(
        tmp_path / "store.db", sandbox=True, sandbox__speed=100_000.0, limits__poll_interval="0.02s"
    ) as orc:
        with pytest.raises(UsageError, match="not float") as refused:
            await orc.submit(requests(1), name="no", max_cost=0.1)  # type: ignore[arg-type]  # that is the point
        assert str(refused.value.hint).endswith('"0.10"')
        job = await orc.submit(requests(40), name="few", max_cost=Decimal("0.001"))
        with pytest.raises(BudgetExceeded, match=r"the job's cap is \$0\.001"):
            await job.wait()
        cost = (await job.cost()).total
        assert 0 < cost.nanos <= (cost.cap_nanos or 0) == 1_000_000
        assert 0 < len([one async for one in job.results(settled_only=True)]) < 40
        with pytest.raises(UnknownPrice):
            await orc.submit([{**requests(1)[0], "params": {**requests(1)[0]["params"], "model": MODEL}}], max_cost=1)
        with pytest.raises(BudgetRefused):
            await orc.submit([{**requests(1)[0], "params": {**requests(1)[0]["params"], **SEARCH}}], max_cost="1usd")


def test_a_cap_by_the_header_of_the_drop_in(tmp_path: Path) -> None:
    """`x-orchestrator-max-cost`; one that is no amount is the API's own kind of refusal."""
    with served(tmp_path) as world:
        url, body = f"{world.url}/v1/messages/batches", json.dumps({"requests": sdk_requests(3)})
        version = {"anthropic-version": "2026-10-21"}
        made = httpx2.post(url, content=body, headers={**version, "x-orchestrator-max-cost": "$5"}, timeout=60)
        assert made.status_code == 200, made.text
        refused = httpx2.post(url, content=body, headers={**version, "x-orchestrator-max-cost": "much"}, timeout=60)
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
