"""Reads of the ledger: what a job has cost, and what was spent by day, model and job."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

import msgspec
from typing_extensions import override

from orchestrator.domain import model
from orchestrator.domain.billing import Kind, Rates, Tokens
from orchestrator.domain.budgets import Limit
from orchestrator.domain.known_answers import AnswersKnown
from orchestrator.domain.priming import LEAST_ROWS
from orchestrator.domain.spending import (
    CacheReport,
    DaySpending,
    JobCost,
    KindSpending,
    PrefixShare,
    PricedSum,
    SpendBy,
    Spending,
    job_cost,
)
from orchestrator.ports.reads import KindReads
from orchestrator.store import estimates, facet, sql_rows, sql_text
from orchestrator.store.limits import api_time, shared_limits
from orchestrator.store.sql_connection import Rows, SqlConnection

SQL: Final = sql_text.load("costs")
PREFIX_SQL: Final = sql_text.load("prefixes")
#: Prefixes of a job that are reported.
_MOST_PREFIXES: Final = 10
_BY: Final = {SpendBy.DAY: SQL["by_day"], SpendBy.MODEL: SQL["by_model"], SpendBy.JOB: SQL["by_job"]}
_rates: Final = msgspec.json.Decoder(Rates)


class CostReader(facet.SnapshotReads, KindReads):
    """Sums of the ledger, by price."""

    @override
    def cost(self, job: model.JobSnapshot) -> JobCost:
        return replace(cost_of_job(job, self._c), cache=_cache_report(job, self._c))

    @override
    def budgets(self, now: datetime) -> list[Limit]:
        limits = shared_limits(api_time(now, self._c), self._c)
        return [replace(limit, unpriced=_unpriced(limit.key, self._c)) for limit in limits]

    @override
    def spent_by_kind(self) -> list[KindSpending]:
        return [
            KindSpending(model=name, kind=Kind(kind), nanos=nanos, unpriced=unpriced)
            for name, kind, nanos, unpriced in self._c.execute(SQL["by_kind"])
        ]

    @override
    def known_answers(self, kind: str | None, models: Collection[str]) -> AnswersKnown:
        return estimates.known_answers(kind, models, self._c)

    @override
    def spending(self, by: SpendBy, *, since: date | None = None) -> list[Spending]:
        values = {"since": "" if since is None else since.isoformat()}
        lines = [_spending(row) for row in sql_rows.dict_rows(self._c.execute(_BY[by], values))]
        return [line for line in lines if not line.is_empty]

    @override
    def daily_spending(self, *, since: date) -> list[DaySpending]:
        rows = self._c.execute(SQL["by_day_and_model"], {"since": since.isoformat()})
        return [
            DaySpending(day=date.fromisoformat(day), model=name, nanos=nanos, unpriced=unpriced)
            for day, name, nanos, unpriced in rows
        ]


def _unpriced(key: str, c: SqlConnection) -> int:
    """Answers without a price of the day or month *key*; "": of all."""
    return int(c.execute(SQL["unpriced"], {"key": key}).fetchone()[0])


def cost_of_job(job: model.JobSnapshot, c: SqlConnection) -> JobCost:
    """By its lines in the ledger. What a daemon of an earlier version stored meanwhile has none: it is not known."""
    rows = sql_rows.dict_rows(c.execute(SQL["of_job"], {"id": job.id}))
    unlisted = max(job.requests.succeeded - job.twins_succeeded - sum(row["kept"] for row in rows), 0)
    found = job_cost([_priced(row) for row in rows], unlisted=unlisted)
    estimate = estimates.kept(job.id, c)
    cap, reserved, held = c.execute(SQL["reserved"], {"id": job.id}).fetchone()
    total = replace(
        found.total,
        expected=None if found.total.unpriced else estimates.expected_cost(job, c),
        estimated_nanos=None if estimate is None else estimate.expected_nanos,
        cap_nanos=cap,
        reserved_nanos=reserved,
        held_nanos=int(held),
    )
    return replace(found, total=total)


def _cache_report(job: model.JobSnapshot, c: SqlConnection) -> CacheReport:
    values = {"id": job.id, "least": LEAST_ROWS}
    waiting, batch = c.execute(PREFIX_SQL["waits"], values).fetchone()
    rows = c.execute(PREFIX_SQL["largest"], {**values, "limit": _MOST_PREFIXES})
    return CacheReport(
        prefixes=tuple(PrefixShare(*row) for row in rows),
        below_minimum=c.execute(PREFIX_SQL["below_minimum"], {"id": job.id}).fetchone()[0],
        waiting=waiting,
        waits_for=batch,
    )


def sum_up(rows: Rows) -> JobCost:
    """What sums by price come to, whatever they are of."""
    return job_cost([_priced(row) for row in sql_rows.dict_rows(rows)])


def _priced(row: dict[str, Any]) -> PricedSum:
    rates = None if row["rates"] is None else _rates.decode(row["rates"])
    return PricedSum(geo=row["geo"], rates=rates, spending=_spending(row))


def _spending(row: dict[str, Any]) -> Spending:
    return Spending(
        name=row["name"],
        requests=row["requests"],
        tokens=Tokens(*(row[name] for name in Tokens._fields)),
        nanos=row["nanos"],
        unpriced=row["unpriced"],
    )
