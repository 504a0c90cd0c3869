"""The open store in SQLite: its lock, its file, and the mark beside it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from typing_extensions import override

from orchestrator.store import ownership
from orchestrator.store.connect import SqliteConnection
from orchestrator.store.connection import MarkedIntents, SqliteDatabase, Thread
from orchestrator.store.database import Start
from orchestrator.store.identity import Trust, identify, refuse_strange
from orchestrator.store.mark import Mark, read_mark
from orchestrator.store.migrate import prepare
from orchestrator.store.sql_store import SqlStore


class SqliteStore(SqlStore):
    """An open store with its owner's lock. Made by `open`; closed by `aclose`."""

    def __init__(self, path: Path, database: SqliteDatabase, lock: ownership.Lock, mark: Mark) -> None:
        self.path = path
        super().__init__(database, MarkedIntents(database, mark))
        self._database = database
        self._lock = lock
        self._mark = mark

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        lock: ownership.Lock,
        now: datetime,
        sandbox: bool,
        start: Start[SqliteConnection] = Thread.start,
        trust: Trust = Trust.OWN,
    ) -> SqliteStore:
        """Migrate and open the store at *path*, whose *lock* the caller has taken. Blocks while it migrates.

        Raises StoreError; GuardRefused for a copy of a store, unless *trust* says that a person wants it. start: where
        SQLite runs (simulations: on the caller's thread).
        """
        refuse_strange(path, read_mark(path), sandbox=sandbox, trust=trust)
        lock.hold_file(path)
        prepare(path, now=now, sandbox=sandbox)
        lock.hold_file(path)
        database = await SqliteDatabase.start(path, start)
        try:
            mark = await identify(database, path, read_mark(path), now, adopt=trust is Trust.ADOPTED)
        except BaseException:
            await database.aclose()
            raise
        return cls(path, database, lock, mark)

    @property
    @override
    def lost(self) -> str | None:
        trouble = self._database.files.trouble
        return None if trouble is None else trouble.message

    @override
    async def check_files(self) -> None:
        await self._database.check_files()

    @override
    async def aclose(self) -> None:
        """Close the connections, then give the locks back."""
        try:
            await self._database.aclose()
        finally:
            self._mark.close()
            self._lock.release()
