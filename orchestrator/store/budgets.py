"""Facet of caps: limits and what is taken of them, what batches can cost, and jobs that a cap stops or lets go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from typing_extensions import override

from orchestrator.domain import account
from orchestrator.domain.budgets import BUDGET_WAITS, Limit, Scope, by_settings, is_raised, set_by_person, warning
from orchestrator.domain.ids import JobId, number_of
from orchestrator.domain.model import BatchRow
from orchestrator.domain.money import shown_cap
from orchestrator.ports.budgets import BudgetStore, UnknownCosts
from orchestrator.store import facet, history, job_control, polling, reservations, sql_rows, sql_text
from orchestrator.store.limits import api_time, job_limit, shared_limits
from orchestrator.store.payload import Block, Changes
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("budgets")
_SETTINGS: Final = "settings"


class SqlBudgetStore(facet.Facet, BudgetStore):
    """Rows of `budget` and `spending`, and the columns of money of jobs and batches."""

    @override
    @facet.snapshot
    def limits(self, c: SqlConnection, job: JobId, now: datetime) -> list[Limit]:
        return [*job_limit(job, c), *shared_limits(now, c)]

    @override
    @facet.bulk_snapshot
    def queued_params(self, c: SqlConnection, job: JobId, above: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        taken: list[tuple[int, bytes]] = []
        changes, held = Changes(c), 0
        while held < limit_bytes:
            rows = sorted(c.execute(SQL["next_queued_block"], {"job_id": job, "above": above}))
            if not rows:
                break
            found = None if rows[0][0] else rows.pop(0)[1:]
            block = Block.of(rows[0][0], found)
            taken += [(number_of(key), changes.params(block, key, size, change)) for key, size, change, _ in rows]
            held += sum(size for _, size, *_ in rows)
            above = taken[-1][0]
        return taken

    @override
    @facet.transaction
    def price(self, c: SqlConnection, batch: BatchRow, worst: int) -> bool:
        if not sql_rows.moved(c, SQL["price"], {"id": batch.id, "worst": worst}):
            return False
        if c.execute(SQL["sent"], {"id": batch.id}).fetchone()[0]:
            billed = c.execute(SQL["billed"], {"id": batch.id}).fetchone()[0]
            reservations.reserve_late(batch.id, batch.job_id, max(worst - billed, 0), c)
        return True

    @override
    @facet.transaction
    def price_anew(self, c: SqlConnection, batch: BatchRow, worst: int) -> bool:
        return sql_rows.moved(c, SQL["price_anew"], {"id": batch.id, "fence": batch.fence, "worst": worst})

    @override
    @facet.transaction
    def reached(self, c: SqlConnection, job: JobId, limit: Limit, reason: str, now: datetime) -> bool:
        if not job_control.pause_job(job, account.BUDGET, reason, now, c):
            return False
        history.record(c, now, "budget.reached", job=job, why=f"{limit.scope}: {reason}")
        return True

    @override
    @facet.transaction
    def waits(self, c: SqlConnection, job: JobId, limit: Limit, words: str, now: datetime) -> None:
        if polling.attend(job, BUDGET_WAITS, None, words, now, c):
            history.record(c, now, "budget.reached", job=job, why=f"{limit.scope}: {words}")

    @override
    @facet.transaction
    def goes_on(self, c: SqlConnection, job: JobId) -> None:
        c.execute(SQL["forget_waits"], {"id": job, "kind": BUDGET_WAITS})

    @override
    @facet.snapshot
    def unknown_costs(self, c: SqlConnection, batch: BatchRow) -> UnknownCosts:
        of = {"id": batch.id}
        answers = int(c.execute(SQL["unpriced"], of).fetchone()[0])
        if not answers:
            return UnknownCosts(answers)
        numbers = [number_of(row[0]) for row in c.execute(SQL["unpriced_requests"], of)]
        return UnknownCosts(answers, numbers, [row[0] for row in c.execute(SQL["models_without_price"], of)])

    @override
    @facet.transaction
    def hold_only(self, c: SqlConnection, batch: BatchRow, nanos: int) -> None:
        reservations.hold_only(batch.id, batch.job_id, nanos, c)

    @override
    @facet.transaction
    def warn(self, c: SqlConnection, job: JobId, now: datetime) -> list[Limit]:
        told = list(job_limit(job, c)) if c.execute(SQL["warn_job"], _at(now, id=job)).rowcount else []
        books = {(limit.scope, limit.key): limit for limit in shared_limits(api_time(now, c), c)}
        for (scope, key), limit in books.items():
            if c.execute(SQL["warn_book"], _at(now, scope=scope, key=key)).rowcount:
                told.append(limit)
        for limit in told:
            history.record(c, now, "budget.warned", job=job, why=warning(limit))
        return told

    @override
    @facet.transaction
    def cap_job(self, c: SqlConnection, job: JobId, cap: int | None, now: datetime) -> bool:
        before = next((limit.cap for limit in job_limit(job, c)), None)
        c.execute(SQL["cap_job"], {"id": job, "cap": cap})
        if cap != before:
            history.record(c, now, "job.capped", job=job, why="no cap" if cap is None else f"at {shown_cap(cap)}")
        return bool(_let_go_on(job, now, c, is_raised=is_raised(before, cap)))

    @override
    @facet.transaction
    def cap_scope(self, c: SqlConnection, scope: Scope, cap: int | None, set_by: str, now: datetime) -> int:
        is_more = _cap_scope(scope, cap, set_by, c)
        history.record(c, now, "budget.set", why=set_by_person(scope, cap))
        return _let_go_on(None, now, c, is_raised=is_more)

    @override
    async def follow_settings(self, caps: Mapping[Scope, int | None], now: datetime) -> None:
        if await self._db.read(partial(_unlike, caps)):
            await self._db.write(partial(_follow, caps, now))


def _unlike(caps: Mapping[Scope, int | None], c: SqlConnection) -> dict[Scope, int | None]:
    """Of *caps* in the settings, those that are not in force, though no person has set another."""
    there = {Scope(scope): (cap, set_by) for scope, cap, set_by in c.execute(SQL["set_budgets"])}
    found = {scope: there.get(scope, (None, _SETTINGS)) for scope in caps}
    return {scope: caps[scope] for scope, (cap, set_by) in found.items() if set_by == _SETTINGS and cap != caps[scope]}


def _follow(caps: Mapping[Scope, int | None], now: datetime, c: SqlConnection) -> None:
    changes = _unlike(caps, c)
    raised = [_cap_scope(scope, cap, _SETTINGS, c) for scope, cap in changes.items()]
    for scope, cap in changes.items():
        history.record(c, now, "budget.by_settings", why=by_settings(scope, cap))
    _let_go_on(None, now, c, is_raised=any(raised))


def _cap_scope(scope: Scope, cap: int | None, set_by: str, c: SqlConnection) -> bool:
    """Set a budget, or take it away; True: more may be spent than before, and not all of it is spent already."""
    before = dict(c.execute(SQL["budgets"]).fetchall()).get(scope)
    if cap is None:
        c.execute(SQL["uncap_scope"], {"scope": scope})
    else:
        c.execute(SQL["cap_scope"], {"scope": scope, "cap": cap, "set_by": set_by})
    c.execute(SQL["warn_anew"], {"scope": scope})
    if (
        cap is not None
        and scope is Scope.TOTAL
        and cap <= c.execute(SQL["book"], {"scope": scope, "key": ""}).fetchone()[0]
    ):
        return False
    return is_raised(before, cap)


def _at(now: datetime, **more: object) -> dict[str, object]:
    return {"now": sql_rows.to_text(now), **more}


def _let_go_on(job: JobId | None, now: datetime, c: SqlConnection, *, is_raised: bool) -> int:
    """A cap was changed: raised, jobs that one had stopped go on, and are stopped again if that is not enough."""
    c.execute(SQL["forget_waits"], {"id": job, "kind": BUDGET_WAITS})
    if not is_raised:
        return 0
    stopped = [JobId(row[0]) for row in c.execute(SQL["stopped"], {"id": job}).fetchall()]
    return sum(job_control.resume_job(each, now, c, "its cap was changed") for each in stopped)
