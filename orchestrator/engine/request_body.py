"""The exact bytes of one create, streamed from the store: params as they were handed in, with wire ids around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Final

from typing_extensions import override

from orchestrator.domain import errors, limits
from orchestrator.domain.model import BatchRow
from orchestrator.ports.runtime import Clock, CreateBody
from orchestrator.ports.store import ParamsStore, SubmitStore

_SLICE: Final = 256 * 1024
#: How old the word that a POST is still its own may be when the last bytes go.
_FRESH: Final = timedelta(seconds=1)
#: Asked before the last bytes leave. Raises TakenOver.
MayEnd = Callable[[BatchRow], Awaitable[None]]


class TakenOver(Exception):
    """The row says that a POST is not its sender's any more: somebody took the batch over meanwhile."""


class TailFence:
    """Asks the row whether a POST is still its own, before the bytes leave that can make a batch of it.

    A process may stand still between any two steps (stopped, suspended, starved), and its batch be given up and sent
    anew meanwhile. So an answer counts only while it is fresh, by a clock that stands still for nothing.
    """

    def __init__(self, store: SubmitStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def pass_by(self, batch: BatchRow) -> None:
        """Returns with an answer that is fresh. Raises TakenOver."""
        fresh = False
        while not fresh:
            asked = self._clock.elapsed()
            if not await self._store.is_sending(batch):
                raise TakenOver(f"batch {batch.id} was taken over before its last bytes")
            fresh = self._clock.elapsed() - asked < _FRESH


class BatchBody(CreateBody):
    """The body of *batch*. Its size was fixed when the batch was planned; the bytes are checked against it.

    A mismatch raises before the last byte is handed over, so that the API cannot have taken the batch. may_end: awaited
    when the transport has sent all but the last bytes and asks for these.
    """

    def __init__(self, store: ParamsStore, batch: BatchRow, may_end: MayEnd) -> None:
        self._store = store
        self._batch = batch
        self._may_end = may_end

    @property
    @override
    def size_bytes(self) -> int:
        return self._batch.size_bytes

    @property
    @override
    def count(self) -> int:
        return self._batch.count

    @override
    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, some 512 KiB at a time, one chunk held back until the sum is right; `BODY_TAIL` comes alone."""
        held = limits.BODY_HEAD
        size = count = above = 0
        while members := await self._store.slice(self._batch.id, above, _SLICE):
            above = members[-1][0]
            count += len(members)
            size += len(held)
            yield held
            held = self._items(members, first=count == len(members))
        await self._check(size + len(held) + len(limits.BODY_TAIL), count)
        yield held
        await self._may_end(self._batch)
        yield limits.BODY_TAIL

    async def _check(self, size: int, count: int) -> None:
        if size == self._batch.size_bytes and count == self._batch.count:
            return
        await self._may_end(self._batch)  # a batch that is void has no requests any more
        raise errors.StoreError(
            f"batch {self._batch.id} is not what was planned",
            cause=f"{size} bytes in {count} requests instead of {self._batch.size_bytes}",
            hint="the store is damaged: restore a backup",
        )

    def _items(self, members: list[tuple[int, bytes]], *, first: bool) -> bytes:
        head = b'{"custom_id":"' + self._batch.nonce.encode() + b"-"
        items = b",".join([b'%b%d","params":%b}' % (head, number, params) for number, params in members])
        return items if first else b"," + items
