"""Limits how much of a response is read: each is decoded here, piece by piece, and counted after decompression.

It is a response hook, and so the one door for everything the SDK reads: it reads the body of an error whole by itself.
Only gzip is asked for: its decoder (zlib) can be told to stop, so a small bomb is never inflated whole.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

import httpx2

from orchestrator.provider import failures

#: Ten times a page of 1,000 batches.
MAX_JSON_BYTES: Final = 16 * 1024 * 1024
#: An error is a few words; a longer one is read to here, and its status says the rest.
MAX_ERROR_BYTES: Final = 64 * 1024
#: The SDK (2.12) returns before it reads the body of an answer to a request with this header.
STREAMED: Final = "x-stainless-raw-response"
_PIECE_BYTES: Final = 256 * 1024
_GZIP: Final = frozenset({"gzip", "x-gzip"})
#: No compression at all, by any of its names; a header may list several.
_PLAIN: Final = frozenset({"", "identity", "none"})
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


def limit_responses(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Make *client* read no more of a response than it should."""
    client.headers["accept-encoding"] = "gzip"
    client.event_hooks["response"].append(_bound)
    return client


async def _bound(response: httpx2.Response) -> None:
    encoding = response.headers.pop("content-encoding", "").strip().lower()
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, encoding, _limit(response))


def _limit(response: httpx2.Response) -> _Limit:
    if response.status_code != 200:
        return _Limit(MAX_ERROR_BYTES, is_words=True)
    return _Limit(None if response.request.headers.get(STREAMED) == "stream" else MAX_JSON_BYTES, is_words=False)


class _Limit:
    """How many decoded bytes are read; None: any. is_words: the body of a refusal, of which a part will do."""

    def __init__(self, most_bytes: int | None, *, is_words: bool) -> None:
        self.most_bytes = most_bytes
        self.is_words = is_words


class _Bounded(httpx2.AsyncByteStream):
    """The decoded body of a response. Raises BadResponse if it is too large or cannot be decoded."""

    def __init__(self, inner: httpx2.AsyncByteStream, encoding: str, limit: _Limit) -> None:
        self._inner = inner
        self._encoding = encoding
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit.most_bytes
        try:
            async with aclosing(_decoded(self._inner, self._encoding)) as pieces:
                async for piece in pieces:
                    if left is not None and len(piece) > left:
                        if not self._limit.is_words:
                            raise failures.BadResponse(f"answer too large: more than {self._limit.most_bytes:,} bytes")
                        yield piece[:left]
                        return
                    left = None if left is None else left - len(piece)
                    yield piece
        except failures.BadResponse:
            if not self._limit.is_words:
                raise

    async def aclose(self) -> None:
        """Close the connection's own stream."""
        await self._inner.aclose()


async def _decoded(inner: AsyncIterator[bytes] | httpx2.AsyncByteStream, encoding: str) -> AsyncGenerator[bytes, None]:
    """The bytes of *inner* without their compression. Raises BadResponse."""
    packed = [each for each in map(str.strip, encoding.split(",")) if each not in _PLAIN]
    if not packed:
        async for piece in inner:
            yield piece
        return
    if len(packed) > 1 or packed[0] not in _GZIP:
        raise failures.BadResponse(f"the answer is compressed in a way that was not asked for ({encoding[:40]})")
    inflate = _Inflate()
    async for piece in inner:
        for inflated in inflate.pieces(piece):
            yield inflated
    inflate.end()


class _Inflate:
    """Gunzips what it is given, pieces of bounded size at a time; members may follow each other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._begun = False

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """What *packed* inflates to. Raises BadResponse."""
        while packed:
            if self._member.eof:
                self._member, self._begun = zlib.decompressobj(_GZIP_WINDOW), False
            self._begun = True
            try:
                inflated = self._member.decompress(packed, _PIECE_BYTES)
            except zlib.error as exc:
                raise failures.BadResponse(f"the answer's compression is damaged ({exc})") from exc
            if inflated:
                yield inflated
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def end(self) -> None:
        """No more comes. Raises BadResponse in the middle of a member."""
        if self._begun and not self._member.eof:
            raise failures.BadResponse("the answer ends in the middle of its compression")
