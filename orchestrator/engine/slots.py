"""Work side by side: slots that take units until there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

Tick = Callable[[datetime], Awaitable[int]]
Work = Callable[[int], Coroutine[Any, Any, int]]


async def run_slots(work: Work, slots: int, name: str) -> int:
    """Run *work* in *slots* tasks, numbered from 0, until each has returned; the sum of what they moved.

    If one fails the others are cancelled, and its own error rises, not a group: whoever ticks a stage acts on what
    happened (a full disk is waited out), not on how many tasks there were.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(number), name=f"{name}-{number}") for number in range(slots)]
    except BaseExceptionGroup as failed:
        raise _first(failed) from failed
    return sum(task.result() for task in tasks)


def slot_ticks(work: Work, slots: int, name: str) -> dict[str, Tick]:
    """The same slots as ticks of their own, for a runner: a slot that finds nothing looks again while others work.

    Ticked together they would be a wave: what is planned while one upload runs would wait until it is through.
    """

    def tick(number: int) -> Tick:
        return lambda _now: work(number)

    return {f"{name}-{number}": tick(number) for number in range(slots)}


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single error inside *failed*."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
