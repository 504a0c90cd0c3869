"""Runs uvicorn inside the caller's event loop, behind the guard, on sockets that the caller has bound.

Signals stay with the caller. `LazyApp` builds the application at the first request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import uvicorn
from typing_extensions import override

from orchestrator.domain.errors import GuardRefused
from orchestrator.http_api.guard import connection_limits, protocol
from orchestrator.http_api.responses import api_error_response, problem, speaks_as_the_api
from orchestrator.observability.heavy_imports import gc_paused
from orchestrator.prompt_server import PromptServer
from orchestrator.views.problem_details import STOPPING, problem_of

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from orchestrator.http_api.services import Services

#: Connections that wait to be accepted.
QUEUE: Final = 128
#: How long requests that are being answered may take to end when the engine stops.
GRACE_S: Final = 2


async def serve_on(
    listener: socket.socket,
    app: ASGIApp,
    limits: connection_limits.ConnectionLimits,
    *,
    ready: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Serve *app* on *listener* until *stop*; *ready* is called once connections are accepted.

    On stop, running requests get `GRACE_S` to finish, then they are cancelled; none runs any more when this returns.
    """
    server = _EmbeddedServer(_quiet(app), limits, ready)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]), name="http.serve")
            await stop.wait()
            server.stop()
    finally:
        await server.close_all()


class _EmbeddedServer(PromptServer):
    """Reports readiness, and leaves no request running."""

    def __init__(self, app: ASGIApp, limits: connection_limits.ConnectionLimits, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=cast("Any", partial(protocol.GuardedProtocol, limits)),  # called as the class would be
                loop="none",
                lifespan="off",
                ws="none",
                backlog=limits.accepted,  # asyncio accepts so many in a turn, whether or not there is room
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._ready = ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)
        self._ready()

    async def close_all(self) -> None:
        """Close what is open, and wait until the cancelled requests have cleaned up."""
        for listening in getattr(self, "servers", []):
            listening.close()
        running = set(self.server_state.tasks)
        if running and not self.should_exit:  # cancelled ourselves; at a graceful end they were cancelled already
            _cancel(running)
        if running:
            _, slow = await asyncio.wait(running, timeout=GRACE_S)
            if slow:  # what they leave behind is taken away by the next start
                _cancel(slow)
                await asyncio.wait(slow)
        for connection in list(self.server_state.connections):
            connection.transport.close()
            if connection.transport.get_write_buffer_size():  # who does not read would keep it open for ever
                connection.transport.abort()


def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _quiet(app: ASGIApp) -> ASGIApp:
    """Makes cancelled requests answer that the server is stopping; uvicorn would log each as a failure."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        answer = _ResponseState(send)
        try:
            await app(scope, receive, answer.send)
        except asyncio.CancelledError:  # this is the whole of its task: nothing is left that could go on
            if not answer.has_begun:
                await _stopping_response(scope)(scope, receive, send)
            elif answer.is_events and not answer.has_ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            # Anything else that was cut must look cut: uvicorn closes the connection without the last chunk.

    return quiet


class _ResponseState:
    """Whether a response has begun and ended. is_events: an event stream, which may end anywhere."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False
        self.has_ended = False
        self.is_events = False

    async def send(self, message: Message) -> None:
        """Pass *message* on, and count it."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            kinds = [value for name, value in message["headers"] if name == b"content-type"]
            self.is_events = any(kind.startswith(b"text/event-stream") for kind in kinds)
        elif message["type"] == "http.response.body":
            self.has_ended = not message.get("more_body", False)
        await self._send(message)


def _stopping_response(scope: Scope) -> Response:
    if speaks_as_the_api(scope):
        return api_error_response(503, "api_error", "The server is stopping; try again.")
    refusal = problem_of(GuardRefused("the engine is stopping", hint="try again"))
    return problem(msgspec.structs.replace(refusal, type=STOPPING, status=HTTPStatus.SERVICE_UNAVAILABLE))


class LazyApp:
    """Builds the application at the first request: an engine that serves none never loads the framework."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Build the application if needed, and pass the request to it."""
        if self._app is None:
            built = await asyncio.to_thread(self._build)
            if self._app is None:  # two may have asked at once
                self._app = built
        await self._app(scope, receive, send)

    def _build(self) -> ASGIApp:
        """Takes half a second of CPU, in a thread, while the engine goes on."""
        with gc_paused():
            from orchestrator.http_api.app import build_app
            from orchestrator.http_api.job_cache import FastJobRoute

            return FastJobRoute(build_app(self._services), self._services.job_cache)
