"""An open store on any database that speaks SQL: one facet for each port."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from typing_extensions import override

from orchestrator.ports.reads import Reads
from orchestrator.ports.store import Store
from orchestrator.store import history, submit
from orchestrator.store.budgets import SqlBudgetStore
from orchestrator.store.collect import SqlCollectStore
from orchestrator.store.database import Database, IntentWitness
from orchestrator.store.deliveries import SqlNoticeStore
from orchestrator.store.doubt import SqlDoubtStore, SqlEvidenceStore, SqlSweepStore
from orchestrator.store.ingestion import SqlIngestStore, discard_leftovers
from orchestrator.store.job_control import SqlCommandStore
from orchestrator.store.plan import SqlPlanStore
from orchestrator.store.polling import SqlAttentionStore, SqlGateStore, SqlPollStore
from orchestrator.store.prefixes import SqlPrefixStore
from orchestrator.store.purging import SqlPurgeStore
from orchestrator.store.read import SqlReads
from orchestrator.store.reconciliation import SqlReconcileStore, SqlStrayStore
from orchestrator.store.repricing import SqlRepriceStore
from orchestrator.store.retrying import SqlRetryStore
from orchestrator.store.settling import SqlSettleStore

T = TypeVar("T")


class SqlStore(Store):
    """The facets of one *database*. witness: of the intents to POST, see `IntentWitness`. Who makes it closes it."""

    def __init__(self, database: Database, witness: IntentWitness | None) -> None:
        self._sql = database
        self.ingest = SqlIngestStore(database)
        self.plan = SqlPlanStore(database)
        self.submit = submit.SqlSubmitStore(database, witness)
        self.bisect = submit.SqlBisectStore(database)
        self.params = submit.SqlParamsStore(database)
        self.gates = SqlGateStore(database)
        self.doubt = SqlDoubtStore(database)
        self.evidence = SqlEvidenceStore(database)
        self.sweep = SqlSweepStore(database)
        self.poll = SqlPollStore(database)
        self.collect = SqlCollectStore(database)
        self.settle = SqlSettleStore(database)
        self.commands = SqlCommandStore(database)
        self.attention = SqlAttentionStore(database)
        self.notices = SqlNoticeStore(database)
        self.purge = SqlPurgeStore(database)
        self.budgets = SqlBudgetStore(database)
        self.reprice = SqlRepriceStore(database)
        self.retries = SqlRetryStore(database)
        self.prefixes = SqlPrefixStore(database)
        self.samples = history.SqlSampleStore(database)
        self.reconcile = SqlReconcileStore(database)
        self.strays = SqlStrayStore(database)

    @override
    async def discard_leftovers(self) -> int:
        return await discard_leftovers(self._sql)

    @override
    async def read(self, look: Callable[[Reads], T]) -> T:
        """On a thread that no stage uses."""
        return await self._sql.look(lambda c: look(SqlReads(c)))

    @override
    async def read_bulk(self, look: Callable[[Reads], T]) -> T:
        return await self._sql.read_bulk(lambda c: look(SqlReads(c)))
