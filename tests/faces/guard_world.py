"""What the tests of the guard share: a small application behind it on a port, and clients that write bytes."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse

from orchestrator.http_api.guard.access_rules import AccessRules
from orchestrator.http_api.guard.connection_limits import ConnectionLimits
from orchestrator.http_api.guard.middleware import Guard
from orchestrator.http_api.guard.request_limits import BodyLimits
from orchestrator.http_api.uvicorn_server import serve_on

#: As the real ones, only that a test need not wait.
HASTY: Final = ConnectionLimits(header_s=0.2, stall_s=0.3, connections=20)
LIMITS: Final = BodyLimits(small_s=0.3, pace_s=0.3)
#: A request for it lasts until its client goes.
LASTING: Final = frozenset({b"/live", b"/api/v1/events/stream", b"/api/v1/jobs/x/events/stream"})


@asynccontextmanager
async def guarded(limits: ConnectionLimits = HASTY) -> AsyncIterator[tuple[int, list[str]]]:
    """A small application behind the guard: its port, and what became of each request."""
    seen: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    access = AccessRules("127.0.0.1", port, allowed_hosts=(), tokens=())
    app = Guard(_small(seen), access=access, limits=LIMITS, connections=limits.connections)
    ready, stop = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_on(listener, app, limits, ready=ready.set, stop=stop))
        await ready.wait()
        try:
            yield port, seen
        finally:
            stop.set()


def _small(seen: list[str]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/endless":
            await StreamingResponse(_endless(seen))(scope, receive, send)
            return
        if scope["raw_path"] in LASTING or scope["query_string"]:
            await StreamingResponse(_silent())(scope, receive, send)
            return
        size = 0
        try:
            async for piece in Request(scope, receive).stream():
                size += len(piece)
        except ClientDisconnect:
            seen.append("gone")
            return
        seen.append(f"read {size}")
        await PlainTextResponse(f"read {size}")(scope, receive, send)

    return app


async def _silent() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.Event().wait()


async def _endless(seen: list[str]) -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)  # as every route does, which reads from the store
    finally:
        seen.append("ended")


def head(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "host: localhost", *lines, "", ""]).encode("latin-1")


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server lets go, in whichever way."""
    got = bytearray()
    async with asyncio.timeout(20):
        try:
            while piece := await reader.read(65536):
                got += piece
        except ConnectionResetError:
            return bytes(got)
    return bytes(got)


async def said_to(port: int, sent: bytes) -> bytes:
    """What comes for *sent* until the server lets go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await to_the_end(reader)
    finally:
        writer.close()


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
