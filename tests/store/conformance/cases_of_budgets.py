"""The contract of caps and budgets: what is in force, what is taken of it, and who is stopped by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
from store.conformance.contract import case
from store.store_world import (
    LATER,
    META,
    NOW,
    PARAMS,
    ROOM,
    WIDE,
    batch_of,
    in_progress,
    planned,
    remote,
    running_job,
    settle_all,
    submitting,
    won,
)

from orchestrator.domain.billing import Payment, Tariff, Tokens
from orchestrator.domain.budgets import Limit, Scope
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import BatchRow, JudgedLine
from orchestrator.domain.packing import pack
from orchestrator.ports.store import Store

CAP = 1000


async def priced(store: Store, job: JobId, nanos: int, limit: int = 1000, nonce: str = "a") -> BatchRow:
    """A planned batch that can cost *nanos*."""
    found = await store.plan.queued(job, limit, lambda rows: pack(rows, WIDE))
    row = await store.commands.get(job)
    made = await store.plan.plan(row, replace(found, nanos=nanos), Nonce(nonce * 20), ROOM, NOW)
    assert made is not None
    return await batch_of(store, made)


@case
async def a_limit_shows_what_is_planned_reserved_and_spent(store: Store) -> None:
    """Of the job, and of all jobs together; before midnight of both days."""
    job = await running_job(store)
    assert await store.budgets.limits(job.id, NOW) == []
    await store.budgets.cap_job(job.id, CAP, NOW)
    await store.budgets.cap_scope(Scope.DAY, 2 * CAP, "person", NOW)
    await priced(store, job.id, 300)
    mine, day = await store.budgets.limits(job.id, NOW)
    assert mine == Limit(scope=Scope.JOB, key="", cap=CAP, spent=0, reserved=0, planned=300)
    assert (day.scope, day.key, day.headroom) == (Scope.DAY, "2026-11-23", 2 * CAP - 300)
    late = NOW + timedelta(hours=11, minutes=45)
    assert [limit.key for limit in await store.read(lambda reads: reads.budgets(late))] == ["2026-11-23", "2026-11-24"]
    await store.budgets.cap_scope(Scope.DAY, None, "person", NOW)
    assert await store.read(lambda reads: reads.budgets(late)) == []


@case
async def a_job_is_made_with_its_cap(store: Store) -> None:
    """From its first row on, and with what it reserves for a request without a bound."""
    new = NewJob(name="capped", source="<capped>", api_version="v", max_cost="0.05", allow_per_request="0.01")
    job = await store.ingest.begin(new, "capped-1", NOW)
    found = await store.commands.get(job.id)
    assert (found.cap_nanos, found.per_request_nanos) == (50_000_000, 10_000_000)


@case
async def an_intent_reserves_or_is_not_stored(store: Store) -> None:
    """What does not fit any more is planned anew; a clear no frees, and so does the end of the batch."""
    job = await running_job(store)
    await store.budgets.cap_job(job.id, CAP, NOW)
    first = await priced(store, job.id, 600, 2)
    second = await priced(store, job.id, 600, 2, "b")
    sent = await store.submit.intend(first, None, META, NOW)
    assert sent is not None
    assert sent.reserved_nanos == 600
    assert await store.submit.intend(second, None, META, NOW) is None
    assert (await batch_of(store, second.id)).state == "abandoned"
    assert (await store.commands.get(job.id)).requests.queued == 2
    assert await store.submit.give_back(sent, "busy", NOW, cut=False)
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert (limit.reserved, limit.planned) == (0, 600)


@case
async def what_answers_cost_comes_out_of_what_was_reserved(store: Store) -> None:
    """The sum of both stays, until the batch is settled; an answer without a price holds what it may have cost."""
    job = await running_job(store, 2)
    await store.budgets.cap_job(job.id, CAP, NOW)
    sent = await store.submit.intend(await priced(store, job.id, 600), None, META, NOW)
    assert sent is not None
    batch = await _ended(store, sent)
    tariff = Tariff(model="m", geo="", day="2026-11-23")
    known = replace(tariff, source="s")
    await store.collect.store_lines(batch, [_paid(1, Payment(known, Tokens(), 250))], NOW)
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert (limit.spent, limit.reserved) == (250, 350)
    await store.collect.store_lines(batch, [_paid(2, Payment(tariff, None, None))], NOW)
    assert await store.budgets.unknown_costs(await batch_of(store, batch.id)) == (1, [2], ["m"])
    assert await store.collect.unseen(batch) == []
    for _ in range(2):
        await store.budgets.hold_only(batch, 300)
    assert await store.collect.collected(batch, NOW)
    while await store.settle.settle(await batch_of(store, batch.id), 3, NOW) is not None:
        pass
    assert await store.settle.exceeded(batch) is None
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert (limit.spent, limit.reserved, limit.unknown, limit.is_busy) == (250, 300, 300, False)
    await store.budgets.hold_only(batch, 0)  # it is over: only a price frees it
    assert (await store.budgets.limits(job.id, NOW))[0].reserved == 300


@case
async def what_never_came_is_taken_as_spent(store: Store) -> None:
    """As much as it may have cost."""
    job = await running_job(store, 2)
    await store.budgets.cap_job(job.id, CAP, NOW)
    sent = await store.submit.intend(await priced(store, job.id, 600), None, META, NOW)
    assert sent is not None
    batch = await _ended(store, sent)
    assert await store.collect.unseen(batch) == [1, 2]
    assert await store.collect.give_up(batch, ("missing_result", "gone"), b"{}", NOW, 600) == 2
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert (limit.spent, limit.reserved) == (600, 0)
    assert await store.budgets.warn(job.id, NOW) == []
    await store.budgets.cap_job(job.id, 700, NOW)
    assert [limit.scope for limit in await store.budgets.warn(job.id, NOW)] == [Scope.JOB]
    assert await store.budgets.warn(job.id, NOW) == []


@case
async def a_batch_of_unknown_cost_is_priced_before_anything_is_sent(store: Store) -> None:
    """A planned one, and one that was sent before the cap was set."""
    job = await running_job(store)
    live = await in_progress(store, job.id, 2)
    waiting = await planned(store, job.id, 2, "b")
    assert (await store.plan.look(limit=9)).to_price == []
    await store.budgets.cap_job(job.id, CAP, NOW)
    assert [batch.id for batch in (await store.plan.look(limit=9)).to_price] == [live.id, waiting.id]
    assert await store.submit.intend(waiting, None, META, NOW) is None
    assert (await batch_of(store, waiting.id)).state == "planned"
    assert await store.budgets.price(live, 400)
    assert not await store.budgets.price(live, 500)
    assert await store.submit.intend(waiting, None, META, NOW) is None
    assert await store.budgets.price(waiting, 500)
    assert (await store.plan.look(limit=9)).to_price == []
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert (limit.reserved, limit.planned) == (400, 500)
    assert await store.budgets.price_anew(waiting, 600)
    assert not await store.budgets.price_anew(live, 600)
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert (limit.reserved, limit.planned) == (400, 600)
    assert await store.submit.intend(await batch_of(store, waiting.id), None, META, NOW) is not None


@case
async def what_is_billed_counts_before_its_batch_is_settled(store: Store) -> None:
    """Of a batch that was sent when there was no budget: nothing of it was reserved. And as much afterwards."""
    first, second = await running_job(store, 2, "first"), await running_job(store, 2, "second")
    batch = await _ended(store, await submitting(store, first.id, nonce="a"))
    tariff = Tariff(model="m", geo="", day="2026-11-23")
    paid = [_paid(number, Payment(replace(tariff, source="s"), Tokens(), 300)) for number in (1, 2)]
    await store.collect.store_lines(batch, paid, NOW)
    await store.budgets.cap_scope(Scope.TOTAL, CAP, "person", NOW)
    assert await store.budgets.price(batch, 600)
    for nonce in ("b", "c"):
        (limit,) = await store.budgets.limits(second.id, NOW)
        assert (limit.spent, limit.reserved) == (600, 0)
        more = await priced(store, second.id, 500, nonce=nonce)
        assert await store.submit.intend(more, None, META, NOW) is None
        if await store.collect.collected(batch, NOW):
            await settle_all(store, await batch_of(store, batch.id))


@case
async def a_job_that_a_cap_stops_goes_on_when_it_is_raised(store: Store) -> None:
    """By itself; one that waits for another day is not paused, and waits no more."""
    job = await running_job(store)
    await store.budgets.cap_job(job.id, CAP, NOW)
    (limit,) = await store.budgets.limits(job.id, NOW)
    assert await store.budgets.reached(job.id, limit, "reached", NOW)
    assert not await store.budgets.reached(job.id, limit, "reached", NOW)
    assert (await store.commands.get(job.id)).reason_code == "budget"
    for cap in (3, 2):
        assert await store.budgets.cap_scope(Scope.TOTAL, cap, "person", NOW) == 0, "it allows no more than before"
    assert not await store.budgets.cap_job(job.id, 0, NOW)
    assert await store.budgets.cap_job(job.id, None, NOW)
    assert (await store.commands.get(job.id)).state == "running"
    await store.budgets.waits(job.id, limit, "tomorrow", NOW)
    await store.budgets.waits(job.id, limit, "the day after", LATER)
    (item,) = (await store.read(lambda reads: reads.status(reads.get(job.id)))).attention
    assert (item.kind, item.message) == ("budget_waits", "the day after")
    await store.budgets.goes_on(job.id)
    assert (await store.read(lambda reads: reads.status(reads.get(job.id)))).attention == ()
    told = [event.kind for event in await store.read(lambda reads: reads.events(job.id))]
    assert told.count("budget.reached") == 2
    assert await store.budgets.cap_scope(Scope.TOTAL, 5, "settings", NOW) == 0


@case
async def budgets_of_the_settings_give_way_to_those_of_a_person(store: Store) -> None:
    """Set, changed and taken away with the settings, as long as no person has set another."""
    await store.budgets.follow_settings({Scope.DAY: 5, Scope.MONTH: None}, NOW)
    await store.budgets.follow_settings({Scope.DAY: 6, Scope.MONTH: 7}, NOW)
    assert [limit.cap for limit in await store.read(lambda reads: reads.budgets(NOW))] == [6, 7]
    await store.budgets.cap_scope(Scope.DAY, 9, "person", NOW)
    await store.budgets.follow_settings({Scope.DAY: 6, Scope.MONTH: None}, NOW)
    told = [
        event.why for event in await store.read(lambda reads: reads.events(None)) if event.kind == "budget.by_settings"
    ]
    assert told[-1] == "the budget of a month is none by the settings of the process that plans"
    assert [limit.cap for limit in await store.read(lambda reads: reads.budgets(NOW))] == [9]
    await store.budgets.cap_scope(Scope.DAY, None, "person", NOW)
    await store.budgets.follow_settings({Scope.DAY: 6, Scope.MONTH: None}, NOW)
    assert [limit.cap for limit in await store.read(lambda reads: reads.budgets(NOW))] == [6]


@case
async def queued_params_are_read_by_the_block(store: Store) -> None:
    """From any place, without those that are in a batch."""
    job = await running_job(store, 6)
    await planned(store, job.id, 2)
    assert await store.budgets.queued_params(job.id, 0, 1) == [(number, PARAMS) for number in range(3, 7)]
    assert await store.budgets.queued_params(job.id, 5, 1) == [(6, PARAMS)]
    assert await store.budgets.queued_params(job.id, 6, 1) == []


async def _ended(store: Store, sent: BatchRow) -> BatchRow:
    done = remote("a", sent.count)
    assert await store.submit.accept(sent, done, META, NOW)
    assert await store.poll.ended(await batch_of(store, sent.id), done, NOW)
    return await batch_of(store, sent.id)


def _paid(number: int, payment: Payment) -> JudgedLine:
    return msgspec.structs.replace(won(number), payment=payment)
