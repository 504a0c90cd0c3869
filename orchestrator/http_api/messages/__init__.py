"""The Message Batches API in front of the engine: the official SDK works by its `base_url`; a "batch" is a job.

Owns the API's shapes, ids and errors for jobs. Must not know how a job is worked on. `routes` is its only export.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from orchestrator.http_api.guard import route_roles
from orchestrator.http_api.messages import api_responses, batch_endpoints

if TYPE_CHECKING:
    from orchestrator.http_api.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """Everything below `/v1`; unknown paths answer 404 in the API's form."""
    ask = batch_endpoints.BatchEndpoints(services)
    one = "/messages/batches/{batch_id}"
    inner = Starlette(
        routes=list(
            route_roles.gated(
                [
                    Route("/messages/batches", ask.create, methods=["POST"]),
                    Route("/messages/batches", ask.list, methods=["GET"]),
                    Route(one, ask.retrieve, methods=["GET"]),
                    Route(one, ask.delete, methods=["DELETE"]),
                    Route(f"{one}/cancel", ask.cancel, methods=["POST"]),
                    Route(f"{one}/results", ask.results, methods=["GET"]),
                ],
                "/v1",
            )
        ),
        exception_handlers=api_responses.handlers(),
    )
    inner.router.redirect_slashes = False
    return [Mount("/v1", app=api_responses.RequestIdMiddleware(inner))]
