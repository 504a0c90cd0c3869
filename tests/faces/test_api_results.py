"""Results over the REST API: the same lines as in a file, in two orders, gone on with after a break."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.api_world import NDJSON, api, finished, lines, served_api
from faces.client_world import SLOW, requests

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


def test_requests_are_streamed_as_they_were_handed_in(tmp_path: Path) -> None:
    """All of them, a page, what follows one, and those of a kind; a purged job has none."""
    given = requests(10)
    given[3]["params"]["model"] = "no-such-model"

    async def check() -> None:
        async with api(tmp_path / "x.db", **SMALL) as (_, client):
            await client.post("jobs?name=ten", json={"requests": given})
            await finished(client, "ten")
            path = "jobs/ten/requests.jsonl"
            whole = await client.get(path)
            assert whole.headers["content-type"] == "application/x-ndjson"
            assert [json.loads(line) for line in whole.text.splitlines()] == given
            first = (await client.get(path, params={"limit": 4})).text
            rest = (await client.get(path, params={"after": ids(first)[-1]})).text
            assert (first + rest, len(ids(first))) == (whole.text, 4)
            listed = (await client.get("jobs/ten/requests", params={"only": ["failed", "expired"]})).json()["requests"]
            failed = (await client.get(path, params={"state": "failed"})).text
            assert ids(failed) == [row["custom_id"] for row in listed] == [given[3]["custom_id"]]
            assert (await client.get(path, params={"after": "nobody"})).status_code == 404
            await client.delete("jobs/ten")
            assert (await client.get(path)).status_code == 410

    asyncio.run(check())


@pytest.mark.parametrize("order", ["input", "settled"])
def test_results_come_with_the_rows_of_their_requests_if_asked(tmp_path: Path, order: str) -> None:
    """One more member of each line; without being asked for the lines are what they were, to the byte."""
    rows = {f"r{number}": {"id": f"{number:03}", "half": 0.50} for number in range(10) if number != 4}
    given = [{**each, "row": rows.get(each["custom_id"])} for each in requests(10)]
    content = [{key: value for key, value in each.items() if value is not None} for each in given]

    async def check() -> None:
        async with api(tmp_path / "x.db", sandbox__faults="invalid=.3", **SMALL) as (engine, client):
            body = "".join(json.dumps(each) + "\n" for each in content)
            await client.post("jobs?name=ten", content=body, headers=NDJSON)
            await finished(client, "ten")
            plain = (await client.get("jobs/ten/results", params={"order": order})).text
            if order == "input":
                assert plain == await in_a_file(engine, tmp_path / "out.jsonl")
            joined = (await client.get("jobs/ten/results", params={"order": order, "rows": "true"})).text
            for one, other in zip(plain.splitlines(), joined.splitlines(), strict=True):
                row = rows.get(json.loads(one)["custom_id"])
                assert other == f'{one[:-1]},"row":{json.dumps(row)}}}'
            page = (await client.get("jobs/ten/results/page", params={"rows": "true"})).json()["results"]
            assert [each["row"] for each in page] == [rows.get(f"r{number}") for number in range(10)]
            bare = (await client.get("jobs/ten/results/page")).json()["results"]
            assert bare == [{key: value for key, value in each.items() if key != "row"} for each in page]
            assert (await client.get("jobs/ten/results?rows=maybe")).status_code == 400

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
            httpx2.AsyncClient(base_url=url, timeout=60, verify=False) as client,
            client.stream("GET", "/api/v1/jobs/slow/results?order=settled&follow=1") as answer,
        ):
            begun.set()
            await answer.aread()

    async def check() -> None:
        begun = asyncio.Event()
        async with (
            served_api(tmp_path / "x.db", **SLOW) as (_, url),
            httpx2.AsyncClient(base_url=url, timeout=60, verify=False) as client,
        ):
            await client.post("/api/v1/jobs?name=slow", content=lines(3), headers=NDJSON)
            reading = asyncio.create_task(read(url, begun))
            await begun.wait()
        with pytest.raises(httpx2.RemoteProtocolError):
            await reading

    asyncio.run(check())


def test_results_are_tables_by_their_suffix_and_by_accept(tmp_path: Path) -> None:
    """The table that `results -o` writes; lines unless it is asked for; compressed as lines are."""
    given = [{**each, "row": {"id": f"00{number}", "n": number}} for number, each in enumerate(requests(10))]

    async def check() -> None:
        async with api(tmp_path / "x.db", **SMALL) as (_, client):
            await client.post("jobs?name=ten", json={"requests": given})
            await finished(client, "ten")
            plain = await client.get("jobs/ten/results.csv", headers={"accept-encoding": "identity"})
            assert plain.headers["content-type"] == "text/csv; charset=utf-8"
            table = list(csv.DictReader(io.StringIO(plain.text, newline="")))
            assert [(row["custom_id"], row["id"], row["status"]) for row in table] == [
                (f"r{n}", f"00{n}", "succeeded") for n in range(10)
            ]
            for accept in ("text/csv", "text/html, text/csv;q=0.9, */*;q=0.1"):
                told = await client.get("jobs/ten/results", headers={"accept": accept})
                assert (told.headers["content-encoding"], told.text) == ("gzip", plain.text)
            better = ("text/csv;q=0.5, application/x-ndjson", "application/json, text/csv;q=0.9, */*;q=0.1")
            for accept in ("*/*", "text/html", "text/csv;q=0", "text/csv;q=x", *better):
                told = await client.get("jobs/ten/results", headers={"accept": accept})
                assert told.headers["content-type"] == "application/x-ndjson", accept
            some = await client.get("jobs/ten/results.csv", params={"columns": "n,id", "excel_safe": "true"})
            assert some.content.decode().splitlines()[:2] == ["\ufeffn,id", "0,000"]
            told = await client.get("jobs/ten/results/columns")
            assert told.json() == {"columns": [{"name": "id", "kind": "text"}, {"name": "n", "kind": "integer"}]}

    asyncio.run(check())


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("results.csv?columns=nope", "there is no column nope"),
        ("results?columns=id", "jsonl has no columns"),
        ("results.parquet?excel_safe=true", "parquet has no formulas"),
        ("results.csv?order=settled", "no parameter 'order'"),
        ("results?after=r1", "csv has no after"),
        ("results?order=settled", "csv has no order=settled"),
    ],
)
def test_what_a_table_does_not_have_is_told(tmp_path: Path, query: str, why: str) -> None:
    """Before the first byte."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SMALL) as (_, client):
            await client.post("jobs?name=ten", content=lines(3), headers=NDJSON)
            headers = {"accept": "text/csv"} if why.startswith("csv") else {}
            told = await client.get(f"jobs/ten/{query}", headers=headers)
            assert told.status_code == 400
            assert why in told.text

    asyncio.run(check())


def test_a_parquet_file_is_streamed_whole(tmp_path: Path) -> None:
    """Not compressed once more; its rows are those of the lines."""
    arrow = pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            await client.post("jobs?name=many", content=lines(1500), headers=NDJSON)
            await finished(client, "many")
            for path, accept in (("results.parquet", "*/*"), ("results", "application/vnd.apache.parquet")):
                told = await client.get(f"jobs/many/{path}", headers={"accept": accept, "accept-encoding": "gzip"})
                assert told.headers["content-type"] == "application/vnd.apache.parquet"
                assert "content-encoding" not in told.headers
                table = arrow.read_parquet(io.BytesIO(told.content)).read_all()
                assert table["custom_id"].to_pylist() == [f"r{n}" for n in range(1500)]

    asyncio.run(check())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_is_followed_comes_when_the_job_is_over(tmp_path: Path, kind: str) -> None:
    """Whole; that of a purged job never."""
    if kind == "parquet":
        pytest.importorskip("arro3.io", reason="the extra [parquet] is not installed")

    async def check() -> None:
        async with api(tmp_path / "x.db", **SMALL) as (_, client):
            await client.post("jobs?name=ten", content=lines(10), headers=NDJSON)
            told = await client.get(f"jobs/ten/results.{kind}?follow=1")
            assert told.status_code == 200
            assert told.content.count(b"succeeded") >= (10 if kind == "csv" else 1)
            assert (await client.delete("jobs/ten")).status_code == 200
            assert (await client.get(f"jobs/ten/results.{kind}")).status_code == 410

    asyncio.run(check())
