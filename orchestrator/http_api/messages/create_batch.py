"""Create: a body of any size becomes a job, exactly once, however often the client retries the same create."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect

from orchestrator.domain import batches_api
from orchestrator.domain.job_spec import OPTIONS, JobOptions, NewJob
from orchestrator.domain.limits import largest_params
from orchestrator.domain.states import JobState
from orchestrator.http_api.api.job_upload import body_blocks
from orchestrator.http_api.messages.body_source import BodySource, repeated_id
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports.engine import IngestOptions

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.domain.model import JobSnapshot
    from orchestrator.http_api.services import Services
    from orchestrator.ports.engine import IngestResult
    from orchestrator.ports.reads import Reader, Reads

SOURCE: Final = "<messages api>"
#: The SDK tries a create three times, and waits 600 s for each answer; then an upload has to fit in, too.
_RETRIED_WITHIN: Final = timedelta(hours=2)
_JOBS_AT_ONCE: Final = 200
#: Every problem is counted, and the first is told; a new job in any case, for two creates are two batches.
_TERMS: Final = IngestOptions(force_new=True, max_problems=1)
#: A 404 makes the sender pause for its API's address: a 400 would make it look for a request to blame, a 409 try again.
_COMES_BACK: Final = (
    f"This batch comes back to the daemon that it was sent from ({batches_api.LOOP_HEADER}): ANTHROPIC_BASE_URL, or "
    "[api] base_url, of one of the daemons on its way must name the API itself."
)


class BatchCreator:
    """Ingests creates. They finish one after the other, so that a retry sees the job of the attempt before it."""

    def __init__(self, services: Services) -> None:
        self._commands = services.commands
        self._reader = services.reader
        self._largest = largest_params(services.caps.size_bytes)
        self._ending = asyncio.Lock()
        self._passed = services.passed

    async def create(self, request: Request) -> JobSnapshot:
        """The job of the body of *request*. Raises ApiError as the API would, KeyReused, ClientDisconnect."""
        try:
            new = self._admit(request)
        except batches_api.ApiError:
            async for _ in body_blocks(request):  # a sender that finds the connection closed cannot read why
                pass
            raise
        attempt = _CreateAttempt(request, new, self._reader, self._ending)
        source = BodySource(
            body_blocks(request),
            name=SOURCE,
            largest_params=self._largest,
            claim=claim_of(request),
            is_known=attempt.is_known,
        )
        try:
            taken = await self._commands.ingest(source, attempt.new, _TERMS)
        finally:
            attempt.close()
        job = attempt.found if taken.job is None else taken.job
        if job is None:
            raise _refusal_of(taken, source)
        return job

    def _admit(self, request: Request) -> NewJob:
        """The job that the headers describe. Raises ApiError."""
        if not self._passed.take(",".join(request.headers.getlist(batches_api.LOOP_HEADER))):
            raise batches_api.not_found(_COMES_BACK)
        return _new_job(request)


class _CreateAttempt:
    """One attempt of a create, from its first byte to its response."""

    def __init__(self, request: Request, new: NewJob, reader: Reader, ending: asyncio.Lock) -> None:
        self.new = new
        self.found: JobSnapshot | None = None
        self._request = request
        self._reader = reader
        self._ending = ending
        self._is_ending = False

    async def is_known(self, content_hash: str) -> bool:
        """True if an earlier attempt made this job; asked at the end of the body. No other create ends before `close`.

        If the client has gone, the create is dropped: it retries or gives up, and a late attempt could become a second
        job beside its own retry's.
        """
        await self._ending.acquire()
        self._is_ending = True
        if await self._request.is_disconnected():
            raise ClientDisconnect
        if self.new.key is None and _is_retry(self._request):
            since = datetime.now(UTC) - _RETRIED_WITHIN
            self.found = await self._reader.read(partial(_made_before, self.new, content_hash, since))
        return self.found is not None

    def close(self) -> None:
        """The create is stored, or never will be."""
        if self._is_ending:
            self._ending.release()


def _new_job(request: Request) -> NewJob:
    headers = request.headers
    betas = {name.strip() for line in headers.getlist("anthropic-beta") for name in line.split(",")} - {""}
    for beta in sorted(betas):
        if not OPTIONS["betas"].is_valid([beta]):
            raise batches_api.invalid_request(f"Unexpected value(s) `{beta[:64]}` for the `anthropic-beta` header.")
    key = headers.get("idempotency-key")
    if key is not None and not OPTIONS["key"].is_valid(key):
        raise batches_api.invalid_request("idempotency-key: 1 to 255 printable ASCII characters are expected")
    return JobOptions(betas=betas, key=key).new_job(
        SOURCE,
        default_name=f"sdk-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        default_version=batches_api.known_version(headers.get("anthropic-version")),
    )


def _is_retry(request: Request) -> bool:
    """The SDK counts its retries in a header; nothing else tells them from a second create."""
    count = request.headers.get("x-stainless-retry-count", "0")
    return count.isascii() and count.isdigit() and int(count[:4]) > 0


def _made_before(new: NewJob, content_hash: str, since: datetime, reads: Reads) -> JobSnapshot | None:
    """The newest job made here from the same body since *since*."""
    page = reads.jobs(limit=_JOBS_AT_ONCE)
    while page:
        for job in page:
            if job.created_at < since:
                return None
            if _is_same(job, new, content_hash):
                return job
        page = reads.jobs(limit=_JOBS_AT_ONCE, before=page[-1].id)
    return None


def _is_same(job: JobSnapshot, new: NewJob, content_hash: str) -> bool:
    made_here = job.source == SOURCE and job.state is not JobState.IMPORTING and job.purged_at is None
    sent = (job.content_hash, job.api_version, job.betas)
    return made_here and sent == (content_hash, new.api_version, new.betas)


def _refusal_of(taken: IngestResult, source: BodySource) -> batches_api.ApiError:
    """Why nothing was stored: the problem of the first request that has one."""
    repeated = repeated_id(taken.problems[0]) if taken.problems else None
    if repeated is not None:
        return batches_api.duplicate_id(repeated)
    return batches_api.ApiError(500, "api_error", "Internal server error") if source.refusal is None else source.refusal
