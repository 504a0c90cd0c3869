"""Daemons behind a balancer: whichever answers, a client finds what another did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from faces.api_world import NDJSON, lines
from faces.client_world import until
from fleet.served_fleet import Served, fleet_settings, served
from support.processes import running_api

from orchestrator.http_api.app import build_app
from orchestrator.http_api.browser_login import LoginMiddleware
from orchestrator.http_api.guard.middleware import Guard
from orchestrator.http_api.guard.request_limits import BodyLimits
from orchestrator.http_api.listen import TcpListener, listen
from orchestrator.serving import share_logins

pytestmark = pytest.mark.postgres

VERSION = {"anthropic-version": "2026-10-21"}


@asynccontextmanager
async def both(url: str, folder: Path, **more: str) -> AsyncIterator[tuple[Served, Served]]:
    """Two daemons on one database."""
    with running_api() as api:
        async with (
            served(fleet_settings(url, api, folder, "A", **more)) as a,
            served(fleet_settings(url, api, folder, "B", **more)) as b,
        ):
            yield a, b


def body(said: str) -> bytes:
    """A create of the Messages API."""
    params = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": said}]}
    return json.dumps({"requests": [{"custom_id": "r", "params": params}]}).encode()


def test_a_create_that_two_daemons_get_again_is_one_batch(url: str, tmp_path: Path) -> None:
    """Promise 2: the SDK sends it again when the answer is lost, and the balancer picks another daemon each time."""

    async def check() -> None:
        async with both(url, tmp_path) as (a, b):

            async def create(to: Served, said: str, retry: int) -> str:
                headers = {**VERSION, "x-stainless-retry-count": str(retry)}
                answer = await to.client.post("/v1/messages/batches", content=body(said), headers=headers)
                return str(answer.raise_for_status().json()["id"])

            for said in ("one", "two", "three"):
                assert len(set(await asyncio.gather(*(create(to, said, 1) for to in (a, b, a, b))))) == 1
                assert await create(a, said, 0) != await create(b, said, 0)

    asyncio.run(check())


@pytest.mark.long
def test_a_watcher_that_is_led_to_another_daemon_hears_each_event_once(url: str, tmp_path: Path) -> None:
    """`Last-Event-ID`: numbers are the store's, and are committed in their order, so they hold on every daemon."""

    async def check() -> None:
        async with both(url, tmp_path, BATCHING__MAX_REQUESTS="2") as (a, b):
            heard = [0]
            watching = asyncio.create_task(watch(heard, a, b))
            await b.client.post("/api/v1/jobs?name=open&open=1", content=lines(1), headers=NDJSON)
            for _ in range(10):  # beside what both of them do with the job
                for to, what in ((a, "pause"), (b, "resume")):
                    await to.client.post(f"/api/v1/jobs/open/{what}")
            there = await a.engine.read(lambda reads: [event.id for event in reads.events(None, limit=1000)])
            await until(lambda: reached(heard, there[-1]), within_s=60)
            watching.cancel()
            assert len(there) >= 22
            assert heard[1 : len(there) + 1] == there

    asyncio.run(check())


async def watch(heard: list[int], *daemons: Served) -> None:
    """Follow the events, on another daemon after every eight; *heard* grows."""
    while True:
        for daemon in daemons:
            leaves_at = len(heard) + 8
            headers = {"last-event-id": str(heard[-1])}
            async with daemon.client.stream("GET", "/api/v1/events/stream", headers=headers) as answer:
                begins = True
                async for line in answer.aiter_lines():
                    if line.startswith("id: ") and not begins:
                        heard.append(int(line[4:]))
                    begins = begins and not line.startswith("id: ")
                    if len(heard) == leaves_at:
                        break


async def reached(heard: list[int], number: int) -> bool:
    return heard[-1] >= number


@asynccontextmanager
async def behind_a_balancer(daemon: Served, token_file: Path) -> AsyncIterator[tuple[TcpListener, httpx2.AsyncClient]]:
    """The pages of *daemon* with its login, as a browser sees them that knows only the balancer."""
    server = replace(
        daemon.engine.settings.server, listen="127.0.0.1:0", token_file=token_file, allowed_hosts=("balancer",)
    )
    tcp = listen(server, is_chosen=True)
    assert tcp is not None
    share_logins(daemon.engine, tcp, daemon.services)
    guarded = LoginMiddleware(build_app(daemon.services), tcp.access)
    guard = Guard(guarded, access=tcp.access, limits=BodyLimits(), connections=10)
    transport = httpx2.ASGITransport(app=guard, raise_app_exceptions=False)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://balancer") as client:
            yield tcp, client
    finally:
        tcp.listener.close()


def test_who_is_let_in_by_one_daemon_is_let_in_by_all_until_he_is_logged_out(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token for all: a link of one opens another, once; its cookie opens every one; a logout counts everywhere.

    What an action did is said by whichever of them shows the next page.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    token = tmp_path / "token"
    token.write_text("t" * 43)
    token.chmod(0o600)

    async def check() -> None:
        async with (
            both(url, tmp_path) as (a, b),
            behind_a_balancer(a, token) as (at_a, by_a),
            behind_a_balancer(b, token) as (_, by_b),
        ):
            browser = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "accept": "text/html"}
            link = at_a.dashboard_link()[1]
            entered = await by_b.get(link, headers=browser)
            assert entered.status_code == 303, entered.text
            assert (await by_a.get(link, headers=browser)).status_code == 401
            cookie = {"cookie": entered.headers["set-cookie"].partition(";")[0]}
            for client in (by_a, by_b):
                client.cookies.clear()
                assert (await client.get("/jobs", headers={**browser, **cookie})).status_code == 200
                assert (await client.get("/jobs", headers=browser)).status_code == 401
            own = {**cookie, "sec-fetch-site": "same-origin", "origin": "http://balancer"}
            job = (await a.client.post("/api/v1/jobs?name=open&open=1", content=lines(1), headers=NDJSON)).json()
            done = await by_a.post("/act", data={"verb": "pause", "job": job["job"]["id"]}, headers=own)
            both_cookies = f"{cookie['cookie']}; said={done.cookies['said']}"
            by_a.cookies.clear()
            shown = await by_b.get(done.headers["location"], headers={**browser, "cookie": both_cookies})
            assert '<p class="said" role="status">1 job paused</p>' in shown.text
            assert (await by_a.post("/logout", headers=own)).status_code == 303

            async def is_out(client: httpx2.AsyncClient) -> bool:
                return bool((await client.get("/jobs", headers={**browser, **cookie})).status_code == 401)

            assert await is_out(by_a)
            await until(lambda: is_out(by_b))

    asyncio.run(check())
