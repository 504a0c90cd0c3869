"""Routes of jobs: create, check, list, show, wait for a change, and control."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from fastapi import Depends, Header, Query, Request, Response

from orchestrator.domain import errors, ids, limits, model, queries, states
from orchestrator.domain.access import AccessRole
from orchestrator.domain.priming import CacheUse
from orchestrator.http_api import job_cache, responses, upload_memory
from orchestrator.http_api.api import job_upload, route_docs, routing
from orchestrator.http_api.services import Services
from orchestrator.ports import caller, engine, runtime, streams
from orchestrator.ports.reads import Reads
from orchestrator.views import check_report, cost_views, estimate_views, job_views, problem_details, source_codec
from orchestrator.views.retry_views import as_several

api = routing.router("jobs")

#: Upper bound of `wait`.
LONGEST_WAIT: Final = timedelta(seconds=60)
#: Problems listed when requests are added to an open job.
_LISTED: Final = 20


async def status_of(ref: routing.Ref, services: routing.ServicesDep) -> model.JobStatus:
    """Resolve the job in the path. Raises NoSuchThing."""
    return await services.reader.read(lambda reads: reads.status(reads.find(ref)))


JobDep = Annotated[model.JobStatus, Depends(status_of)]


async def status_of_one(ref: routing.Ref, services: routing.ServicesDep) -> model.JobStatus:
    """Resolve the job of a route that changes it. Raises NoSuchThing, GuardRefused for an ambiguous name."""
    return await services.reader.read(lambda reads: reads.status(reads.sole(ref)))


UniqueJobDep = Annotated[model.JobStatus, Depends(status_of_one)]


async def filter_of(
    state: Annotated[
        list[states.JobState] | None,
        Query(max_length=len(states.JobState), description="Only jobs in one of these states."),
    ] = None,
    tag: Annotated[list[str] | None, Query(max_length=20, description="Only jobs with all of these tags.")] = None,
    q: Annotated[str | None, Query(description="Only jobs with this in the name or the id.", max_length=200)] = None,
    by: Annotated[
        str | None, Query(description="Only jobs submitted with the token of this name.", max_length=64)
    ] = None,
    since: Annotated[
        str | None, Query(description="Only jobs made in the last `7d`, or since `2026-11-23` (UTC).", max_length=50)
    ] = None,
    until: Annotated[
        str | None, Query(description="Only jobs made up to that day, itself included.", max_length=50)
    ] = None,
) -> queries.JobFilter:
    """Which jobs a list is asked for."""
    today = datetime.now(UTC).date()
    return queries.JobFilter(
        states=frozenset(state or ()),
        tags=frozenset(tag or ()),
        text=q,
        submitted_by=by,
        since=cost_views.parse_since(since, today),
        until=cost_views.parse_since(until, today, called="until"),
    )


@api.get("/jobs", responses=route_docs.answers(job_views.JobsView))
async def jobs(
    services: routing.ServicesDep,
    where: Annotated[queries.JobFilter, Depends(filter_of)],
    cursor: routing.Cursor = None,
    limit: routing.Limit = 100,
) -> Response:
    """List jobs, the newest first."""
    read_page = partial(_page, where, queries.decode_cursor(cursor), limit)
    return routing.json_response(await services.reader.read(read_page))


def _page(where: queries.JobFilter, before: int | None, limit: int, reads: Reads) -> job_views.JobsView:
    found = reads.jobs(limit=limit + 1, before=None if before is None else ids.JobId(before), where=where)
    page, more = routing.cut_page(found, limit, lambda job: job.id)
    return job_views.JobsView(jobs=[job_views.JobView.of(reads.status(job)) for job in page], next=more)


@api.post(
    "/jobs",
    status_code=HTTPStatus.CREATED,
    responses={
        **route_docs.answers(job_views.IngestResultView, status=HTTPStatus.CREATED),
        **route_docs.answers(
            job_views.IngestResultView, 409, 413, 415, 422, 507, what="The same content is a job already: this is it."
        ),
    },
    openapi_extra=route_docs.JOB_BODY,
)
async def take_in(
    request: Request,
    services: routing.ServicesDep,
    options: Annotated[job_upload.UploadOptions, Query()],
    idempotency_key: Annotated[
        str | None, Header(description="Your own name of this hand-over: again with the same content, the same job.")
    ] = None,
) -> Response:
    """Create a job from the body, all of it or nothing; or return the job that has the same content.

    Its cap becomes `max_cost`, if that is given: if a lower one had stopped it, it goes on.
    """
    upload = await job_upload.parse_upload(request, services, options, key=idempotency_key)
    taken = await services.commands.ingest(upload.source, upload.new, upload.terms)
    if taken.job is None:
        return responses.input_refused(taken)
    view = job_views.IngestResultView.of(await _view(services, taken.job), taken)
    place = {"location": f"{routing.PREFIX}/jobs/{taken.job.public_id}"}
    return routing.json_response(view, HTTPStatus.OK if taken.attached else HTTPStatus.CREATED, headers=place)


@api.post("/check", responses=route_docs.answers(job_views.CheckView, 413, 415, 422), openapi_extra=route_docs.JOB_BODY)
async def check(
    request: Request, services: routing.ServicesDep, options: Annotated[job_upload.UploadOptions, Query()]
) -> Response:
    """Check a body, and show the batches it would make; nothing is stored or sent."""
    upload = await job_upload.parse_upload(request, services, options)
    new = upload.new
    use = CacheUse(new.cache or services.settings.cache.mode)
    plan = await check_report.check_source(
        streams.UnmarkedSource(upload.source) if use is CacheUse.AUTO else upload.source,
        services.caps,
        max_problems=upload.terms.max_problems,
        use=use,
        rates=lambda models: runtime.rates_now(services.prices, models, services.clock.now()),
    )
    return routing.json_response(
        job_views.CheckView.of(upload.source.name, plan, new, sandbox=services.identity.sandbox)
    )


@api.post(
    "/estimate",
    responses=route_docs.answers(estimate_views.EstimateView, 413, 415, 422),
    openapi_extra=route_docs.JOB_BODY,
)
async def estimate(
    request: Request, services: routing.ServicesDep, options: Annotated[job_upload.EstimateOptions, Query()]
) -> Response:
    """Say what a body will take and cost; nothing is stored, and no batch is made."""
    upload = await job_upload.parse_upload(request, services, options)
    found = await services.estimates.estimate(upload.source, upload.new, upload.terms, options.count)
    if found.estimate is None:
        return responses.input_refused(found)
    return routing.json_response(estimate_views.EstimateView.of(found.estimate))


@api.get(
    "/jobs/{ref}",
    responses={
        **route_docs.answers(job_views.JobView),
        304: {"description": "It did not change."},
        **route_docs.error_responses(404),
    },
)
async def job(
    request: Request,
    services: routing.ServicesDep,
    ref: routing.Ref,
    wait: Annotated[str | None, Query(max_length=30, description="Answer when it changes, 60s at most.")] = None,
    if_none_match: Annotated[str | None, Header(description="`ETag` of the answer that you have.")] = None,
) -> Response:
    """One job. With `wait`, answers when the job differs from `If-None-Match`, or from its state now."""
    longest = routing.parse_wait(wait, longest=LONGEST_WAIT)
    found = await services.job_cache.get(ref)
    had = {found.tag} if if_none_match is None else parse_etags(if_none_match)
    if longest and found.tag in had:
        found = await _wait_for_change(request, services, found.public_id, had, longest)
    headers = {"etag": found.tag}
    if if_none_match is not None and found.tag in had:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.body, headers={**headers, "cache-control": "no-cache"}, media_type="application/json")


@api.post(
    "/jobs/{ref}/requests",
    responses=route_docs.answers(job_views.AddedView, 404, 413, 415, 422, 507),
    openapi_extra=route_docs.LINES_BODY,
)
async def add(request: Request, services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Add requests to an open job: all of the body, or nothing."""
    job = found.job
    source = job_upload.lines_source(request, services, name=job.name, api_version=job.api_version)
    added, wrong = await _read_all(source, upload_memory.claim_of(request))
    if wrong:
        return responses.input_refused(engine.IngestResult.refusal(wrong, fit=len(added), most=_LISTED))
    await services.commands.add(job.id, source_codec.number_lines(added, above=job.requests.total))
    return routing.json_response(job_views.AddedView(added=len(added), job=await _view(services, job)))


@api.post("/jobs/{ref}/close", responses=route_docs.answers(job_views.JobView, 404))
async def close(services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Close an open job: no more requests will come, and it may finish."""
    await services.commands.close(found.job.id)
    return routing.json_response(await _view(services, found.job))


@api.post("/jobs/{ref}/pause", responses=route_docs.answers(job_views.JobView, 404))
async def pause(services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Pause a job: nothing new is sent; what is at the API goes on."""
    return await _after_command(services, found.job, "pause", done=await services.commands.pause(found.job.id))


@api.post("/jobs/{ref}/resume", responses=route_docs.answers(job_views.JobView, 404))
async def resume(services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Resume a paused job."""
    return await _after_command(services, found.job, "resume", done=await services.commands.resume(found.job.id))


@api.post("/jobs/{ref}/cancel", responses=route_docs.answers(job_views.JobView, 404))
async def cancel(services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Cancel a job; what has succeeded is kept."""
    return await _after_command(services, found.job, "cancel", done=await services.commands.cancel(found.job.id))


@api.post(
    "/jobs/{ref}/retry",
    responses=route_docs.answers(job_views.QueuedView, 404, 413, 415, 422),
    openapi_extra=route_docs.RETRY_BODY,
)
async def retry(
    request: Request,
    services: routing.ServicesDep,
    found: UniqueJobDep,
    only: Annotated[
        str | None, Query(description="Only these: an error type, or a stop reason.", max_length=200)
    ] = None,
    error_cause: Annotated[
        str | None, Query(description="Only failures of this `cause`, as `errors` gives it.", max_length=1000)
    ] = None,
) -> Response:
    """Queue failed and canceled requests again, or those that the body says, with other params if it says so."""
    told = await job_upload.parse_retry_body(request)
    types, causes = told.types or as_several(only), told.causes or as_several(error_cause)
    queued = await services.commands.retry(found.job.id, types, told.change, causes)
    return routing.json_response(job_views.QueuedView(queued=queued, job=await _view(services, found.job)))


@api.post("/jobs/{ref}/reprice", responses=route_docs.answers(job_views.RepricedView, 404))
async def reprice(services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Price the answers of a job whose cost is not known, by the prices that the daemon knows now."""
    priced = await services.commands.reprice(found.job.id)
    return routing.json_response(job_views.RepricedView(priced=priced, job=await _view(services, found.job)))


@api.patch(
    "/jobs/{ref}",
    responses=route_docs.answers(job_views.JobView, 404, 413, 415),
    openapi_extra=route_docs.amount_body("max_cost"),
)
async def cap(request: Request, services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Set the most that a job may cost, or take the cap away. If a cap had stopped it, it goes on."""
    await services.commands.cap_job(found.job.id, await job_upload.parse_amount_body(request, "max_cost"))
    return routing.json_response(await _view(services, found.job))


@api.delete("/jobs/{ref}", responses=route_docs.answers(job_views.PurgedView, 404))
async def purge(services: routing.ServicesDep, found: UniqueJobDep) -> Response:
    """Purge a job that is over: delete its prompts and results; all else stays."""
    purged = await services.commands.purge(found.job.id)
    return routing.json_response(job_views.PurgedView(purged=purged, job=await _view(services, found.job)))


@api.post("/prune", responses=route_docs.answers(job_views.PrunedView))
async def prune(
    services: routing.ServicesDep,
    older_than: Annotated[str, Query(description='A duration such as "90d" or "12h".', max_length=50)],
) -> Response:
    """Purge every job that has been over for that long."""
    pruned = await services.commands.purge_older(routing.parse_duration_param(older_than, "older_than"))
    return routing.json_response(job_views.PrunedView(pruned=[job.public_id for job in pruned]))


async def _after_command(services: Services, job: model.JobSnapshot, verb: str, *, done: bool) -> Response:
    if done:
        return routing.json_response(await _view(services, job))
    now = await services.reader.read(lambda reads: reads.get(job.id))
    refusal = problem_details.problem_of(job_views.does_not_apply(verb, now))
    return responses.problem(msgspec.structs.replace(refusal, type=problem_details.DOES_NOT_APPLY))


async def _view(services: Services, job: model.JobSnapshot) -> job_views.JobView:
    return job_views.JobView.of(await services.reader.read(lambda reads: reads.status(reads.get(job.id))))


async def _read_all(
    source: streams.Source, claim: runtime.MemoryReservation
) -> tuple[list[streams.InputLine], list[streams.InputProblem]]:
    """All requests and problems of *source*; held in memory, since it is stored whole or not at all."""
    good: list[streams.InputLine] = []
    wrong: list[streams.InputProblem] = []
    held = 0
    async with aclosing(source.chunks()) as chunks:
        async for chunk in chunks:
            good += [item for item in chunk if isinstance(item, streams.InputLine)]
            wrong += [item for item in chunk if isinstance(item, streams.InputProblem)]
            held += sum(len(item.params) + len(item.row) for item in chunk if isinstance(item, streams.InputLine))
            if held > limits.API_MAX_BYTES:
                raise errors.InputError("that is too much at once", hint="add the requests in several steps")
            await claim.hold(held)
    return good, wrong


def parse_etags(header: str) -> set[str]:
    """The tags in an `If-None-Match` header; a weak tag counts as the strong one."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


async def _wait_for_change(
    request: Request, services: Services, ref: str, had: set[str], longest: timedelta
) -> job_cache.CachedJob:
    """Wait until the tag of the job is none of *had*, at most *longest*; ends early if the engine or client stops.

    Raises RoleRefused if the client is not let in any more.
    """
    loop = asyncio.get_running_loop()
    now = loop.time()
    ends_at = now + longest.total_seconds()
    while True:
        cached = await services.job_cache.get(ref, since=now)
        left_s = ends_at - loop.time()
        if cached.tag not in had or left_s <= 0 or services.feed.is_over or await request.is_disconnected():
            return cached
        await services.feed.change(timedelta(seconds=left_s))
        caller.check_role(AccessRole.READ)
        now = loop.time()


ROUTERS = (api,)
