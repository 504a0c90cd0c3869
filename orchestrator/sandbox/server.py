"""The sandbox on a port: an ASGI application over the router, and uvicorn inside the caller's loop, loopback only.

ASGI has no way to break a connection, so the protocol class hands each request its connection (`scope["state"]`).
Signals stay with the caller: a server that ends by itself on SIGTERM would fight with the program around it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, cast

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.prompt_server import PromptServer
from orchestrator.sandbox.exchange import ConnectionCut, SandboxRequest, SandboxResponse
from orchestrator.sandbox.router import Router

HOST: Final = "127.0.0.1"
_CONNECTION: Final = "sandbox.connection"
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class SandboxProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, whose connections can be broken from inside the application."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own signature, passed through
        super().__init__(*args, **kwargs)
        self.app_state = {**self.app_state, _CONNECTION: self}

    def break_off(self, *, reset: bool) -> None:
        """Close the connection without ending the response; *reset*: with a RST."""
        if reset:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        else:
            self.transport.close()


class _ClientGoneError(Exception):
    """The client closed the connection while it was sending."""


def asgi_app(router: Router) -> AsgiApp:
    """The router as an ASGI application. Breaking connections needs `SandboxProtocol` beneath it."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the sandbox speaks HTTP, not {scope['type']}")
        try:
            async with aclosing(_body(receive)) as body:
                answer = await router.answer(_request_of(scope, body))
            await _send_answer(answer, send)
        except ConnectionCut as cut:
            if cut.how != "hang":
                _connection(scope).break_off(reset=cut.how == "reset")
            await _until_gone(receive)
        except _ClientGoneError:
            return

    return app


@asynccontextmanager
async def serving(app: AsgiApp, port: int = 0) -> AsyncIterator[int]:
    """Serve *app* on 127.0.0.1 while the context lasts; gives the port (a free one for 0).

    Raises OSError when the port is taken. At the end open connections are broken, not waited for.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    server = _LoopbackServer(_config(app))
    # Not a TaskGroup: it would wrap whatever the caller's own block raises into an ExceptionGroup.
    task = asyncio.create_task(server.serve(sockets=[sock]), name="sandbox.http")
    task.add_done_callback(lambda _: server.ready.set())
    try:
        await server.ready.wait()
        yield int(sock.getsockname()[1])
    finally:
        server.stop()
        await task


async def serve(app: AsgiApp, port: int, *, ready: Callable[[int], None] | None = None) -> None:
    """Serve until cancelled; *ready* is called with the port once connections are accepted."""
    async with serving(app, port) as chosen:
        if ready is not None:
            ready(chosen)
        await asyncio.Event().wait()


class _LoopbackServer(PromptServer):
    """Says when it is ready, and stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @override
    def stop(self) -> None:
        """Break open connections and end."""
        for connection in list(self.server_state.connections):
            cast("SandboxProtocol", connection).break_off(reset=True)
        super().stop()


def _config(app: AsgiApp) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", app),
        http=SandboxProtocol,
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


def _connection(scope: Message) -> SandboxProtocol:
    return cast("SandboxProtocol", scope["state"][_CONNECTION])


def _request_of(scope: Message, body: AsyncIterator[bytes]) -> SandboxRequest:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return SandboxRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        base_url=f"{scope['scheme']}://{headers.get('host', HOST)}",
        body=body,
    )


async def _body(receive: Receive) -> AsyncGenerator[bytes, None]:
    """The request's body. Raises _ClientGoneError when it ends in the middle."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


async def _send_answer(answer: SandboxResponse, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async with aclosing(answer.body) as body:
        async for piece in body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    """Wait until either side has closed the connection, discarding what is read."""
    while (await receive())["type"] != "http.disconnect":
        pass
