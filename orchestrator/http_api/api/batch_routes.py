"""Routes of batches: ours, and the API's list with the owner of each."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import Path, Query, Response

from orchestrator.domain import api_answers, ids, queries, states
from orchestrator.http_api.api import job_routes, route_docs, routing
from orchestrator.ports.reads import Reads
from orchestrator.views import batch_views, job_views

api = routing.router("batches")

States = Annotated[
    list[states.BatchState] | None, Query(alias="state", description="Only batches in one of these states.")
]
RemoteRef = Annotated[str, Path(description="A batch at the API, `msgbatch_…`.")]
#: Batches in doubt that are listed; nobody looks through more.
_MOST_IN_DOUBT = 1000


@api.get("/batches", responses=route_docs.answers(batch_views.BatchesView))
async def batches(
    services: routing.ServicesDep, wanted: States = None, cursor: routing.Cursor = None, limit: routing.Limit = 100
) -> Response:
    """The batches of every job, the newest first."""
    return routing.json_response(
        await services.reader.read(partial(_page, None, wanted, queries.decode_cursor(cursor), limit))
    )


@api.get("/jobs/{ref}/batches", responses=route_docs.answers(batch_views.BatchesView, 404))
async def of_job(
    services: routing.ServicesDep,
    found: job_routes.JobDep,
    wanted: States = None,
    cursor: routing.Cursor = None,
    limit: routing.Limit = 100,
) -> Response:
    """The batches of one job, the newest first."""
    return routing.json_response(
        await services.reader.read(partial(_page, found.job.id, wanted, queries.decode_cursor(cursor), limit))
    )


def _page(
    job: ids.JobId | None, wanted: list[states.BatchState] | None, before: int | None, limit: int, reads: Reads
) -> batch_views.BatchesView:
    below = None if before is None else ids.BatchId(before)
    found = reads.batches_page(limit=limit + 1, before=below, states=frozenset(wanted or ()), job=job)
    page, more = routing.cut_page(found, limit, lambda batch: batch.id)
    return batch_views.BatchesView(
        batches=[batch_views.BatchView.of(batch, reads.get(batch.job_id)) for batch in page], next=more
    )


@api.get("/batches/{ref}", responses=route_docs.answers(batch_views.BatchInFullView, 404))
async def batch(
    services: routing.ServicesDep,
    ref: Annotated[str, Path(description="Our number of a batch, or the API's id of it.")],
) -> Response:
    """One batch of ours; while it is in doubt, with the batches at the API that it may be."""

    def look(reads: Reads) -> batch_views.BatchInFullView:
        found = reads.batch(ref)
        return batch_views.BatchInFullView.with_candidates(found, reads.get(found.job_id), reads.candidates(found.id))

    return routing.json_response(await services.reader.read(look))


@api.get("/remote-batches", responses=route_docs.answers(batch_views.RemoteBatchesView, 502))
async def remote_batches(services: routing.ServicesDep, limit: routing.Limit = 100) -> Response:
    """The batches that the API lists, the newest first, with the owner of each: "ours", "in_doubt" or "elsewhere"."""
    found: list[api_answers.RemoteBatch] = []
    async with aclosing(services.remote_batches()) as listed:
        async for remote in listed:
            found.append(remote)
            if len(found) > limit:
                break
    return routing.json_response(await services.reader.read(partial(_owned, found[:limit], len(found) > limit)))


def _owned(remotes: list[api_answers.RemoteBatch], has_more: bool, reads: Reads) -> batch_views.RemoteBatchesView:
    ours = reads.batches_by_remote([remote.id for remote in remotes])
    owned = {remote_id: (batch, reads.get(batch.job_id)) for remote_id, batch in ours.items()}
    doubts = reads.batches_page(limit=_MOST_IN_DOUBT, states=frozenset({states.BatchState.IN_DOUBT}))
    in_doubt = [(batch, reads.get(batch.job_id)) for batch in doubts]
    return batch_views.RemoteBatchesView(
        batches=[
            batch_views.RemoteBatchView.of(remote, owned.get(ids.RemoteId(remote.id)), in_doubt) for remote in remotes
        ],
        in_doubt=[batch_views.BatchView.of(batch, job) for batch, job in in_doubt],
        has_more=has_more,
    )


@api.post("/batches/{remote_id}/adopt", responses=route_docs.answers(job_views.DoneView, 404))
async def adopt(
    services: routing.ServicesDep,
    remote_id: RemoteRef,
    job: Annotated[str | None, Query(description="The job whose requests a batch made elsewhere holds.")] = None,
) -> Response:
    """Declare a batch at the API ours: the candidate of one in doubt, or one made elsewhere."""
    chosen = None if job is None else (await services.reader.read(lambda reads: reads.sole(job))).id
    return routing.json_response(job_views.DoneView(done=await services.commands.adopt(remote_id, chosen)))


@api.post("/batches/{remote_id}/disown", responses=route_docs.answers(job_views.DoneView, 404))
async def disown(services: routing.ServicesDep, remote_id: RemoteRef) -> Response:
    """Declare that a batch at the API is not ours."""
    return routing.json_response(job_views.DoneView(done=await services.commands.disown(remote_id)))


ROUTERS = (api,)
