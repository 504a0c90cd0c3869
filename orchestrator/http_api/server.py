"""The application on a unix socket: uvicorn inside the caller's loop. Signals stay the caller's."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from orchestrator.domain.errors import GuardRefused, StoreError, UsageError
from orchestrator.http_api.answers import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

#: A longer path does not fit `sockaddr_un`. Source: unix(7): 108 bytes with the NUL at the end.
MAX_PATH_BYTES: Final = 107
#: How long requests that are being answered may take to end when the engine stops.
GRACE_S: Final = 2


async def serve_socket(app: ASGIApp, path: Path, *, ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Serve *app* on the socket *path* until *stop*; *ready* is called once connections are taken.

    The caller holds the store's lock, so a socket that is there already is a dead owner's, and is replaced. At the end
    requests get `GRACE_S` to finish, then they are cancelled; none runs any more when this returns. Raises UsageError
    for a path that is too long, StoreError where the socket cannot be made.
    """
    listener = listen(path)
    server = _Server(_quiet(app), ready)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]), name="http.serve")
            await stop.wait()
            server.should_exit = True
    finally:
        try:
            await server.break_off()
        finally:
            _unlisten(listener, path)


def listen(path: Path) -> socket.socket:
    """A listening socket at *path*, mode 0600. Raises UsageError, StoreError."""
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise UsageError(
            f"the path of the socket is too long: {path}",
            cause=f"{length} bytes, and the system takes {MAX_PATH_BYTES}",
            hint="set XDG_RUNTIME_DIR to a folder with a shorter path, for every command alike",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Linux gives the file the mode of the socket, so it is never open to others; elsewhere the chmod follows. The
        # umask would do it too, but it belongs to the whole process.
        with suppress(OSError):
            os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen()
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        hint = "check the folder's permissions, or set XDG_RUNTIME_DIR for every command alike"
        raise StoreError(f"the socket {path} cannot be made", cause=exc.strerror, hint=hint) from exc
    return listener


def _unlisten(listener: socket.socket, path: Path) -> None:
    listener.close()
    path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "something else has that name")
        path.unlink()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, that says when it is ready and leaves no request running."""

    def __init__(self, app: ASGIApp, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                loop="none",
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def break_off(self) -> None:
        """Close what is still open, and wait for the requests that were cancelled: they tidy up behind themselves."""
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


def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _quiet(app: ASGIApp) -> ASGIApp:
    """*app*, whose requests say why they end when the server cancels them; uvicorn would log each as a failure."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:  # this is the whole of its task: nothing is left that could go on
            await problem_response(GuardRefused("the engine is stopping", hint="try again"))(scope, receive, send)

    return quiet
