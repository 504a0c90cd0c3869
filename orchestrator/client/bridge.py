"""A thread with an event loop for the blocking library: the engine works there while its caller does something else.

anyio's blocking portal is no substitute. Its thread is a daemon thread: a program that ends without closing the
orchestrator hangs at exit, where this one closes it; and a call in flight when the engine fails meets the closed store
(`ValueError: no active connection`), where this one raises the engine's error. Both were tried with anyio 4.16.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Generic, TypeVar

from typing_extensions import override

from orchestrator.client.errors import not_open, used_once
from orchestrator.domain.errors import UsageError
from orchestrator.ports.streams import InputLine, InputProblem, Source, WrappedSource

T = TypeVar("T")
Opened = TypeVar("Opened")
Chunk = Sequence[InputLine | InputProblem]

#: How often the thread checks whether the program is ending without having closed it.
_CHECK_EVERY_S: Final = 0.5
_CHUNKS_AHEAD: Final = 2
_HOW_TO_OPEN: Final = "use it inside `with`, or call open() first"


class Bridge(Generic[Opened]):
    """Opens what *make* gives on a loop of its own, and runs coroutines there; safe to use from several threads."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Opened]]) -> None:
        self._make = make
        self._thread = threading.Thread(target=self._run, name="orchestrator")
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._orchestrator: Opened | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread and open what it runs. Raises what opening raises, and UsageError the second time."""
        if self._thread.ident is not None:
            raise used_once()
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:  # Ctrl-C: do not leave an engine behind that nobody can close
            self.stop()
            raise
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Close it and wait for the thread; may be repeated. Raises the error that the engine failed with, once."""
        if self._thread.ident is None:
            return
        self._ready.wait()
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def call(self, use: Callable[[Opened], Coroutine[Any, Any, T]]) -> T:
        """Run *use* on the loop and wait for it. Ctrl-C here cancels it there."""
        return self._result(self._send(use))

    def hand_over(self, source: Source, use: Callable[[Opened, Source], Coroutine[Any, Any, T]]) -> T:
        """Run *use* with a source that is read in this thread, to which the caller's objects may belong."""
        queued = _QueueSource(source)
        future = self._send(lambda orchestrator: use(orchestrator, queued))
        try:
            for chunk in _driven(source):
                if not self._put(queued, chunk, future):
                    break
            else:
                self._put(queued, None, future)
        except BaseException:
            future.cancel()  # what was read of it is discarded
            raise
        return self._result(future)

    def _put(self, queued: _QueueSource, chunk: Chunk | None, user: Future[T]) -> bool:
        """Wait for room in *queued*; False if its reader is gone."""
        put = self._send(lambda _: queued.put(chunk))
        self._first_of(put, user)
        if put.done() and not put.cancelled():
            return True
        put.cancel()
        return False

    def _first_of(self, *futures: Future[Any]) -> None:
        """Wait until one of *futures* is done, or the loop has ended, which may drop one."""
        while not wait(futures, timeout=_CHECK_EVERY_S, return_when=FIRST_COMPLETED).done:
            if not self._thread.is_alive():
                return

    def _send(self, use: Callable[[Opened], Coroutine[Any, Any, T]]) -> Future[T]:
        orchestrator, loop = self._orchestrator, self._loop
        if orchestrator is None or loop is None or loop.is_closed():
            if self._failure is not None:
                raise self._failure
            raise not_open(_HOW_TO_OPEN)
        if threading.current_thread() is self._thread:
            raise UsageError(
                "a blocking call inside the orchestrator's own loop would wait for itself",
                hint="make the call in your own thread",
            )
        coroutine = use(orchestrator)
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # closed between the two lines above
            coroutine.close()
            raise not_open(_HOW_TO_OPEN) from None

    def _result(self, future: Future[T]) -> T:
        try:
            self._first_of(future)
        except BaseException:
            future.cancel()
            raise
        if not future.done() or future.cancelled():  # only the end of the loop does that
            self._thread.join()
            if self._failure is None:
                raise UsageError("the orchestrator was closed meanwhile", hint="close it after the last call has ended")
            raise self._failure
        return future.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as exc:  # noqa: BLE001 - it belongs to the callers: `call` and `stop` raise it there
            self._failure = exc
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop = asyncio.Event()
        async with self._make() as orchestrator:
            self._orchestrator = orchestrator
            self._ready.set()
            # A program that ends without closing us waits for this thread: then we close ourselves.
            while threading.main_thread().is_alive() and not stop.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK_EVERY_S):
                        await stop.wait()


class _QueueSource(WrappedSource):
    """A source whose chunks come from another thread, through a queue of two."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue(_CHUNKS_AHEAD)

    async def put(self, chunk: Chunk | None) -> None:
        """Add a chunk when there is room; None ends them."""
        await self._chunks.put(chunk)

    @override
    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk


def _driven(source: Source) -> Iterator[Chunk]:
    """The chunks of a source over plain objects, without a loop: it never awaits anything but `sleep(0)`."""
    chunks = source.chunks()
    while True:
        step = chunks.__anext__()
        try:
            while True:
                step.send(None)
        except StopIteration as done:
            yield done.value
        except StopAsyncIteration:
            return
