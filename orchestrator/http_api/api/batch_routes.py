"""Routes of batches: ours, and the API's list with the owner of each."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import BatchId, JobId, RemoteId
from orchestrator.domain.states import BatchState
from orchestrator.http_api.api.job_routes import JobDep
from orchestrator.http_api.api.route_docs import answers
from orchestrator.http_api.api.routing import (
    Cursor,
    Limit,
    ServicesDep,
    cut_page,
    decode_cursor,
    json_response,
    router,
)
from orchestrator.ports.reads import Reads
from orchestrator.views.batch_views import BatchesView, BatchInFullView, BatchView, RemoteBatchesView, RemoteBatchView
from orchestrator.views.job_views import DoneView

api = router("batches")

States = Annotated[list[BatchState] | None, Query(alias="state", description="Only batches in one of these states.")]
RemoteRef = Annotated[str, Path(description="A batch at the API, `msgbatch_…`.")]
#: Batches in doubt that are listed; nobody looks through more.
_MOST_IN_DOUBT = 1000


@api.get("/batches", responses=answers(BatchesView))
async def batches(services: ServicesDep, states: States = None, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """The batches of every job, the newest first."""
    return json_response(await services.reader.read(partial(_page, None, states, decode_cursor(cursor), limit)))


@api.get("/jobs/{ref}/batches", responses=answers(BatchesView, 404))
async def of_job(
    services: ServicesDep, found: JobDep, states: States = None, cursor: Cursor = None, limit: Limit = 100
) -> Response:
    """The batches of one job, the newest first."""
    return json_response(await services.reader.read(partial(_page, found.job.id, states, decode_cursor(cursor), limit)))


def _page(
    job: JobId | None, states: list[BatchState] | None, before: int | None, limit: int, reads: Reads
) -> BatchesView:
    below = None if before is None else BatchId(before)
    found = reads.batches_page(limit=limit + 1, before=below, states=frozenset(states or ()), job=job)
    page, more = cut_page(found, limit, lambda batch: batch.id)
    return BatchesView(batches=[BatchView.of(batch, reads.get(batch.job_id)) for batch in page], next=more)


@api.get("/batches/{ref}", responses=answers(BatchInFullView, 404))
async def batch(
    services: ServicesDep, ref: Annotated[str, Path(description="Our number of a batch, or the API's id of it.")]
) -> Response:
    """One batch of ours; while it is in doubt, with the batches at the API that it may be."""

    def look(reads: Reads) -> BatchInFullView:
        found = reads.batch(ref)
        return BatchInFullView.with_candidates(found, reads.get(found.job_id), reads.candidates(found.id))

    return json_response(await services.reader.read(look))


@api.get("/remote-batches", responses=answers(RemoteBatchesView, 502))
async def remote_batches(services: ServicesDep, limit: Limit = 100) -> Response:
    """The batches that the API lists, the newest first, with the owner of each: "ours", "in_doubt" or "elsewhere"."""
    found: list[RemoteBatch] = []
    async with aclosing(services.remote_batches()) as listed:
        async for remote in listed:
            found.append(remote)
            if len(found) > limit:
                break
    return json_response(await services.reader.read(partial(_owned, found[:limit], len(found) > limit)))


def _owned(remotes: list[RemoteBatch], has_more: bool, reads: Reads) -> RemoteBatchesView:
    ours = reads.batches_by_remote([remote.id for remote in remotes])
    owned = {remote_id: (batch, reads.get(batch.job_id)) for remote_id, batch in ours.items()}
    doubts = reads.batches_page(limit=_MOST_IN_DOUBT, states=frozenset({BatchState.IN_DOUBT}))
    in_doubt = [(batch, reads.get(batch.job_id)) for batch in doubts]
    return RemoteBatchesView(
        batches=[RemoteBatchView.of(remote, owned.get(RemoteId(remote.id)), in_doubt) for remote in remotes],
        in_doubt=[BatchView.of(batch, job) for batch, job in in_doubt],
        has_more=has_more,
    )


@api.post("/batches/{remote_id}/adopt", responses=answers(DoneView, 404))
async def adopt(
    services: ServicesDep,
    remote_id: RemoteRef,
    job: Annotated[str | None, Query(description="The job whose requests a batch made elsewhere holds.")] = None,
) -> Response:
    """Declare a batch at the API ours: the candidate of one in doubt, or one made elsewhere."""
    chosen = None if job is None else (await services.reader.read(lambda reads: reads.sole(job))).id
    return json_response(DoneView(done=await services.commands.adopt(remote_id, chosen)))


@api.post("/batches/{remote_id}/disown", responses=answers(DoneView, 404))
async def disown(services: ServicesDep, remote_id: RemoteRef) -> Response:
    """Declare that a batch at the API is not ours."""
    return json_response(DoneView(done=await services.commands.disown(remote_id)))


ROUTERS = (api,)
