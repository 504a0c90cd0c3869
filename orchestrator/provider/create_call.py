"""One create call: its body on the way to the transport, and what came of it.

The body is counted, checked against its length and read once. What the client saw becomes an `Exchange`;
`domain.create_outcome` alone says what that means.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.create_outcome import Exchange
from orchestrator.ports.runtime import CreateBody
from orchestrator.provider import failures, parsing

if TYPE_CHECKING:
    import httpx2


class Upload:
    """Streams *body* to the HTTP library and remembers how much was taken.

    A chunk counts as sent once it is given out: too much is safe (it makes a doubt), too little is not. The object has
    `__aiter__` and no `__iter__`: the SDK refuses one with both (2.12). progress: called whenever the transport has
    written all it was given and asks for more, also at the end.
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
        """The next chunk that is not empty. Raises RuntimeError, a bug, if the body is not as long as announced."""
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


def exchange_from(
    outcome: httpx2.Response | failures.NoResponse, body: CreateBody, handed_bytes: int, hide: Callable[[str], str]
) -> Exchange:
    """One create as the client saw it, for `classify`."""
    silent = Exchange(
        count=body.count,
        size_bytes=body.size_bytes,
        handed_bytes=handed_bytes,
        connected=True,
        status=None,
        batch=None,
        meta=ResponseMeta(),
        api_error=False,
        error_code=None,
        message="",
        retry_after_s=None,
    )
    if isinstance(outcome, failures.NoResponse):
        return replace(silent, connected=outcome.connected, message=outcome.why)
    batch, trouble = _answered(outcome)
    return replace(
        silent,
        status=outcome.status_code,
        batch=batch,
        meta=parsing.read_meta(outcome.headers),
        api_error=trouble.api_error,
        error_code=trouble.error_code,
        message=hide(trouble.message),
        retry_after_s=parsing.read_retry_after(outcome.headers),
    )


def _answered(response: httpx2.Response) -> tuple[RemoteBatch | None, parsing.ErrorSummary]:
    """The batch in a 200, and what the response says in words."""
    if response.status_code == 200:
        try:
            batch = parsing.read_batch(response.content)
        except parsing.Unreadable:
            return None, parsing.read_error(response.content, response.headers)
        words = f"{batch.id} with {batch.counts.total} requests"
        return batch, parsing.ErrorSummary(message=words, error_code=None, api_error=False)
    return None, parsing.read_error(response.content, response.headers)
