"""Batches: ours, and the API's list with whose each is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from orchestrator.http_api.api import shapes
from orchestrator.http_api.api.routing import The, refusals, router, said

api = router("batches")

RemoteRef = Annotated[str, Path(description="A batch at the API, `msgbatch_…`.")]


@api.post("/batches/{remote_id}/adopt", response_model=shapes.Done, responses=refusals(404))
async def adopt(
    services: The,
    remote_id: RemoteRef,
    job: Annotated[str | None, Query(description="The job whose requests a batch made elsewhere holds.")] = None,
) -> Response:
    """Take a batch at the API for ours: the candidate of one in doubt, or one made elsewhere."""
    chosen = None if job is None else (await services.reader.read(lambda reads: reads.find(job))).id
    return said({"done": await services.commands.adopt(remote_id, chosen)})


@api.post("/batches/{remote_id}/disown", response_model=shapes.Done, responses=refusals(404))
async def disown(services: The, remote_id: RemoteRef) -> Response:
    """Say that a batch at the API is not ours."""
    return said({"done": await services.commands.disown(remote_id)})
