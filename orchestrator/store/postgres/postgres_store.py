"""The open store on a PostgreSQL server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from typing_extensions import override

from orchestrator.domain.ids import JobId
from orchestrator.store.database import Start
from orchestrator.store.postgres import cluster
from orchestrator.store.postgres.link import Due, Link, PostgresAddress, Raw, Waited
from orchestrator.store.postgres.migrate_postgres import prepare_server
from orchestrator.store.postgres.server_database import PlainThread, PostgresDatabase
from orchestrator.store.sql_connection import SqlConnection
from orchestrator.store.sql_rows import to_text
from orchestrator.store.sql_store import SqlStore

#: A process that was not seen for so long is gone: each says every five seconds that it is there.
_GONE_AFTER: Final = timedelta(seconds=60)
#: A COPY that waits for its client for so long holds up others.
_STILL: Final = {"still": "20 s"}


class PostgresStore(SqlStore):
    """A store that several processes have open. Made by `open`; closed by `aclose`."""

    def __init__(self, database: PostgresDatabase, clock: Callable[[], datetime]) -> None:
        super().__init__(database, None)
        self._database = database
        self._clock = clock

    @classmethod
    async def open(  # noqa: PLR0913 - what a store is opened with
        cls,
        server: PostgresAddress,
        *,
        now: datetime,
        sandbox: bool,
        adopt: bool = False,
        daemon: UUID | None = None,
        due: Due | None = None,
        also: Callable[[Raw], None] | None = None,
        waited: Waited | None = None,
        start: Start[Link] | None = None,
    ) -> PostgresStore:
        """Connect, migrate, and see whether the store lies where it lay. Others may do the same meanwhile.

        adopt: a person takes a copy into use. daemon: this process in the table of that name: while it is seen there
        nobody takes its imports for left over. due: enqueues units in the transaction that makes them due; also: makes
        what that needs beside the schema; waited: hears how long a step waited for the turn. start: where steps run, as
        a rule on threads. Raises StoreError, UsageError; StoreUnreachable; GuardRefused for a copy that nobody adopted.
        """
        clock = _clock_from(now)
        where = str(server)
        guard = cluster.PlaceGuard(where, clock)
        database = await PostgresDatabase.start(
            replace(server, daemon=daemon), guard, due, PlainThread.start if start is None else start, waited
        )
        try:
            await database.prepare(lambda raw: prepare_server(raw, where, now=now, sandbox=sandbox, also=also))
            await database.write(partial(cluster.settle_place, where, now, adopt=adopt))
        except BaseException:
            await database.aclose()
            raise
        guard.is_active = True
        return cls(database, clock)

    @property
    @override
    def lost(self) -> str | None:
        lost = self._database.guard.lost
        return None if lost is None else lost.message

    @override
    async def check_files(self) -> None:
        """There are none: what is lost is found when a connection is opened anew."""
        if self._database.guard.lost is not None:
            raise self._database.guard.lost

    @override
    async def discard_leftovers(self) -> int:
        """Only of processes that are gone: others may be importing. And who stands still in a COPY loses its locks."""
        await self._database.look(lambda c: c.execute(cluster.SQL["free"], _STILL).fetchall())
        since = to_text(self._clock() - _GONE_AFTER)
        jobs = await self._database.look(partial(_leftovers, since))
        for job in jobs:
            await self.ingest.discard(job)
        return len(jobs)

    @override
    async def aclose(self) -> None:
        await self._database.aclose()


def _clock_from(now: datetime) -> Callable[[], datetime]:
    """Our clock, from *now* on, that nobody can turn back."""
    begun = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - begun)


def _leftovers(since: str, c: SqlConnection) -> list[JobId]:
    return [JobId(row[0]) for row in c.execute(cluster.SQL["leftovers"], {"since": since})]
