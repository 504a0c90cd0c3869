"""Clients that look at one URL once a second each, over connections that they keep, until standard input ends.

Usage: python -m benchmarks.pollers --port 8787 --path /api/v1/jobs/JOB [--clients 200] [--every 1.0]

Prints one JSON object: looks, failures (an answer that is not 200, a broken connection), and how long an answer took
in milliseconds: median, p99 and the longest. The clients' first looks are spread over the first interval and do not
count: they open the connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from functools import partial


class Client(asyncio.Protocol):
    """One connection and what its looks took. No streams: on two cores the clients' own work is measured along."""

    def __init__(self, question: bytes, every_s: float) -> None:
        self._question = question
        self._every_s = every_s
        self._began = 0.0
        self._due = 0.0
        self._left_bytes: int | None = None  # of an answer whose header came
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self.times_ms: list[float] = []
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at once, and from then on at the pace."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._due = time.monotonic()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's own signature
        """A daemon that closes a connection which is in use has failed."""
        self.failures += self._began > 0.0

    def data_received(self, data: bytes) -> None:
        """Count an answer when all of it is here."""
        if self._left_bytes is None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head = b""
            self.failures += not head.startswith(b"HTTP/1.1 200 ")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self._left_bytes = int(length.partition(b":")[2])
        self._left_bytes -= len(data)
        if self._left_bytes == 0:
            self._answered()

    def _look(self) -> None:
        assert self._transport is not None
        self._began = time.monotonic()
        self._transport.write(self._question)

    def _answered(self) -> None:
        now = time.monotonic()
        self.times_ms.append((now - self._began) * 1e3)
        self._began, self._left_bytes = 0.0, None
        self._due += self._every_s
        asyncio.get_running_loop().call_later(max(0.0, self._due - now), self._look)


async def _poll(options: argparse.Namespace) -> list[Client]:
    loop = asyncio.get_running_loop()
    question = f"GET {options.path} HTTP/1.1\r\nhost: 127.0.0.1:{options.port}\r\n\r\n".encode()
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    clients: list[Client] = []
    for _ in range(options.clients):
        _, client = await loop.create_connection(partial(Client, question, options.every), "127.0.0.1", options.port)
        clients.append(client)
        await asyncio.sleep(options.every / options.clients)
    await ended
    return clients


def main() -> None:
    """Look until standard input ends, then print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--every", type=float, default=1.0)
    clients = asyncio.run(_poll(parser.parse_args()))
    times = sorted(is_stalled for client in clients for is_stalled in client.times_ms[1:])
    facts = {
        "looks": len(times),
        "failures": sum(client.failures for client in clients),
        "median_ms": times[len(times) // 2],
        "p99_ms": times[len(times) * 99 // 100],
        "max_ms": times[-1],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
