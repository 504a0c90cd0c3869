"""Events, batches and sums over the REST API, and whether the engine is alive and ready."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.api_world import NDJSON, api, engine_with_services, finished, lines, served_api
from faces.client_world import SLOW

from orchestrator.domain.errors import OutOfMemory, StoreFull
from orchestrator.engine.context import StageLiveness
from orchestrator.http_api.app import build_app
from orchestrator.http_api.messages import api_responses
from orchestrator.views import problem_details

LIVE = "/api/v1/events/stream?after=0"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def told(text: str) -> list[dict[str, str]]:
    """The messages of an event stream, comments left out."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block if not line.startswith(":")) for block in blocks]


async def heard(client: httpx2.AsyncClient, path: str, until: str, **headers: str) -> list[dict[str, str]]:
    """The messages of the stream at *path*, up to the one whose data has *until*."""
    text = ""
    async with asyncio.timeout(60), client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for piece in answer.aiter_text():
            text += piece
            if until in text and text.endswith("\n\n"):
                break
    return told(text)


def test_a_watcher_that_comes_back_hears_all_that_it_missed(tmp_path: Path) -> None:
    """`Last-Event-ID`: every event once, as in the pages, whenever the connection broke."""

    async def check() -> None:
        async with (
            served_api(tmp_path / "x.db") as (_, url),
            httpx2.AsyncClient(base_url=f"{url}/api/v1/", timeout=60) as client,
        ):
            await client.post("jobs?name=five", content=lines(5), headers=NDJSON)
            job = await finished(client, "five")
            pages = (await client.get("jobs/five/events?limit=1000")).json()["events"]
            whole = await heard(client, "jobs/five/events/stream?after=0", f'"id":{pages[-1]["id"]},')
            assert whole[0] == {"retry": "2000", "id": "0"}
            assert [json.loads(message["data"]) for message in whole[1:]] == pages
            assert all(message["event"] == json.loads(message["data"])["kind"] for message in whole[1:])
            middle = pages[len(pages) // 2]["id"]
            last = {"Last-Event-ID": str(middle)}
            rest = await heard(client, "events/stream?after=0", f'"id":{pages[-1]["id"]},', **last)
            assert [int(message["id"]) for message in rest[1:]] == [e["id"] for e in pages if e["id"] > middle]
            assert all(event["job"] == job["id"] for event in pages)
            begin = asyncio.create_task(heard(client, "events/stream", '"paused"'))
            newest = (await client.get("events?limit=1000")).json()["events"][-1]["id"]
            await client.post("jobs?name=open&open=1", content=lines(1, said="more"), headers=NDJSON)
            await client.post("jobs/open/pause")
            late = await begin
            assert all(int(message["id"]) > newest for message in late[1:])
            assert (await client.get("events/stream", headers={"Last-Event-ID": "x"})).status_code == 400

    asyncio.run(check())


def test_the_pages_of_events_hold_each_once(tmp_path: Path) -> None:
    """`next` of one page is `after` of the next."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            await client.post("jobs?name=five", content=lines(5), headers=NDJSON)
            await finished(client, "five")
            whole = (await client.get("events?limit=1000")).json()["events"]
            seen: list[Any] = []
            after: int | None = 0
            while after is not None:
                page = (await client.get("events", params={"limit": 2, "after": after})).json()
                seen += page["events"]
                after = page["next"]
            assert seen == whole
            assert len(whole) > 3

    asyncio.run(check())


def test_an_engine_that_stops_lets_its_watchers_go(tmp_path: Path) -> None:
    """Promise 11: a browser that watches does not hold up the stop."""

    async def check() -> None:
        begun = asyncio.Event()
        async with served_api(tmp_path / "x.db") as (_, url):
            watching = asyncio.create_task(watch(url, begun))
            await begun.wait()
        assert (await watching)[0]["id"] == "0"

    async def watch(url: str, begun: asyncio.Event) -> list[dict[str, str]]:
        async with httpx2.AsyncClient(base_url=url, timeout=60) as client, client.stream("GET", LIVE) as answer:
            begun.set()
            return told((await answer.aread()).decode())

    asyncio.run(check())


def test_batches_are_shown_as_ours_and_as_the_apis(tmp_path: Path) -> None:
    """Whose each batch at the API is, and what each of ours is there."""

    async def check() -> None:
        async with api(tmp_path / "x.db", batching__max_requests=2, sandbox__faults="foreign_batches=2") as (_, client):
            await client.post("jobs?name=five", content=lines(5), headers=NDJSON)
            await finished(client, "five")
            ours = (await client.get("jobs/five/batches")).json()
            assert (len(ours["batches"]), ours["next"]) == (3, None)
            first = (await client.get("batches?limit=2")).json()
            rest = (await client.get("batches", params={"limit": 2, "cursor": first["next"]})).json()
            assert first["batches"] + rest["batches"] == ours["batches"]
            assert (await client.get("batches?state=in_doubt")).json()["batches"] == []
            one = ours["batches"][0]
            for ref in (one["batch"], one["remote_id"]):
                assert (await client.get(f"batches/{ref}")).json() == {**one, "candidates": []}
            assert (await client.get("batches/99999999999999999999")).status_code == 404
            listed = (await client.get("remote-batches")).json()
            owners = {batch["id"]: batch["owner"] for batch in listed["batches"]}
            assert sorted(owners.values()).count("ours") == 3
            assert "elsewhere" in owners.values()
            few = (await client.get("remote-batches?limit=1")).json()
            assert (len(few["batches"]), few["has_more"]) == (1, True)

    asyncio.run(check())


def test_an_api_that_cannot_be_asked_is_told_as_such(tmp_path: Path) -> None:
    """What is another's trouble is not the engine's: 502, and the command's exit code for it."""

    async def check() -> None:
        async with api(tmp_path / "x.db", sandbox__faults="list.500=1") as (_, client):
            answer = await client.get("remote-batches")
            problem = answer.json()
            assert (answer.status_code, problem["type"], problem["exit_code"]) == (502, "api-trouble", 6)

    asyncio.run(check())


def test_sums_and_limits_are_those_of_the_store_and_the_settings(tmp_path: Path) -> None:
    """What a dashboard shows first."""

    async def check() -> None:
        async with api(tmp_path / "x.db", limits__max_uploads=3, batching__max_requests=7) as (_, client):
            await client.post("jobs?name=five", content=lines(5), headers=NDJSON)
            await finished(client, "five")
            totals = (await client.get("totals")).json()
            assert (totals["requests"]["succeeded"], totals["jobs"]["finished"]) == (5, 1)
            limits = (await client.get("limits")).json()
            assert limits["settings"]["limits.max_uploads"] == 3
            assert limits["settings"]["limits.doubt_wait"] == "20m"
            assert limits["waits"] == []
            assert limits["batch"]["requests"] == 7
            assert not any(str(tmp_path) in str(text) for text in limits["settings"].values())
            assert isinstance((await client.get("stats?window=1h&step=10s")).json()["samples"], list)
            for wrong in ("step=1s", "window=31d&step=10s", "window=400d", "step=0s", "window=x"):
                assert (await client.get(f"stats?{wrong}")).status_code == 400, wrong

    asyncio.run(check())


def test_a_wait_that_the_api_asked_for_is_shown(tmp_path: Path) -> None:
    """Why nothing moves: until when, and in whose words."""

    async def check() -> None:
        slow = {"sandbox__faults": "create.429=1,retry_after=600", "batching__linger": "0s"}
        async with api(tmp_path / "x.db", **slow) as (_, client):
            await client.post("jobs?name=five", content=lines(5), headers=NDJSON)
            async with asyncio.timeout(60):
                while not (waits := (await client.get("limits")).json()["waits"]):
                    await client.get("jobs/five?wait=100ms")
            assert waits[0]["name"] == "create"
            assert waits[0]["until"] > waits[0]["set_at"]
            checks = (await client.get("doctor")).json()
            assert checks["healthy"] is True
            assert {"engine", "api", "store", "disk", "limits"} <= {each["check"] for each in checks["checks"]}
            assert str(tmp_path) not in json.dumps(checks)

    asyncio.run(check())


def test_an_engine_says_that_it_lives_and_when_it_is_ready(tmp_path: Path) -> None:
    """Alive is not ready: whoever routes to it asks for both."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SLOW) as (engine, client):
            for place in ("http://engine", "http://engine/api/v1"):
                assert (await client.get(f"{place}/livez")).json() == {"alive": True}
                assert (await client.get(f"{place}/version")).json()["sandbox"] is True
                async with asyncio.timeout(60):
                    while (await client.get(f"{place}/readyz")).json() != {"ready": True}:
                        await engine.clock.sleep(timedelta(milliseconds=10))
            engine.liveness.waits_for_store("collect", StoreFull("full"))
            answer = await client.get("readyz")
            assert (answer.status_code, answer.json()["type"]) == (503, "not-ready")
            assert answer.json()["detail"] == "there is no space left for the store"

    asyncio.run(check())


def test_a_stage_that_rests_too_long_or_finds_no_space_is_trouble() -> None:
    """A tick may last as long as a download; a rest may not."""
    liveness = StageLiveness()
    assert liveness.trouble(AT) == "the engine is starting"
    liveness.working("plan")
    liveness.idle("poll", AT)
    assert liveness.trouble(AT + timedelta(seconds=9)) is None
    assert liveness.trouble(AT + timedelta(seconds=31)) == "stage poll does not go round"
    liveness.working("poll")
    assert liveness.trouble(AT + timedelta(hours=1)) is None
    liveness.waits_for_store("plan", StoreFull("full"))
    assert liveness.trouble(AT) == "there is no space left for the store"
    liveness.idle("plan", AT)
    assert liveness.trouble(AT) is None


def test_a_lack_of_memory_is_told_as_that(tmp_path: Path) -> None:
    """L12. To a caller of ours, and to the SDK, which then asks again."""

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (_, services):
            app = build_app(services)

            @app.get("/short")
            async def short() -> None:
                raise MemoryError

            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as client:
                answer = await client.get("/short")
            facts = answer.json()
            assert (answer.status_code, facts["type"], facts["exit_code"]) == (503, "out-of-memory", 71)
            assert isinstance(problem_details.error_of(facts), OutOfMemory)
        assert api_responses._nearest(OutOfMemory()).status == 529

    asyncio.run(check())


def test_a_bug_is_told_without_its_insides(tmp_path: Path) -> None:
    """No traceback, no SQL and no path in an answer."""

    async def check() -> None:
        async with engine_with_services(tmp_path / "x.db") as (_, services):
            app = build_app(services)

            @app.get("/broken")
            async def broken() -> None:
                raise RuntimeError(f"no such column: reason of job in {tmp_path}")

            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://engine") as client:
                answer = await client.get("/broken")
            assert (answer.status_code, answer.json()["type"]) == (500, "internal")
            assert "column" not in answer.text
            assert str(tmp_path) not in answer.text

    asyncio.run(check())


@pytest.mark.parametrize("path", ["jobs", "totals", "livez", "jobs/x", "events", "batches/1"])
def test_a_parameter_that_is_not_known_is_refused_everywhere(tmp_path: Path, path: str) -> None:
    """A filter with a slip of the pen would show everything."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            answer = await client.get(f"{path}?lmit=3")
            assert (answer.status_code, answer.json()["title"]) == (400, "there is no parameter 'lmit' here")

    asyncio.run(check())
