"""`health`: a readiness probe of the engine, for service managers and containers."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.group import command
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.output import say, show, show_json

if TYPE_CHECKING:
    from orchestrator.client.server_address import Server

EXAMPLES = """
Examples:
  orchestrator health                          exit code 0: an engine runs on this store, and is ready
  HEALTHCHECK CMD ["orchestrator", "health"]   in a Dockerfile

Exit codes: 0 ready, 1 not ready (or no engine runs).
"""

_WITHIN_S: Final = 5.0
_READY: Final = "/readyz"
#: Every engine ever has it: one that runs since before an update knows no /readyz.
_ALIVE: Final = "/api/v1/version"


@command(EXAMPLES)
def health(options: GlobalOptions) -> int:
    server = options.remote()
    if server is None:
        from orchestrator.store.location import location_of

        fact = _asked(location_of(options.settings()).socket)
    else:
        fact = _server_unready(options, server)
    ready = fact is None
    if options.as_json:
        show_json({"ready": ready, "why": fact})
    elif ready:
        say(options, "ready")
    else:
        show(f"not ready: {fact}")
    return 0 if ready else 1


def _server_unready(options: GlobalOptions, server: Server) -> str | None:
    """Why *server* is not ready; None if it is."""
    from orchestrator.cli.store_access import server_reader
    from orchestrator.domain.errors import OrchestratorError

    try:
        with server_reader(options, server) as reader:
            reader.fetch("readyz", {})
    except OrchestratorError as exc:
        return exc.message if exc.cause is None else f"{exc.message} ({exc.cause})"
    return None


def _asked(path: Path) -> str | None:
    """None if the engine that listens at *path* is ready, else why it is not."""
    try:
        status = _status(path, _READY)
        if status == http.HTTPStatus.NOT_FOUND:
            status = _status(path, _ALIVE)
    except FileNotFoundError:
        return "no engine runs on this store"
    except TimeoutError:
        return f"the engine does not answer within {_WITHIN_S:g} s"
    except (OSError, http.client.HTTPException) as exc:
        return f"the engine cannot be asked ({type(exc).__name__})"
    return None if status == http.HTTPStatus.OK else f"the engine says {status}"


def _status(path: Path, target: str) -> int:
    connection = _SocketConnection(path)
    try:
        connection.request("GET", target, headers={"host": "engine"})
        return connection.getresponse().status
    finally:
        connection.close()


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, without loading an HTTP library: a health check runs every few seconds."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_WITHIN_S)
        self.sock.connect(os.fspath(self._path))
