"""Requests that last, and how many of a listener's connections they may take: a short one always finds a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from orchestrator.domain.errors import ServerBusy
from orchestrator.http_api.guard.bodies import is_upload

if TYPE_CHECKING:
    from starlette.types import Scope

_STREAMS: Final = re.compile(r"/api/v1/(?:jobs/[^/]+/)?events/stream|/live", re.ASCII)
_JOB: Final = re.compile(r"/api/v1/jobs/[^/]+", re.ASCII)
_RESULTS: Final = re.compile(r"/api/v1/jobs/[^/]+/results|/v1/messages/batches/[^/]+/results", re.ASCII)
_LOOKS: Final = frozenset({"GET", "HEAD"})
#: It is answered when the API has answered.
_REMOTE: Final = frozenset({"/api/v1/remote-batches"})


class Lasting(Enum):
    """Why a request may last."""

    WAITING = "stream or wait"  #: until something happens
    MOVING = "upload or download"  #: as long as the client takes to send or to read


def lasting(scope: Scope) -> Lasting | None:
    """Why this request may last; None: it is short."""
    method, path = scope["method"], scope["path"]
    if is_upload(method, path):
        return Lasting.MOVING
    if method not in _LOOKS:
        return None
    if _STREAMS.fullmatch(path) or path in _REMOTE or (_JOB.fullmatch(path) and _asks(scope, "wait")):
        return Lasting.WAITING
    if _RESULTS.fullmatch(path):
        return Lasting.WAITING if _asks(scope, "follow") else Lasting.MOVING
    return None


class Places:
    """The places of one listener: half of its *connections* for who waits, three eighths for who sends or reads much.

    An eighth is left for short requests, whatever the others do.
    """

    def __init__(self, connections: int) -> None:
        self._free = {Lasting.WAITING: max(1, connections // 2), Lasting.MOVING: max(1, connections * 3 // 8)}

    @contextmanager
    def taken(self, scope: Scope) -> Iterator[None]:
        """A place for the time of this request. Raises ServerBusy."""
        kind = lasting(scope)
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


def _asks(scope: Scope, parameter: str) -> bool:
    """True if the query has *parameter*, and does not say no."""
    asked = parse_qsl(scope["query_string"].decode("latin-1"))
    return any(name == parameter and value != "0" for name, value in asked)
