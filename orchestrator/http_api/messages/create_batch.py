"""Create: a body of any size becomes a job, exactly once, however often the client retries the same create.

`BodySource` is the body as a `Source`: its requests as they arrive, or the API's error for the whole body.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, Request

from orchestrator.domain import batches_api, create_body, job_spec, limits, model
from orchestrator.domain.priming import CacheUse
from orchestrator.http_api.api.job_upload import body_blocks
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports import engine, runtime, streams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from orchestrator.http_api.services import Services

SOURCE: Final = "<messages api>"
#: The SDK tries a create three times, and waits 600 s for each answer; then an upload has to fit in, too.
_RETRIED_WITHIN: Final = timedelta(hours=2)
#: Every problem is counted, and the first is told; a new job in any case, for two creates are two batches.
_TERMS: Final = engine.IngestOptions(force_new=True, max_problems=1)
#: A create that is sent again is the one before, if that one was stored: by this daemon, or another on the same store.
_RETRY_TERMS: Final = replace(_TERMS, repeats_within=_RETRIED_WITHIN)
#: A 404 makes the sender pause for its API's address: a 400 would make it look for a request to blame, a 409 try again.
_COMES_BACK: Final = (
    f"This batch comes back to the daemon that it was sent from ({batches_api.LOOP_HEADER}): ANTHROPIC_BASE_URL, or "
    "[api] base_url, of one of the daemons on its way must name the API itself."
)


class BatchCreator:
    """Ingests creates. The store takes one after the other in, so that a retry meets the job of the attempt before."""

    def __init__(self, services: Services) -> None:
        self._commands = services.commands
        self._largest = limits.largest_params(services.caps.size_bytes)
        self._passed = services.passed
        self._settings = services.settings_in_force  # `cache.mode` may change while it runs

    async def create(self, request: Request) -> model.JobSnapshot:
        """The job of the body of *request*. Raises ApiError as the API would, KeyReused, ClientDisconnect."""
        try:
            new = self._admit(request)
        except batches_api.ApiError:
            async for _ in body_blocks(request):  # a sender that finds the connection closed cannot read why
                pass
            raise
        source = BodySource(
            body_blocks(request),
            name=SOURCE,
            largest_params=self._largest,
            claim=claim_of(request),
            at_end=partial(_check_client, request),
        )
        terms = _RETRY_TERMS if new.key is None and _is_retry(request) else _TERMS
        taken = await self._commands.ingest(source, new, terms)
        if taken.job is None:
            raise _refusal_of(taken, source)
        return taken.job

    def _admit(self, request: Request) -> job_spec.NewJob:
        """The job that the headers describe. Raises ApiError."""
        if not self._passed.take(",".join(request.headers.getlist(batches_api.LOOP_HEADER))):
            raise batches_api.not_found(_COMES_BACK)
        # What the caller wrote is what the API gets: no marker is added, and its own are welcome.
        is_off = self._settings().cache.mode == CacheUse.OFF
        return _new_job(request, CacheUse.OFF if is_off else CacheUse.PRIME)


async def _check_client(request: Request) -> None:
    """Raise ClientDisconnect if the client has gone: it retries or gives up.

    A late attempt could become a second job beside its own retry's.
    """
    if await request.is_disconnected():
        raise ClientDisconnect


def _new_job(request: Request, cache: CacheUse) -> job_spec.NewJob:
    headers = request.headers
    betas = {name.strip() for line in headers.getlist("anthropic-beta") for name in line.split(",")} - {""}
    for beta in sorted(betas):
        if not job_spec.OPTIONS["betas"].is_valid([beta]):
            raise batches_api.invalid_request(f"Unexpected value(s) `{beta[:64]}` for the `anthropic-beta` header.")
    key = headers.get("idempotency-key")
    if key is not None and not job_spec.OPTIONS["key"].is_valid(key):
        raise batches_api.invalid_request("idempotency-key: 1 to 255 printable ASCII characters are expected")
    most = headers.get("x-orchestrator-max-cost")
    if most is not None and not job_spec.OPTIONS["max_cost"].is_valid(most):
        raise batches_api.invalid_request(f"x-orchestrator-max-cost: {job_spec.OPTIONS['max_cost'].rule}")
    return job_spec.JobOptions(betas=betas, key=key, max_cost=most, cache=cache.value).new_job(
        SOURCE,
        default_name=f"sdk-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        default_version=batches_api.known_version(headers.get("anthropic-version")),
    )


def _is_retry(request: Request) -> bool:
    """The SDK counts its retries in a header; nothing else tells them from a second create."""
    count = request.headers.get("x-stainless-retry-count", "0")
    return count.isascii() and count.isdigit() and int(count[:4]) > 0


def _refusal_of(taken: engine.IngestResult, source: BodySource) -> batches_api.ApiError:
    repeated = repeated_id(taken.problems[0]) if taken.problems else None
    if repeated is not None:
        return batches_api.duplicate_id(repeated)
    return batches_api.ApiError(500, "api_error", "Internal server error") if source.refusal is None else source.refusal


#: How much is read between two turns of the event loop.
_SLICE_BYTES: Final = 128 * 1024
#: Around the params of one request there may be whitespace, and a piece of the next.
_FRAME_BYTES: Final = 1 << 20
_ID_IN_RAW: Final = re.compile(rb'\{"custom_id":"([a-zA-Z0-9_-]+)"')


class BodySource:
    """A `Source` from a body that arrives in *blocks*; holds at most one request and one block, accounted to *claim*.

    *largest_params*: the cap of one request. *at_end* is called at the end of a valid body; what it raises, nothing of
    the body is stored after.
    """

    def __init__(
        self,
        blocks: AsyncIterator[bytes],
        *,
        name: str,
        largest_params: int,
        claim: runtime.MemoryReservation,
        at_end: Callable[[], Awaitable[None]],
    ) -> None:
        self.refusal: batches_api.ApiError | None = None
        self.size_bytes = 0
        self._blocks = blocks
        self._name = name
        self._largest = largest_params
        self._claim = claim
        self._at_end = at_end
        self._reader = create_body.BodyReader(
            max_requests=None, max_bytes=None, max_held=largest_params + _FRAME_BYTES, remembers_ids=False
        )
        self._digest = hashlib.sha256()
        self._given = 0
        self._ended = False
        self._chunker = streams.Chunker()
        self._refused_at = 0

    @property
    def name(self) -> str:
        """Never shown here."""
        return self._name

    @property
    def content_hash(self) -> str:
        """SHA-256 of the body. Raises RuntimeError before its end."""
        if not self._ended:
            raise RuntimeError("the body was not read to its end")
        return self._digest.hexdigest()

    async def chunks(self) -> AsyncGenerator[Sequence[streams.InputLine | streams.InputProblem], None]:
        """The requests in order; at the end one problem if the body is refused."""
        async for block in self._blocks:
            for start in range(0, len(block), _SLICE_BYTES):
                piece = block[start : start + _SLICE_BYTES]
                self._digest.update(piece)
                self.size_bytes += len(piece)
                for full in self._gather(self._reader.feed(piece)):
                    yield full
                await self._claim.hold(self._chunker.held.with_line(self._reader.held_bytes))
                await asyncio.sleep(0)
        for last in self._finish():
            yield last
        if self.refusal is None:
            await self._at_end()

    def _finish(self) -> Iterator[list[streams.InputLine | streams.InputProblem]]:
        try:
            yield from self._gather(self._reader.finish())
        except batches_api.ApiError as refusal:
            self._refuse(refusal, line=0 if self._reader.is_broken else self._given + 1)
        self._ended = True
        last: list[streams.InputLine | streams.InputProblem] = self._chunker.take()
        if self.refusal is not None:
            last.append(_problem(self._refused_at))
        if last:
            yield last

    def _gather(self, items: Iterator[create_body.Item]) -> Iterator[list[streams.InputLine | streams.InputProblem]]:
        """Full chunks of *items*; the rest waits for more."""
        for item in items:
            params = bytes(item.params)
            if len(params) > self._largest:
                self._refuse(batches_api.too_large(), line=0)
            if self.refusal is not None:
                continue
            self._given += 1
            if full := self._chunker.add(streams.InputLine(self._given, item.custom_id, params)):
                yield full

    def _refuse(self, refusal: batches_api.ApiError, *, line: int) -> None:
        """The first refusal counts; the rest of the body is read and discarded, as the API does."""
        if self.refusal is None:
            self.refusal, self._refused_at = refusal, line


def repeated_id(problem: streams.InputProblem) -> str | None:
    """The custom_id that *problem* reports as repeated, from the request it shows; None for another problem."""
    found = _ID_IN_RAW.match(problem.raw)
    return None if found is None else found[1].decode()


def _problem(line: int) -> streams.InputProblem:
    """Makes the engine refuse the whole body. The client is told `refusal`, in the API's words."""
    return streams.InputProblem(line=line, field="", message="the create is refused", remedy="", raw=b"")
