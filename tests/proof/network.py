"""The network between a process and the API: delays, and a server that goes on when its client is dead.

The server's side of a call is a task of the world, not of the process: once the last byte of a body is through, the
API acts on it whatever becomes of the client. What the API itself does wrong is the sandbox's business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from orchestrator.sandbox import Sandbox
from proof.loop import SimLoop

_END: Final = None


class ClientGone(Exception):
    """The client's end of the connection is closed."""


@dataclass(slots=True)
class Pace:
    """How slow the network is, in seconds: each a most, drawn anew for each use.

    acting: between the last byte of a create's body and the batch's existence.
    """

    piece: float = 0.05
    answer: float = 0.5
    acting: float = 1.0


@dataclass(slots=True)
class Internet:
    """Everything outside of processes.

    on_body: called when a create reaches the API; what it gives is called with the bytes that have come until it knows
    enough (True). on_event: told of what happens (process, "POST batches sent"), for the trace and for those who kill.
    """

    loop: SimLoop
    sandbox: Sandbox
    chance: random.Random
    pace: Pace = field(default_factory=Pace)
    on_body: Callable[[], Callable[[bytes], bool]] = lambda: lambda _begun: True
    on_event: Callable[[int, str], None] = lambda _process, _what: None
    on_defect: Callable[[str], None] = lambda _words: None
    acting: int = 0  #: creates that came whole and that the API has not acted on
    kernel_sends: bool = False  #: what a process handed over goes out although it dies or stands still

    def transport(self, process: int) -> Network:
        """The network as *process* sees it."""
        return Network(self, process)

    def check(self, served: asyncio.Task[None]) -> None:
        """The API's side of a call ended; an exception of its own would look like a lost answer."""
        if not served.cancelled() and (exc := served.exception()) is not None:
            self.on_defect(f"{served.get_name()}: {exc!r}")

    async def wait(self, most: float) -> None:
        """A random delay."""
        await asyncio.sleep(self.chance.random() * most)


class Network(httpx2.AsyncBaseTransport):
    """One process's way to the API."""

    def __init__(self, internet: Internet, process: int) -> None:
        self._internet = internet
        self._process = process
        self._open: set[_Call] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, wait, and give the answer, whose body still streams. Raises what httpx2 raises over TCP."""
        net = self._internet
        call = _Call(net, self._process, request)
        self._open.add(call)
        call.server = net.loop.spawn(call.serve(), 0, f"api {call.name}")
        call.server.add_done_callback(net.check)
        try:
            await self._send(call, request)
            net.on_event(self._process, f"{call.name} sent")
            status, headers = await call.answer
            net.on_event(self._process, f"{call.name} answered {status}")
        except BaseException:
            call.client_gone()
            self._open.discard(call)
            raise
        return httpx2.Response(status, headers=headers, stream=_Body(call, self._open), request=request)

    async def _ask(self, call: _Call) -> None:
        """The next bytes are about to be given: a process that is stopped here gives them first when it goes on."""
        if self._internet.kernel_sends:
            self._internet.on_event(self._process, f"{call.name} asks")
            await asyncio.sleep(0)

    def flush(self) -> None:
        """The process stands still, or is dead: the kernel sends what it was handed."""
        for call in self._open:
            call.flush()

    def cut(self) -> None:
        """The process is dead: the kernel closes its connections."""
        for call in self._open:
            if self._internet.kernel_sends:
                call.flush()
            call.client_gone()
        self._open.clear()

    async def _send(self, call: _Call, request: httpx2.Request) -> None:
        stream = request.stream
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError("an async client sends async bodies")
        async for piece in stream:
            if call.answer.done():
                break  # it is answered before the body is through
            call.upload.put_nowait(piece)
            call.sent += len(piece)
            await self._internet.wait(self._internet.pace.piece)
            await self._ask(call)
        if not call.whole:
            call.whole = not call.answer.done()
            call.upload.put_nowait(_END)


class _Call:
    """One request and its answer, as both sides see it."""

    def __init__(self, internet: Internet, process: int, request: httpx2.Request) -> None:
        self.name = f"{request.method} {_kind(request.url.path)}"
        self.upload: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.download: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self.answer: asyncio.Future[tuple[int, list[tuple[str, str]]]] = internet.loop.create_future()
        self.server: asyncio.Task[None] | None = None
        self.whole = False
        self.sent = 0
        self.gone = False
        self._net = internet
        self._process = process
        self._request = request

    def flush(self) -> None:
        """All that was announced has been handed over: it arrives, whatever becomes of the client."""
        if (
            not self.whole
            and not self.answer.done()
            and self.sent == int(self._request.headers.get("content-length", "0"))
        ):
            self.whole = True
            self.upload.put_nowait(_END)

    def client_gone(self) -> None:
        """Nobody listens any more. A body that is not whole never will be."""
        self.gone = True
        self.answer.cancel()
        self.upload.put_nowait(_END)

    async def serve(self) -> None:
        """The API's side: take the body, act, answer."""
        net = self._net
        asked = httpx2.Request(
            self._request.method, self._request.url, headers=self._request.headers, stream=_Pieces(self.pieces())
        )
        try:
            response = await net.sandbox.transport().handle_async_request(asked)
            await net.wait(net.pace.answer)
        except ClientGone:
            return
        except httpx2.HTTPError as exc:
            net.on_event(self._process, f"{self.name} broke {type(exc).__name__}")
            if not self.answer.done():
                self.answer.set_exception(exc)
            return
        headers = [(name, value) for name, value in response.headers.multi_items()]
        net.on_event(self._process, f"{self.name} acted {response.status_code}")
        if not self.answer.done():
            self.answer.set_result((response.status_code, headers))
        await self._stream(response)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. After the last byte it takes a while until the API acts."""
        is_create = self.name == "POST batches"
        begun, known = b"", not is_create
        tell = self._net.on_body() if is_create else None
        while (piece := await self.upload.get()) is not _END:
            if tell is not None and not known:
                begun += piece
                known = tell(begun)
            self._net.on_event(self._process, f"{self.name} piece")
            yield piece
        if not self.whole:
            raise ClientGone
        if is_create:
            self._net.acting += 1
            try:
                await self._net.wait(self._net.pace.acting)
            finally:
                self._net.acting -= 1

    async def _stream(self, response: httpx2.Response) -> None:
        stream: Any = response.stream
        try:
            async for piece in stream:
                for start in range(0, len(piece), 4096):
                    self.download.put_nowait(piece[start : start + 4096])
                    await self._net.wait(self._net.pace.piece)
        except httpx2.HTTPError as exc:
            self.download.put_nowait(exc)
        else:
            self.download.put_nowait(_END)


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


class _Body(httpx2.AsyncByteStream):
    """The body of an answer on its way to the client."""

    def __init__(self, call: _Call, still_open: set[_Call]) -> None:
        self._call = call
        self._still_open = still_open

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._call.download.get()) is not _END:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self._call.gone = True
        self._still_open.discard(self._call)


def _kind(path: str) -> str:
    """What a path asks for, without the id."""
    parts = path.strip("/").split("/")[2:]
    return {1: "batches", 2: "batch"}.get(len(parts), parts[-1])
