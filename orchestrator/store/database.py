"""What the facets ask of an open database: steps, each run whole on a connection that fits it.

Light: a command that only reads loads neither asyncio nor a driver with threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Protocol, TypeVar

from orchestrator.store.sql_connection import SqlConnection

T = TypeVar("T")
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
Step = Callable[[SqlConnection], T]


def in_context(step: Callable[[C], T]) -> Callable[[C], T]:
    """*step*, which knows on whatever thread it runs who the caller is (`ports.caller`)."""
    context = copy_context()
    return lambda connection: context.run(step, connection)


class Database(Protocol):
    """Runs steps. Cancelling the caller never stops one half-way; after a cancelled write the outcome is unknown."""

    async def write(self, step: Step[T]) -> T:
        """Run *step* as one durable transaction, while no other one writes: what it reads is as it is.

        When this returns it survives a power cut. Raises StoreError, and nothing is changed.
        """
        ...

    async def write_free(self, step: Step[T]) -> T:
        """As `write`, but other transactions may write meanwhile.

        For bulk steps of one job that record no event, and whose first statement locks the row of the job or batch that
        allows them.
        """
        ...

    async def read(self, step: Step[T]) -> T:
        """Run *step* on one committed snapshot."""
        ...

    async def read_bulk(self, step: Step[T]) -> T:
        """As `read`, for payloads and results: never delays a `read`."""
        ...

    async def look(self, step: Step[T]) -> T:
        """As `read`, for the faces."""
        ...

    async def aclose(self) -> None:
        """Close every connection, after what is queued."""
        ...


class IntentWitness(Protocol):
    """Remembers outside of the database how many intents to POST it committed: one that was put back is told by it."""

    def refuse_older(self, intents: int) -> None:
        """Raise StoreLost if *intents*, a count that was just raised, was reached before."""
        ...

    async def reach(self, intents: int) -> None:
        """Make it durable that *intents* were committed; raises StoreError, and then nothing may be sent."""
        ...


class Closable(Protocol):
    """A connection, as far as a worker knows it."""

    def close(self) -> None:
        """Give it back."""
        ...


class Worker(Protocol[C_co]):
    """Where the steps of one connection run, one at a time, each whole."""

    async def run(self, step: Callable[[C_co], T]) -> T:
        """Run *step* whole. Cancelling the caller does not stop it."""
        ...

    async def aclose(self) -> None:
        """Close the connection, after whatever is queued."""
        ...


#: Opens a connection by the given function and gives the worker that runs its steps.
Start = Callable[[Callable[[], C]], Awaitable[Worker[C]]]
