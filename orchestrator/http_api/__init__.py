"""The engine's HTTP face: every route over the unix socket, and over TCP where it is asked for.

Owns how facts and errors look as JSON, and the servers. Holds no rules of its own: it reads through the ports it is
handed and asks the engine. `views`, `problems`, `lines`, `feed` and `services` need no web framework.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from orchestrator.http_api.services import Services


class LazyApp:
    """The application, built at the first request: an engine that nobody asks anything never loads the framework."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._app is None:
            module = await asyncio.to_thread(importlib.import_module, "orchestrator.http_api.app")
            if self._app is None:  # two may have asked at once
                self._app = module.build_app(self._services)
        await self._app(scope, receive, send)
