"""Results over the REST API: the same lines as in a file, in two orders, gone on with after a break."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.api_world import NDJSON, api, finished, lines, served_api
from faces.client_world import SLOW

from orchestrator.assembly import Engine
from orchestrator.results.sinks import open_sink

#: Batches of three: settled in several steps.
SMALL: dict[str, Any] = {"batching__max_requests": 3}


def ids(text: str) -> list[str]:
    return [json.loads(line)["custom_id"] for line in text.splitlines()]


async def in_a_file(engine: Engine, path: Path) -> str:
    job = await engine.read(lambda reads: reads.find("@last"))
    await engine.export(job.id, open_sink(str(path)))
    return await asyncio.to_thread(path.read_text)


def test_results_are_the_lines_that_a_file_would_hold(tmp_path: Path) -> None:
    """Byte for byte, in input order, plain or compressed."""

    async def check() -> None:
        async with api(tmp_path / "x.db", sandbox__faults="invalid=.3", **SMALL) as (engine, client):
            await client.post("jobs?name=ten", content=lines(10), headers=NDJSON)
            await finished(client, "ten")
            written = await in_a_file(engine, tmp_path / "out.jsonl")
            plain = await client.get("jobs/ten/results", headers={"accept-encoding": "identity"})
            assert plain.text == written
            assert plain.headers["content-type"] == "application/x-ndjson"
            assert "content-encoding" not in plain.headers
            packed = await client.get("jobs/ten/results", headers={"accept-encoding": "br, gzip;q=0.5"})
            assert (packed.headers["content-encoding"], packed.text) == ("gzip", written)
            unpacked = await client.get("jobs/ten/results", headers={"accept-encoding": "gzip;q=0"})
            assert "content-encoding" not in unpacked.headers

    asyncio.run(check())


@pytest.mark.parametrize("order", ["input", "settled"])
def test_a_broken_download_goes_on_behind_its_last_whole_line(tmp_path: Path, order: str) -> None:
    """Nothing missing and nothing twice, wherever it broke."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SMALL) as (_, client):
            await client.post("jobs?name=ten", content=lines(10), headers=NDJSON)
            await finished(client, "ten")
            whole = ids((await client.get(f"jobs/ten/results?order={order}")).text)
            assert sorted(whole) == sorted(f"r{number}" for number in range(10))
            for place, last in enumerate(whole, start=1):
                rest = await client.get("jobs/ten/results", params={"order": order, "after": last})
                assert ids(rest.text) == whole[place:], last
            nobody = await client.get("jobs/ten/results", params={"order": order, "after": "nobody"})
            assert (nobody.status_code, nobody.json()["type"]) == (404, "no-such-thing")

    asyncio.run(check())


@pytest.mark.parametrize("order", ["input", "settled"])
def test_whoever_follows_gets_every_result_of_a_job_that_is_under_way(tmp_path: Path, order: str) -> None:
    """The stream ends when the job is over, and not before."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SMALL) as (_, client):
            await client.post("jobs?name=ten", content=lines(10), headers=NDJSON)
            followed = await client.get("jobs/ten/results", params={"order": order, "follow": "1"})
            assert sorted(ids(followed.text)) == sorted(f"r{number}" for number in range(10))

    asyncio.run(check())


def test_what_is_canceled_unsent_comes_last(tmp_path: Path) -> None:
    """A request that was never sent has the API's word for it."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SLOW) as (_, client):
            await client.post("jobs?name=open&open=1", content=lines(3), headers=NDJSON)
            assert (await client.get("jobs/open/results?order=settled")).text == ""
            await client.post("jobs/open/cancel")
            for order in ("input", "settled"):
                told = await client.get(f"jobs/open/results?order={order}&after=r0")
                assert ids(told.text) == ["r1", "r2"]
                assert {json.loads(line)["result"]["type"] for line in told.text.splitlines()} == {"canceled"}

    asyncio.run(check())


def test_what_was_purged_is_gone_and_told_as_such(tmp_path: Path) -> None:
    """410: it was there; counts and history still are. A job that is not over keeps all it has."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            await client.post("jobs?name=ten", content=lines(10), headers=NDJSON)
            await finished(client, "ten")
            await client.post("jobs?name=open&open=1", content=lines(1, said="more"), headers=NDJSON)
            early = await client.delete("jobs/open")
            assert (early.status_code, early.json()["type"]) == (409, "guard-refused")
            assert (await client.delete("jobs/ten")).json()["purged"] is True
            again = (await client.delete("jobs/ten")).json()
            assert (again["purged"], again["job"]["requests"]["succeeded"]) == (False, 10)
            for order in ("input", "settled"):
                gone = await client.get(f"jobs/ten/results?order={order}")
                assert (gone.status_code, gone.json()["type"]) == (410, "purged")
            shown = (await client.get("jobs/ten/requests/r1")).json()
            assert (shown["state"], shown["params"], shown["result"]) == ("succeeded", None, None)

    asyncio.run(check())


def test_a_stream_that_the_engine_leaves_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """An answer without its end is told by the protocol, so that nobody stops in the middle."""

    async def read(url: str, begun: asyncio.Event) -> None:
        async with (
            httpx2.AsyncClient(base_url=url, timeout=60) as client,
            client.stream("GET", "/api/v1/jobs/slow/results?order=settled&follow=1") as answer,
        ):
            begun.set()
            await answer.aread()

    async def check() -> None:
        begun = asyncio.Event()
        async with (
            served_api(tmp_path / "x.db", **SLOW) as (_, url),
            httpx2.AsyncClient(base_url=url, timeout=60) as client,
        ):
            await client.post("/api/v1/jobs?name=slow", content=lines(3), headers=NDJSON)
            reading = asyncio.create_task(read(url, begun))
            await begun.wait()
        with pytest.raises(httpx2.RemoteProtocolError):
            await reading

    asyncio.run(check())
