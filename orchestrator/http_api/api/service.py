"""Who answers, whether it lives, whether it is ready, and how the API treats it."""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from orchestrator.domain.errors import GuardRefused
from orchestrator.http_api.answers import problem
from orchestrator.http_api.api import shapes
from orchestrator.http_api.api.routing import The, refusals, router, said
from orchestrator.http_api.guard.sessions import CODE_S
from orchestrator.version import VERSION
from orchestrator.views import problem_details
from orchestrator.views.job_views import health_view

api = router("service")
root = router("service", prefix="")

NOT_READY: Final = "not-ready"
_NOT_YET: Final = 5
_STORE_S: Final = 2.0


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


@root.get("/readyz", response_model=shapes.Ready, responses=refusals())
@api.get("/readyz", response_model=shapes.Ready, responses=refusals())
async def readyz(services: The) -> Response:
    """Whether jobs can be handed in and are worked on: the store answers and has space, and every stage goes round."""
    trouble = services.unready()
    try:
        async with asyncio.timeout(_STORE_S):
            await services.reader.read(lambda reads: reads.last_event())
    except TimeoutError:
        trouble = "the store does not answer"
    if trouble is None:
        return said({"ready": True})
    document = problem_details.document(
        NOT_READY, "not ready", detail=trouble, hint="the log says more", exit_code=_NOT_YET
    )
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, document)


@api.get("/health", response_model=shapes.Health, responses=refusals())
async def health(services: The) -> Response:
    """Whether the Message Batches API answers the engine."""
    return said(health_view(services.health))


@api.post("/login", response_model=shapes.WayIn, responses=refusals())
async def login(services: The) -> Response:
    """A link that logs a browser in at the dashboard, once. The login of a browser is no proof here."""
    found = services.way_in()
    if found is None:
        raise GuardRefused(
            "this engine does not listen on TCP, so it has no dashboard", hint="`orchestrator serve` has"
        )
    url, path = found
    return said({"url": url, "path": path, "expires_in_s": None if path == "/" else CODE_S})


ROUTERS = (api, root)
