"""The open store: its lock, its connections, and one facet for each port."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from orchestrator.ports.reads import Reads
from orchestrator.ports.store import Store
from orchestrator.store import history, ownership, submit
from orchestrator.store.collect import SqliteCollectStore, SqliteSettleStore
from orchestrator.store.connection import Database, Start, Thread
from orchestrator.store.deliveries import SqliteNoticeStore
from orchestrator.store.doubt import SqliteDoubtStore, SqliteEvidenceStore, SqliteSweepStore
from orchestrator.store.identity import Trust, identify, refuse_strange
from orchestrator.store.ingestion import SqliteIngestStore, discard_leftovers
from orchestrator.store.job_control import SqliteCommandStore
from orchestrator.store.mark import Mark, read_mark
from orchestrator.store.migrate import prepare
from orchestrator.store.plan import SqlitePlanStore
from orchestrator.store.polling import SqliteAttentionStore, SqliteGateStore, SqlitePollStore
from orchestrator.store.purging import SqlitePurgeStore
from orchestrator.store.read import SqliteReads
from orchestrator.store.reconciliation import SqliteReconcileStore, SqliteStrayStore

T = TypeVar("T")


class SqliteStore(Store):
    """An open store with its owner's lock. Made by `open`; closed by `aclose`."""

    def __init__(self, path: Path, database: Database, lock: ownership.Lock, mark: Mark) -> None:
        self.path = path
        self._database = database
        self._lock = lock
        self._mark = mark
        self.ingest = SqliteIngestStore(database)
        self.plan = SqlitePlanStore(database)
        self.submit = submit.SqliteSubmitStore(database, mark)
        self.bisect = submit.SqliteBisectStore(database)
        self.params = submit.SqliteParamsStore(database)
        self.gates = SqliteGateStore(database)
        self.doubt = SqliteDoubtStore(database)
        self.evidence = SqliteEvidenceStore(database)
        self.sweep = SqliteSweepStore(database)
        self.poll = SqlitePollStore(database)
        self.collect = SqliteCollectStore(database)
        self.settle = SqliteSettleStore(database)
        self.commands = SqliteCommandStore(database)
        self.attention = SqliteAttentionStore(database)
        self.notices = SqliteNoticeStore(database)
        self.purge = SqlitePurgeStore(database)
        self.samples = history.SqliteSampleStore(database)
        self.reconcile = SqliteReconcileStore(database)
        self.strays = SqliteStrayStore(database)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        lock: ownership.Lock,
        now: datetime,
        sandbox: bool,
        start: Start = Thread.start,
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
        database = await Database.start(path, start)
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
    async def discard_leftovers(self) -> int:
        return await discard_leftovers(self._database)

    @override
    async def read(self, look: Callable[[Reads], T]) -> T:
        """On a thread that no stage uses."""
        return await self._database.look(lambda c: look(SqliteReads(c)))

    @override
    async def read_bulk(self, look: Callable[[Reads], T]) -> T:
        return await self._database.read_bulk(lambda c: look(SqliteReads(c)))

    @override
    async def aclose(self) -> None:
        """Close the connections, then give the locks back."""
        try:
            await self._database.aclose()
        finally:
            self._mark.close()
            self._lock.release()
