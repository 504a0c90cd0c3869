"""A request and an answer as both transports know them, and the ways in which a connection can fail."""

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
    """An HTTP answer; its body may raise ConnectionCut on the way. `close`: the connection ends after it."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncGenerator[bytes, None]
    close: bool = False


class Responder(Protocol):
    """Whoever answers requests."""

    async def answer(self, request: SandboxRequest) -> SandboxResponse:
        """The answer to *ask*. Raises ConnectionCut when there is to be none."""
        ...


class ConnectionCut(Exception):
    """Break the connection: refuse it, close it, reset it, or let it hang."""

    def __init__(self, how: Break) -> None:
        super().__init__(how)
        self.how: Break = how


async def one_piece(content: bytes) -> AsyncGenerator[bytes, None]:
    """A body that is a single piece."""
    yield content


async def read_all(body: AsyncIterator[bytes], limit: int) -> bytes:
    """A whole body; what is over *limit* bytes is read and dropped."""
    content = bytearray()
    async for piece in body:
        content += piece[: max(0, limit - len(content))]
    return bytes(content)
