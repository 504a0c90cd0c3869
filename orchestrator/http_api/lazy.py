"""The application, built at the first request: an engine that nobody asks anything never loads the framework."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.observability.heavy import loading

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from orchestrator.http_api.services import Services


class LazyApp:
    """`app.build_app`, once it is needed."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._app is None:
            built = await asyncio.to_thread(self._build)
            if self._app is None:  # two may have asked at once
                self._app = built
        await self._app(scope, receive, send)

    def _build(self) -> ASGIApp:
        """It takes half a second of a processor, in which the engine goes on."""
        with loading():
            from orchestrator.http_api.app import build_app
            from orchestrator.http_api.glances import QuickGlances

            return QuickGlances(build_app(self._services), self._services.glances)
