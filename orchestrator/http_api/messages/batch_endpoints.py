"""The six endpoints of the Message Batches API; results are streamed page by page, in input order."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response

from orchestrator.domain import batches_api, ids, model, queries, result_lines
from orchestrator.http_api import request_scope, responses
from orchestrator.http_api.messages import api_responses, batch_objects, create_batch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request

    from orchestrator.http_api.services import Services
    from orchestrator.ports.reads import Reader, Reads

#: What live captures (2026-09) show on a batch that still runs.
_PAUSE: Final = {"retry-after": "10"}
#: A longer page is not a quick look any more.
_QUICK: Final = 100


class BatchEndpoints:
    """One method per endpoint; each raises ApiError where the API would refuse."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._commands, self._reader = services.commands, services.reader
        self._ids = batch_objects.BatchIds(services.identity.lineage)
        self._creates = create_batch.BatchCreator(services)

    async def create(self, request: Request) -> Response:
        """`POST /v1/messages/batches`."""
        job = await self._creates.create(request)
        return api_responses.json_response(await self._view(request, job.id))

    async def retrieve(self, request: Request) -> Response:
        """`GET /v1/messages/batches/{id}`."""
        view = await self._view(request, (await self._job_of_path(request)).id)
        return api_responses.json_response(view, headers=None if view.processing_status == "ended" else _PAUSE)

    async def list(self, request: Request) -> Response:
        """`GET /v1/messages/batches`."""
        batches_api.known_version(request.headers.get("anthropic-version"))
        query = request.query_params
        before, after, limit = query.get("before_id"), query.get("after_id"), batches_api.page_limit(query.get("limit"))
        batches_api.check_page(before, after, limit)
        cut = _older_jobs if before is None else _newer_jobs
        cursor = after if before is None else before
        start = None if cursor is None else (self._job_of(cursor), cursor)
        context = partial(self._context, request)
        reader = self._reader if limit <= _QUICK else self._services.bulk
        return api_responses.json_response(
            await reader.read(lambda reads: _page(cut(start, limit, reads), reads, context))
        )

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/messages/batches/{id}/cancel`. Of a batch that has ended: the batch.

        Returns the batch as the cancel found it, but canceling: with nothing at the API it may have ended already.
        """
        job = await self._job_of_path(request)
        before = await self._view(request, job.id)
        if not await self._commands.cancel(job.id):
            return api_responses.json_response(await self._view(request, job.id))
        after = await self._view(request, job.id)
        canceling = msgspec.structs.replace(
            before, processing_status="canceling", cancel_initiated_at=after.cancel_initiated_at
        )
        return api_responses.json_response(canceling)

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/messages/batches/{id}`: requests and results are deleted."""
        job = await self._job_of_path(request)
        if not batch_objects.is_over(job):
            raise batches_api.delete_too_early()
        batch_id = self._ids.of(job.id)
        if not await self._commands.purge(job.id):
            raise batches_api.invalid_request(
                f"Message Batch {batch_id} is archived: there is nothing left of it to delete."
            )
        return api_responses.json_response(batches_api.DeletedBatch(batch_id))

    async def results(self, request: Request) -> Response:
        """`GET /v1/messages/batches/{id}/results`."""
        job = await self._job_of_path(request)
        if not batch_objects.has_results(job):
            raise batches_api.no_results(self._ids.of(job.id))
        return await results_response(request, self._services.bulk, job.id)

    async def _job_of_path(self, request: Request) -> model.JobSnapshot:
        """The job of the id in the path. Raises ApiError 404."""
        batches_api.known_version(request.headers.get("anthropic-version"))
        batch_id: str = request.path_params["batch_id"]
        return await self._reader.read(partial(_shown_job, (self._job_of(batch_id), batch_id)))

    def _job_of(self, batch_id: str) -> ids.JobId:
        job = self._ids.job(batch_id)
        if job is None:
            raise batches_api.batch_not_found(batch_id)
        return job

    async def _view(self, request: Request, job: ids.JobId) -> batches_api.MessageBatchObject:
        context = self._context(request, job)
        return await self._reader.read(lambda reads: batch_objects.batch_view(reads.get(job), reads, context))

    def _context(self, request: Request, job: ids.JobId) -> batch_objects.BatchContext:
        return batch_objects.BatchContext(
            batch_id=self._ids.of(job),
            base_url=request_scope.base_url_of(request),
            max_attempts=self._services.settings.retry.max_attempts,
            now=datetime.now(UTC),
        )


#: A job by its number and its public id.
_JobRef = tuple[ids.JobId, str]


def _shown_job(place: _JobRef, reads: Reads) -> model.JobSnapshot:
    found = reads.newer_jobs(ids.JobId(place[0] - 1), limit=1)
    if not found or found[0].id != place[0] or not batch_objects.is_shown(found[0]):
        raise batches_api.batch_not_found(place[1])
    return found[0]


def _older_jobs(after: _JobRef | None, limit: int, reads: Reads) -> tuple[list[model.JobRow], bool]:
    """The newest jobs older than *after*, and whether there are more."""
    found: list[model.JobRow] = []
    before = None if after is None else _shown_job(after, reads).id
    while page := reads.jobs(limit=limit + 1, before=before):
        found += filter(batch_objects.is_shown, page)
        if len(found) > limit:
            break
        before = page[-1].id
    return found[:limit], len(found) > limit


def _newer_jobs(before: _JobRef | None, limit: int, reads: Reads) -> tuple[list[model.JobRow], bool]:
    """The jobs just newer than *before*, newest first, and whether there are more in that direction."""
    found: list[model.JobRow] = []
    above = ids.JobId(0) if before is None else _shown_job(before, reads).id
    while page := reads.newer_jobs(above, limit=limit + 1):
        found += filter(batch_objects.is_shown, page)
        if len(found) > limit:
            break
        above = page[-1].id
    return found[:limit][::-1], len(found) > limit


def _page(
    cut: tuple[list[model.JobRow], bool], reads: Reads, context: Callable[[ids.JobId], batch_objects.BatchContext]
) -> batches_api.BatchListObject:
    jobs, more = cut
    views = [batch_objects.batch_view(job, reads, context(job.id)) for job in jobs]
    first, last = (views[0].id, views[-1].id) if views else (None, None)
    return batches_api.BatchListObject(data=views, has_more=more, first_id=first, last_id=last)


#: How many results are held at once: an answer may be hundreds of kilobytes long.
_PAGE: Final = 200


async def results_response(request: Request, reader: Reader, job: ids.JobId) -> Response:
    """All results of *job*, which is over. Raises Purged if they were deleted meanwhile."""
    first = await reader.read(partial(_results_page, job, 0))
    lines = _lines(reader, job, first)
    headers = {"vary": "accept-encoding"}
    if responses.takes_gzip(request.headers.get("accept-encoding", "")):
        lines = responses.gzipped(lines)
        headers["content-encoding"] = "gzip"
    return responses.CutStream(_closed_at_the_end(lines), media_type="application/x-jsonl", headers=headers)


async def _lines(reader: Reader, job: ids.JobId, page: list[queries.ResultRow]) -> AsyncGenerator[bytes, None]:
    """A page is read only when the one before is sent: a slow client holds one page in memory."""
    while page:
        yield result_lines.settled_lines(page)
        page = await reader.read(partial(_results_page, job, page[-1].number))


async def _closed_at_the_end(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


def _results_page(job: ids.JobId, above: int, reads: Reads) -> list[queries.ResultRow]:
    return reads.results(job, above=above, limit=_PAGE)
