"""The store of a simulated process: its database on the caller's thread, watched at every commit.

Every step is delayed a little, so that stages overtake each other as they do over threads; the disk can be full; a
process can be told to die just before a commit or just after it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

from typing_extensions import override

from orchestrator.store.connect import SqliteConnection
from orchestrator.store.connection import in_transaction
from orchestrator.store.database import Closable
from orchestrator.store.postgres.link import Link, Mode, Raw
from orchestrator.store.postgres.link import Step as LinkStep
from orchestrator.store.sql_connection import SqlConnection
from proof.shelf import Looker

T = TypeVar("T")
C = TypeVar("C", bound=Closable)

_SLOW: Final = 0.2  #: how many steps take virtual time
_DELAY_S: Final = 0.02
_NO_LIMIT: Final = 4294967294
_HAS_WRITTEN: Final = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"


@dataclass(slots=True, kw_only=True)
class Disk:
    """The disk under the store of one process, and who is told of its commits.

    before and after: asked around each commit; True means that the process dies there. full: nothing can be added; a
    server's disk is not ours, and has room.
    """

    chance: random.Random
    before: Callable[[], bool] = lambda: False
    after: Callable[[Looker], bool] = lambda _connection: False
    full: bool = False
    connections: list[Closable] = field(default_factory=list)

    async def start(self, connector: Callable[[], Any]) -> Desk[Any]:
        """Open a connection; see `orchestrator.store.database.Start`."""
        connection = connector()
        self.connections.append(connection)
        return LinkDesk(self, connection) if isinstance(connection, Link) else FileDesk(self, connection)

    def cut(self) -> None:
        """The process is dead: what was not committed is gone."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()


class Desk(Generic[C]):
    """One connection. See `orchestrator.store.database.Worker`."""

    def __init__(self, disk: Disk, connection: C) -> None:
        self._disk = disk
        self._connection = connection

    async def run(self, step: Callable[[C], T]) -> T:
        """Run *step* whole."""
        await self._delay()
        writes = self._writes(step)
        if writes and self._disk.before():
            await self._never()
        result, written = self._done(step)
        if writes and written is not None and self._disk.after(written):
            await self._never()
        await self._delay()
        return result

    async def aclose(self) -> None:
        """Close the connection."""
        self._connection.close()
        if self._connection in self._disk.connections:
            self._disk.connections.remove(self._connection)

    def _writes(self, step: Callable[[C], T]) -> bool:
        """Whether *step* is a transaction that may write."""
        raise NotImplementedError

    def _done(self, step: Callable[[C], T]) -> tuple[T, Looker | None]:
        """What *step* gives, and the connection if it changed anything."""
        raise NotImplementedError

    async def _delay(self) -> None:
        slow = self._disk.chance.random() < _SLOW
        await asyncio.sleep(self._disk.chance.random() * _DELAY_S if slow else 0)

    async def _never(self) -> None:
        await asyncio.get_running_loop().create_future()


class FileDesk(Desk[SqliteConnection]):
    """A connection to a file."""

    _is_full = False

    @override
    def _writes(self, step: Callable[[SqliteConnection], T]) -> bool:
        if getattr(step, "func", None) is not in_transaction:
            return False
        self._meet_disk()
        return True

    @override
    def _done(self, step: Callable[[SqliteConnection], T]) -> tuple[T, Looker | None]:
        changes = self._connection.total_changes
        result = step(self._connection)
        return result, None if self._connection.total_changes == changes else self._connection

    def _meet_disk(self) -> None:
        """A full disk has room for the pages that are there, and for no more."""
        if self._is_full == self._disk.full:
            return
        self._is_full = self._disk.full
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0] if self._is_full else _NO_LIMIT
        self._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()


class LinkDesk(Desk[Link]):
    """A connection to a server."""

    @override
    def _writes(self, step: Callable[[Link], T]) -> bool:
        asked = _Asked()
        step(cast("Link", asked))
        return asked.mode not in {None, Mode.SNAPSHOT}

    @override
    def _done(self, step: Callable[[Link], T]) -> tuple[T, Looker | None]:
        watched = _Watched(self._connection)
        result = step(cast("Link", watched))
        return result, self._connection.connection if watched.wrote else None


class _Asked:
    """Stands where a link does, to hear what a step wants of it."""

    def __init__(self) -> None:
        self.mode: Mode | None = None

    def run(self, _step: object, mode: Mode) -> None:
        """It wants a transaction."""
        self.mode = mode

    def prepare(self, _how: object) -> None:
        """It makes the schema."""


class _Watched:
    """A link that remembers whether a step wrote anything."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.wrote = False

    def run(self, step: LinkStep[T], mode: Mode) -> T:
        """As the link does."""

        def watched(c: SqlConnection) -> T:
            result = step(c)
            self.wrote = bool(c.execute(_HAS_WRITTEN).fetchone()[0])
            return result

        return self._link.run(watched, mode)

    def prepare(self, how: Callable[[Raw], None]) -> None:
        """As the link does."""
        self._link.prepare(how)
