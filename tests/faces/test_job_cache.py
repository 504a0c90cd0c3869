"""A job that many ask for at once: read once for all, never older than a change that was answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from faces.client_world import SLOW, requests, settings, short_runtime_folder, talking_to

from orchestrator.assembly import Engine
from orchestrator.daemon import running_engine
from orchestrator.domain.errors import NoSuchThing
from orchestrator.http_api.job_cache import JobCache
from orchestrator.ports.reads import Reads

T = TypeVar("T")
LINES = "".join(json.dumps(request) + "\n" for request in requests(3)).encode()
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


class Counted:
    """The engine's reader, and how often it was used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reads = 0

    async def read(self, look: Callable[[Reads], T]) -> T:
        self.reads += 1
        return await self._engine.read(look)


def test_two_hundred_who_ask_at_once_cost_one_read(tmp_path: Path) -> None:
    """Clients that poll must not slow the engine down."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db", **SLOW), sandbox=True) as engine,
            talking_to(tmp_path / "x.db") as client,
        ):
            await client.post("jobs?name=three", content=LINES, headers=NDJSON)
            counted = Counted(engine)
            latest: list[object] = [object()]
            job_cache = JobCache(counted, lambda: latest[-1])
            seen = await asyncio.gather(*(job_cache.get("three") for _ in range(200)))
            assert counted.reads == 1
            assert len({glance.tag for glance in seen}) == 1
            job_cache.invalidate()
            await job_cache.get("three")
            await job_cache.get("three", since=asyncio.get_running_loop().time() + 1)
            assert counted.reads == 3
            latest.append(object())  # another daemon has moved something, and this one has heard of it
            await job_cache.get("three")
            assert counted.reads == 4
            for _ in range(2):
                with pytest.raises(NoSuchThing):
                    await job_cache.get("four")

    asyncio.run(check())


def test_whoever_changed_a_job_sees_it_changed(tmp_path: Path) -> None:
    """A glance is never older than an answer to a change."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db", **SLOW), sandbox=True),
            talking_to(tmp_path / "x.db") as client,
        ):
            await client.post("jobs?name=three", content=LINES, headers=NDJSON)
            for _ in range(20):
                for verb, state in (("pause", "paused"), ("resume", "running")):
                    assert (await client.get("jobs/three")).status_code == 200
                    await client.post(f"jobs/three/{verb}")
                    assert (await client.get("jobs/three")).json()["state"] == state

    asyncio.run(check())


def test_the_quick_answer_is_the_routes_own(tmp_path: Path) -> None:
    """The same bytes, tag and headers, whichever way it goes; what is out of the ordinary goes to the route."""

    async def check() -> None:
        async with (
            running_engine(settings(tmp_path / "x.db", **SLOW), sandbox=True),
            talking_to(tmp_path / "x.db") as client,
        ):
            made = (await client.post("jobs?name=three", content=LINES, headers=NDJSON)).json()["job"]["id"]
            await client.post("jobs/three/pause")
            quick, full = await client.get(f"jobs/{made}"), await client.get(f"jobs/{made}?wait=0.01s")
            assert quick.content == full.content
            names = set(quick.headers) - {"date"}
            assert {name: quick.headers[name] for name in names} == {name: full.headers[name] for name in names}
            assert names == set(full.headers) - {"date"}
            same = await client.get(f"jobs/{made}", headers={"if-none-match": quick.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
            assert (await client.get("jobs/four")).status_code == 404
            assert (await client.get("jobs/three?unknown=1")).status_code == 400

    asyncio.run(check())
