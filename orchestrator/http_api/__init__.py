"""The engine's HTTP face: JSON over the unix socket, with the routes that a TCP port will have.

Owns how facts and errors look as JSON, and the socket. Holds no rules of its own: it reads through the ports it is
handed and asks the engine. `views`, `problems` and `lines` need neither Starlette nor uvicorn: other faces use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.http_api.app import Identity, build_app
    from orchestrator.http_api.server import serve_socket

__all__ = ["Identity", "build_app", "serve_socket"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - stands for each name above
    """Load the web server with the first use of it: `status` needs only the views."""
    if name in {"Identity", "build_app"}:
        from orchestrator.http_api import app

        return getattr(app, name)
    if name == "serve_socket":
        from orchestrator.http_api.server import serve_socket

        return serve_socket
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
