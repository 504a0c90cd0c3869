"""The dashboard's pages as a browser without JavaScript gets them."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
import re
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
import msgspec
import pytest
from faces.client_world import SLOW, requests, settings, short_runtime_folder, until

from orchestrator.assembly import Engine
from orchestrator.cli.jobs_text import status_lines
from orchestrator.config import default_socket_path, load_settings
from orchestrator.daemon import running_engine
from orchestrator.domain.budgets import Scope
from orchestrator.http_api.app import build_app
from orchestrator.http_api.dashboard import page, static_files
from orchestrator.http_api.dashboard.markdown import pieces
from orchestrator.serving import services_of
from orchestrator.system_clock import SystemClock
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


def test_the_page_of_a_request_shows_the_row_that_it_was_made_of(tmp_path: Path) -> None:
    """Column by column, as text; of a request without a row there is nothing to show, nor of one that was purged."""
    request = requests(1)[0]
    wide = {f"c{number}": number for number in range(250)}
    rows: list[dict[str, Any] | None] = [
        {"id": "007", "<b>bold</b>": "<script>alert(1)</script>", "nested": {"a": [1, 2.50]}, "long": "x" * 5000},
        None,
        wide,
        {},
    ]
    content = [
        {**request, "custom_id": str(number)} | ({} if row is None else {"row": row}) for number, row in enumerate(rows)
    ]
    lines = "".join(json.dumps(each) + "\n" for each in content).encode()

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client, lines, "table")
        await finished(client, job)
        first, second, third, fourth = [(await client.get(f"/jobs/{job}/requests/{n}")).text for n in range(1, 5)]
        assert "007</td>" in first
        assert "&lt;b&gt;bold" in first
        assert "<script>alert" not in first
        assert f"{'x' * 2000}…" in first
        assert ">Row</h2>" not in second
        assert "150 more columns" in third
        assert ">Row</h2>" in fourth
        purged = await client.delete(f"/api/v1/jobs/{job}", headers={"origin": "http://engine"})
        assert purged.status_code == 200
        assert "007" not in (await client.get(f"/jobs/{job}/requests/1")).text

    run(tmp_path, check)


def test_every_screen_answers_and_says_what_there_is(tmp_path: Path) -> None:
    """Without JavaScript everything can be read, before the first job and after it."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        for path in ("/", "/jobs", "/batches", "/events", "/webhooks", "/new", "/health", "/settings"):
            empty = await client.get(path)
            assert (path, empty.status_code) == (path, 200)
            assert "SANDBOX" in empty.text
        job = await submitted(client)
        await finished(client, job)
        shown = (await client.get(f"/jobs/{job}")).text
        for path, kind in (("results", "jsonl"), ("results.csv", "csv")):
            assert f'href="/api/v1/jobs/{job}/{path}" download="{job}.results.{kind}"' in shown
        assert "finished: 5 requests, all succeeded" in shown
        assert "claude-haiku-4-5</td>" in shown
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
        seal, until, words = done.cookies["said"].split(".", 2)
        client.cookies.clear()
        for changed, shown in (
            (f"{seal}.{until}.2{words[1:]}", False),
            (f"{seal}.{int(until) + 60}.{words}", False),
            (f"{seal}.{until}.{words}", True),
        ):
            page = await client.get("/jobs", headers={"cookie": f"said={changed}"})
            assert ('class="said"' in page.text) is shown

    run(tmp_path, check)


class LaterClock(SystemClock):
    """A clock half a minute after that of this machine."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=30)


def test_what_an_action_did_is_said_by_every_daemon_of_the_store_for_half_a_minute(tmp_path: Path) -> None:
    """No process remembers it: the key is the store's, and the end is under the seal."""

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client)
        done = await client.post("/act", data={"verb": "pause", "job": job}, headers=HERE)
        sealed = {"cookie": f"said={done.cookies['said']}"}
        another = await services_of(engine, asyncio.Event())
        for daemon, shown in (
            (another, True),
            (replace(another, clock=LaterClock()), False),
            (replace(another, page_key=b"of another store"), False),
        ):
            transport = httpx2.ASGITransport(app=build_app(daemon))
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as browser:
                page = await browser.get("/jobs", headers=sealed)
            assert ("1 job paused" in page.text) is shown
        assert repr(another.page_key) not in repr(another)

    run(tmp_path, check, **SLOW)


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


def test_what_is_tried_again_is_chosen_and_changed_on_the_page(tmp_path: Path) -> None:
    """With how many there are of each kind; a request's page shows both params."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client)
        await finished(client, job)
        assert f"/confirm?verb=retry&amp;job={job}" in (await client.get(f"/jobs/{job}")).text
        asked = (await client.get(f"/confirm?verb=retry&job={job}&only=max_tokens")).text
        assert 'name="only" value="max_tokens" checked' in asked
        assert "answered, and ended by max_tokens" in asked
        assert "all that failed or was canceled: 0 requests" in asked
        chosen = {"verb": "retry", "job": job, "only": "max_tokens", "grow": "1", "set": "model=claude-sonnet-4-5"}
        done = await client.post("/act", data=chosen, headers=HERE)
        assert "queued again" in (await client.get(done.headers["location"])).text
        assert "Params as they were handed in" in (await client.get(f"/jobs/{job}/requests/1")).text

    run(tmp_path, check, sandbox__faults="cut=1")


def test_one_cause_is_tried_again_with_what_the_command_line_takes(tmp_path: Path) -> None:
    """Values and keys that are left out; what is refused is said in words of the page, which keeps what was typed."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        rows = requests(4)
        rows[1]["params"]["foo"] = rows[2]["params"]["foo"] = 1
        rows[3]["params"]["tools"] = {}
        made = await client.post("/api/v1/jobs?name=mixed", content="".join(json.dumps(row) + "\n" for row in rows))
        job = made.json()["job"]["id"]
        await finished(client, job)
        listed = html.unescape((await client.get(f"/jobs/{job}?tab=failures")).text)
        cause = "foo: Extra inputs are not permitted"
        link = f"/confirm?verb=retry&job={job}&cause={quote(cause)}"
        assert link in listed
        asked = (await client.get(link)).text
        assert f'name="cause" value="{cause}" checked> <b>2</b>' in asked
        assert 'name="only" value="invalid_request_error"> <b>3</b>' in asked

        sent = {
            "verb": "retry",
            "job": job,
            "cause": cause,
            "set": "max_tokens=9\r\n\r\nnonsense",
            "drop": "foo, top_k",
        }
        refused = await client.post("/act", data=sent, headers=HERE)
        assert refused.status_code == 400
        assert "“nonsense” gives no member" in refused.text
        assert 'value="foo, top_k"' in refused.text
        assert "max_tokens=9\r\n\r\nnonsense</textarea>" in refused.text
        assert "checked> <b>2</b>" in refused.text
        for wrong, status in (({"set": "max_tokens=0"}, 422), ({"set": "foo=1"}, 400)):
            answer = await client.post("/act", data={**sent, **wrong}, headers=HERE)
            assert (answer.status_code, " --" in answer.text) == (status, False)
        grown = await client.post("/act", data={**sent, "set": "", "grow": "1"}, headers=HERE)
        done = (await client.get(grown.headers["location"])).text
        assert "2 requests queued again, without foo, without top_k, with more max_tokens" in done

    run(tmp_path, check)


def test_a_cap_that_stops_a_job_is_changed_from_where_that_is_told(tmp_path: Path) -> None:
    """A link to the form on the pages; of a budget, the command with the store. No command that leads elsewhere."""
    budget = f"orchestrator budget set total AMOUNT --db {tmp_path / 'x.db'} --sandbox"

    async def check(engine: Engine, client: httpx2.AsyncClient) -> None:
        async def paused(of: str) -> bool:
            return bool((await client.get(f"/api/v1/jobs/{of}")).json()["state"] == "paused")

        async def stopped(**fields: str) -> str:
            made = await client.post("/new", data=fields, files={"file": ("few.jsonl", LINES)}, headers=HERE)
            job = str(made.headers["location"]).removeprefix("/jobs/")
            await until(lambda: paused(job))
            return job

        job = await stopped(max_cost="0.000001")
        change = f'<a class="link" href="/confirm?verb=cap&amp;job={job}">Change the cap</a>'
        for path in ("/", f"/jobs/{job}", f"/jobs/{job}?tab=events", "/events"):
            shown = (await client.get(path)).text
            assert "raise it, and the job goes on" in shown
            assert "orchestrator budget set" not in shown
            assert (change in shown) is (path != "/events")
        await engine.commands.set_budget(Scope.TOTAL, 1000)
        await stopped(new="1")
        assert budget in html.unescape((await client.get("/")).text)

    run(tmp_path, check)


def test_a_cap_is_set_on_the_pages(tmp_path: Path) -> None:
    """In the form of a new job, and on the page of one that is there; an amount that is none changes nothing."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        async def cap(of: str) -> object:
            return (await client.get(f"/api/v1/jobs/{of}")).json()["cost"]["cap"]

        file = {"file": ("few.jsonl", LINES)}
        refused = await client.post("/new", data={"max_cost": "much"}, files=file, headers=HERE)
        assert (refused.status_code, "10.50usd" in refused.text) == (400, True)
        made = await client.post("/new", data={"max_cost": "$10"}, files=file, headers=HERE)
        job = made.headers["location"].removeprefix("/jobs/")
        assert await cap(job) == "10.000000000"
        assert f"/confirm?verb=cap&amp;job={job}" in (await client.get(f"/jobs/{job}")).text
        assert 'name="amount"' in (await client.get(f"/confirm?verb=cap&job={job}")).text
        for amount, status, found in (("5.50", 303, "5.500000000"), ("lots", 400, "5.500000000"), ("", 303, None)):
            done = await client.post("/act", data={"verb": "cap", "job": job, "amount": amount}, headers=HERE)
            assert (done.status_code, await cap(job)) == (status, found)

    run(tmp_path, check, **SLOW)


def test_a_file_is_handed_in_by_a_plain_form(tmp_path: Path) -> None:
    """Its problems are told by line, and nothing of it is kept; a good file becomes a job."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        bad = {"file": ("bad.jsonl", LINES + b'{"custom_id":1}\n')}
        refused = await client.post("/new", data={"name": ""}, files=bad, headers=HERE)
        assert refused.status_code == 422
        assert "Nothing was stored or sent" in refused.text
        assert "No job yet" in (await client.get("/jobs")).text
        for events in ("/events", "/api/v1/events"):  # which tell of the import; its job is gone
            assert (await client.get(events)).status_code == 200
        good = {"file": ("my reviews.jsonl", LINES)}
        taken = await client.post("/new", data={"name": ""}, files=good, headers=HERE)
        assert taken.status_code == 303
        assert "my reviews" in (await client.get(taken.headers["location"])).text
        assert (await client.post("/new", files=good)).status_code == 403

    run(tmp_path, check)


def test_a_form_asks_before_much_is_spent(tmp_path: Path) -> None:
    """409 with the number, and nothing is stored, until that amount is confirmed or the job has a cap."""

    def key_file() -> Path:
        key = tmp_path / "key"
        key.write_text("test-key\n")
        key.chmod(0o600)
        return key

    env = {
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ORCHESTRATOR_API__KEY_FILE": str(key_file()),
    }
    flags = {"database.path": str(tmp_path / "x.db"), "budget.confirm_above": "$0.000000001"}
    chosen = load_settings(flags=flags, env=env, cwd=tmp_path, config_file=None, sandbox=False)

    async def check(client: httpx2.AsyncClient) -> None:
        async def handed_in(body: bytes = LINES, **fields: str) -> httpx2.Response:
            data, headers = {"name": "few", **fields}, {**HERE, "accept": "text/html"}
            return await client.post("/new", data=data, files={"file": ("few.jsonl", body)}, headers=headers)

        unknown = LINES.replace(b"claude-haiku-4-5", b"claude-nobody-9")
        asked = await handed_in()
        assert (asked.status_code, "5 requests to claude-haiku-4-5 may cost up to $0.0" in asked.text) == (409, True)
        assert 'value="few"' in asked.text
        assert (await client.get("/api/v1/jobs")).json()["jobs"] == []
        (amount,) = re.findall(r'name="yes" value="([0-9.]+)"', asked.text)
        assert (await handed_in(yes="0.000000002")).status_code == 409  # not what was asked about
        assert (await handed_in(yes="certainly")).status_code == 400
        assert (await handed_in(yes=amount, cache="off", pilot="10")).status_code == 303
        assert (await handed_in()).status_code == 303  # it is a job already
        assert 'value="0.000000000+"' in (await handed_in(unknown, yes=amount)).text
        assert (await handed_in(unknown, yes="0+")).status_code == 303
        assert (await handed_in(LINES.replace(b"hello", b"other"), max_cost="1")).status_code == 303

    async def whole() -> None:
        async with running_engine(chosen, sandbox=False):
            transport = httpx2.AsyncHTTPTransport(uds=str(default_socket_path(tmp_path / "x.db", os.environ)))
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine", timeout=20) as client:
                await check(client)

    asyncio.run(whole())


def test_in_a_sandbox_a_form_asks_nothing(tmp_path: Path) -> None:
    """It costs nothing. The options of the form are those of the job; a script is told where the job's page is."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        data, file = {"cache": "off", "pilot": "10"}, {"file": ("few.jsonl", LINES)}
        headers = {**HERE, "accept": "application/json"}
        wrong = await client.post("/new", data={"pilot": "x"}, files=file, headers=headers)
        assert (wrong.status_code, wrong.json()["type"]) == (400, "usage-error")
        bad = await client.post("/new", files={"file": ("bad.jsonl", b"{}\n")}, headers=headers)
        assert (bad.status_code, bad.json()["problem_count"] > 0) == (422, True)
        made = await client.post("/new", data=data, files=file, headers=headers)
        assert (made.status_code, made.json()["page"].startswith("/jobs/few-")) == (201, True)
        assert "submitted" in (await client.get(made.json()["page"])).text
        both = await client.post("/new", data={"limit": "2", "sample": "2"}, files=file, headers=headers)
        assert (both.status_code, both.json()["title"]) == (400, "limit and sample exclude each other")
        tried = {"file": ("tried.jsonl", LINES + LINES.replace(b'"custom_id": "', b'"custom_id": "x'))}
        made = await client.post("/new", data={"sample": "2", "seed": "7"}, files=tried, headers=headers)

        async def ended() -> bool:
            return "trial of 2 ended" in (await client.get(made.json()["page"])).text

        await until(ended)

    run(tmp_path, check, budget__confirm_above="$0.000000001")


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
    """A browser asks once; a new version has a new address. Packed for who takes that. No other file is served."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        for name in static_files.NAMES:
            named = await client.get(static_files.asset_url(name))
            assert (named.status_code, "immutable" in named.headers["cache-control"]) == (200, True)
            assert "immutable" not in (await client.get(f"/static/{name}?v=old")).headers["cache-control"]
            plain = await client.get(f"/static/{name}?v=old", headers={"accept-encoding": "identity"})
            assert (named.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
            assert named.content == plain.content
            assert named.headers["vary"] == plain.headers["vary"] == "accept-encoding"
            tags = {answer.headers["etag"] for answer in (named, plain)}
            assert len(tags) == 2
            again = await client.get(f"/static/{name}?v=old", headers={"if-none-match": named.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
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

    assert sum(len(gzip.compress(static_files.asset_body(name))) for name in static_files.NAMES) < 120_000


def test_pages_are_packed_for_who_takes_it(tmp_path: Path) -> None:
    """A page, the points of the charts, and the stream, message by message."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        page = await client.get("/")
        plain = await client.get("/", headers={"accept-encoding": "gzip;q=0"})
        assert (page.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
        assert "accept-encoding" in page.headers["vary"]
        assert int(page.headers["content-length"]) < len(page.content) / 2
        async with client.stream("GET", "/live?at=/") as stream:
            assert stream.headers["content-encoding"] == "gzip"
            async for text in stream.aiter_text():
                assert "hx-partial" in text
                break

    run(tmp_path, check)


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
        answer = await client.get(f"/api/v1/jobs/{job}")
        view = answer.json()
        assert (view["reason_code"], view["asked_again_at"][:19]) == ("credentials", f"{at:%Y-%m-%dT%H:%M:%S}")
        assert "The API is asked again" in (await client.get(f"/jobs/{job}")).text
        assert "asked again" in (await client.get("/")).text
        status = msgspec.json.decode(answer.content, type=JobView).to_status(found.id)
        ages = status_text.BatchAges()
        words = "\n".join(status_lines(status, ages, status_text.ApiClock(now=now)))
        assert f"the API is asked again in 3m, at {at:%H:%M:%S} UTC" in words
        assert "asked again" not in "\n".join(
            status_lines(status, status_text.BatchAges(), status_text.ApiClock(now=at))
        )

    run(tmp_path, check, **SLOW)
