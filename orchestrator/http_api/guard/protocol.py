r"""uvicorn's HTTP/1.1 protocol with deadlines, a cap on connections, and strict parsing of request heads.

uvicorn alone keeps a connection open for ever if the client never completes a header, or never reads its response.

`StrictBuffer` refuses what h11 tolerates, so that every proxy reads a head as we do: a line that ends without b"\r"
(RFC 9112, 2.2 lets a server accept it), a header folded over several lines (5.2), and a repeated length (RFC 9110,
8.6). No honest client sends them any more, and behind a proxy that reads them differently each can smuggle a second
request. How HTTP/1.0 may be framed is checked by the guard's middleware, which sees the whole head.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from orchestrator.http_api.guard.connection_limits import ConnectionLimits

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-type: application/problem+json\r\ncontent-length: 97\r\n\r\n"
    b'{"type":"too-many-connections","title":"every connection is taken","status":503,"exit_code":6}   '
)
_MALFORMED: Final = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\nx-content-type-options: nosniff\r\n"
    b"content-type: application/problem+json\r\ncontent-length: 85\r\n\r\n"
    b'{"type":"malformed","title":"this is no HTTP/1.1 request","status":400,"exit_code":2}'
)


class GuardedProtocol(H11Protocol):
    """One connection."""

    def __init__(self, limits: ConnectionLimits, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own, passed through
        super().__init__(**kwargs)
        self.conn._receive_buffer = StrictBuffer()  # noqa: SLF001 - there is no other way to tell h11
        self._limits = limits
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """No request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's hint leaves None out
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Accept the connection; if all are taken, drop an idle one or refuse this one."""
        if len(self.connections) >= self._limits.connections and not self._make_room():
            transport.write(_FULL)
            transport.close()
        super().connection_made(transport)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._drop(self._header_timer, self._stall_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; a header that has begun must be complete in time."""
        if self.transport.is_closing():
            return
        if self.is_idle and self._header_timer is None:
            self._await_header()
        super().data_received(data)
        if not self.is_idle:
            self._drop(self._header_timer)
            self._header_timer = None

    def on_response_complete(self) -> None:
        """The response is written; the client must read the rest of it in time."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size() and self._stall_timer is None:
            self._await_reader()

    def pause_writing(self) -> None:
        """The client does not read what we send."""
        super().pause_writing()
        self._drop(self._stall_timer)
        self._await_reader()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._drop(self._stall_timer)
        self._stall_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; the words are ours
        """Refuse what is not HTTP, and close; in the middle of a response only close."""
        if self.is_idle and self.conn.our_state is h11.IDLE:
            self.transport.write(_MALFORMED)
            self.transport.close()
        else:
            self.transport.abort()

    def _should_upgrade(self) -> bool:
        """No other protocol is spoken; an offer of one is ignored (RFC 9110, 7.8). uvicorn would log each."""
        return False

    def _await_header(self) -> None:
        self._header_timer = self.loop.call_later(self._limits.header_s, self._no_header)

    def _await_reader(self) -> None:
        self._stall_timer = self.loop.call_later(self._limits.stall_s, self._no_reader)

    def _no_reader(self) -> None:
        self._stall_timer = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _no_header(self) -> None:
        if self.is_idle:
            self.transport.abort()

    def _make_room(self) -> bool:
        """Drop the connection that has been idle longest; False if all are busy."""
        waiting = [each for each in self.connections if isinstance(each, GuardedProtocol) and each.is_idle]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda each: each.since)
        oldest.transport.abort()
        self.connections.discard(oldest)
        return True

    @property
    def since(self) -> float:
        """When it became idle, by the loop's clock."""
        timer = self._header_timer if self._header_timer is not None else self.timeout_keep_alive_task
        return timer.when() if timer is not None else 0.0

    @staticmethod
    def _drop(*timers: asyncio.TimerHandle | None) -> None:
        for timer in timers:
            if timer is not None:
                timer.cancel()


_LENIENT: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]")
_LENGTHS: Final = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"[0-9A-Fa-f]+(?:;[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?\r\n")


class StrictBuffer(ReceiveBuffer):
    """h11's buffer, which checks the raw bytes of a head before h11 parses them."""

    def __init__(self) -> None:
        super().__init__()
        self._is_head = False

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or of trailers. Raises LocalProtocolError, which h11 reports as the client's error."""
        self._is_head = True
        try:
            return super().maybe_extract_lines()
        finally:
            self._is_head = False

    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk. Raises LocalProtocolError."""
        line = super().maybe_extract_next_line()
        if line is not None and _CHUNK.fullmatch(line) is None:
            raise h11.LocalProtocolError("illegal chunk header")
        return line

    def _extract(self, count: int) -> bytearray:
        taken = super()._extract(count)
        if self._is_head and (_LENIENT.search(taken) or _says_length_twice(taken)):
            raise h11.LocalProtocolError("illegal line in a head")
        return taken


def _says_length_twice(head: bytearray) -> bool:
    lengths = _LENGTHS.findall(head)
    return len(lengths) > 1 or any(b"," in length for length in lengths)
