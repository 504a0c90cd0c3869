"""What export writes to: bytes that become visible all at once, or not at all."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """A place for results. Every method raises OutputError where the place itself fails."""

    async def write(self, chunk: bytes) -> None:
        """Take *chunk*; nothing is visible under the final name yet."""
        ...

    async def commit(self) -> None:
        """Make everything written visible and durable (fsync, rename, fsync of the folder); stdout is flushed."""
        ...

    async def abort(self) -> None:
        """Leave nothing behind. After `commit`, and the second time, it does nothing."""
        ...
