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


class Client:
    """One connection and what its looks took."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._question = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.times_ms: list[float] = []
        self.failures = 0

    async def look(self, *, first_in_s: float, every_s: float) -> None:
        """Look every *every_s* seconds until cancelled, the first time after *first_in_s*."""
        due = time.monotonic() + first_in_s
        await asyncio.sleep(first_in_s)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            began = time.monotonic()
            writer.write(self._question)
            try:
                status = await _answer(reader)
            except (OSError, EOFError, asyncio.IncompleteReadError):
                status = 0
            self.failures += status != 200
            self.times_ms.append((time.monotonic() - began) * 1e3)
            if status == 0:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            due += every_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(head.split(b" ", 2)[1])


async def _poll(options: argparse.Namespace) -> list[Client]:
    clients = [Client(options.port, options.path) for _ in range(options.clients)]
    tasks = [
        asyncio.ensure_future(client.look(first_in_s=options.every * place / options.clients, every_s=options.every))
        for place, client in enumerate(clients)
    ]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return clients


def main() -> None:
    """Look until standard input ends, then print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--every", type=float, default=1.0)
    clients = asyncio.run(_poll(parser.parse_args()))
    times = sorted(took for client in clients for took in client.times_ms[1:])
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
