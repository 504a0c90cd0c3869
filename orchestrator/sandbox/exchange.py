"""HTTP requests and responses as both transports know them, and the ways in which a connection can break."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Break = Literal["refuse", "close", "reset", "hang"]

SLICE_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """An HTTP request.

    Names of *headers* in lower case, *query* without `?`, *base_url* as the client knows the server.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    base_url: str
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResponse:
    """An HTTP response; its body may raise ConnectionCut. `close`: the connection ends after it."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncGenerator[bytes, None]
    close: bool = False


class Responder(Protocol):
    """Responds to requests: the router, or a crash injector in front of it."""

    async def answer(self, request: SandboxRequest) -> SandboxResponse:
        """The response to *request*. Raises ConnectionCut when there is to be none."""
        ...


class ConnectionCut(Exception):
    """Break the connection: refuse it, close it, reset it, or let it hang."""

    def __init__(self, how: Break) -> None:
        super().__init__(how)
        self.how: Break = how


async def one_piece(content: bytes) -> AsyncGenerator[bytes, None]:
    """A body of one piece."""
    yield content


async def read_all(body: AsyncIterator[bytes], limit: int) -> bytes:
    """The first *limit* bytes of a body; the rest is read and dropped."""
    content = bytearray()
    async for piece in body:
        content += piece[: max(0, limit - len(content))]
    return bytes(content)
