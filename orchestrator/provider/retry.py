"""The time limit of one call, and the one retry policy: at most three tries within five seconds. Never for a create.

The SDK's own timeouts count single socket operations, not the whole call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from orchestrator.provider.errors import NoResponse, RetryableError, response_to

if TYPE_CHECKING:
    import httpx2

TRIES: Final = 3
WITHIN_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.5
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


async def with_retries(call: Callable[[], Awaitable[T]], *, sleep: Sleep) -> T:
    """Await *call*, and again while it raises RetryableError and there is time; then raise the error inside.

    Pauses: the API's own figure, else 0.5 s and 1 s. A pause that does not fit into the time left is not begun. The
    time is the event loop's, and *sleep* is injected, so a simulated clock drives both.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + WITHIN_S

    def too_late(state: RetryCallState) -> bool:
        return loop.time() + state.upcoming_sleep > ends_at

    async def pause(seconds: float) -> None:
        await sleep(seconds)

    retrying = AsyncRetrying(
        sleep=pause,
        stop=lambda state: state.attempt_number >= TRIES or too_late(state),
        wait=_pause_s,
        retry=retry_if_exception_type(RetryableError),
        reraise=True,
    )
    try:
        return await retrying(call)
    except RetryableError as exc:
        error = exc.error
    raise error


def _pause_s(state: RetryCallState) -> float:
    outcome = state.outcome.exception() if state.outcome is not None else None
    if isinstance(outcome, RetryableError) and outcome.after_s is not None:
        return outcome.after_s
    return _FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1)


class Deadline:
    """Ends one call after *seconds* without progress; `restart` reports progress. The time is the event loop's."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    def restart(self) -> None:
        """Count from now again. Only while the call runs."""
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    async def response_to(self, call: Awaitable[httpx2.Response]) -> httpx2.Response | NoResponse:
        """The answer to *call* whatever its status, or why there is none. Lets only cancellation through."""
        try:
            async with self._timeout:
                self.restart()
                return await response_to(call)
        except TimeoutError:
            return NoResponse(why=f"no answer within {self._seconds:g} s")
