"""A small answer on a connection that is kept is not held back until the client's kernel acknowledges the last one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx2
from faces.client_world import SLOW, settings, short_runtime_folder

from orchestrator.daemon import running_engine
from orchestrator.http_api.listen import listen


async def quickest_s(url: str) -> float:
    """The least time that one of twenty answers takes; held back, each takes 40 ms."""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        times = []
        for _ in range(20):
            began = time.perf_counter()
            await client.get(url)
            times.append(time.perf_counter() - began)
    return min(times)


def test_the_daemon_answers_at_once(tmp_path: Path) -> None:
    """The REST API, the dashboard and the drop-in API have this one listener."""

    async def check() -> float:
        chosen = settings(tmp_path / "x.db", server__listen="127.0.0.1:0", **SLOW)
        at = listen(chosen.server)
        assert at is not None
        async with running_engine(chosen, sandbox=True, tcp=at):
            return await quickest_s(f"{at.url}/api/v1/version")

    with short_runtime_folder():
        assert asyncio.run(check()) < 0.03
