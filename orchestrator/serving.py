"""Serves an engine over HTTP: what the faces are given, and the socket and port that they listen on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from orchestrator.assembly import Engine
from orchestrator.config import Settings, socket_links
from orchestrator.domain import limits, model, packing, params, table_spec
from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.engine.context import EngineChanges
from orchestrator.http_api.change_feed import ChangeFeed
from orchestrator.http_api.job_cache import JobCache
from orchestrator.http_api.listen import TcpListener, serve_socket, serve_tcp
from orchestrator.http_api.services import EngineIdentity, RowOpener, Services, SourceOpener
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
        share_logins(engine, tcp, services)
        group.create_task(_announce(tcp, path, stop), name="tcp.announce")
        await _until_ready(group, "tcp", lambda ready: serve_tcp(app, tcp, server, ready=ready, stop=stop))


def share_logins(engine: Engine, tcp: TcpListener, services: Services) -> None:
    """Remember the logins that were ended at *tcp*; those of a fleet are ended everywhere."""
    sessions = tcp.access.sessions
    sessions.keep(services.page_key)
    sessions.over.keep_at(engine.location.logged_out_file(tcp.port))
    if engine.fleet is not None:
        sessions.share(f"store {services.identity.lineage}", engine.fleet.logins)


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
    meta, page_key = await engine.read(lambda reads: (reads.meta(), reads.page_key()))
    return Services(
        commands=engine.commands,
        estimates=engine,
        reader=engine,
        bulk=engine.bulk,
        health=engine.health,
        identity=_identity(engine, meta),
        location=engine.location,
        opener=_stream_opener(engine.settings),
        row_opener=_row_opener(engine.settings),
        remote_batches=engine.remote_batches,
        job_cache=JobCache(engine, lambda: engine.wakeup.event if engine.location.is_shared else None),
        feed=ChangeFeed(engine, EngineChanges(engine.wakeup, engine.clock), stop),
        clock=engine.clock,
        page_key=page_key,
        settings_in_force=lambda: engine.settings,
        prices=engine.prices,
        caps=_caps(engine.settings, meta),
        why_not_ready=lambda: engine.trouble,
        view_fleet=engine.view_fleet,
        taken_over=lambda: 0 if engine.fleet is None else engine.fleet.taken_over,
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

    def opener(blocks: AsyncIterator[bytes], *, name: str, api_version: str | None, claim: MemoryReservation) -> Source:
        return source_from_stream(
            blocks,
            name=name,
            rules=_rules(settings, api_version),
            max_line_bytes=limits.MAX_INPUT_LINE_BYTES,
            claim=claim,
            max_text_bytes=settings.server.max_body,
        )

    return opener


def _row_opener(settings: Settings) -> RowOpener:
    """Makes sources of tables that arrive over HTTP; what is not said of their requests are the daemon's defaults."""

    def opener(
        blocks: AsyncGenerator[bytes, None],
        rows: table_spec.RowOptions,
        *,
        schema: AnswerSchema | None,
        name: str,
        api_version: str | None,
        claim: MemoryReservation,
    ) -> Source:
        from orchestrator.tables import ArrivingRows, RowRequests, UploadedTable  # late: most daemons see no table

        defaults = settings.defaults
        recipe = rows.recipe(
            model=defaults.model, max_tokens=defaults.max_tokens, system=defaults.system, schema=schema
        )
        requests = RowRequests(recipe, _rules(settings, api_version), folder=None, limit=rows.most)
        upload = UploadedTable(
            blocks=blocks,
            name=name,
            kind=rows.format,
            delimiter=rows.delimiter,
            claim=claim,
            max_text_bytes=settings.server.max_body,
        )
        return ArrivingRows(upload, requests)

    return opener


def _rules(settings: Settings, api_version: str | None) -> params.ParamRules:
    largest = limits.largest_params(settings.batching.max_bytes)
    return params.ParamRules(api_version=api_version, max_request_bytes=largest)
