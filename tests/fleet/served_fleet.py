"""Whole daemons of a fleet in this process, each with the application that it serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn
from fleet.fleet_processes import SETTINGS
from support.processes import Api

from orchestrator.assembly import Engine, Runtime
from orchestrator.config import Settings, load_settings
from orchestrator.daemon import running_engine
from orchestrator.http_api.app import build_app
from orchestrator.http_api.services import Services
from orchestrator.serving import services_of


@dataclass(frozen=True, slots=True)
class Served:
    """A daemon: its engine, what its faces are handed, and a client that asks it alone."""

    engine: Engine
    services: Services
    client: httpx2.AsyncClient


def fleet_settings(url: str, api: Api, folder: Path, name: str, **more: str) -> Settings:
    """The settings of the daemon *name* on the database *url*. more: as LIMITS__POLL_INTERVAL="0.1s"."""
    env = {f"ORCHESTRATOR_{key}": value for key, value in {**SETTINGS, "FLEET__NAME": name, **more}.items()}
    key = folder / "key"
    key.write_text("test-key\n")
    key.chmod(0o600)
    own = {"HOME": str(folder), "ANTHROPIC_BASE_URL": api.base_url, "ORCHESTRATOR_API__KEY_FILE": str(key)}
    return load_settings(flags={"database.url": url}, env={**env, **own}, cwd=folder, config_file=None, sandbox=False)


@asynccontextmanager
async def on_a_port(services: Services, stop: asyncio.Event) -> AsyncIterator[str]:
    """The address of the application, which is ended as a daemon ends it: who watches is let go first."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = build_app(services)
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server._serve([listener]))
    try:
        yield "http://{}:{}".format(*listener.getsockname())
    finally:
        stop.set()
        services.feed.close()
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Served]:
    """A daemon that works until the block ends."""
    async with running_engine(settings, sandbox=False, keep_probing=True, runtime=Runtime(listens=False)) as engine:
        stop = asyncio.Event()
        services = await services_of(engine, stop)
        feed = asyncio.create_task(services.feed.run())
        try:
            async with on_a_port(services, stop) as at, httpx2.AsyncClient(base_url=at, timeout=60) as client:
                yield Served(engine, services, client)
        finally:
            feed.cancel()
