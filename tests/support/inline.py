"""SQLite on the caller's thread: for simulations, where it must not run beside virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from orchestrator.store.connection import Step

T = TypeVar("T")


class Inline:
    """See `orchestrator.store.connection.Worker`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    async def start(cls, connector: Callable[[], sqlite3.Connection]) -> Inline:
        """Open the connection here."""
        return cls(connector())

    async def run(self, step: Step[T]) -> T:
        """Run *step* at once; yields to the loop before and after, as a thread would."""
        await asyncio.sleep(0)
        result = step(self._connection)
        await asyncio.sleep(0)
        return result

    async def aclose(self) -> None:
        """Close the connection."""
        self._connection.close()
