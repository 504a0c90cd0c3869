"""The body of one create on its way to the transport: counted, checked against its length, and read once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from orchestrator.ports.provider import CreateBody


class Upload:
    """Gives *body* to the HTTP library and remembers how much of it was taken.

    A chunk counts as handed over from the moment it is given out: too much is safe (it makes a doubt), too little is
    not. The object has `__aiter__` and no `__iter__`: with both the SDK refuses it (2.12). *progress* is called
    whenever the transport has written all it was given and asks for more, also at the end.
    """

    def __init__(self, body: CreateBody, progress: Callable[[], None]) -> None:
        self.handed_bytes = 0
        #: What the body itself raised; the HTTP library wraps it, so it is kept here to be raised as itself.
        self.failure: Exception | None = None
        self.size_bytes = body.size_bytes
        self._chunks = body.chunks()
        self._progress = progress

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        self._progress()
        try:
            return await self._next()
        except StopAsyncIteration:
            raise
        except Exception as exc:
            self.failure = exc
            raise

    async def _next(self) -> bytes:
        """The next chunk that is not empty. Raises RuntimeError, a bug, where the body is not as long as it says."""
        async for chunk in self._chunks:
            if self.handed_bytes + len(chunk) > self.size_bytes:
                raise RuntimeError(f"the body has more than the {self.size_bytes} bytes that it announced")
            if chunk:
                self.handed_bytes += len(chunk)
                return chunk
        if self.handed_bytes < self.size_bytes:
            raise RuntimeError(f"the body ended after {self.handed_bytes} of {self.size_bytes} bytes")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the body's own iterator, wherever it stands (it may hold a reader of the store)."""
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()
