"""Estimates that are kept with jobs, and what the answers to earlier ones say of the next."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Final

from orchestrator.domain.ids import JobId
from orchestrator.domain.job_estimate import JobEstimate
from orchestrator.domain.known_answers import AnswersKnown, Forecast, Observed
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.model_generation import undated
from orchestrator.domain.states import OVER
from orchestrator.store import sql_text
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("estimates")
_OF_KIND: Final = ("answers_of_kind", "costs_of_kind")


def keep(job: JobId, found: JobEstimate, c: SqlConnection) -> None:
    """Keep *found* with *job*, once."""
    c.execute(SQL["keep"], {"job_id": job, **asdict(found)})


def kept(job: JobId, c: SqlConnection) -> JobEstimate | None:
    """The estimate of *job*; None: it has none."""
    row = c.execute(SQL["kept"], {"id": job}).fetchone()
    if row is None:
        return None
    tokens, low, expected, high, worst, basis, kind = row
    return JobEstimate(
        input_tokens=tokens,
        low_nanos=low,
        expected_nanos=expected,
        high_nanos=high,
        worst_nanos=worst,
        basis=basis,
        kind=kind,
    )


def expected_cost(job: JobSnapshot, c: SqlConnection) -> Forecast | None:
    """What *job* will have cost, by what its settled requests cost; None: it is over, too few are, or nobody knows."""
    rest = expected_rest(job, c)
    return None if rest is None else rest.plus(c.execute(SQL["spent"], {"id": job.id}).fetchone()[0])


def expected_rest(job: JobSnapshot, c: SqlConnection) -> Forecast | None:
    """What those requests of *job* will cost that are not settled; None as for `expected_cost`.

    What was sent ahead to write a prefix costs more than what reads it, and says nothing of the rest.
    """
    rest = job.to_send + job.requests.batched
    if not rest or job.state in OVER:
        return None
    ahead, spent, squares, unknown = c.execute(SQL["costs_of_job"], {"id": job.id}).fetchone()
    if unknown or squares is None:
        return None
    paid = job.requests.succeeded + job.requests.failed - (job.twins - job.twins_waiting)
    return Observed(max(0, paid - ahead), spent, squares).forecast(rest)


def cost_ratio(job: JobId, c: SqlConnection) -> float | None:
    """What *job* has cost, as a part of what was expected; None: one of both is not known."""
    row = c.execute(SQL["expected_and_spent"], {"id": job}).fetchone()
    return None if row is None else row[1] / row[0]


def known_answers(kind: str | None, models: Collection[str], c: SqlConnection) -> AnswersKnown:
    """The answers of all jobs so far to requests of *kind*, and of each of *models*."""
    by_model = {name: _of_model(name, c) for name in sorted(map(undated, models))}
    if kind is None:
        return AnswersKnown(by_model=by_model)
    of_kind, costs = (Observed(*c.execute(SQL[name], {"kind": kind}).fetchone()) for name in _OF_KIND)
    return AnswersKnown(of_kind=of_kind, costs=costs, by_model=by_model)


def _of_model(name: str, c: SqlConnection) -> Observed:
    return Observed(*c.execute(SQL["answers_of_model"], {"model": name}).fetchone())
