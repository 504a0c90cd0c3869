"""The one retry policy, for reads, cancel and delete: at most three tries within five seconds. Never for a create."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from orchestrator.provider.errors import Again

TRIES: Final = 3
WITHIN_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.5

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


async def patiently(call: Callable[[], Awaitable[T]], *, sleep: Sleep) -> T:
    """What *call* gives, tried again while it raises Again and there is time; then the error inside the last Again.

    Pauses: the API's own figure, else 0.5 s and 1 s. A pause that does not fit into what is left is not begun. The time
    is the event loop's, and *sleep* is injected, so a simulated clock drives both.
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
        retry=retry_if_exception_type(Again),
        reraise=True,
    )
    try:
        return await retrying(call)
    except Again as exc:
        error = exc.error
    raise error


def _pause_s(state: RetryCallState) -> float:
    outcome = state.outcome.exception() if state.outcome is not None else None
    if isinstance(outcome, Again) and outcome.after_s is not None:
        return outcome.after_s
    return _FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1)
