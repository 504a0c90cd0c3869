"""One event loop for a command, and what a signal does to it: the first ends it tidily, the second at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar

from orchestrator.cli.errors import UNTOUCHED, Stopped

T = TypeVar("T")
DescribeStop = Callable[[Stopped], None]
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_async(work: Callable[[], Coroutine[Any, Any, T]], describe_stop: DescribeStop | None = None) -> T:
    """Run *work* to its end. SIGINT or SIGTERM cancels it, and rises as Stopped once it has cleaned up.

    A second signal ends the process on the spot: everything that matters is in the store at any instant. *part* says in
    the Stopped of either signal what is true by then, and how to go on.
    """
    describe = (lambda _: None) if describe_stop is None else describe_stop
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heeded}
    received: list[int] = []
    try:
        with asyncio.Runner() as runner:
            return runner.run(_heeding(work, heeded, received, describe))
    except asyncio.CancelledError:
        if received:
            stopped = Stopped(received[0])
            describe(stopped)
            raise stopped from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _heeding(
    work: Callable[[], Coroutine[Any, Any, T]],
    heeded: list[signal.Signals],
    received: list[int],
    describe: DescribeStop,
) -> T:
    """*work*, cancelled by the first signal of *heeded*, which is put into *received*."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop(number: int) -> None:
        if received:
            _end_now(number, describe)
        received.append(number)
        if task is not None:
            task.cancel()

    for number in heeded:
        loop.add_signal_handler(number, stop, number)
    return await work()


def _end_now(number: int, describe: DescribeStop) -> NoReturn:
    """The last words, past every buffer, and the end of the process."""
    stopped = Stopped(number)
    describe(stopped)
    with contextlib.suppress(OSError):
        os.write(2, "".join(f"{line}\n" for line in stopped.lines()).encode())
    os._exit(stopped.exit_code)


def nothing_changed(stopped: Stopped) -> None:
    """The last words of a command that changes nothing."""
    stopped.fact = UNTOUCHED
