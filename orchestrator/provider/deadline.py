"""The one time limit around a call of the SDK: its own timeouts count single socket operations, not the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from orchestrator.provider.errors import Silence, outcome_of

if TYPE_CHECKING:
    import httpx2


class Deadline:
    """Ends one call that has stood still for *seconds*; `restart` says that it moved. The time is the event loop's."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    def restart(self) -> None:
        """Count from now again. Only while the call runs."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    async def outcome_of(self, call: Awaitable[httpx2.Response]) -> httpx2.Response | Silence:
        """The answer to *call* whatever its status, or why there is none. Lets only cancellation through."""
        try:
            async with self._timeout:
                self.restart()
                return await outcome_of(call)
        except TimeoutError:
            return Silence(why=f"no answer within {self._seconds:g} s")
