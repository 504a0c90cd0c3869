"""Every route of the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.http_api.api import batches, events, jobs, openapi, pages, requests, results, service, stats, webhooks

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

KINDS = (jobs, requests, results, pages, batches, events, webhooks, stats, service, openapi)


def routes() -> list[BaseRoute]:
    """Flat, so that each can be asked for its path and its methods."""
    return [route for kind in KINDS for router in kind.ROUTERS for route in router.routes]
