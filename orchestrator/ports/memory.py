"""The memory that uploads share for what is large; where nothing is shared, `Alone`."""

from __future__ import annotations

from typing import Protocol


class Claim(Protocol):
    """What one upload holds of the memory that all of them share for large lines."""

    async def hold(self, size_bytes: int) -> None:
        """Hold *size_bytes* from now on, in place of what was held before; waits for others to let go, not for long.

        Raises ServerBusy when there was no room in time.
        """
        ...


class Alone:
    """A `Claim` of who shares with nobody: a file of this machine's own user."""

    async def hold(self, size_bytes: int) -> None:
        """There is always room."""
