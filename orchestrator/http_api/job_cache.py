"""A short-lived cache of job JSON: clients that poll the same job at the same time share one read of the store.

A cached job is at most a tenth of a second old, and never older than the last change made over HTTP, or, where several
daemons share the store, than the last change of another that was heard of.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.domain import errors, model
from orchestrator.views.job_views import JobView

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from orchestrator.ports.reads import Reader, Reads

_HELD_S: Final = 0.1
#: Names that nobody asks for again go when there are so many.
_MOST: Final = 1000
_SAFE: Final = frozenset({"GET", "HEAD"})
_JOBS: Final = "/api/v1/jobs/"
_HEADERS: Final = ((b"cache-control", b"no-cache"), (b"content-type", b"application/json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedJob:
    """A job as JSON, with a strong ETag that changes exactly when the JSON does."""

    public_id: str
    body: bytes
    tag: str


class JobCache:
    """Reads jobs through *reader*. latest: another object after every move that was heard of."""

    def __init__(self, reader: Reader, latest: Callable[[], object] = lambda: None) -> None:
        self._reader = reader
        self._latest = latest
        self._seen = latest()
        self._held: dict[str, tuple[float, asyncio.Future[CachedJob]]] = {}

    async def get(self, ref: str, *, since: float = 0.0) -> CachedJob:
        """The job that *ref* means, as it was at *since* (the loop's time) or later. Raises NoSuchThing."""
        self._look_for_moves()
        now = asyncio.get_running_loop().time()
        held = self._held.get(ref)
        if held is None or now - held[0] >= _HELD_S or held[0] < since:
            if len(self._held) >= _MOST:
                self._held.clear()
            held = self._held[ref] = (now, asyncio.ensure_future(self._reader.read(partial(_read, ref))))
            held[1].add_done_callback(_retrieve_error)
        return await asyncio.shield(held[1])

    def _look_for_moves(self) -> None:
        if (latest := self._latest()) is not self._seen:
            self._seen = latest
            self.invalidate()

    def invalidate(self) -> None:
        """Something changed: everybody who asks from now on sees it."""
        self._held.clear()


def _read(ref: str, reads: Reads) -> CachedJob:
    return cached_job(reads.status(reads.find(ref)))


def cached_job(status: model.JobStatus) -> CachedJob:
    """*status* as JSON, with its ETag."""
    body = msgspec.json.encode(JobView.of(status))
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    return CachedJob(public_id=status.job.public_id, body=body, tag=tag)


def _retrieve_error(reading: asyncio.Future[CachedJob]) -> None:
    """All waiters may have been cancelled: retrieve the exception, or asyncio logs it as never retrieved."""
    if not reading.cancelled():
        reading.exception()


class InvalidateOnWrite:
    """Empties the cache before any response to a request that may have changed something."""

    def __init__(self, app: ASGIApp, job_cache: JobCache) -> None:
        self._app = app
        self._cache = job_cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a response to a write empties the cache first."""
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return

        async def send_invalidating(message: Message) -> None:
            self._cache.invalidate()
            await send(message)

        await self._app(scope, receive, send_invalidating)


class FastJobRoute:
    """Answers the plain `GET` of one job itself: the same response for a third of the work.

    Hundreds of clients send it every second. Anything unusual (a query, a tag, a job that does not exist) goes to
    *app*: `job_routes.job` answers the rest; change both.
    """

    def __init__(self, app: ASGIApp, job_cache: JobCache) -> None:
        self._app = app
        self._cache = job_cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from the cache if possible, else pass the request on."""
        ref = _plain_job_ref(scope)
        try:
            found = None if ref is None else await self._cache.get(ref)
        except errors.NoSuchThing:
            found = None
        if found is None:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(found.body)), *_HEADERS, (b"etag", found.tag.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})


def _plain_job_ref(scope: Scope) -> str | None:
    """The job of a plain `GET /api/v1/jobs/{ref}`; None for any other request."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return None
    path: str = scope["path"]
    ref = path.removeprefix(_JOBS)
    if (
        ref == path
        or not ref
        or "/" in ref
        or "%" in ref
        or any(name == b"if-none-match" for name, _ in scope["headers"])
    ):
        return None
    return ref
