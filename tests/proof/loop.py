"""An event loop with virtual time in which processes can be killed, or stand still.

Time stands still while anything can run, and jumps to the next timer when nothing can: a day takes as long as what
happens in it. Nothing runs beside the loop: threads are replaced by calls on the spot, SQLite runs on the caller's
thread. So one seed gives one history. Ready callbacks run in the order in which they became ready, as asyncio
promises; different orders come from the random delays of the network, the store and the pauses.

A process is a context variable: whatever a task of it schedules belongs to it. A process that is killed runs not one
callback more, and nobody cleans up after it.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: The process that runs; 0 is the world itself: the API, the network, people.
PROCESS: Final[ContextVar[int]] = ContextVar("process", default=0)
_TICK: Final = 1e-9


class Stuck(Exception):
    """Nothing can run and no timer is left: the world would wait for ever."""


class SimLoop(asyncio.BaseEventLoop):
    """See above. `steps` counts the callbacks that each process ran; `after_step` is called after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: Counter[int] = Counter()
        self.after_step: Callable[[int], None] = lambda _process: None
        self._virtual = 0.0
        self._dead: set[int] = set()
        self._frozen: dict[int, list[asyncio.Handle]] = {}
        self._tasks: dict[int, list[asyncio.Task[Any]]] = {}
        self._clock_resolution = _TICK
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # the stub knows factories without context

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def spawn(self, work: Coroutine[Any, Any, T], process: int, name: str) -> asyncio.Task[T]:
        """Run *work* as a task of *process*."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, name=name, context=context)

    def kill(self, process: int) -> None:
        """SIGKILL: the process runs nothing more. Not from inside one of its own tasks."""
        self._dead.add(process)
        self._frozen.pop(process, None)
        for task in self._tasks.pop(process, []):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it will never be done
            _dispose(task.get_coro())

    def freeze(self, process: int) -> None:
        """SIGSTOP: from now on the process runs nothing, until it is thawed; what comes due waits."""
        self._frozen.setdefault(process, [])

    def thaw(self, process: int) -> None:
        """SIGCONT: all that came due meanwhile runs, in that order."""
        self._ready.extend(self._frozen.pop(process, ()))  # type: ignore[attr-defined]

    def is_frozen(self, process: int) -> bool:
        """True between `freeze` and `thaw`."""
        return process in self._frozen

    def is_dead(self, process: int) -> bool:
        """True after `kill`."""
        return process in self._dead

    def tasks(self, process: int) -> list[asyncio.Task[Any]]:
        """The tasks of *process* that are not done."""
        return [task for task in self._tasks.get(process, []) if not task.done()]

    def run_in_executor(self, _executor: object, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run *func* at once: there are no threads in this world."""
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as exc:  # noqa: BLE001 - handed to whoever awaits it, as an executor does
            self.call_soon(_fail, future, exc)
        else:
            self.call_soon(_give, future, result)
        return future

    def _run_once(self) -> None:
        self._fire_timers()
        ready = self._ready  # type: ignore[attr-defined]
        for _ in range(len(ready)):
            handle = ready.popleft()
            process = handle._context.get(PROCESS, 0)
            if handle._cancelled or process in self._dead:
                continue
            if process in self._frozen:
                self._frozen[process].append(handle)
                continue
            handle._run()
            self.steps[process] += 1
            self.after_step(process)

    def _fire_timers(self) -> None:
        """Make ready what is due; if nothing is ready, jump to the next timer of the living."""
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and (timers[0]._cancelled or timers[0]._context.get(PROCESS, 0) in self._dead):
            heapq.heappop(timers)._scheduled = False
        if not self._ready:  # type: ignore[attr-defined]
            if self._stopping:  # type: ignore[attr-defined]
                return
            if not timers:
                raise Stuck(f"nothing can happen any more at {self._virtual:.3f} s")
            self._virtual = max(self._virtual, timers[0]._when)
        while timers and timers[0]._when <= self._virtual:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            self._ready.append(handle)  # type: ignore[attr-defined]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        """Generators of dead processes are never finished."""

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        """The same."""

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS, 0)
        known = self._tasks.setdefault(process, [])
        known.append(task)
        if len(known) > 256:
            known[:] = [one for one in known if not one.done()]
        return task


def run(loop: SimLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on *loop* to its end; then everything that is left over is thrown away."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        for process in list(loop._tasks):
            loop.kill(process)
        asyncio.set_event_loop(None)
        loop.close()


def _give(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], exc: BaseException) -> None:
    if not future.done():
        future.set_exception(exc)


def _dispose(coro: Any) -> None:
    """Let go of a dead task's frames, so that none of their clean-up runs at a random later time.

    What such clean-up does is of no account: the store's connections and the network's are cut by then.
    """
    for _ in range(20):
        if inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED:
            return
        with suppress(BaseException):
            coro.close()
