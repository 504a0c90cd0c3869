"""The sandbox in this process, as a transport for httpx2 clients (the SDK's too).

Unlike `httpx2.ASGITransport` it streams both ways, honours the request's timeouts, and can break a connection with the
exceptions that httpx2 raises over TCP (texts measured with httpx2 2.16).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, NoReturn

import httpx2
from typing_extensions import override

from orchestrator.sandbox.exchange import Break, ConnectionCut, Responder, SandboxRequest, SandboxResponse

_DISCONNECTED: Final = "Server disconnected without sending a response."
_INCOMPLETE: Final = "peer closed connection without sending complete message body (incomplete chunked read)"


class SandboxTransport(httpx2.AsyncBaseTransport):
    """Hands requests to a router. Nothing leaves the process; the host of the URL does not matter."""

    def __init__(self, router: Responder) -> None:
        self._router = router

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeouts = request.extensions.get("timeout", {})
        upload = _Upload(request, timeouts.get("write"), timeouts.get("read"))
        try:
            async with asyncio.timeout(None) as upload.deadline, aclosing(upload.pieces()) as body:
                upload.wait_for_server()
                answer = await self._router.answer(_ask(request, body))
        except TimeoutError:
            upload.raise_timeout()
        except ConnectionCut as cut:
            await _break_before_answer(cut.how, request, upload)
        headers = [*answer.headers, ("connection", "close")] if answer.close else answer.headers
        stream = _AnswerStream(answer, request, timeouts.get("read"))
        return httpx2.Response(answer.status, headers=headers, stream=stream, request=request)


class _Upload:
    """The body of a request while it is sent, and the timeout that runs only while the server is waited for.

    Until the body is sent that is the write timeout, then the read timeout. While the client makes the next piece no
    time runs, as over TCP.
    """

    def __init__(self, request: httpx2.Request, write_s: float | None, read_s: float | None) -> None:
        self.deadline: asyncio.Timeout = asyncio.timeout(None)
        self._request = request
        self._write_s, self._read_s = write_s, read_s
        self._sent = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece."""
        stream = self._request.stream
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError("an async client sends async bodies")
        self.deadline.reschedule(None)
        async for piece in stream:
            self.wait_for_server()
            yield piece
            self.deadline.reschedule(None)
        self._sent = True
        self.wait_for_server()

    def wait_for_server(self) -> None:
        """Start the timeout: it is the server's turn."""
        limit = self._read_s if self._sent else self._write_s
        self.deadline.reschedule(None if limit is None else asyncio.get_running_loop().time() + limit)

    def raise_timeout(self) -> NoReturn:
        """Raise the timeout that has passed, under httpx2's name for it."""
        if self._sent:
            raise httpx2.ReadTimeout("", request=self._request)
        raise httpx2.WriteTimeout("", request=self._request)

    async def hang(self) -> NoReturn:
        """Wait as long as a client waits for a response that does not come."""
        self._sent = True
        await _wait_out(self._read_s)
        self.raise_timeout()


class _AnswerStream(httpx2.AsyncByteStream):
    """The body of a response, under the request's read timeout."""

    def __init__(self, answer: SandboxResponse, request: httpx2.Request, read_s: float | None) -> None:
        self._body = answer.body
        self._request = request
        self._read_s = read_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._read_s):
                    piece = await anext(self._body, None)
            except TimeoutError:
                raise httpx2.ReadTimeout("", request=self._request) from None
            except ConnectionCut as cut:
                await self._break(cut.how)
            if piece is None:
                return
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()

    async def _break(self, how: Break) -> NoReturn:
        if how == "hang":
            await _wait_out(self._read_s)
            raise httpx2.ReadTimeout("", request=self._request)
        if how == "close":
            raise httpx2.RemoteProtocolError(_INCOMPLETE, request=self._request)
        raise httpx2.ReadError("", request=self._request)


async def _break_before_answer(how: Break, request: httpx2.Request, upload: _Upload) -> NoReturn:
    match how:
        case "refuse":
            raise httpx2.ConnectError("All connection attempts failed", request=request)
        case "close":
            raise httpx2.RemoteProtocolError(_DISCONNECTED, request=request)
        case "reset":
            raise httpx2.ReadError("", request=request)
        case "hang":
            await upload.hang()


async def _wait_out(limit: float | None) -> None:
    if limit is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(limit)


def _ask(request: httpx2.Request, body: AsyncIterator[bytes]) -> SandboxRequest:
    url = request.url
    return SandboxRequest(
        method=request.method,
        path=url.path,
        query=url.query.decode("ascii"),
        headers={name.lower(): value for name, value in request.headers.items()},
        base_url=f"{url.scheme}://{url.netloc.decode('ascii')}",
        body=body,
    )
