"""Slots: how many units of a stage's work run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

Tick = Callable[[datetime], Awaitable[int]]
Work = Callable[[int], Coroutine[Any, Any, int]]


async def run_slots(work: Work, slots: int, name: str) -> int:
    """Run *work* in *slots* tasks, numbered from 0, until each has returned. The sum of what they moved.

    If one fails the others are cancelled, and its own error rises rather than a group: the runner acts on the error (a
    full disk is waited out), whatever the number of tasks.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(number), name=f"{name}-{number}") for number in range(slots)]
    except BaseExceptionGroup as failed:
        raise _first(failed) from failed
    return sum(task.result() for task in tasks)


def slot_ticks(work: Work, slots: int, name: str) -> dict[str, Tick]:
    """The same slots as single ticks, for the runner: an idle slot looks again while the others work.

    Run together they would be a wave: what is planned during one upload would wait until that is through.
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
