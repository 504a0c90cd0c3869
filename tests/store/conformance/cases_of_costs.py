"""The contract of costs: what answers cost, by job, request, model and day, and what is found later."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial
from typing import Final

import msgspec
from store.conformance.contract import case
from store.store_world import NOW, ended, running_job, won

from orchestrator.domain.billing import Payment, Tariff, Tokens
from orchestrator.domain.budgets import Scope
from orchestrator.domain.ids import RequestId
from orchestrator.domain.model import JobRow
from orchestrator.domain.spending import DaySpending, SpendBy, Spending
from orchestrator.ports.reads import Reads
from orchestrator.ports.store import Store

DAY: Final = NOW.date()
KNOWN: Final = Tariff(model="claude-haiku-4-5", geo="", day=str(DAY), source="s")
UNKNOWN: Final = Tariff(model="claude-x-9", geo="", day=str(DAY))
TOKENS: Final = Tokens(100, 10)


async def paid_job(store: Store) -> JobRow:
    """Three answers, of which the last has no price, and one request that waits for its own."""
    job = await running_job(store)
    batch = await ended(store, job.id)
    for number, payment in (
        (1, Payment(KNOWN, TOKENS, 250)),
        (2, Payment(KNOWN, TOKENS, 350)),
        (3, Payment(UNKNOWN, TOKENS, None)),
    ):
        await store.collect.store_lines(batch, [msgspec.structs.replace(won(number), payment=payment)], NOW)
    return job


def _spending(by: SpendBy, reads: Reads) -> list[Spending]:
    return reads.spending(by)


@case
async def what_was_spent_is_told_by_job_request_model_and_day(store: Store) -> None:
    """The same sum from every side; what has no price is counted and never a number."""
    job = await paid_job(store)
    snapshot = await store.read(lambda reads: reads.get(job.id))
    cost = await store.read(lambda reads: reads.cost(snapshot))
    assert (cost.total.nanos, cost.total.unpriced) == (600, 1)
    assert {line.name: (line.nanos, line.unpriced) for line in cost.by_model} == {
        "claude-haiku-4-5": (600, 0),
        "claude-x-9": (0, 1),
    }
    for by in SpendBy:
        lines = await store.read(partial(_spending, by))
        assert (sum(line.nanos for line in lines), sum(line.unpriced for line in lines)) == (600, 1)
    assert await store.read(lambda reads: reads.spending(SpendBy.DAY, since=date(2026, 11, 24))) == []
    costs = await store.read(lambda reads: reads.request_costs(job.id, above=1, limit=2))
    assert [each.cost_nanos for each in costs] == [350, None]
    assert await store.read(lambda reads: reads.costs_of(job.id, [1, 3, 4])) == {1: 250, 3: None}
    assert await store.read(lambda reads: reads.daily_spending(since=DAY)) == [
        DaySpending(day=DAY, model="claude-haiku-4-5", nanos=600, unpriced=0),
        DaySpending(day=DAY, model="claude-x-9", nanos=0, unpriced=1),
    ]
    kinds = await store.read(lambda reads: reads.spent_by_kind())
    assert [(each.model, each.kind, each.nanos) for each in kinds] == [
        ("claude-haiku-4-5", "kept", 600),
        ("claude-x-9", "kept", 0),
    ]


@case
async def a_cost_that_is_found_later_moves_every_sum(store: Store) -> None:
    """Once: what has a cost keeps it."""
    job = await paid_job(store)
    (unpriced,) = await store.reprice.unpriced(job.id, RequestId(0), 10)
    found = [(unpriced, Payment(replace(UNKNOWN, source="s"), TOKENS, 400))]
    assert await store.reprice.priced(job.id, found, NOW) == 1
    assert await store.reprice.priced(job.id, found, NOW) == 0
    assert await store.reprice.unpriced(job.id, RequestId(0), 10) == []
    snapshot = await store.read(lambda reads: reads.get(job.id))
    cost = await store.read(lambda reads: reads.cost(snapshot))
    assert (cost.total.nanos, cost.total.unpriced) == (1000, 0)


@case
async def answers_teach_what_the_next_will_be_like(store: Store) -> None:
    """By model, without its date; of a kind of requests that nobody has sent nothing is known."""
    await paid_job(store)
    for known in (
        await store.ingest.known_answers("of another kind", ["claude-haiku-4-5"]),
        await store.read(lambda reads: reads.known_answers("of another kind", ["claude-haiku-4-5"])),
    ):
        assert known.of_kind.answers == 0
        assert known.by_model["claude-haiku-4-5"].answers == 2


@case
async def a_job_without_an_estimate_is_held_against_none(store: Store) -> None:
    """Nor is one that is not over."""
    job = await paid_job(store)
    assert await store.settle.cost_ratio(job.id) is None


@case
async def budgets_of_all_jobs_are_read_as_they_are_kept(store: Store) -> None:
    """By the reader as by the facet; a person is told, too, how many answers have no price."""
    job = await paid_job(store)
    await store.budgets.cap_scope(Scope.TOTAL, 1000, "person", NOW)
    (total,) = await store.read(lambda reads: reads.budgets(NOW))
    assert (total.scope, total.cap, total.spent) == (Scope.TOTAL, 1000, 600)
    assert total.unpriced == 1
    assert [replace(total, unpriced=0)] == await store.budgets.limits(job.id, NOW)
    assert (await store.commands.get(job.id)).state == "running"


@case
async def every_daemon_has_the_same_key_for_pages(store: Store) -> None:
    """It is of the store, and stays."""
    key = await store.read(lambda reads: reads.page_key())
    assert len(key) >= 16
    assert key == await store.read(lambda reads: reads.page_key())
