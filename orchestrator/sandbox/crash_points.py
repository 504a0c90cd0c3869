"""Crash points: instants at which the sandbox kills its own process with SIGKILL, for `run --crash-test`.

They are separate from faults: no rate, script or admin route can order one. A sandbox on a port, which is a process of
its own, never has one. Only the transport in a process does, and only with a journal: the batches must outlive the
process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from enum import StrEnum
from urllib.parse import parse_qs

from typing_extensions import override

from orchestrator.sandbox.exchange import Responder, SandboxRequest, SandboxResponse

Die = Callable[[], None]


class CrashPoint(StrEnum):
    """Where the process dies, as seen by a client that lists the newest batch, creates, watches, and downloads."""

    CURSOR = "cursor"  #: a list of one was answered whole; the client has not acted on it
    SENDING = "sending"  #: half of a create's first piece was taken, the rest is not sent yet
    RECEIVED = "received"  #: the last byte of a create was taken, nothing is done
    CREATED = "created"  #: the batch exists and is in the journal, no byte of the answer is out
    ANSWERED = "answered"  #: the last byte of a create's answer was given, the client has not acted on it
    WATCHING = "watching"  #: a list of many was answered whole; the client has not acted on it
    READING = "reading"  #: half of the first piece of a result file was given


def kill_this_process() -> None:
    """Send SIGKILL: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


class CrashInjector(Responder):
    """Responds as *router* does until *point* is reached; then it calls *die*, which does not return."""

    def __init__(self, router: Responder, point: CrashPoint, die: Die) -> None:
        self._router = router
        self._point = point
        self._die = die

    @override
    async def answer(self, request: SandboxRequest) -> SandboxResponse:
        point, is_create = self._point, _is_create(request)
        if is_create and point is CrashPoint.SENDING:
            request = replace(request, body=_dying_midway(request.body, self._die))
        if is_create and point is CrashPoint.RECEIVED:
            request = replace(request, body=_dying_after(request.body, self._die))
        answer = await self._router.answer(request)
        if answer.status != 200:
            return answer
        if is_create and point is CrashPoint.CREATED:
            self._die()
        if (is_create and point is CrashPoint.ANSWERED) or point is _list_crash_point(request):
            return replace(answer, body=_dying_after(answer.body, self._die))
        if point is CrashPoint.READING and request.path.endswith("/results"):
            return replace(answer, body=_dying_midway(answer.body, self._die))
        return answer


def _is_create(request: SandboxRequest) -> bool:
    return request.method == "POST" and request.path.rstrip("/").endswith("/batches")


def _list_crash_point(request: SandboxRequest) -> CrashPoint | None:
    """The crash point of a list call: one for the newest batch alone, or one for many. None for other calls."""
    if request.method != "GET" or not request.path.rstrip("/").endswith("/batches"):
        return None
    return CrashPoint.CURSOR if parse_qs(request.query).get("limit") == ["1"] else CrashPoint.WATCHING


async def _dying_after(body: AsyncIterator[bytes], die: Die) -> AsyncGenerator[bytes, None]:
    """Yield all of *body*, and die when more is asked for: the receiver then has the last piece."""
    async for piece in body:
        yield piece
    die()


async def _dying_midway(body: AsyncIterator[bytes], die: Die) -> AsyncGenerator[bytes, None]:
    """Yield half of the first piece of *body*, and die when the rest is asked for."""
    async for piece in body:
        yield piece[: max(1, len(piece) // 2)]
        die()
