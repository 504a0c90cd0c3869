"""The application on a unix socket beside the store, for the commands of the same user."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.domain.errors import MAKE_SPACE, StoreError, StoreFull, UsageError, is_no_space
from orchestrator.http_api.guard.bodies import BodyLimits
from orchestrator.http_api.guard.files import limit, share_of
from orchestrator.http_api.guard.middleware import Guard
from orchestrator.http_api.guard.protocol import Patience
from orchestrator.http_api.server import QUEUE, serve_on

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: A longer path does not fit `sockaddr_un`. Source: unix(7): 108 bytes with the NUL at the end.
MAX_PATH_BYTES: Final = 107


async def serve_socket(app: ASGIApp, path: Path, *, ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Serve *app* on the socket *path* until *stop*; see `server.serve_on`.

    The caller holds the store's lock, so a socket that is there already is a dead owner's, and is replaced. Who may
    open it may ask: its mode is the proof. Raises UsageError for a path that is too long, StoreError where the socket
    cannot be made.
    """
    listener = listen(path)
    share = share_of(limit(), Patience().connections)
    try:
        guarded = Guard(app, access=None, limits=BodyLimits(), connections=share.connections)
        patience = Patience(connections=share.connections, accepted=share.accepted)
        await serve_on(listener, guarded, patience, ready=ready, stop=stop)
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
        listener.listen(QUEUE)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        if is_no_space(exc):
            raise StoreFull(f"there is no space for the socket {path}", cause=exc.strerror, hint=MAKE_SPACE) from exc
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
