"""The engine in another process, asked over HTTP: that of this machine's store, or that of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from orchestrator.client.errors import DoesNotApplyError, RefusedError
from orchestrator.client.transport import CONNECT_TIMEOUT_S, cause_of
from orchestrator.config import format_duration
from orchestrator.ports.engine import IngestOptions, IngestResult
from orchestrator.ports.streams import InputLine, Source
from orchestrator.views import source_codec
from orchestrator.views.source_codec import NOTHING

if TYPE_CHECKING:
    from datetime import timedelta

    import httpx2

    from orchestrator.client.transport import Transport
    from orchestrator.domain.ids import JobId
    from orchestrator.domain.job_spec import NewJob
    from orchestrator.domain.model import Job
    from orchestrator.ports.reads import RemoteReader


class RemoteEngine:
    """See `ports.engine.Commands` and `Growing`. Open it with `async with`; it fails then only where it is used."""

    def __init__(self, transport: Transport, reader: RemoteReader) -> None:
        self._transport = transport
        self.reader = reader
        self._client: httpx2.AsyncClient | None = None
        self.health = RemoteHealth()

    async def __aenter__(self) -> Self:
        self._client = self._transport.client()
        return self

    async def __aexit__(
        self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def identity(self) -> Mapping[str, Any]:
        """Who answers: version, pid, db, sandbox, lineage. Raises `transport.unavailable` after `CONNECT_TIMEOUT_S`."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._get("version")
        except TimeoutError:
            raise self._transport.unavailable(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None

    async def refresh_health(self) -> None:
        """Note what the engine knows of the API. Raises the same."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self.health.note(await self._get("health"))
        except TimeoutError:
            raise self._transport.unavailable(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None

    async def ingest(self, source: Source, new: NewJob, terms: IngestOptions) -> IngestResult:
        """Hand a source over, as it is read; the engine takes it in whole, or nothing of it."""
        try:
            answer = await self._post(
                "jobs",
                _job_query(source, new, terms),
                content=keep_alive(source_codec.encoded(source)),
                timeout=self._ingest_timeout(),
            )
        except RefusedError as exc:
            return exc.taken
        public_id: str = answer["job"]["id"]
        job = await self.reader.read(lambda reads: reads.find(public_id))
        return IngestResult(
            job=job,
            attached=answer["attached"],
            problems=(),
            problem_count=0,
            refused=answer["refused"],
            renamed_from=answer.get("renamed_from"),
        )

    async def pause(self, job: JobId) -> bool:
        """Send nothing new."""
        return await self._move(job, "pause")

    async def resume(self, job: JobId) -> bool:
        """Go on."""
        return await self._move(job, "resume")

    async def cancel(self, job: JobId) -> bool:
        """Stop a job."""
        return await self._move(job, "cancel")

    async def retry(self, job: JobId, only: str | None) -> int:
        """Queue failed and canceled requests again."""
        query = {} if only is None else {"only": only}
        queued: int = (await self._post(f"{await self._job(job)}/retry", query))["queued"]
        return queued

    async def purge(self, job: JobId) -> bool:
        """Delete what was handed in and what was answered."""
        answer = await self._call("DELETE", await self._job(job), timeout=self._ingest_timeout())
        return bool(answer["purged"])

    async def purge_older(self, older_than: timedelta) -> list[Job]:
        """Purge every job that has been over for so long."""
        answer = await self._post("prune", {"older_than": format_duration(older_than)}, timeout=self._ingest_timeout())
        ids: list[str] = answer["pruned"]
        return await self.reader.read(lambda reads: [reads.find(public_id) for public_id in ids])

    async def adopt(self, remote_id: str, job: JobId | None) -> str:
        """Take a remote batch for ours."""
        query = {} if job is None else {"job": await self._public_id(job)}
        return str((await self._post(f"batches/{quote(remote_id, safe='')}/adopt", query))["done"])

    async def disown(self, remote_id: str) -> str:
        """Say that a candidate is not ours."""
        return str((await self._post(f"batches/{quote(remote_id, safe='')}/disown"))["done"])

    async def test_notice(self, url: str | None) -> list[int]:
        """Send a test to the endpoint *url*, or to each."""
        sent: list[int] = (await self._post("webhooks/test", {} if url is None else {"url": url}))["sent"]
        return sent

    async def replay_notice(self, delivery: int) -> None:
        """Send a notice that is over again."""
        await self._post(f"webhooks/deliveries/{delivery}/replay")

    async def add(self, job: JobId, lines_: Sequence[InputLine]) -> None:
        """Add requests to an open job."""
        await self._post(f"{await self._job(job)}/requests", content=source_codec.encoded_whole(lines_))

    async def close(self, job: JobId) -> None:
        """No more will come."""
        await self._post(f"{await self._job(job)}/close")

    async def _move(self, job: JobId, verb: str) -> bool:
        try:
            await self._post(f"{await self._job(job)}/{verb}")
        except DoesNotApplyError:
            return False
        return True

    async def _public_id(self, job: JobId) -> str:
        return (await self.reader.read(lambda reads: reads.get(job))).public_id

    async def _job(self, job: JobId) -> str:
        return f"jobs/{quote(await self._public_id(job), safe='')}"

    def _ingest_timeout(self) -> httpx2.Timeout:
        """For calls whose pace is that of a source or a disk."""
        import httpx2

        return httpx2.Timeout(self._transport.ingest_timeout_s, connect=CONNECT_TIMEOUT_S)

    async def _get(self, path: str) -> Mapping[str, Any]:
        return await self._call("GET", path)

    async def _post(
        self,
        path: str,
        query: Mapping[str, str | list[str]] | None = None,
        *,
        content: bytes | AsyncIterator[bytes] = b"",
        timeout: httpx2.Timeout | None = None,  # noqa: ASYNC109 - the HTTP client's own, one for each of its steps
    ) -> Mapping[str, Any]:
        more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        headers = {"content-type": source_codec.CONTENT_TYPE}
        return await self._call("POST", path, params=query, content=content, headers=headers, **more)

    async def _call(self, method: str, path: str, **how: Any) -> Mapping[str, Any]:  # noqa: ANN401 - the client's own
        import httpx2

        if self._client is None or self._client.is_closed:
            raise self._transport.unavailable("the connection to it is closed")
        try:
            response = await self._client.request(method, path, **how)
        except httpx2.TransportError as exc:
            raise self._transport.unavailable(cause_of(exc)) from exc
        return self._transport.answer(response)


async def login_link(transport: Transport) -> tuple[str, str, int | None]:
    """A daemon's dashboard: its address, a path that opens it, and for how many seconds (None: for ever)."""
    import httpx2

    async with transport.client() as client:
        try:
            answer = transport.answer(await client.post("login"))
        except httpx2.TransportError as exc:
            raise transport.unavailable(cause_of(exc)) from exc
    return answer["url"], answer["path"], answer["expires_in_s"]


class RemoteHealth:
    """See `ports.engine.EngineHealth`: what the engine said last."""

    def __init__(self) -> None:
        self._worked = False
        self._trouble: str | None = None
        self._blocked = False

    @property
    def api_worked(self) -> bool:
        """Some API call got an answer since the start."""
        return self._worked

    @property
    def last_trouble(self) -> str | None:
        """Why the last API call failed; None if it worked."""
        return self._trouble

    @property
    def reads_blocked(self) -> bool:
        """The last read was refused for what only a person can mend."""
        return self._blocked

    def note(self, answer: Mapping[str, Any]) -> None:
        """Take over an answer of `GET /health`."""
        self._worked = bool(answer["api_worked"])
        self._trouble = answer["last_trouble"]
        self._blocked = bool(answer["reads_blocked"])


def _job_query(source: Source, new: NewJob, terms: IngestOptions) -> dict[str, str | list[str]]:
    query: dict[str, list[str]] = {}
    for param, text in new.items():
        query.setdefault(param if param != "name" or new.is_named else "default_name", []).append(text)
    return {
        **query,
        "source": new.source,
        "open": str(int(new.still_open)),
        "new": str(int(terms.force_new)),
        "skip_bad": str(int(terms.skip_bad)),
        "max_problems": str(terms.max_problems),
        "shown_as": source.name,
    }


#: The guard wants 1 KiB in every 10 s. Source: `http_api.guard.bodies.BodyLimits`.
KEEP_ALIVE_EVERY_S: Final = 3.0


async def keep_alive(
    pieces: AsyncGenerator[bytes, None], every_s: float = KEEP_ALIVE_EVERY_S
) -> AsyncGenerator[bytes, None]:
    """*pieces*, and a record that says nothing whenever the next one is not there within *every_s*.

    As with `engine.ahead`, one task runs *pieces* from its beginning to its close, and one piece is fetched ahead.
    """
    ready: asyncio.Queue[bytes | None] = asyncio.Queue()
    taken = asyncio.Semaphore(0)

    async def fetch() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    ready.put_nowait(piece)
                    await taken.acquire()
        finally:
            ready.put_nowait(None)

    fetching = asyncio.ensure_future(fetch())
    try:
        while (piece := await _next_or_filler(every_s, ready)) is not None:
            if piece is not NOTHING:
                taken.release()
            yield piece
        await fetching
    finally:
        fetching.cancel()
        await asyncio.wait({fetching})


async def _next_or_filler(seconds: float, ready: asyncio.Queue[bytes | None]) -> bytes | None:
    try:
        async with asyncio.timeout(seconds):
            return await ready.get()
    except TimeoutError:
        return NOTHING
