"""A program that is told by webhooks: a real HTTP server on this machine that writes down what it gets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Got:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """*answers* are given one after the other, the last one for ever: a status, bytes for the wire, or None: silence.

    heard: called with every POST, before it is answered.
    """

    port: int = 0
    answers: list[int | bytes | None] = field(default_factory=lambda: [200])
    got: list[Got] = field(default_factory=list)
    heard: Callable[[Got], None] = lambda _: None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            original = dict(line.split(": ", 1) for line in head[1:] if line)
            values = {name.lower(): value for name, value in original.items()}
            body = await reader.readexactly(int(headers["content-length"]))
            found = Got(head[0].split(" ")[1], values, body)
            self.got.append(found)
            self.heard(found)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await reader.read()  # until the other side gives up
            elif isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                writer.write(f"HTTP/1.1 {answer} Said\r\ncontent-length: 5\r\n\r\nwords".encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it went away: that is one of the things that are tested
        finally:
            writer.close()


@asynccontextmanager
async def receiving(*answers: int | bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens for as long as the block lasts."""
    receiver = Receiver(answers=list(answers) if answers else [200])
    server = await asyncio.start_server(receiver.talk, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
