"""Paths: names and ids of anybody's making in them, and HEAD wherever there is GET."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
import pytest
from faces.api_world import NDJSON, engine_with_services, lines
from faces.client_world import requests, settings, short_runtime_folder

from orchestrator import Orchestrator
from orchestrator.assembly import Engine
from orchestrator.daemon import running_engine
from orchestrator.http_api.app import build_app
from orchestrator.http_api.listen import listen

ODD: Final = (
    "a\nb", "a\r\nb", "\n", "a\n", "\na", "a/b", "/", "a//b", "/a", "a/", "a/b/requests", "../x", ".", "..", "a%2Fb",
    "%2f", "%25", "%252F", "%", "%zz", "100% of it", "a b", " ", "?", "a?b=c", "#", "a#b", "&", "+", "a;b", "@last",
    "é", "e\u0301", "\u2028", "\u0085", "日本", "😀", "\\", "a\\b", "\t", "\x01", "\x7f", "'", '"', "<script>",
    "x" * 300,
)  # fmt: skip


NAMES: Final = (
    "a\nb",
    "\n",
    "a/b",
    "/",
    "a/",
    "a/b/requests",
    "..",
    "a%2Fb",
    "%25",
    "%",
    "?",
    "#",
    " ",
    "😀",
    "x" * 300,
)


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


@asynccontextmanager
async def daemon(database: Path) -> AsyncIterator[tuple[Engine, str, httpx2.AsyncClient]]:
    """A daemon as it is: its address, and a client for its API."""
    chosen = settings(database, server__listen="127.0.0.1:0")
    at = listen(chosen.server)
    assert at is not None
    async with (
        running_engine(chosen, sandbox=True, tcp=at) as engine,
        httpx2.AsyncClient(base_url=f"{at.url}/api/v1/", timeout=60, trust_env=False) as client,
    ):
        yield engine, at.url, client


def in_path(text: str) -> str:
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def test_every_custom_id_is_found_by_its_path(tmp_path: Path) -> None:
    """F18: a `custom_id` is any non-empty string, so any may stand in the path of its request; from afar too."""
    body = "".join(json.dumps({**requests(1)[0], "custom_id": each}) + "\n" for each in ODD).encode()

    async def check() -> None:
        async with daemon(tmp_path / "x.db") as (_, url, client):
            await client.post("jobs?name=odd", content=body, headers=NDJSON)
            for custom_id in ODD:
                answer = await client.get(f"jobs/odd/requests/{in_path(custom_id)}")
                assert (answer.status_code, answer.json().get("custom_id")) == (200, custom_id)
            missing = await client.get("jobs/odd/requests/a%0Ac")
            assert (missing.status_code, missing.json()["type"]) == (404, "no-such-thing")
            async with Orchestrator(server=url) as orc:
                job = await orc.job("odd")
                for custom_id in ODD:
                    assert (await job.request(custom_id)).custom_id == custom_id

    asyncio.run(check())


def rename(database: Path, job: str, name: str) -> None:
    """Give *job* a name that only an older version took: with a line break, for instance."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE job SET name = ? WHERE public_id = ?", (name, job))


def test_every_name_of_a_job_is_found_by_its_path(tmp_path: Path) -> None:
    """F18: the same for a job's name, in every route below it; a batch's id that there is not is told to be none."""

    async def check() -> None:
        async with daemon(tmp_path / "x.db") as (_, _, client):
            for number, name in enumerate(NAMES):
                content = lines(1, said=str(number))
                answer = await client.post("jobs", content=content, headers=NDJSON)
                made = answer.json()["job"]
                rename(tmp_path / "x.db", made["id"], name)
                at = f"jobs/{in_path(name)}"
                for path in (at, f"{at}?wait=1ms", f"{at}/requests", f"{at}/results", f"{at}/events"):
                    answer = await client.get(path)
                    assert answer.status_code == 200, (name, path, answer.text)
                assert (await client.get(at)).json()["id"] == made["id"]
                paused = await client.post(f"{at}/pause")
                assert paused.status_code in {200, 409}, paused.text
                batch = await client.get(f"batches/{in_path(name)}")
                assert (batch.status_code, batch.json()["type"]) == (404, "no-such-thing"), name

    asyncio.run(check())


def test_more_requests_find_an_open_job_whatever_its_name(tmp_path: Path) -> None:
    """F18: an upload below an odd name is an upload: it is streamed, and has the cap of one."""

    async def check() -> None:
        async with daemon(tmp_path / "x.db") as (_, _, client):
            made = await client.post("jobs", content=lines(1), params={"open": "1"}, headers=NDJSON)
            rename(tmp_path / "x.db", made.json()["job"]["id"], "a/b\n")
            more = b"".join(
                json.dumps({**requests(1, said="x" * 30_000)[0], "custom_id": f"m{n}"}).encode() + b"\n"
                for n in range(50)
            )
            answer = await client.post("jobs/a%2Fb%0A/requests", content=more, headers=NDJSON)
            assert (answer.status_code, answer.json()["added"]) == (200, 50)

    asyncio.run(check())


def test_head_is_answered_wherever_get_is(tmp_path: Path) -> None:
    """F17: the same status and headers, and no body: our routes, the dashboard's, the API's own, where it is 404."""

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (_, services):
            app = build_app(services)
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine", timeout=60) as client:
                await client.post("/api/v1/jobs?name=j", content=lines(2), headers=NDJSON)
                paths = {getattr(route, "path", "") for route in app.routes if "GET" in methods(route)}
                assert len(paths) > 40
                named = {
                    "{ref}": "j",
                    "{custom_id:path}": requests(1)[0]["custom_id"],
                    "{number}": "1",
                    "{name:path}": "app.css",
                }
                for path in (*sorted(paths), "/v1/messages/batches", "/v1/messages/batches/x", "/nowhere", "/v1/no"):
                    at = path
                    for parameter, value in named.items():
                        at = at.replace(parameter, value)
                    head = await client.head(at, headers={"anthropic-version": "2023-06-01"})
                    assert head.content == b"", at
                    if "stream" in at:
                        assert head.status_code == 200
                        continue
                    got = await client.get(at, headers={"anthropic-version": "2023-06-01"})
                    assert head.status_code == got.status_code != 405, at
                    assert head.headers["content-type"] == got.headers["content-type"], at
                other = await client.put("/api/v1/jobs/j")
                assert other.headers["allow"] == "DELETE, GET, HEAD, PATCH"

    asyncio.run(check())


def methods(route: Any) -> set[str]:
    return getattr(route, "methods", None) or set()


def test_the_head_of_a_stream_is_the_end_of_it(tmp_path: Path) -> None:
    """F17: over a connection, too: the next request on it is answered."""

    async def check() -> None:
        async with daemon(tmp_path / "x.db") as (_, url, client):
            await client.post("jobs?name=j&open=1", content=lines(2), headers=NDJSON)
            for path in (
                "events/stream",
                "jobs/j/events/stream",
                "jobs/j/results?follow=1&order=settled",
                f"{url}/live?at=/",
            ):
                for _ in range(3):
                    head = await client.head(path)
                    assert (head.status_code, head.content) == (200, b""), path
                assert (await client.head(f"{url}/livez")).status_code == 200
            assert (await client.head("jobs/j")).headers["etag"] == (await client.get("jobs/j")).headers["etag"]

    asyncio.run(check())
