"""Facet of stage settle: decides the requests without success, and ends jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, assert_never

from typing_extensions import override

from orchestrator.domain import result_outcome
from orchestrator.domain.budgets import BUDGET_EXCEEDED
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import BatchRow, JobRow
from orchestrator.domain.money import shown
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.result_lines import invalid_result
from orchestrator.domain.spending import poor_cache
from orchestrator.domain.states import JobState
from orchestrator.ports.results import SettleStore
from orchestrator.store import (
    estimates,
    facet,
    history,
    pilots,
    polling,
    reservations,
    sql_rows,
    sql_text,
    submit,
    twins,
)
from orchestrator.store.collect import Failure, fail
from orchestrator.store.read_costs import cost_of_job
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("settling")
_SETTLE_SLICE: Final = 2500


class SqlSettleStore(facet.Facet, SettleStore):
    """Decides requests slice by slice, each slice one transaction."""

    @override
    @facet.snapshot
    def to_settle(self, c: SqlConnection) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_settle"]))

    @override
    @facet.snapshot
    def outcomes(self, c: SqlConnection, batch: BatchRow) -> dict[result_outcome.Outcome, int]:
        return {
            result_outcome.Outcome(outcome): count for outcome, count in c.execute(SQL["outcomes"], {"id": batch.id})
        }

    @override
    @facet.transaction
    def settle(
        self, c: SqlConnection, batch: BatchRow, max_attempts: int, now: datetime
    ) -> dict[result_outcome.Settlement, int] | None:
        rows = sql_rows.dict_rows(c.execute(SQL["undecided"], {"id": batch.id, "limit": _SETTLE_SLICE}))
        if not rows:
            if twins.follow_batch(batch.job_id, batch.id, c):
                return {}
            values = {"id": batch.id, "fence": batch.fence, "now": sql_rows.to_text(now)}
            if submit.move(batch, SQL["settle"], values, "settled", None, now, c):
                reservations.settle(batch.id, batch.job_id, c)
                _tell_exceeded(batch, now, c)
            return None
        state, retry_invalid = c.execute(SQL["job_terms"], {"id": batch.job_id}).fetchone()
        limits = result_outcome.TryLimits(max_attempts, retry_invalid)
        decided = [
            (
                result_outcome.settlement_of(
                    result_outcome.Outcome(row["outcome"]),
                    result_outcome.Tries(row["attempts"], row["invalid_answers"]),
                    limits,
                    is_canceling=state == JobState.CANCELING,
                    is_asked=batch.cancel_asked_at is not None,
                ),
                row,
            )
            for row in rows
        ]
        _apply(decided, c)
        return Counter(settlement for settlement, _ in decided)

    @override
    @facet.snapshot
    def exceeded(self, c: SqlConnection, batch: BatchRow) -> str | None:
        return _excess(batch, c)

    @override
    @facet.transaction
    def follow_left_over(self, c: SqlConnection) -> int:
        return twins.follow_left_over(c)

    @override
    @facet.transaction
    def finish_jobs(self, c: SqlConnection, now: datetime) -> list[JobRow]:
        jobs = [sql_rows.to_job(row) for row in sql_rows.dict_rows(c.execute(SQL["done_jobs"]))]
        for job in jobs:
            new = JobState.CANCELED if job.state is JobState.CANCELING else JobState.FINISHED
            values = {"id": job.id, "fence": job.fence, "old": job.state, "new": new, "now": sql_rows.to_text(now)}
            if sql_rows.moved(c, SQL["finish_job"], values):
                history.record(c, now, "job.moved", job=job.id, old=job.state, new=new)
                if job.cache is not CacheUse.AUTO and (why := poor_cache(cost_of_job(job, c).total)) is not None:
                    history.record(c, now, "cache.poor", job=job.id, why=why)
        return jobs

    @override
    @facet.transaction
    def end_pilots(self, c: SqlConnection, now: datetime) -> list[JobRow]:
        return pilots.end_all(now, c)

    @override
    @facet.snapshot
    def cost_ratio(self, c: SqlConnection, job: JobId) -> float | None:
        return estimates.cost_ratio(job, c)

    @override
    @facet.snapshot
    def to_delete(self, c: SqlConnection, limit: int) -> list[BatchRow]:
        return sql_rows.to_batches(c.execute(SQL["to_delete"], {"limit": limit}))

    @override
    @facet.transaction
    def deleted(self, c: SqlConnection, batch: BatchRow, now: datetime) -> None:
        if sql_rows.moved(c, SQL["deleted"], {"id": batch.id, "now": sql_rows.to_text(now)}):
            history.record(c, now, "batch.deleted", job=batch.job_id, batch=batch.id)


def _tell_exceeded(batch: BatchRow, now: datetime, c: SqlConnection) -> None:
    """A batch that was billed more than its bound: the bound was wrong, and a cap may be passed."""
    if (why := _excess(batch, c)) is not None:
        polling.attend(batch.job_id, BUDGET_EXCEEDED, batch.id, why, now, c)
        history.record(c, now, "budget.exceeded", job=batch.job_id, batch=batch.id, why=why)


def _excess(batch: BatchRow, c: SqlConnection) -> str | None:
    worst, billed = c.execute(SQL["bound_and_bill"], {"id": batch.id}).fetchone()
    if worst is None or billed <= worst:
        return None
    return f"{shown(int(billed))} was billed, and {shown(worst)} was reserved for it: its bound was wrong"


def _apply(decided: Iterable[tuple[result_outcome.Settlement, dict[str, Any]]], c: SqlConnection) -> None:
    """Give the requests of undecided attempts their last word, or queue them again: a few statements for all."""
    queued: list[tuple[Any, ...]] = []
    canceled: list[tuple[int, int]] = []
    failed: list[Failure] = []
    for settlement, row in decided:
        outcome, key = row["outcome"], row["request_id"]
        invalid = int(outcome == result_outcome.Outcome.INVALID)
        burnt = int(outcome == result_outcome.Outcome.AGAIN) + invalid
        kind, message = row["error_type"] if row["error_type"] is not None else row["kind"], row["error_message"]
        match settlement:
            case (
                result_outcome.Settlement.AGAIN
                | result_outcome.Settlement.CREDIT
                | result_outcome.Settlement.REQUEUE_CANCELED_ELSEWHERE
                | result_outcome.Settlement.INVALID_AGAIN
            ):
                queued.append((key, burnt, invalid, kind, message, row["api_request_id"]))
            case result_outcome.Settlement.REQUEUE_CANCELED_BY_US:
                queued.append((key, 0, 0, None, None, None))
            case result_outcome.Settlement.CANCELED_WITH_JOB:
                canceled.append((key, burnt))
            case result_outcome.Settlement.FAILED:
                words = message if message is not None else f"{kind} in {row['attempts'] + 1} attempts"
                failed.append((key, kind, words, row["api_request_id"], row["body"]))
            case result_outcome.Settlement.INVALID:
                failed.append((key, kind, message, row["api_request_id"], invalid_result(kind, message, row["body"])))
            case _:
                assert_never(settlement)
    c.update_rows(SQL["requeue"], queued)
    c.update_rows(SQL["cancel"], canceled)
    fail(failed, c)
