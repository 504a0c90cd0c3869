"""Who answers, whether it lives, whether it is ready, and how the API treats it."""

from __future__ import annotations

import os

from fastapi import APIRouter
from starlette.responses import Response

from orchestrator.http_api.api import shapes
from orchestrator.http_api.api.routing import The, refusals, router, said
from orchestrator.http_api.services import Services
from orchestrator.version import VERSION

api = router("service")
root = router("service", prefix="")


@root.get("/version", response_model=shapes.Version, responses=refusals())
@api.get("/version", response_model=shapes.Version, responses=refusals())
async def version(services: The) -> Response:
    """Who answers: also the proof that the engine is alive."""
    identity = services.identity
    view = {
        "version": VERSION,
        "pid": os.getpid(),
        "db": identity.db,
        "sandbox": identity.sandbox,
        "lineage": identity.lineage,
    }
    return said(view)


@root.get("/livez", response_model=shapes.Alive, responses=refusals())
@api.get("/livez", response_model=shapes.Alive, responses=refusals())
async def livez() -> Response:
    """Whether this process answers; nothing is asked of the store."""
    return said({"alive": True})


@api.get("/health", response_model=shapes.Health, responses=refusals())
async def health(services: The) -> Response:
    """Whether the Message Batches API answers the engine."""
    return said(_health(services))


def _health(services: Services) -> dict[str, object]:
    known = services.health
    return {
        "api_worked": known.api_worked,
        "last_trouble": known.last_trouble,
        "reads_blocked": known.reads_blocked,
    }


ROUTERS: tuple[APIRouter, ...] = (api, root)
