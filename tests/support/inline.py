"""The store on the caller's thread: for simulations, where it must not run beside virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from orchestrator.store.database import Closable

T = TypeVar("T")
C = TypeVar("C", bound=Closable)


class Inline(Generic[C]):
    """See `orchestrator.store.database.Worker`."""

    def __init__(self, connection: C) -> None:
        self._connection = connection

    @classmethod
    async def start(cls, connector: Callable[[], C]) -> Inline[C]:
        """Open the connection here."""
        return cls(connector())

    async def run(self, step: Callable[[C], T]) -> T:
        """Run *step* at once; yields to the loop before and after, as a thread would."""
        await asyncio.sleep(0)
        result = step(self._connection)
        await asyncio.sleep(0)
        return result

    async def aclose(self) -> None:
        """Close the connection."""
        self._connection.close()
