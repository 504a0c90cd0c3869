"""Estimates over REST and in the library: the same figures on every way, and nothing stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from faces.api_world import LINES, NDJSON, api, lines
from faces.client_world import QUICK, requests, short_runtime_folder
from faces.remote_world import daemon_in
from support.world import in_a_loop

from orchestrator import Estimate, InputRefused, Orchestrator, SyncOrchestrator, UsageError


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


@in_a_loop
async def test_a_body_is_estimated_and_not_stored(tmp_path: Path) -> None:
    """Money is text with nine places; there is no job afterwards, and the API has seen no batch."""
    async with api(tmp_path / "x.db") as (engine, client):
        answer = await client.post("estimate", content=LINES, headers=NDJSON)
        assert answer.status_code == 200
        found = answer.json()
        assert (found["requests"], found["calls"], found["rough"]) == (5, 5, None)
        assert found["input"]["basis"] == "5 of 5 requests counted"
        assert found["input"]["low"] <= found["input"]["tokens"] <= found["input"]["high"] <= found["input"]["worst"]
        cost = found["cost"]
        assert (cost["currency"], cost["expected"]) == ("USD", None)
        assert Decimal(cost["low"]) <= Decimal(cost["prompts"]) <= Decimal(cost["high"]) <= Decimal(cost["worst"])
        assert len(cost["low"].partition(".")[2]) == 9
        assert found["price"]["models"][0]["model"] == "claude-haiku-4-5"
        assert (await client.get("jobs")).json()["jobs"] == []
        assert [batch async for batch in engine.remote_batches()] == []


@pytest.mark.parametrize(("count", "calls"), [("exact", 5), ("offline", 0)])
def test_how_it_counts_is_asked_for(tmp_path: Path, count: str, calls: int) -> None:
    """Every request, or none."""

    async def ask() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            found = await client.post("estimate", params={"count": count}, content=LINES, headers=NDJSON)
            assert found.json()["calls"] == calls
            assert (await client.post("estimate", params={"count": "guess"}, content=LINES)).status_code == 400

    asyncio.run(ask())


@in_a_loop
async def test_a_body_with_problems_is_refused_as_by_a_job(tmp_path: Path) -> None:
    """422 with each line; with skip_bad the others are estimated."""
    bad = lines(2) + b'{"custom_id":"z","params":{}}\n'
    async with api(tmp_path / "x.db") as (_, client):
        refused = await client.post("estimate", content=bad, headers=NDJSON)
        assert (refused.status_code, refused.json()["problems"][0]["line"]) == (422, 3)
        found = await client.post("estimate", params={"skip_bad": "1"}, content=bad, headers=NDJSON)
        assert (found.status_code, found.json()["requests"]) == (200, 2)
        empty = await client.post("estimate", params={"skip_bad": "1"}, content=b"", headers=NDJSON)
        assert empty.status_code == 422


@in_a_loop
async def test_a_program_asks_before_it_submits(tmp_path: Path) -> None:
    """Decimal dollars, and no job."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as orc:
        found = await orc.estimate(requests(20))
        exact = await orc.estimate(requests(20), exact=True)
        assert isinstance(found, Estimate)
        assert (found.requests, found.calls, exact.calls) == (20, 20, 20)
        assert found.cost.low is not None
        assert found.cost.high is not None
        assert found.cost.worst is not None
        assert Decimal(0) < found.cost.low < found.cost.high <= found.cost.worst
        assert "20 of 20 requests counted; no history" in found.basis
        assert await orc.jobs() == []
        with pytest.raises(InputRefused):
            await orc.estimate([{"custom_id": "a", "params": {}}])
        with pytest.raises(UsageError):
            await orc.estimate(requests(1), exact=True, offline=True)


def test_without_an_event_loop_and_at_a_server_it_is_the_same(tmp_path: Path) -> None:
    """The blocking twin, and the daemon elsewhere, whose key and prices count."""
    with SyncOrchestrator(tmp_path / "here.db", sandbox=True, **QUICK) as orc:
        here = orc.estimate(iter(requests(20)))
    with daemon_in(tmp_path) as daemon, daemon.running():
        token = daemon.token_file.read_text().strip()
        with SyncOrchestrator(server=daemon.url, token=token) as orc:
            there = orc.estimate(requests(20))
            assert there.input == here.input
            assert (there.cost, there.prices) == (here.cost, here.prices)
            with pytest.raises(InputRefused):
                orc.estimate([{"custom_id": "a", "params": {}}])
