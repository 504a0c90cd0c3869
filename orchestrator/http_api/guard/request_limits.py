"""Limits per request: body size and upload speed, and how many long requests a listener takes at once.

Time counts only while we wait for the client, never while the client waits for us. Streams, waits and transfers get a
part of the connections, so that a short request always finds one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from orchestrator.domain.errors import BodyTooLarge, BodyTooSlow, ServerBusy

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

_UPLOADS: Final = re.compile(r"/api/v1/(jobs|check|estimate|jobs/[^/]+/requests)|/v1/messages/batches|/new", re.ASCII)
_HINT: Final = "requests go to POST /api/v1/jobs as application/x-ndjson, of any size"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """small_bytes, small_s: limits of a whole body that is no upload. upload_bytes: the cap of an upload.

    An upload must deliver at least `pace_bytes` in every `pace_s` seconds that we wait for it.
    """

    small_bytes: int = 1 << 20
    small_s: float = 10.0
    upload_bytes: int = 10_000_000_000
    pace_bytes: int = 1024
    pace_s: float = 10.0


def is_upload(method: str, path: str) -> bool:
    """True for the routes that take requests as a stream."""
    return method == "POST" and _UPLOADS.fullmatch(path) is not None


class LimitedBody:
    """The body of one request, received under limits."""

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits) -> None:
        self._receive = receive
        self._is_upload = is_upload(scope["method"], scope["path"])
        self._most = limits.upload_bytes if self._is_upload else limits.small_bytes
        self._window_s = limits.pace_s if self._is_upload else limits.small_s
        self._pace_bytes = limits.pace_bytes
        self._left_s = self._window_s
        self._in_window = 0
        self._received = 0
        self.is_whole = False

    def check_length(self, declared: bytes | None) -> None:
        """Raise BodyTooLarge for a Content-Length over the cap, before anything is read."""
        if declared is not None and (not declared.isdigit() or len(declared) > 19 or int(declared) > self._most):
            raise self._too_large()

    async def receive(self) -> Message:
        """The next piece. Raises BodyTooSlow, BodyTooLarge."""
        if self.is_whole:  # what still comes is the end of the connection, for which there is no deadline
            return await self._receive()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(0.0, self._left_s)):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow("the body comes too slowly", cause=f"no progress in {self._window_s:g} s") from None
        self._left_s -= loop.time() - began
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        size = len(message.get("body", b""))
        self._received += size
        self._in_window += size
        self.is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._received > self._most:
            raise self._too_large()
        if self._is_upload and self._in_window >= self._pace_bytes:
            self._in_window, self._left_s = 0, self._window_s

    def _too_large(self) -> BodyTooLarge:
        hint = "[server] max_body is the cap" if self._is_upload else _HINT
        return BodyTooLarge("the body is too large", cause=f"at most {self._most:,} bytes are taken here", hint=hint)


_STREAMS: Final = re.compile(r"/api/v1/(?:jobs/[^/]+/)?events/stream|/live", re.ASCII)
_JOB: Final = re.compile(r"/api/v1/jobs/[^/]+", re.ASCII)
_RESULTS: Final = re.compile(
    r"/api/v1/jobs/[^/]+/results(?:\.csv|\.tsv|\.txt|\.parquet|/columns)?|/v1/messages/batches/[^/]+/results", re.ASCII
)
_LOOKS: Final = frozenset({"GET", "HEAD"})
#: It is answered when the API has answered.
_REMOTE: Final = frozenset({"/api/v1/remote-batches"})


class LongRequest(Enum):
    """Why a request may take long."""

    WAITING = "stream or wait"  #: until something happens
    MOVING = "upload or download"  #: as long as the client takes to send or to read


def long_request(scope: Scope) -> LongRequest | None:
    """Why this request may take long; None if it is short."""
    method, path = scope["method"], scope["path"]
    if is_upload(method, path):
        return LongRequest.MOVING
    if method not in _LOOKS:
        return None
    if _STREAMS.fullmatch(path) or path in _REMOTE or (_JOB.fullmatch(path) and _has_parameter(scope, "wait")):
        return LongRequest.WAITING
    if _RESULTS.fullmatch(path):
        return LongRequest.WAITING if _has_parameter(scope, "follow") else LongRequest.MOVING
    return None


class LongRequestSlots:
    """Half of a listener's *connections* are for requests that wait, three eighths for uploads and downloads.

    An eighth stays free for short requests.
    """

    def __init__(self, connections: int) -> None:
        self._free = {LongRequest.WAITING: max(1, connections // 2), LongRequest.MOVING: max(1, connections * 3 // 8)}

    @contextmanager
    def slot(self, scope: Scope) -> Iterator[None]:
        """Holds a slot while this request runs. Raises ServerBusy if none is free."""
        kind = long_request(scope)
        if kind is None:
            yield
            return
        if not self._free[kind]:
            raise ServerBusy(
                "the server has no place for this now",
                cause=f"as many requests of this kind ({kind.value}) as it takes are under way",
                hint="try again in a moment; [server] max_connections is what it takes in all",
            )
        self._free[kind] -= 1
        try:
            yield
        finally:
            self._free[kind] += 1


def _has_parameter(scope: Scope, parameter: str) -> bool:
    """True if the query has *parameter*, and its value is not "0"."""
    asked = parse_qsl(scope["query_string"].decode("latin-1"))
    return any(name == parameter and value != "0" for name, value in asked)
