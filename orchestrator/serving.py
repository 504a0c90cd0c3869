"""Serves an engine over HTTP: what the faces are given, and the socket and port that they listen on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from orchestrator.assembly import Engine
from orchestrator.config import Settings, socket_links
from orchestrator.domain import limits, model, packing, params
from orchestrator.engine.context import EngineChanges
from orchestrator.http_api.change_feed import ChangeFeed
from orchestrator.http_api.job_cache import JobCache
from orchestrator.http_api.listen import TcpListener, serve_socket, serve_tcp
from orchestrator.http_api.services import EngineIdentity, Services, SourceOpener
from orchestrator.http_api.upload_memory import LargeLineMemory
from orchestrator.http_api.uvicorn_server import LazyApp
from orchestrator.inputs import source_from_stream
from orchestrator.ports.runtime import MemoryReservation
from orchestrator.ports.streams import Source


async def listen(group: asyncio.TaskGroup, engine: Engine, tcp: TcpListener | None, stop: asyncio.Event) -> None:
    """Serve the socket, and *tcp* if there is one, as core tasks; returns when they accept connections."""
    services = await services_of(engine, stop, tcp)
    feed = group.create_task(services.feed.run(), name="feed")
    group.create_task(_end_feed(services.feed, feed, stop), name="feed.end")
    app, path = LazyApp(services), engine.location.socket
    await _until_ready(group, "socket", lambda ready: serve_socket(app, path, ready=ready, stop=stop))
    if tcp is not None:
        server = engine.settings.server
        tcp.access.sessions.over.keep_at(engine.location.logged_out_file)
        group.create_task(_announce(tcp, path, stop), name="tcp.announce")
        await _until_ready(group, "tcp", lambda ready: serve_tcp(app, tcp, server, ready=ready, stop=stop))


async def _announce(tcp: TcpListener, socket: Path, stop: asyncio.Event) -> None:
    """Let commands of the same user that name the address find the socket instead, and need no token."""
    with socket_links(socket, *tcp.own_addresses):
        await stop.wait()


async def _until_ready(
    group: asyncio.TaskGroup, name: str, serve: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
) -> None:
    """Start a server as a task of *group*; returns when it accepts connections, or has failed."""
    listening = asyncio.Event()
    server = group.create_task(serve(listening.set), name=name)
    waiting = asyncio.ensure_future(listening.wait())
    await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _end_feed(feed: ChangeFeed, task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """On stop, let go of everybody who watches first, so that no open answer delays the stop."""
    await stop.wait()
    feed.close()
    task.cancel()


async def services_of(engine: Engine, stop: asyncio.Event, tcp: TcpListener | None = None) -> Services:
    """What the faces over HTTP are given."""
    meta = await engine.read(lambda reads: reads.meta())
    return Services(
        commands=engine.commands,
        reader=engine,
        bulk=engine.bulk,
        health=engine.health,
        identity=_identity(engine, meta),
        location=engine.location,
        opener=_stream_opener(engine.settings),
        remote_batches=engine.remote_batches,
        job_cache=JobCache(engine),
        feed=ChangeFeed(engine, EngineChanges(engine.wakeup, engine.clock), stop),
        settings=engine.settings,
        caps=_caps(engine.settings, meta),
        why_not_ready=lambda: engine.store.lost or engine.liveness.trouble(engine.clock.now()),
        dashboard_link=lambda: None if tcp is None else tcp.dashboard_link(),
        meters=engine.meters,
        memory=LargeLineMemory(),
        passed=engine.passed,
    )


def _identity(engine: Engine, meta: model.StoreMeta) -> EngineIdentity:
    return EngineIdentity(
        db=str(engine.location),
        sandbox=engine.sandbox,
        lineage=meta.lineage,
        api_version=engine.settings.api.version_or_default,
        started_at=engine.clock.now(),
    )


def _caps(settings: Settings, meta: model.StoreMeta) -> packing.Caps:
    """How large a batch of this store may be."""
    most = settings.batching.max_requests
    return packing.Caps(
        requests=limits.API_MAX_REQUESTS - meta.size_jitter if most is None else most,
        size_bytes=settings.batching.max_bytes,
    )


def _stream_opener(settings: Settings) -> SourceOpener:
    """Makes sources of request bodies that arrive over HTTP."""
    largest = limits.largest_params(settings.batching.max_bytes)

    def opener(blocks: AsyncIterator[bytes], *, name: str, api_version: str, claim: MemoryReservation) -> Source:
        return source_from_stream(
            blocks,
            name=name,
            rules=params.ParamRules(api_version=api_version, max_request_bytes=largest),
            max_line_bytes=limits.MAX_INPUT_LINE_BYTES,
            claim=claim,
            max_text_bytes=settings.server.max_body,
        )

    return opener
