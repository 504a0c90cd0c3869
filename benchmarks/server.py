"""A lean local Message Batches API in a process of its own: what is measured is the client, so this must cost nothing.

Usage: python -m benchmarks.server [--reply-bytes 600] [--reply TEXT] [--in-flight-for SECONDS] [--port 0]

Prints its port, then serves until it is killed. A thread per connection on blocking sockets; of a batch only the
custom_ids are kept, as one bytes object, and its result lines are made while they are sent. Batches end the moment
they are made, or after SECONDS. Nothing is checked but what a client could get wrong unnoticed (ids, their number, the
size of a body); nothing survives the process. Beside the API there are `GET /calls` (how many calls each route had, and
when the first came, in seconds of CLOCK_MONOTONIC, which is the same for all processes), `DELETE /calls`, and
`POST /end`, which ends every batch now.
Source of the headers: live captures.
"""

from __future__ import annotations

import argparse
import gc
import socketserver
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from io import BufferedIOBase
from typing import ClassVar
from urllib.parse import parse_qs

import msgspec

from benchmarks.server_batches import BATCHES, Calls, Machine, Refusal, Replies


class Connection(socketserver.StreamRequestHandler):
    """One connection: requests one after the other, until the client goes."""

    disable_nagle_algorithm = True
    machine: ClassVar[Machine]

    def handle(self) -> None:
        """Answer until the client closes, or breaks off."""
        try:
            while line := self.rfile.readline(65536):
                method, target, _ = line.decode("latin-1").split(" ", 2)
                headers = _headers(self.rfile)
                if headers.get("expect") == "100-continue":
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._answer(method, target, headers)
                if headers.get("connection", "").lower() == "close":
                    return
        except (OSError, EOFError, ValueError):
            return

    def _answer(self, method: str, target: str, headers: dict[str, str]) -> None:
        path, _, query = target.partition("?")
        name, _, action = path.removeprefix(BATCHES).strip("/").partition("/")
        route = f"{method} {BATCHES}{'/{id}' if name else ''}{'/' + action if action else ''}"
        machine, host = self.machine, headers.get("host", "127.0.0.1")
        if path not in {"/calls", "/end"}:
            machine.calls.note(route if path.startswith(BATCHES) else f"{method} {path}")
        body = _body(self.rfile, headers)  # read it all before answering: a client may not listen earlier
        try:
            if method == "GET" and action == "results":
                self._stream(*machine.results(name))
            else:
                self._send(200, self._plain(method, path, (name, action), parse_qs(query), (body, host)))
        except Refusal as exc:
            self._send(exc.status, exc.body)

    def _plain(
        self, method: str, path: str, names: tuple[str, str], query: dict[str, list[str]], said: tuple[bytes, str]
    ) -> object:
        machine, (name, action), (body, host) = self.machine, names, said
        if path == "/end":
            machine.end_all()
            return {}
        if path == "/calls":
            if method == "DELETE":
                machine.calls = Calls()
            return {"calls": machine.calls.count, "first_s": machine.calls.first_s}
        match method, bool(name), action:
            case "POST", False, "":
                return machine.create(body, host)
            case "GET", False, "":
                return machine.page(query, host)
            case ("GET", True, "") | ("POST", True, "cancel"):  # all is over at once: nothing is left to cancel
                return machine.find(name).view(host, datetime.now(UTC))
            case "DELETE", True, "":
                return machine.delete(name)
            case _:
                raise Refusal(404, "not_found_error", f"{method} {path} is not here")

    def _send(self, status: int, answer: object) -> None:
        body = msgspec.json.encode(answer)
        self.connection.sendall(_head(status, "application/json", len(body)) + body)

    def _stream(self, size_bytes: int, pieces: Iterator[bytes]) -> None:
        self.connection.sendall(_head(200, "application/x-jsonl", size_bytes))
        for piece in pieces:
            self.connection.sendall(piece)


def _head(status: int, kind: str, size_bytes: int) -> bytes:
    return (
        f"HTTP/1.1 {status} -\r\ndate: {formatdate(usegmt=True)}\r\ncontent-type: {kind}\r\n"
        f"content-length: {size_bytes}\r\nrequest-id: req_bench{time.monotonic_ns():x}\r\n"
        f"anthropic-organization-id: 00000000-0000-0000-0000-000000000000\r\n\r\n"
    ).encode()


def _headers(source: BufferedIOBase) -> dict[str, str]:
    found: dict[str, str] = {}
    while (line := source.readline(65536)) not in (b"\r\n", b"\n"):
        if not line:
            raise EOFError
        name, _, value = line.decode("latin-1").partition(":")
        found[name.lower()] = value.strip()
    return found


def _body(source: BufferedIOBase, headers: dict[str, str]) -> bytes:
    """The whole body, by its length or in chunks. Raises EOFError if the client goes first."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        while size := int(source.readline(65536).partition(b";")[0] or b"", 16):
            parts.append(_exactly(source, size))
            source.readline(65536)
        while source.readline(65536) not in (b"\r\n", b"\n", b""):
            pass
        return b"".join(parts)
    return _exactly(source, int(headers.get("content-length", "0")))


def _exactly(source: BufferedIOBase, size: int) -> bytes:
    body = source.read(size)
    if len(body) != size:
        raise EOFError
    return body


class Server(socketserver.ThreadingTCPServer):
    """A thread per connection; none outlives the process."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024


def main() -> None:
    """Print the port, serve until killed."""
    parser = argparse.ArgumentParser(description="A lean local Message Batches API.")
    parser.add_argument("--reply-bytes", type=int, default=600, help="the size of an answer's text")
    parser.add_argument("--reply", help="the text of every answer, in place of made-up words")
    parser.add_argument("--in-flight-for", type=float, default=0.0, help="seconds from the creation to the end")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    Connection.machine = Machine(Replies(options.reply_bytes, options.reply), timedelta(seconds=options.in_flight_for))
    gc.freeze()  # no cycles are made per call
    with Server(("127.0.0.1", options.port), Connection) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
