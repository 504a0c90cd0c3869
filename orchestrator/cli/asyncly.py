"""One event loop for a command, and what a signal does to it: the first ends it tidily, the second at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from orchestrator.cli.errors import Stopped

T = TypeVar("T")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def drive(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *work* to its end. SIGINT or SIGTERM cancels it, and rises as Stopped once it has cleaned up.

    A second signal ends the process on the spot: everything that matters is in the store at any instant.
    """
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heeded}
    received: list[int] = []
    try:
        with asyncio.Runner() as runner:
            return runner.run(_heeding(work, heeded, received))
    except asyncio.CancelledError:
        if received:
            raise Stopped(received[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _heeding(work: Callable[[], Coroutine[Any, Any, T]], heeded: list[signal.Signals], received: list[int]) -> T:
    """*work*, cancelled by the first signal of *heeded*, which is put into *received*."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop(number: int) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        if task is not None:
            task.cancel()

    for number in heeded:
        loop.add_signal_handler(number, stop, number)
    return await work()
