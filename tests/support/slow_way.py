"""A slow way to the API: bytes go there at a fixed pace, and come back at once. It runs on a loop of its own.

What a sender has given to its kernel is still on its way when the sender stands still or is dead: as on a real uplink.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_PIECE = 4096


@dataclass(slots=True)
class _Carried:
    """What a connection has carried to the API."""

    bytes: int = 0

    def reaches(self, mark: int | None) -> bool:
        """Whether it is so much, where there is a mark."""
        return mark is not None and self.bytes >= mark


class SlowWay:
    """A proxy on loopback that takes *rate* bytes a second from each client, and as little ahead as it can.

    stands_at: a connection that has carried so many bytes stands still, as long as it says so. answers_stand_at: such a
    one has no answer as long.
    """

    def __init__(self, api_url: str, rate: int, stands_at: int | None = None) -> None:
        to = urlsplit(api_url)
        self._to = (str(to.hostname), int(to.port or 80))
        self._rate = rate
        self.stands_at = stands_at
        self.answers_stand_at: int | None = None
        #: Bytes that were passed on, of all connections.
        self.passed = 0
        #: Connections that are open.
        self.open = 0
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)  # the rest stays in the sender's kernel
        self._listener.bind(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self._port = f":{port:04X}"
        self.url = f"http://127.0.0.1:{port}"

    async def serve(self, stop: asyncio.Event) -> None:
        """Carry until *stop*."""
        server = await asyncio.start_server(self._carry, sock=self._listener, limit=_PIECE)
        await stop.wait()
        server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        there, back = await asyncio.open_connection(*self._to)
        carried = _Carried()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(reader, back, carried))
                group.create_task(self._down(there, writer, carried))
        finally:
            for end in (back, writer):
                end.close()
            self.open -= 1

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carried: _Carried) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_PIECE):
                writer.write(data)
                await writer.drain()
                self.passed += len(data)
                carried.bytes += len(data)
                await asyncio.sleep(len(data) / self._rate)
                while carried.reaches(self.stands_at):  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(0.01)
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carried: _Carried) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                while carried.reaches(self.answers_stand_at):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
                writer.write(data)
                await writer.drain()
        writer.close()

    def waiting_bytes(self) -> int:
        """What the kernels of its clients hold for it, of all connections (Linux)."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(int(row[4].partition(":")[0], 16) for row in rows if row[2].endswith(self._port))


@contextmanager
def slow_way(api_url: str, rate: int, stands_at: int | None = None) -> Iterator[SlowWay]:
    """The proxy, for the block."""
    way, stop, loop = SlowWay(api_url, rate, stands_at), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(way.serve(stop),), name="slow way")
    thread.start()
    try:
        yield way
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.run_until_complete(asyncio.sleep(0))  # what was closed is closed in the next turn
        loop.close()


def paid_twice(ledger: list[dict[str, object]]) -> int:
    """By the API's books: how many requests were accepted more often than once."""
    seen = [row["params_sha256"] for row in ledger]
    return len(seen) - len(set(seen))
