"""Watching an engine: whoever watches hears of every event, once, and is let go when the engine stops."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from faces.client_world import requests, settings, short_runtime_folder, until

from orchestrator.assembly import Engine
from orchestrator.daemon import running_engine
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import Event
from orchestrator.domain.params import ParamRules
from orchestrator.engine.context import EngineChanges
from orchestrator.http_api.change_feed import ChangeFeed
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


async def hand_in(engine: Engine, name: str) -> None:
    rules = ParamRules(api_version="2026-10-21", max_request_bytes=1_000_000)
    new = NewJob(name=name, source="<test>", api_version="2026-10-21", betas=())
    await engine.commands.ingest(
        source_from_objects(requests(3, said=name), name=name, rules=rules), new, IngestOptions()
    )


def test_every_event_is_heard_once_by_everybody_who_watches(tmp_path: Path) -> None:
    """A page that watches shows what the log holds: nothing missing, nothing twice."""

    async def check() -> None:
        async with running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine, asyncio.TaskGroup() as group:
            stop = asyncio.Event()
            feed = ChangeFeed(engine, EngineChanges(engine.wakeup, engine.clock), stop)
            pump = group.create_task(feed.run())
            heard: tuple[list[Event], list[Event]] = ([], [])

            async def listen(to: list[Event]) -> None:
                async for page in feed.events(0):
                    to.extend(page)

            for each in heard:
                group.create_task(listen(each))
            await hand_in(engine, "one")

            async def have_heard_the_end() -> bool:
                jobs = await engine.read(lambda reads: reads.jobs(limit=1))
                return jobs[0].state.value == "finished" and all(any(e.new == "finished" for e in h) for h in heard)

            await until(have_heard_the_end)
            log = await engine.read(lambda reads: reads.events(None))
            for each in heard:
                assert [event.id for event in each] == [event.id for event in log]
            stop.set()
            feed.close()
            pump.cancel()

    asyncio.run(check())


def test_nobody_who_waits_holds_the_end_up(tmp_path: Path) -> None:
    """Promise 11: stopping never waits for a client."""

    async def check() -> None:
        async with running_engine(settings(tmp_path / "x.db"), sandbox=True) as engine, asyncio.TaskGroup() as group:
            stop = asyncio.Event()
            feed = ChangeFeed(engine, EngineChanges(engine.wakeup, engine.clock), stop)
            waiting = group.create_task(feed.change(timedelta(hours=1)))
            await asyncio.sleep(0)
            stop.set()
            feed.close()
            await waiting
            await feed.change(timedelta(hours=1))
            assert [page async for page in feed.events(0)] == []

    asyncio.run(check())


def test_an_engine_that_nobody_asks_does_not_load_the_web_framework(tmp_path: Path) -> None:
    """`run` listens too, and should not pay for routes that nobody calls."""
    program = f"""
import asyncio, json, sys
from faces.client_world import settings
from orchestrator.daemon import running_engine
from pathlib import Path
async def main():
    async with running_engine(settings(Path({str(tmp_path / "x.db")!r})), sandbox=True):
        pass
asyncio.run(main())
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    with short_runtime_folder() as runtime:
        env = {"PYTHONPATH": ".:tests", "XDG_RUNTIME_DIR": str(runtime)}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert not {"fastapi", "pydantic"} & set(json.loads(done.stdout))
