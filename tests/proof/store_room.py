"""The store of a simulated process: SQLite on the caller's thread, watched at every commit.

Every step is delayed a little, so that stages overtake each other as they do over threads; the disk can be full; a
process can be told to die just before a commit or just after it.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from orchestrator.store.connection import Step, in_transaction

T = TypeVar("T")

_SLOW: Final = 0.2  #: how many steps take virtual time
_DELAY_S: Final = 0.02
_NO_LIMIT: Final = 4294967294


@dataclass(slots=True, kw_only=True)
class Disk:
    """The disk under the store of one process, and who is told of its commits.

    before and after: asked around each commit; True means that the process dies there. full: nothing can be added.
    """

    chance: random.Random
    before: Callable[[], bool] = lambda: False
    after: Callable[[sqlite3.Connection], bool] = lambda _connection: False
    full: bool = False
    connections: list[sqlite3.Connection] = field(default_factory=list)

    async def start(self, connector: Callable[[], sqlite3.Connection]) -> Desk:
        """Open a connection; see `orchestrator.store.connection.Start`."""
        connection = connector()
        self.connections.append(connection)
        return Desk(self, connection)

    def cut(self) -> None:
        """The process is dead: what was not committed is gone."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()


class Desk:
    """One connection. See `orchestrator.store.connection.Worker`."""

    def __init__(self, disk: Disk, connection: sqlite3.Connection) -> None:
        self._disk = disk
        self._connection = connection
        self._is_full = False

    async def run(self, step: Step[T]) -> T:
        """Run *step* whole."""
        await self._delay()
        writes = getattr(step, "func", None) is in_transaction
        if writes:
            self._meet_disk()
            if self._disk.before():
                await self._never()
        changes = self._connection.total_changes
        result = step(self._connection)
        if writes and self._connection.total_changes != changes and self._disk.after(self._connection):
            await self._never()
        await self._delay()
        return result

    async def aclose(self) -> None:
        """Close the connection."""
        self._connection.close()
        if self._connection in self._disk.connections:
            self._disk.connections.remove(self._connection)

    async def _delay(self) -> None:
        slow = self._disk.chance.random() < _SLOW
        await asyncio.sleep(self._disk.chance.random() * _DELAY_S if slow else 0)

    async def _never(self) -> None:
        await asyncio.get_running_loop().create_future()

    def _meet_disk(self) -> None:
        """A full disk has room for the pages that are there, and for no more."""
        if self._is_full == self._disk.full:
            return
        self._is_full = self._disk.full
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0] if self._is_full else _NO_LIMIT
        self._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
