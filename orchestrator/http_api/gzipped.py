"""Long answers, packed on the way where the client takes it."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
#: How much is packed between two turns of the event loop: some milliseconds at level 1.
_SLICE_BYTES: Final = 256 * 1024


def takes_gzip(accept_encoding: str) -> bool:
    """What the header `Accept-Encoding` says about gzip; a weight of 0 refuses it."""
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in {"gzip", "*"}:
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


async def gzipped(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """*pieces* as one gzip stream, in which each can be read when it was sent; closes them at its end."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW)
    async with aclosing(pieces):
        async for piece in pieces:
            for start in range(0, len(piece), _SLICE_BYTES):
                if packed := packer.compress(piece[start : start + _SLICE_BYTES]):
                    yield packed
                await asyncio.sleep(0)
            yield packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
