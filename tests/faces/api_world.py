"""What the tests of the REST API share: an engine whose whole application answers on a port of the loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from faces.client_world import requests, settings

from orchestrator import serving
from orchestrator.assembly import Engine, Runtime
from orchestrator.daemon import running_engine
from orchestrator.http_api.app import build_app
from orchestrator.http_api.services import Services
from orchestrator.prompt_server import PromptServer

LINES = "".join(json.dumps(request) + "\n" for request in requests(5)).encode()
NDJSON = {"content-type": "application/x-ndjson"}


def lines(count: int, *, said: str = "hello") -> bytes:
    """*count* requests as JSON Lines."""
    return "".join(json.dumps(request) + "\n" for request in requests(count, said=said)).encode()


@asynccontextmanager
async def engine_with_services(database: Path, **overrides: object) -> AsyncIterator[tuple[Engine, Services]]:
    """A sandbox engine without a socket, and what faces are handed."""
    without = Runtime(listens=False)
    async with running_engine(settings(database, **overrides), sandbox=True, runtime=without) as engine:
        stop = asyncio.Event()
        services = await serving.services_of(engine, stop)
        feed = asyncio.create_task(services.feed.run())
        try:
            yield engine, services
        finally:
            stop.set()
            services.feed.close()
            feed.cancel()


@asynccontextmanager
async def api(database: Path, **overrides: object) -> AsyncIterator[tuple[Engine, httpx2.AsyncClient]]:
    """A sandbox engine and a client of its API, without a server between them. It buffers: no endless streams."""
    async with engine_with_services(database, **overrides) as (engine, services):
        transport = httpx2.ASGITransport(app=build_app(services), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://engine/api/v1/", timeout=60) as client:
            yield engine, client


@asynccontextmanager
async def served_api(database: Path, **overrides: object) -> AsyncIterator[tuple[Engine, str]]:
    """A sandbox engine and the address of its API on a port of its own."""
    async with engine_with_services(database, **overrides) as (engine, services):
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            build_app(services), lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1
        )
        server = PromptServer(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield engine, "http://{}:{}".format(*listener.getsockname())
        finally:
            services.feed._stop.set()  # as the daemon does: who watches is let go before the server ends
            services.feed.close()
            server.stop()
            await task
            listener.close()


@contextmanager
def api_in_a_thread(database: Path, handed_in: list[dict[str, Any]], **overrides: object) -> Iterator[str]:
    """`served_api` beside a test that blocks; *handed_in*: jobs as the API takes them, before it yields."""
    loop = asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()
    found: list[str] = []

    async def run() -> None:
        async with served_api(database, **overrides) as (_, url):
            async with httpx2.AsyncClient(base_url=url, timeout=60, verify=False) as client:
                for job in handed_in:
                    (await client.post("/api/v1/jobs", json=job)).raise_for_status()
            found.append(url)
            ready.set()
            await stop.wait()

    def live() -> None:
        try:
            loop.run_until_complete(run())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=live)
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join()


async def finished(client: httpx2.AsyncClient, ref: str) -> dict[str, Any]:
    """The job, once it is over."""
    async with asyncio.timeout(60):
        while True:
            job: dict[str, Any] = (await client.get(f"jobs/{ref}", params={"wait": "5s"})).json()
            if job["state"] in {"finished", "canceled"}:
                return job
