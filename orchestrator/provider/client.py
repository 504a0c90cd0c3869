"""The provider port over the official SDK: what is asked, how long, how often, and what each end means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from typing_extensions import override

from orchestrator.domain import account, errors
from orchestrator.domain.api_answers import BatchPage, Blocked, Busy, CreateAnswer, RemoteBatch
from orchestrator.domain.batches_api import LOOP_HEADER, LoopGuard
from orchestrator.domain.create_outcome import classify
from orchestrator.ports.runtime import CreateBody, Download, Headers, Meter, NullMeter, Provider
from orchestrator.provider import failures, parsing
from orchestrator.provider.create_call import Upload, exchange_from
from orchestrator.provider.credentials import Credentials, from_file
from orchestrator.provider.sdk_clients import Clients, load_sdk, open_clients
from orchestrator.provider.settings import ApiAddress, ProviderSettings

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic, RequestOptions

T = TypeVar("T")

_PATH: Final = "/v1/messages/batches"
_COUNT_PATH: Final = "/v1/messages/count_tokens"
_CHUNK_BYTES: Final = 1 << 18
#: Makes the SDK (2.12) return before the body is read, as its own `with_streaming_response` does.
_STREAMED: Final = {"X-Stainless-Raw-Response": "stream", "accept": "application/binary"}
_REPEATABLE: Final = frozenset({408, 409})
_REPEATABLE_CANCEL: Final = frozenset({408})
_PAGES: Final = ("text/html", "application/xhtml+xml")


class AnthropicProvider(Provider):
    """The Message Batches API over the SDK.

    transport: replaces the network (the in-process sandbox, tests). credentials: None looks them up in the environment
    at the first call, or in `warm`. sleep: the pause between two tries. meter: hears of each try. passed: if the API is
    not the usual one, and so may be another daemon, creates name the stores they came through.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        credentials: Credentials | None = None,
        sleep: failures.Sleep = asyncio.sleep,
        meter: Meter | None = None,
        passed: LoopGuard | None = None,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._credentials = credentials
        self._sleep = sleep
        self._meter: Meter = NullMeter() if meter is None else meter
        self._passed = passed
        self._opened: Clients | None = None
        self._uploads = asyncio.Semaphore(settings.max_uploads)
        self._downloads = asyncio.Semaphore(settings.max_downloads)

    async def warm(self) -> Credentials:
        """Load the SDK in a thread and find the credentials; sends nothing.

        Returns what was found (for `doctor`). Raises NeedsPerson without usable credentials, UsageError for a base URL,
        headers, a proxy or certificates that cannot be used: a person hears of it before any work begins.
        """
        return (await self._clients()).credentials

    @property
    def address(self) -> ApiAddress | None:
        """Where the API is, once a call or `warm` has looked; None before, and if there is a transport."""
        return None if self._opened is None else self._opened.address

    @override
    def renew(self) -> bool:
        """Read the key file again. The SDK re-reads a profile by itself; a process's environment does not change."""
        known = self._credentials
        if known is None or known.file is None:
            return False
        found = from_file(known.file)
        if found.is_same(known):
            return False
        self._credentials = found
        if self._opened is not None:
            self._opened = self._opened.using(found)
        return True

    def _renewed(self) -> bool:
        """Whether there is another key after one was refused; an unusable file holds none."""
        with suppress(errors.NeedsPerson):
            return self.renew()
        return False

    async def _clients(self) -> Clients:
        if self._opened is None:
            await load_sdk()
        if self._opened is None:  # another task may have been faster
            self._opened = open_clients(self._settings, transport=self._transport, credentials=self._credentials)
        return self._opened

    # --- create -------------------------------------------------------------------------------------------------------

    @override
    async def create(self, body: CreateBody, headers: Headers) -> CreateAnswer:
        """POST *body* once, on a connection of its own. Never raises a ProviderError: every outcome is an answer.

        An error of the body's own iterator is raised as itself: the API cannot have a batch then.
        """
        try:
            clients = await self._clients()
        except (errors.NeedsPerson, errors.UsageError) as exc:
            return Blocked(code=_block_of(exc), why=_why(exc))
        deadline = failures.Deadline(self._settings.timeout.total_seconds())
        async with self._uploads, aclosing(Upload(body, deadline.restart)) as upload:
            outcome = await self._metered(
                "create", deadline.response_to(_post(clients.creates, upload, self._named(clients, headers)))
            )
        if upload.failure is not None:
            raise upload.failure
        if isinstance(outcome, failures.NoResponse) and outcome.credentials:
            return Blocked(code=account.CREDENTIALS, why=outcome.why)
        answer = classify(exchange_from(outcome, body, upload.handed_bytes, clients.credentials.hide))
        if isinstance(answer, Blocked) and answer.code == account.CREDENTIALS and self._renewed():
            return Busy(why=f"{answer.why}; the key file holds another key now", retry_after_s=None)
        return answer

    def _named(self, clients: Clients, headers: Headers) -> dict[str, str]:
        """The headers of a create beside those of the SDK and of its body."""
        named = _as_sent(headers)
        if self._passed is not None and clients.address is not None and not clients.address.is_usual:
            named[LOOP_HEADER] = self._passed.header
        return named

    # --- reads --------------------------------------------------------------------------------------------------------

    @override
    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:
        """A 404 without *after_id*: there is no such API at the base URL. ProviderRefused, blocked `endpoint`."""
        params: dict[str, object] = {"limit": limit} if after_id is None else {"limit": limit, "after_id": after_id}
        try:
            response = await self._get(_PATH, "list", params=params)
        except errors.ProviderNotFound as exc:
            if after_id is not None:
                raise
            missing = errors.ProviderRefused(
                exc.message, status=404, blocked=account.ENDPOINT, request_id=exc.request_id
            )
        else:
            meta = parsing.read_meta(response.headers)
            return _readable(lambda: parsing.read_page(response.content, meta), response)
        raise missing

    @override
    async def retrieve(self, remote_id: str) -> RemoteBatch:
        response = await self._get(_path(remote_id), "retrieve")
        return _readable(lambda: parsing.read_batch(response.content), response)

    @override
    async def cancel(self, remote_id: str) -> RemoteBatch:
        path = _path(remote_id, "/cancel")
        response = await self._ask("cancel", lambda sdk: sdk.post(path, cast_to=_raw()), _REPEATABLE_CANCEL)
        return _readable(lambda: parsing.read_batch(response.content), response)

    @override
    async def delete(self, remote_id: str) -> None:
        path = _path(remote_id)
        response = await self._ask("delete", lambda sdk: sdk.delete(path, cast_to=_raw()), _REPEATABLE)
        _readable(lambda: parsing.read_deleted(response.content), response)

    @override
    async def count_tokens(self, params: bytes, headers: Headers) -> int:
        options: RequestOptions = {"headers": {"content-type": "application/json", **_as_sent(headers)}}
        body = parsing.countable(params)
        response = await self._ask(
            "count_tokens",
            lambda sdk: sdk.post(_COUNT_PATH, cast_to=_raw(), content=body, options=options),
            _REPEATABLE,
        )
        return _readable(lambda: parsing.read_token_count(response.content), response)

    @asynccontextmanager
    @override
    async def results(self, remote_id: str) -> AsyncIterator[Download]:
        """Open the result file of an ended batch, from our own base URL: the host in `results_url` never gets the key.

        Chunks are about 256 KiB of decoded bytes. A break in the stream raises ProviderUnreachable after the bytes that
        came; a silent cut just ends it. A page of HTML is no result file, whatever its status: ProviderUnreachable.
        """
        async with self._downloads:
            response = await self._get(_path(remote_id, "/results"), "results", streamed=True)
            try:
                if response.headers.get("content-type", "").lower().startswith(_PAGES):
                    raise errors.ProviderUnreachable("the answer is a page of HTML, not a result file")
                async with aclosing(_chunks(response, self._settings.timeout.total_seconds())) as chunks:
                    yield Download(meta=parsing.read_meta(response.headers), chunks=chunks)
            finally:
                await response.aclose()

    @override
    async def aclose(self) -> None:
        """Close every connection; a later call opens new ones."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.aclose()

    async def _get(
        self, path: str, op: str, *, params: dict[str, object] | None = None, streamed: bool = False
    ) -> httpx2.Response:
        options: RequestOptions = {"headers": _STREAMED} if streamed else {}
        if params is not None:
            options["params"] = params
        within_s = self._settings.timeout.total_seconds() if streamed else self._settings.read_timeout_s
        return await self._ask(
            op, lambda sdk: sdk.get(path, cast_to=_raw(), options=options), _REPEATABLE, within_s=within_s
        )

    async def _ask(
        self,
        op: str,
        call: Callable[[AsyncAnthropic], Awaitable[httpx2.Response]],
        repeatable: frozenset[int],
        *,
        within_s: float | None = None,
    ) -> httpx2.Response:
        """The 200 of the first try that gives one; *within_s* limits a single try. Raises a ProviderError."""
        seconds = self._settings.read_timeout_s if within_s is None else within_s

        async def attempt() -> httpx2.Response:
            clients = await self._clients_or_refusal()
            outcome = await self._metered(op, failures.Deadline(seconds).response_to(_with_words(call(clients.reads))))
            if isinstance(outcome, failures.NoResponse):
                raise failures.error_without_response(outcome)
            if outcome.status_code != 200:
                raise failures.refusal(outcome, clients.credentials.hide, repeatable=repeatable)
            return outcome

        try:
            return await failures.with_retries(attempt, sleep=self._sleep)
        except errors.ProviderRefused as exc:
            if exc.blocked != account.CREDENTIALS or not self._renewed():
                raise
        return await failures.with_retries(attempt, sleep=self._sleep)

    async def _metered(
        self, op: str, call: Awaitable[httpx2.Response | failures.NoResponse]
    ) -> httpx2.Response | failures.NoResponse:
        """Await *call* and meter it. A call that is cancelled is not metered: it has no outcome."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        outcome = await call
        code = "none" if isinstance(outcome, failures.NoResponse) else str(outcome.status_code)
        self._meter.called(op, code, timedelta(seconds=clock() - begun))
        return outcome

    async def _clients_or_refusal(self) -> Clients:
        """The clients. Credential and configuration errors become ProviderRefused: reads raise ProviderErrors only."""
        try:
            return await self._clients()
        except (errors.NeedsPerson, errors.UsageError) as exc:
            refused = errors.ProviderRefused(_why(exc), status=401, blocked=_block_of(exc))
        raise refused


def _block_of(problem: errors.NeedsPerson | errors.UsageError) -> str:
    return account.CREDENTIALS if isinstance(problem, errors.NeedsPerson) else account.ENDPOINT


def _why(problem: errors.NeedsPerson | errors.UsageError) -> str:
    """*problem* in one line, as a job's reason: `MESSAGE (CAUSE); HINT`, the hint unless the code implies it."""
    text = problem.message if problem.cause is None else f"{problem.message} ({problem.cause})"
    return text if problem.hint is None or problem.hint in account.REMEDIES.values() else f"{text}; {problem.hint}"


def _path(remote_id: str, action: str = "") -> str:
    return f"{_PATH}/{quote(remote_id, safe='')}{action}"


def _as_sent(headers: Headers) -> dict[str, str]:
    betas = {"anthropic-beta": ",".join(headers.betas)} if headers.betas else {}
    return {"anthropic-version": headers.api_version, **betas}


def _raw() -> type[httpx2.Response]:
    """The type that makes the SDK hand over a response as it came. httpx2 is loaded with the SDK, by the first call."""
    import httpx2

    return httpx2.Response


async def _post(sdk: AsyncAnthropic, upload: Upload, headers: dict[str, str]) -> httpx2.Response:
    """The one POST. `content-length` is ours: without it the body would go out in HTTP chunks."""
    sent = {"content-length": str(upload.size_bytes), **headers}
    options: RequestOptions = {"headers": sent, "max_retries": 0, "follow_redirects": False}
    return await sdk.post(_PATH, cast_to=_raw(), content=upload, options=options)


async def _with_words(call: Awaitable[httpx2.Response]) -> httpx2.Response:
    """The response to *call*, with its body read if it is not a 200, even if it was to be streamed."""
    response = await call
    if response.status_code != 200:
        await response.aread()
    return response


def _readable(read: Callable[[], T], response: httpx2.Response) -> T:
    """What *read* gives. Raises ProviderUnreadable for a response that it cannot read."""
    try:
        return read()
    except parsing.Unreadable as exc:
        why = f"an unreadable answer: {exc}"
    raise errors.ProviderUnreadable(why, request_id=response.headers.get("request-id"))


async def _chunks(response: httpx2.Response, patience_s: float) -> AsyncGenerator[bytes, None]:
    """The decoded bytes, about 256 KiB at a time; each chunk must come within *patience_s*."""
    import httpx2

    buffer = bytearray()
    ended = False
    broken: failures.NoResponse | None = None
    async with aclosing(response.aiter_bytes()) as pieces:
        while not ended and broken is None:
            try:
                async with asyncio.timeout(patience_s):
                    ended = await _fill(buffer, pieces)
            except TimeoutError:
                broken = failures.NoResponse(why=f"less than 256 KiB came within {patience_s:g} s")
            except (httpx2.HTTPError, failures.BadResponse) as exc:
                broken = failures.no_response(exc)
            if buffer:
                yield bytes(buffer)
                buffer.clear()
    if broken is not None:
        raise errors.ProviderUnreachable(
            f"the download broke: {broken.why}", request_id=response.headers.get("request-id")
        )


async def _fill(buffer: bytearray, pieces: AsyncIterator[bytes]) -> bool:
    """Fill *buffer* up to one chunk. True at the end of the stream."""
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= _CHUNK_BYTES:
            return False
    return True
