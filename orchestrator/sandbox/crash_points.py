"""Crash points: instants at which the sandbox kills the process that it lives in, with SIGKILL, for `run --crash-test`.

They are kept apart from the faults: no rate, no script and no admin route can order one, and a sandbox on a port, which
is a process of its own, never meets one. Only the transport in a process does, and only with a journal: the batches
must outlive the process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from enum import StrEnum
from urllib.parse import parse_qs

from orchestrator.sandbox.exchange import Responder, SandboxRequest, SandboxResponse

Die = Callable[[], None]


class CrashPoint(StrEnum):
    """Where the process dies, seen from a client that asks for the newest batch, creates, watches, and downloads."""

    CURSOR = "cursor"  #: a list of one was answered whole; the client has not acted on it
    SENDING = "sending"  #: half of a create's first piece was taken, the rest is not sent yet
    RECEIVED = "received"  #: the last byte of a create was taken, nothing is done
    CREATED = "created"  #: the batch exists and is in the journal, no byte of the answer is out
    ANSWERED = "answered"  #: the last byte of a create's answer was given, the client has not acted on it
    WATCHING = "watching"  #: a list of many was answered whole; the client has not acted on it
    READING = "reading"  #: half of the first piece of a result file was given


def kill_this_process() -> None:
    """SIGKILL: nothing is flushed, no handler runs, nobody is told."""
    os.kill(os.getpid(), signal.SIGKILL)


class CrashInjector:
    """Answers as *router* does until *point* is met; then it calls *die*, which does not return."""

    def __init__(self, router: Responder, point: CrashPoint, die: Die) -> None:
        self._router = router
        self._point = point
        self._die = die

    async def answer(self, request: SandboxRequest) -> SandboxResponse:
        """The router's own answer. Raises what it raises."""
        point, is_create = self._point, _is_create(request)
        if is_create and point is CrashPoint.SENDING:
            request = replace(request, body=_broken_off(request.body, self._die))
        if is_create and point is CrashPoint.RECEIVED:
            request = replace(request, body=_last_words(request.body, self._die))
        answer = await self._router.answer(request)
        if answer.status != 200:
            return answer
        if is_create and point is CrashPoint.CREATED:
            self._die()
        if (is_create and point is CrashPoint.ANSWERED) or point is _look_of(request):
            return replace(answer, body=_last_words(answer.body, self._die))
        if point is CrashPoint.READING and request.path.endswith("/results"):
            return replace(answer, body=_broken_off(answer.body, self._die))
        return answer


def _is_create(request: SandboxRequest) -> bool:
    return request.method == "POST" and request.path.rstrip("/").endswith("/batches")


def _look_of(request: SandboxRequest) -> CrashPoint | None:
    """Which of the two looks at the list this is, if it is one: for the newest batch alone, or for many."""
    if request.method != "GET" or not request.path.rstrip("/").endswith("/batches"):
        return None
    return CrashPoint.CURSOR if parse_qs(request.query).get("limit") == ["1"] else CrashPoint.WATCHING


async def _last_words(body: AsyncIterator[bytes], die: Die) -> AsyncGenerator[bytes, None]:
    """All of *body*; whoever asks for more after the last piece has all of it in hand, and dies."""
    async for piece in body:
        yield piece
    die()


async def _broken_off(body: AsyncIterator[bytes], die: Die) -> AsyncGenerator[bytes, None]:
    """Half of the first piece of *body*, and death when the rest is asked for."""
    async for piece in body:
        yield piece[: max(1, len(piece) // 2)]
        die()
