"""Runs a coroutine for a command. The first SIGINT or SIGTERM cancels it, the second ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar

from orchestrator.cli.command_errors import UNTOUCHED, Stopped

T = TypeVar("T")
DescribeStop = Callable[[Stopped], None]
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_async(work: Callable[[], Coroutine[Any, Any, T]], describe_stop: DescribeStop | None = None) -> T:
    """Run *work* to its end. SIGINT or SIGTERM cancels it; Stopped is raised once it has cleaned up.

    A second signal ends the process on the spot: everything that matters is in the store at any instant.
    describe_stop: completes the Stopped of either signal with what is true by then, and how to go on.
    """
    describe = (lambda _: None) if describe_stop is None else describe_stop
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in heeded}
    received: list[int] = []
    early: list[int] = []  # an exception must not rise while the loop is half made
    for number in heeded:
        signal.signal(number, lambda got, _frame: early.append(got))
    try:
        with asyncio.Runner() as runner:
            return runner.run(_heeding(work, heeded, early, received, describe))
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
    early: list[int],
    received: list[int],
    describe: DescribeStop,
) -> T:
    """Run *work*. The first signal of *heeded*, one that came *early* included, cancels it and goes into *received*."""
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
    if early:
        stop(early[0])
        await asyncio.sleep(0)
    return await work()


def _end_now(number: int, describe: DescribeStop) -> NoReturn:
    """Write the last message past every buffer, and end the process."""
    stopped = Stopped(number)
    describe(stopped)
    with contextlib.suppress(OSError):
        os.write(2, "".join(f"{line}\n" for line in stopped.lines()).encode())
    os._exit(stopped.exit_code)


def nothing_changed(stopped: Stopped) -> None:
    """Describe the stop of a command that changes nothing."""
    stopped.fact = UNTOUCHED
