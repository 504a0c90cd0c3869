"""What the provider's tests share: a body, a raw server on loopback that breaks in real ways, and the API's answers."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from orchestrator.domain.api_answers import CreateAnswer
from orchestrator.ports.runtime import Headers
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.credentials import Credentials, Secret
from orchestrator.provider.settings import ProviderSettings

CANARY: Final = "sk-ant-canary-0123456789"
KEY: Final = Credentials(source="the test", api_key=Secret(CANARY))
HEADERS: Final = Headers(api_version="2023-06-01", betas=("a-beta", "b-beta"))
REMOTE_ID: Final = "msgbatch_013Zva2CMHLNnXjNJJKqJ2EF"
CHUNK: Final = 1 << 16


class SizedBody:
    """A body of *size_bytes* in chunks of 64 kB, that remembers whether its iterator was closed.

    *breaks_at*: the store fails once that many bytes were given. *lies_by*: how much the announced size is off.
    """

    def __init__(
        self, size_bytes: int = 1000, *, count: int = 3, breaks_at: int | None = None, lies_by: int = 0
    ) -> None:
        self.size_bytes = size_bytes + lies_by
        self.count = count
        self.closed = False
        self._real_bytes = size_bytes
        self._breaks_at = breaks_at

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes: all `x`."""
        given = 0
        try:
            while given < self._real_bytes:
                if self._breaks_at is not None and given >= self._breaks_at:
                    raise StoreBroke
                size = min(CHUNK, self._real_bytes - given)
                given += size
                yield b"x" * size
        finally:
            self.closed = True


class StoreBroke(Exception):
    """The store failed while a body was read."""


@dataclass
class Visit:
    """One request on one connection of the raw server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    line: str
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    async def read_body(self, limit: int | None = None) -> None:
        """Read the body, or its first *limit* bytes."""
        length = int(self.headers.get("content-length", "0"))
        end = length if limit is None else min(limit, length)
        while len(self.body) < end:
            piece = await self.reader.read(min(1 << 20, end - len(self.body)))
            if not piece:
                raise ConnectionResetError
            self.body += piece

    async def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        """A whole answer. *body*: bytes and text as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        sent = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.writer.write(f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode() + data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection with an RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing until the client goes away."""
        while await self.reader.read(1 << 16):
            pass


Talk = Callable[[Visit], Awaitable[None]]


class RawServer:
    """A server on loopback that does to each request what *talk* says, and remembers what it saw."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.connections = 0
        self.visits: list[Visit] = []

    @property
    def posts(self) -> int:
        """How many POSTs came."""
        return sum(visit.line.startswith("POST ") for visit in self.visits)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.transport.is_closing():
                    await self._one(reader, writer)
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        pairs = (header.split(":", 1) for header in rest)
        visit = Visit(reader, writer, line, {name.lower(): value.strip() for name, value in pairs})
        self.visits.append(visit)
        await self._talk(visit)


def provider_at(base_url: str, **settings: object) -> AnthropicProvider:
    """A provider for *base_url* with a key and short timeouts."""
    chosen = {"timeout": timedelta(seconds=5), "read_timeout": timedelta(seconds=5), **settings}
    return AnthropicProvider(ProviderSettings(base_url=base_url, **chosen), credentials=KEY, sleep=no_pause)  # type: ignore[arg-type] # checked by the dataclass


async def no_pause(seconds: float) -> None:
    """A pause that takes no time."""
    await asyncio.sleep(0)


def batch_json(*, count: int = 3, remote_id: str = REMOTE_ID, zone: str = "Z", **fields: object) -> dict[str, object]:
    """A MessageBatch that has just been made, as the API shows it."""
    return {
        "id": remote_id,
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": count, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": f"2026-11-20T18:37:24.100435{zone}",
        "expires_at": f"2026-11-21T18:37:24.100435{zone}",
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
        **fields,
    }


def error_json(kind: str, message: str, code: str | None = None) -> dict[str, object]:
    """The API's error object."""
    details = None if code is None else {"error_code": code}
    return {"type": "error", "error": {"type": kind, "message": message, "details": details}, "request_id": "req_1"}


async def create_at(
    talk: Talk, body: SizedBody | None = None, **settings: object
) -> tuple[CreateAnswer | BaseException, RawServer]:
    """What one create ends in at a server that does *talk*, and that server."""
    async with RawServer(talk) as server:
        provider = provider_at(server.url, **settings)
        try:
            answer: CreateAnswer | BaseException = await provider.create(body or SizedBody(), HEADERS)
        except Exception as exc:  # noqa: BLE001 - handed to the test
            answer = exc
        await provider.aclose()
    return answer, server


async def answers(visit: Visit, status: int, body: object, headers: dict[str, str] | None = None) -> None:
    """Read the body, then answer."""
    await visit.read_body()
    await visit.answer(status, body, headers)


async def hang_after_the_body(visit: Visit) -> None:
    """Read the body, then say nothing."""
    await visit.read_body()
    await visit.hang()
