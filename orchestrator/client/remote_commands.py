"""An engine in another process, commanded over HTTP: through the socket beside a store, or at a server's address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import msgspec
from typing_extensions import override

from orchestrator.client.errors import DoesNotApplyError, RefusedError, RouteUnknown
from orchestrator.client.transport import CONNECT_TIMEOUT_S, Transport, cause_of
from orchestrator.config import format_duration
from orchestrator.domain import account, job_spec, model, money
from orchestrator.domain.param_change import NO_CHANGE, ParamChange
from orchestrator.engine.prefetch import prefetch
from orchestrator.ports import engine, estimates, streams
from orchestrator.views import source_codec
from orchestrator.views.estimate_views import EstimateView
from orchestrator.views.fleet_views import FleetAnswerView
from orchestrator.views.retry_views import RetryBody

if TYPE_CHECKING:
    from datetime import timedelta

    import httpx2

    from orchestrator.domain.budgets import Scope
    from orchestrator.domain.ids import JobId
    from orchestrator.ports.reads import RemoteReader


class RemoteEngine(engine.Commands, engine.OpenJobs, engine.NoticeCommands, estimates.Estimates):
    """The HTTP client of an engine.

    Open it with `async with`: nothing is sent before the first call, which is what fails.
    """

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
        """The answer of `GET /version`: version, pid, db, sandbox, lineage.

        Raises `transport.unavailable` after 5 s.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._get("version")
        except TimeoutError:
            raise self._transport.unavailable(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None

    async def refresh_health(self) -> None:
        """Update `health` from `GET /health`. Raises `transport.unavailable` after 5 s."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self.health.note(await self._get("health"))
        except TimeoutError:
            raise self._transport.unavailable(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None

    async def view_fleet(self) -> FleetAnswerView:
        """The daemons on its store: the answer of `GET /fleet`; none where it is of a version before fleets."""
        with suppress(RouteUnknown):
            return msgspec.convert(await self._get("fleet"), FleetAnswerView)
        return FleetAnswerView.of(None)

    @override
    async def ingest(
        self, source: streams.Source, new: job_spec.NewJob, terms: engine.IngestOptions
    ) -> engine.IngestResult:
        try:
            answer = await self._post(
                "jobs",
                _job_query(source, new, terms),
                content=keep_alive(_body(source, new)),
                timeout=self._ingest_timeout(),
            )
        except RefusedError as exc:
            return exc.taken
        public_id: str = answer["job"]["id"]
        job = await self.reader.read(lambda reads: reads.find(public_id))
        return engine.IngestResult(
            job=job,
            attached=answer["attached"],
            problems=(),
            problem_count=0,
            refused=answer["refused"],
            renamed_from=answer.get("renamed_from"),
            under_cap=answer.get("under_cap"),
            not_applied=answer.get("not_applied"),
            notices=streams.notices_of(source),
        )

    @override
    async def estimate(
        self, source: streams.Source, new: job_spec.NewJob, terms: engine.IngestOptions, mode: estimates.CountMode
    ) -> estimates.EstimateResult:
        query = {**_job_query(source, new, terms), "count": mode.value}
        content = keep_alive(_body(source, new))
        try:
            answer = await self._post("estimate", query, content=content, timeout=self._ingest_timeout())
        except RefusedError as exc:
            problems, count, fit = exc.taken.problems, exc.taken.problem_count, exc.taken.fit
            return estimates.EstimateResult(estimate=None, problems=problems, problem_count=count, fit=fit)
        view = msgspec.convert(answer, EstimateView)
        return estimates.EstimateResult(estimate=view.to_estimate(), problems=(), problem_count=0)

    @override
    async def pause(self, job: JobId) -> bool:
        return await self._move(job, "pause")

    @override
    async def resume(self, job: JobId) -> bool:
        return await self._move(job, "resume")

    @override
    async def cancel(self, job: JobId) -> bool:
        return await self._move(job, "cancel")

    @override
    async def retry(
        self, job: JobId, only: Collection[str], change: ParamChange = NO_CHANGE, causes: Collection[str] = ()
    ) -> int:
        content = RetryBody.of(only, change, causes).encode() if only or causes or not change.is_empty else b""
        timeout, kind = self._ingest_timeout(), {"content-type": "application/json"}
        path = f"{await self._job(job)}/retry"
        queued: int = (await self._call("POST", path, content=content, headers=kind, timeout=timeout))["queued"]
        return queued

    @override
    async def purge(self, job: JobId) -> bool:
        answer = await self._call("DELETE", await self._job(job), timeout=self._ingest_timeout())
        return bool(answer["purged"])

    @override
    async def purge_older(self, older_than: timedelta) -> list[model.JobSnapshot]:
        answer = await self._post("prune", {"older_than": format_duration(older_than)}, timeout=self._ingest_timeout())
        ids: list[str] = answer["pruned"]
        return await self.reader.read(lambda reads: [reads.find(public_id) for public_id in ids])

    @override
    async def reprice(self, job: JobId) -> int:
        answer = await self._post(f"{await self._job(job)}/reprice", {}, timeout=self._ingest_timeout())
        return int(answer["priced"])

    @override
    async def adopt(self, remote_id: str, job: JobId | None) -> str:
        query = {} if job is None else {"job": await self._public_id(job)}
        return str((await self._post(f"batches/{quote(remote_id, safe='')}/adopt", query))["done"])

    @override
    async def disown(self, remote_id: str) -> str:
        return str((await self._post(f"batches/{quote(remote_id, safe='')}/disown"))["done"])

    @override
    async def cap_job(self, job: JobId, cap: int | None) -> bool:
        before = await self.reader.read(lambda reads: reads.get(job))
        answer = await self._send_amount("PATCH", await self._job(job), "max_cost", cap)
        return before.reason_code is not None and answer["reason_code"] is None

    @override
    async def set_budget(self, scope: Scope, cap: int | None) -> int:
        before = await self._stopped()
        await self._send_amount("PUT", f"budgets/{scope.value}", "cap", cap)
        return max(before - await self._stopped(), 0)

    async def _stopped(self) -> int:
        """How many jobs a cap has stopped."""
        jobs = await self.reader.read(lambda reads: reads.unfinished())
        return sum(job.reason_code == account.BUDGET for job in jobs)

    async def _send_amount(self, method: str, path: str, name: str, nanos: int | None) -> Mapping[str, Any]:
        content = msgspec.json.encode({name: None if nanos is None else money.as_text(nanos)})
        return await self._call(method, path, content=content, headers={"content-type": "application/json"})

    @override
    async def test_notice(self, url: str | None) -> list[int]:
        sent: list[int] = (await self._post("webhooks/test", {} if url is None else {"url": url}))["sent"]
        return sent

    @override
    async def replay_notice(self, delivery: int) -> None:
        await self._post(f"webhooks/deliveries/{delivery}/replay")

    @override
    async def add(self, job: JobId, lines_: Sequence[streams.InputLine]) -> None:
        await self._post(f"{await self._job(job)}/requests", content=source_codec.encode_lines(lines_))

    @override
    async def close(self, job: JobId) -> None:
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
        """The timeout of a call that takes as long as its source or the disk does."""
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
    """The dashboard of a daemon: its address, a path that logs in, and its lifetime in seconds (None: no limit)."""
    import httpx2

    async with transport.client() as client:
        try:
            answer = transport.answer(await client.post("login"))
        except httpx2.TransportError as exc:
            raise transport.unavailable(cause_of(exc)) from exc
    return answer["url"], answer["path"], answer["expires_in_s"]


class RemoteHealth(engine.EngineHealth):
    """The health of a remote engine, as of its last answer."""

    def note(self, answer: Mapping[str, Any]) -> None:
        """Store an answer of `GET /health`."""
        self.api_worked = bool(answer["api_worked"])
        self.last_trouble = answer["last_trouble"]
        self.reads_blocked = bool(answer["reads_blocked"])


#: Options that may be too long for a query.
_IN_BODY: Final = frozenset({"schema"})


async def _body(source: streams.Source, new: job_spec.NewJob) -> AsyncGenerator[bytes, None]:
    yield source_codec.encode_options({param: text for param, text in new.items() if param in _IN_BODY})
    async with aclosing(source_codec.encode_source(source)) as pieces:
        async for piece in pieces:
            yield piece


def _job_query(source: streams.Source, new: job_spec.NewJob, terms: engine.IngestOptions) -> dict[str, str | list[str]]:
    query: dict[str, list[str]] = {}
    for param, text in new.items():
        if param in _IN_BODY:
            continue
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


#: The guard wants 1 KiB in every 10 s. Source: `http_api.guard.request_limits.BodyLimits`.
KEEP_ALIVE_EVERY_S: Final = 3.0


def keep_alive(pieces: AsyncGenerator[bytes, None], every_s: float = KEEP_ALIVE_EVERY_S) -> AsyncGenerator[bytes, None]:
    """Yield *pieces*, and a filler record whenever the next piece takes longer than *every_s*.

    The server drops a body that stalls.
    """
    return prefetch(pieces, filler=source_codec.KEEP_ALIVE_RECORD, filler_after_s=every_s)
