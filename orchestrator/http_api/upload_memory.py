"""The memory that all uploads share for large lines: an upload without room waits a little, then is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from orchestrator.domain import errors, limits

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

#: How long an upload waits for room.
PATIENCE_S: Final = 10.0
_CLAIMS: Final = "orchestrator.claims"


class LargeLineMemory:
    """The shared budget. held: how much of it is in use."""

    def __init__(self, total: int = limits.LARGE_LINES_BYTES, *, patience_s: float = PATIENCE_S) -> None:
        self.held = 0
        self._total = total
        self._patience_s = patience_s
        self._freed = asyncio.Event()

    async def exchange(self, before: int, after: int) -> int:
        """Release *before* bytes and take *after*; returns what was taken. Raises ServerBusy, and nothing changes."""
        after = min(after, self._total)  # alone, even the largest finds room
        if after > before:
            await self._room(after - before)
        self.held += after - before
        if after < before:
            self._freed.set()
            self._freed = asyncio.Event()
        return after

    async def _room(self, more: int) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                while self.held + more > self._total:
                    await self._freed.wait()
        except TimeoutError:
            raise errors.ServerBusy(
                "the server has no memory for this now",
                cause=f"lines over {limits.LARGE_LINE_BYTES >> 20} MiB of other uploads fill it",
                hint="send it again in a moment; nothing was stored",
            ) from None


class UploadClaim:
    """One upload's share of the budget; its first `LARGE_LINE_BYTES` are free."""

    def __init__(self, shared: LargeLineMemory) -> None:
        self._shared = shared
        self._held = 0

    async def hold(self, size_bytes: int) -> None:
        """See `ports.runtime.MemoryReservation`."""
        self._held = await self._shared.exchange(self._held, size_bytes if size_bytes > limits.LARGE_LINE_BYTES else 0)


class ReleaseClaims:
    """Releases at the end of each request what it claimed."""

    def __init__(self, app: ASGIApp, shared: LargeLineMemory) -> None:
        self._app = app
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then release its claims."""
        held = scope[_CLAIMS] = _RequestClaims(self._shared)
        try:
            await self._app(scope, receive, send)
        finally:
            await held.release_all()


class _RequestClaims:
    """The claims of one request."""

    def __init__(self, shared: LargeLineMemory) -> None:
        self._shared = shared
        self._claims: list[UploadClaim] = []

    def new_claim(self) -> UploadClaim:
        claim = UploadClaim(self._shared)
        self._claims.append(claim)
        return claim

    async def release_all(self) -> None:
        for claim in self._claims:
            await claim.hold(0)


def claim_of(request: Request) -> UploadClaim:
    """A new claim for *request*; it is released when the request ends."""
    claims: _RequestClaims = request.scope[_CLAIMS]
    return claims.new_claim()
