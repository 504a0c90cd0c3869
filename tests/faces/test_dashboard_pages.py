"""The dashboard's pages as a browser without JavaScript gets them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
import pytest
from faces.client_world import SLOW, requests, settings, short_runtime_folder, until

from orchestrator.assembly import Engine
from orchestrator.cli.jobs_text import status_lines
from orchestrator.config import default_socket_path
from orchestrator.daemon import running_engine
from orchestrator.http_api.dashboard import page
from orchestrator.http_api.dashboard.markdown import pieces
from orchestrator.views import status_text
from orchestrator.views.job_views import JobView

LINES: Final = "".join(json.dumps(request) + "\n" for request in requests(5)).encode()
HERE: Final = {"origin": "http://engine"}
STATIC: Final = Path(page.__file__).parent / "static"


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


@asynccontextmanager
async def dashboard(folder: Path, **overrides: object) -> AsyncIterator[tuple[Engine, httpx2.AsyncClient]]:
    """An engine, and a browser on its pages that runs no script."""
    database = folder / "x.db"
    async with running_engine(settings(database, **overrides), sandbox=True) as engine:
        transport = httpx2.AsyncHTTPTransport(uds=str(default_socket_path(database, os.environ)))
        accept = {"accept": "text/html"}
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://engine", timeout=20, headers=accept
        ) as client:
            yield engine, client


def run(folder: Path, check: Callable[[Engine, httpx2.AsyncClient], Awaitable[None]], **overrides: object) -> None:
    """Run *check* beside an engine."""

    async def whole() -> None:
        async with dashboard(folder, **overrides) as (engine, client):
            await check(engine, client)

    asyncio.run(whole())


async def submitted(client: httpx2.AsyncClient, lines: bytes = LINES, name: str = "five") -> str:
    """A job of *lines*."""
    answer = await client.post(f"/api/v1/jobs?name={name}", content=lines)
    job: str = answer.raise_for_status().json()["job"]["id"]
    return job


async def finished(client: httpx2.AsyncClient, job: str) -> None:
    """Wait for its end."""

    async def over() -> Any:
        return (await client.get(f"/api/v1/jobs/{job}")).json()["state"] == "finished"

    await until(over)


def test_every_screen_answers_and_says_what_there_is(tmp_path: Path) -> None:
    """Without JavaScript everything can be read, before the first job and after it."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        for path in ("/", "/jobs", "/batches", "/events", "/new", "/health"):
            empty = await client.get(path)
            assert (path, empty.status_code) == (path, 200)
            assert "SANDBOX" in empty.text
        job = await submitted(client)
        await finished(client, job)
        shown = (await client.get(f"/jobs/{job}")).text
        assert "finished: 5 requests, all succeeded" in shown
        for tab, said in (("requests", "r4"), ("failures", "No failures"), ("batches", "5 ok"), ("events", "settled")):
            assert said in (await client.get(f"/jobs/{job}?tab={tab}")).text
        request = (await client.get(f"/jobs/{job}/requests/3")).text
        assert "hello 2" in request
        assert f"/jobs/{job}/requests/2" in request
        assert "ours" in (await client.get("/batches?remote=1")).text
        for path in ("/", "/jobs", "/jobs?state=finished&q=fiv", "/events"):
            assert "five" in (await client.get(path)).text
        assert "five" not in (await client.get("/jobs?q=six")).text

    run(tmp_path, check)


def test_an_address_that_leads_nowhere_is_told_as_a_page(tmp_path: Path) -> None:
    """A person gets a page with a way on, a program gets its document."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client)
        for path in ("/nowhere", "/jobs/nobody", f"/jobs/{job}/requests/99", f"/jobs/{job}/requests/x"):
            page = await client.get(path)
            assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert 'href="/jobs"' in page.text
        wrong = await client.get("/jobs?state=odd")
        assert (wrong.status_code, "one of" in wrong.text) == (400, True)
        document = await client.get("/api/v1/nowhere")
        assert document.headers["content-type"] == "application/problem+json"

    run(tmp_path, check)


@pytest.mark.parametrize("said", ["Your%20account%20is%20closed", "00.paused", f"{'0' * 64}.1%20job%20paused", "", "."])
def test_a_page_says_nothing_that_another_port_of_this_host_put_into_a_cookie(tmp_path: Path, said: str) -> None:
    """L11: cookies know no ports, so what one says counts only with our seal over it."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        page = await client.get("/jobs", headers={"cookie": f"said={said}"})
        assert 'class="said"' not in page.text
        job = await submitted(client)
        done = await client.post("/act", data={"verb": "pause", "job": job}, headers=HERE)
        seal, words = done.cookies["said"].split(".", 1)
        client.cookies.clear()
        for changed, shown in ((f"{seal}.2{words[1:]}", False), (f"{seal}.{words}", True)):
            page = await client.get("/jobs", headers={"cookie": f"said={changed}"})
            assert ('class="said"' in page.text) is shown

    run(tmp_path, check)


def test_acts_work_without_javascript_and_only_from_these_pages(tmp_path: Path) -> None:
    """A form is a POST that sends one back; another site's page cannot make a browser act (T83)."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client)
        for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            refused = await client.post("/act", data={"verb": "cancel", "job": job}, headers=headers)
            assert refused.status_code == 403
        assert (await client.get(f"/api/v1/jobs/{job}")).json()["state"] == "running"
        done = await client.post("/act", data={"verb": "pause", "job": job}, headers=HERE)
        assert (done.status_code, done.headers["location"]) == (303, f"/jobs/{job}")
        assert "1 job paused" in (await client.get(f"/jobs/{job}")).text
        assert "1 job paused" not in (await client.get(f"/jobs/{job}?said=1+job+paused")).text
        asked = (await client.get(f"/confirm?verb=cancel&job={job}")).text
        assert "Cancel this job?" in asked
        own = {"sec-fetch-site": "same-origin"}
        assert (await client.post("/act", data={"verb": "cancel", "job": job}, headers=own)).status_code == 303
        again = await client.post("/act", data={"verb": "pause", "job": job}, headers=HERE)
        assert "in no state for it" in (await client.get(again.headers["location"])).text
        assert (await client.post("/act", data={"verb": "explode", "job": job}, headers=HERE)).status_code == 400

    run(tmp_path, check, **SLOW)


def test_a_file_is_handed_in_by_a_plain_form(tmp_path: Path) -> None:
    """Its problems are told by line, and nothing of it is kept; a good file becomes a job."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        bad = {"file": ("bad.jsonl", LINES + b'{"custom_id":1}\n')}
        refused = await client.post("/new", data={"name": ""}, files=bad, headers=HERE)
        assert refused.status_code == 422
        assert "Nothing was stored or sent" in refused.text
        assert "No such job" in (await client.get("/jobs")).text
        for events in ("/events", "/api/v1/events"):  # which tell of the import; its job is gone
            assert (await client.get(events)).status_code == 200
        good = {"file": ("my reviews.jsonl", LINES)}
        taken = await client.post("/new", data={"name": ""}, files=good, headers=HERE)
        assert taken.status_code == 303
        assert "my reviews" in (await client.get(taken.headers["location"])).text
        assert (await client.post("/new", files=good)).status_code == 403

    run(tmp_path, check)


def test_a_page_allows_only_what_is_its_own(tmp_path: Path) -> None:
    """T86: the policy stands on every page and no page holds a script or a style of its own, nor another's address."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client)
        await finished(client, job)
        for path in ("/", "/jobs", f"/jobs/{job}", f"/jobs/{job}/requests/1", "/new", "/batches", "/nowhere"):
            page = await client.get(path)
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert re.findall(r"<script(?![^>]* src=\"(?:/|&#x2f;)static)|<style| style=| on[a-z]+=", page.text) == []
            assert re.findall(r"(?:href|src|action)=\"(?!/|&#x2f;|#|\?)", page.text) == []

    run(tmp_path, check)


def test_static_files_are_kept_for_good_under_the_hash_of_their_content(tmp_path: Path) -> None:
    """A browser asks once; a new version has a new address. No other file is served."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        for name in page.NAMES:
            named = await client.get(page.asset_url(name))
            assert (named.status_code, "immutable" in named.headers["cache-control"]) == (200, True)
            assert "immutable" not in (await client.get(f"/static/{name}?v=old")).headers["cache-control"]
        for name in ("vendor/VENDOR.toml", "../page.py", "%2e%2e/page.py", "/etc/passwd"):
            assert (await client.get(f"/static/{name}")).status_code == 404

    run(tmp_path, check)


def test_vendored_files_are_those_that_were_fetched() -> None:
    """Each has its version, its licence and the hash that tools/vendor.sh wrote."""
    listed = tomllib.loads((STATIC / "vendor/VENDOR.toml").read_text())["file"]
    for file in listed:
        assert hashlib.sha256((STATIC / "vendor" / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    found = {path.name for path in (STATIC / "vendor").iterdir() if path.suffix in {".js", ".css"}}
    assert {file["name"] for file in listed} == found


def test_all_files_of_a_page_together_stay_small() -> None:
    """Less than 120 kB over the wire, so that a first visit over a slow line is short."""
    import gzip

    assert sum(len(gzip.compress(page.asset_body(name))) for name in page.NAMES) < 120_000


def test_an_answer_is_cut_into_pieces_without_becoming_markup() -> None:
    """Structure is read, nothing else: a link stays text, a fence that never closes is code to the end."""
    text = "# Head\nsome `code` and **bold**\n\n- one\n2. two\n\n```js\n<b>x</b>\n[a](javascript:x)"
    assert [(piece.kind, "".join(text for _, text in piece.spans)) for piece in pieces(text)] == [
        ("heading", "Head"),
        ("text", "some code and bold"),
        ("item", "one"),
        ("item", "two"),
        ("code", "<b>x</b>\n[a](javascript:x)"),
    ]


def test_every_face_says_when_a_blocked_account_is_asked_again(tmp_path: Path) -> None:
    """F6: from one place, the gate of the probe; a person's own pause has none."""

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client)
        found = await engine.read(lambda reads: reads.find(job))
        now = engine.clock.now()
        at = now + timedelta(minutes=3)
        await engine.store.gates.shut("probe.credentials", at, "401", now)
        await engine.commands.pause(found.id)
        assert await engine.read(lambda reads: reads.status(reads.find(job)).asked_again_at) is None
        await engine.commands.resume(found.id)
        assert await engine.store.commands.pause(found.id, "credentials", "no key", now)
        view = (await client.get(f"/api/v1/jobs/{job}")).json()
        assert (view["reason_code"], view["asked_again_at"][:19]) == ("credentials", f"{at:%Y-%m-%dT%H:%M:%S}")
        assert "The API is asked again" in (await client.get(f"/jobs/{job}")).text
        assert "asked again" in (await client.get("/")).text
        status = msgspec.convert(view, JobView).to_status(found.id)
        ages = status_text.BatchAges()
        words = "\n".join(status_lines(status, ages, status_text.ApiClock(now=now)))
        assert f"the API is asked again in 3m, at {at:%H:%M:%S} UTC" in words
        assert "asked again" not in "\n".join(
            status_lines(status, status_text.BatchAges(), status_text.ApiClock(now=at))
        )

    run(tmp_path, check, **SLOW)
