"""Identical requests at every face: who gets the answer of another says of whom, and that it cost nothing."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from faces.api_world import NDJSON, api, finished
from faces.client_world import QUICK, requests, short_runtime_folder
from support.world import in_a_loop

from orchestrator import Orchestrator

#: Of four requests the third has the params of the first, and the fourth those of the second.
GIVEN = [{**each, "params": requests(2)[place % 2]["params"]} for place, each in enumerate(requests(4))]
REUSED = [None, None, "r0", "r1"]


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def test_rest_and_the_dashboard_say_whose_answer_it_is(tmp_path: Path) -> None:
    """In lines, pages, tables and on a request; the job counts them."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            content = "".join(f"{json.dumps(each)}\n" for each in GIVEN)
            told = (await client.post("estimate", content=content, headers=NDJSON)).json()
            assert (told["identical"]["requests"], told["identical"]["left_out"]) == (2, False)
            told = (await client.post("estimate?dedupe=true", content=content, headers=NDJSON)).json()
            assert (told["requests"], told["identical"]["left_out"]) == (2, True)
            await client.post("jobs?name=four&dedupe=true", content=content, headers=NDJSON)
            job = await finished(client, "four")
            assert (job["dedupe"], job["twins"], job["twins_succeeded"]) == (True, 2, 2)
            assert job["requests"]["succeeded"] == 4
            lines = [json.loads(line) for line in (await client.get("jobs/four/results")).text.splitlines()]
            assert [line.get("reused_from") for line in lines] == REUSED
            assert lines[2]["result"] == lines[0]["result"]
            page = (await client.get("jobs/four/results/page")).json()["results"]
            assert [(row.get("reused_from"), row["cost"] == "0.000000000") for row in page] == [
                (reused, reused is not None) for reused in REUSED
            ]
            table = list(csv.DictReader(io.StringIO((await client.get("jobs/four/results.csv")).text)))
            assert [row["reused_from"] or None for row in table] == REUSED
            assert (await client.get("jobs/four/requests/r2")).json()["reused_from"] == "r0"
            shown = (await client.get(f"http://engine/jobs/{job['id']}/requests/3")).text
            assert "identical to" in shown
            assert f"/jobs/{job['id']}/requests/1" in shown
            refused = await client.post("jobs?dedupe=perhaps", content=content, headers=NDJSON)
            assert refused.status_code == 400
            assert "dedupe" in refused.text

    asyncio.run(check())


@in_a_loop
async def test_the_library_says_whose_answer_it_is(tmp_path: Path) -> None:
    """A result, a dict of a table, and a file, which is known again as the job's own output."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as orc:
        job = await orc.submit(GIVEN, dedupe=True)
        found = [result async for result in job.results()]
        assert [result.reused_from for result in found] == REUSED
        assert [result.cost == Decimal(0) for result in found] == [False, False, True, True]
        assert [row["reused_from"] for row in await job.to_dicts()] == REUSED
        for name in ("out.jsonl", "out.csv"):
            for _ in range(2):
                assert await job.export(tmp_path / name) == 4
        lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [line.get("reused_from") for line in lines] == REUSED
        plain = await orc.submit(GIVEN, new=True)
        assert {result.reused_from async for result in plain.results()} == {None}
        assert "reused_from" not in (await plain.to_dicts())[0]
