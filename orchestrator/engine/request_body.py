"""The exact bytes of one create, streamed from the store: params as they were handed in, with wire ids around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from typing_extensions import override

from orchestrator.domain import errors, limits
from orchestrator.domain.model import BatchRow
from orchestrator.ports.runtime import CreateBody
from orchestrator.ports.store import ParamsStore

_SLICE: Final = 256 * 1024


class BatchBody(CreateBody):
    """The body of *batch*. Its size was fixed when the batch was planned; the bytes are checked against it.

    A mismatch raises before the last byte is handed over, so that the API cannot have taken the batch.
    """

    def __init__(self, store: ParamsStore, batch: BatchRow) -> None:
        self._store = store
        self._batch = batch

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
        """The bytes, some 512 KiB at a time; one chunk is held back until the sum is known to be right."""
        held = limits.BODY_HEAD
        size = count = above = 0
        while members := await self._store.slice(self._batch.id, above, _SLICE):
            above = members[-1][0]
            count += len(members)
            size += len(held)
            yield held
            held = self._items(members, first=count == len(members))
        held += limits.BODY_TAIL
        if size + len(held) != self._batch.size_bytes or count != self._batch.count:
            raise errors.StoreError(
                f"batch {self._batch.id} is not what was planned",
                cause=f"{size + len(held)} bytes in {count} requests instead of {self._batch.size_bytes}",
                hint="the store is damaged: restore a backup",
            )
        yield held

    def _items(self, members: list[tuple[int, bytes]], *, first: bool) -> bytes:
        head = b'{"custom_id":"' + self._batch.nonce.encode() + b"-"
        items = b",".join([b'%b%d","params":%b}' % (head, number, params) for number, params in members])
        return items if first else b"," + items
