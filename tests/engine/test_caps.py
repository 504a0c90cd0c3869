"""A cap is never exceeded: what may be billed is reserved before it is sent, and only what is left is planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from support.prices import HAIKU_4_5, PriceTable
from support.world import World, in_a_loop, message, new_world, next_life

from orchestrator.domain import humanize
from orchestrator.domain.billing import Rates
from orchestrator.domain.budgets import Scope
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JobRow
from orchestrator.engine.context import Context
from orchestrator.store.audit import misbilled
from orchestrator.store.budgets import SQL

CENT: Final = 10_000_000
BOOK: Final = SQL["book"]
#: With these rates the rows of `priced` cost 660,000 at most, and 525,000 as the sandbox answers them.
RATES: Final = Rates(1_200_000, 22_600_000, 1_200_000, 1_200_000, 1_200_000)
WORST, ACTUAL = 660_000, 525_000


def priced(context: Context) -> Context:
    """The engine with a price list of its own."""
    return replace(context, prices=PriceTable({"claude-haiku-4-5": RATES}))


def rows(count: int) -> list[dict[str, object]]:
    """Requests that can cost WORST each, and cost ACTUAL."""
    return [{**message(f"{number:068}"), "max_tokens": 24} for number in range(count)]


async def capped(world: World, count: int, cap: int, name: str = "job", params: Any = None) -> JobRow:
    """A job that may cost *cap*."""
    job = await world.submit(params=rows(count) if params is None else params, name=name)
    await world.store.budgets.cap_job(job.id, cap, world.clock.now())
    return await world.store.commands.get(job.id)


async def money(world: World, job: JobId) -> Mapping[str, int]:
    """What is spent and reserved in the books."""

    def look(c: Any) -> Counter[str]:
        row = c.execute("SELECT spent_nanos, reserved_nanos FROM job WHERE id = ?", (job,)).fetchone()
        found = Counter({"spent": row[0], "reserved": row[1]})
        for scope, key in c.execute("SELECT scope, key FROM spending").fetchall():
            book, (spent, reserved) = f"{scope} {key}".strip(), c.execute(BOOK, {"scope": scope, "key": key}).fetchone()
            found.update({f"{book} spent": spent, f"{book} reserved": reserved})
        return found

    assert await world.store._database.read(lambda c: list(misbilled(c))) == []
    result: Mapping[str, int] = await world.store._database.read(look)
    return result


async def kinds(world: World) -> list[str]:
    """The events of budgets, in order."""
    query = "SELECT kind FROM event WHERE kind LIKE 'budget.%' ORDER BY id"
    found: list[str] = await world.store._database.read(lambda c: [row[0] for row in c.execute(query)])
    return found


@in_a_loop
async def test_a_capped_job_goes_on_in_rounds_until_not_one_row_fits(tmp_path: Path) -> None:
    """Each batch is cut to what is left; the last one costs 25 thousandths less than a row, and the job says so."""
    async with new_world(tmp_path / "store.db", max_requests=1000, wrap=priced) as world:
        job = await capped(world, 1000, 10 * CENT)
        await world.settle()
        assert [batch.count for batch in await world.batches(job.id)] == [151, 31, 6, 1, 1]
        after = await world.store.commands.get(job.id)
        assert (after.state, after.reason_code, after.requests.succeeded) == ("paused", "budget", 190)
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == (99_750_000, 0)
        assert str(after.reason).startswith(
            "the job's cap is $0.10, $0.00025 of it is left, and the next request may cost $0.00066 — raise it"
        )
        assert await kinds(world) == ["budget.warned", "budget.reached"]
        assert await world.store.budgets.cap_job(job.id, 100 * CENT, world.clock.now())
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.state, after.requests.succeeded) == ("finished", 1000)
        assert (await money(world, job.id))["spent"] == 1000 * ACTUAL


@in_a_loop
async def test_a_cap_below_one_row_pauses_at_once_and_is_not_tried_again(tmp_path: Path) -> None:
    """With both numbers; nothing was sent."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 10, CENT // 100)
        await world.settle()
        for _ in range(20):
            await world.round()
        after = await world.store.commands.get(job.id)
        assert (after.state, after.reason_code, world.creates) == ("paused", "budget", 0)
        assert str(after.reason).startswith(
            "the job's cap is $0.0001, and the next request alone may cost $0.00066 — raise it"
        )
        assert await kinds(world) == ["budget.reached"]
        await world.commands.resume(job.id)
        await world.settle()
        assert await kinds(world) == ["budget.reached", "budget.reached"]


@in_a_loop
async def test_what_is_reserved_and_spent_never_passes_the_cap(tmp_path: Path) -> None:
    """At every moment, in every scope; and at the end everything that was reserved is free."""
    async with new_world(tmp_path / "store.db", max_requests=20, wrap=priced) as world:
        job = await capped(world, 300, 10 * CENT)
        await world.store.budgets.cap_scope(Scope.TOTAL, 8 * CENT, "person", world.clock.now())
        for _ in range(60):
            await world.round()
            books = await money(world, job.id)
            assert books["spent"] + books["reserved"] <= 8 * CENT
            assert books["total spent"] == books["spent"] == books["day 2026-11-23 spent"]
            assert books["total reserved"] == books["reserved"] == books["month 2026-11 reserved"]
            world.advance(timedelta(minutes=1))
        assert (await world.store.commands.get(job.id)).reason_code == "budget"
        books = await money(world, job.id)
        assert 8 * CENT - WORST < books["spent"] <= 8 * CENT
        assert books["reserved"] == 0


@in_a_loop
async def test_a_void_batch_keeps_its_reservation_until_the_sweep_lets_go_of_it(tmp_path: Path) -> None:
    """It may still turn up, and be billed: meanwhile its money is nobody's."""
    async with new_world(tmp_path / "store.db", max_requests=100, wrap=priced) as world:
        world.script("create", "drop")
        job = await capped(world, 100, 100 * WORST)
        await world.round()
        books = await money(world, job.id)
        assert books["reserved"] == 100 * WORST
        for _ in range(60):
            await world.round()
            world.advance(timedelta(minutes=1))
        assert await world.states(job.id) == ["void"]
        assert (await money(world, job.id))["reserved"] == 100 * WORST
        assert (await world.store.commands.get(job.id)).state == "running"
        (waits,) = (await world.status(job.id)).attention
        words = (
            "the job's cap is $0.066, $0.00 of it is left, $0.07 is held for batches that may turn up yet, "
            "and the next request may cost $0.00066; goes on when they cannot turn up any more, within 25h"
        )
        assert (waits.kind, waits.message) == ("budget_waits", words)
        for _ in range(26):
            await world.round()
            world.advance(timedelta(hours=1))
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.state, after.requests.succeeded) == ("finished", 100)
        assert (await money(world, job.id))["reserved"] == 0


@in_a_loop
async def test_a_late_duplicate_is_paid_out_of_what_its_void_batch_reserved(tmp_path: Path) -> None:
    """The API's bill stays within the cap, and the ledger has all of it."""
    async with new_world(tmp_path / "store.db", max_requests=50, wrap=priced) as world:
        world.script("create", "drop_after_accept")
        world.machine.plan.set({"list_lag": 3600})
        job = await capped(world, 50, 120 * WORST)
        for _ in range(120):
            await world.round()
            world.advance(timedelta(minutes=10))
        assert sum(world.bought().values()) == 100
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == (100 * ACTUAL, 50 * (WORST - ACTUAL))
        for _ in range(20):
            await world.round()
            world.advance(timedelta(hours=1))
        assert (await money(world, job.id))["reserved"] == 0


@in_a_loop
async def test_a_void_batch_of_before_the_cap_counts_under_it(tmp_path: Path) -> None:
    """It may turn up late: what it can cost is found while it has its requests still, and held."""
    async with new_world(tmp_path / "store.db", max_requests=50, wrap=priced) as world:
        world.script("create", "drop_after_accept")
        world.machine.plan.set({"list_lag": 3600})
        job = await world.submit(params=rows(50))
        await world.tick("plan", "submit")
        for _ in range(60):
            if await world.states(job.id) == ["void"]:
                break
            await world.tick("doubt")
            world.advance(timedelta(minutes=1))
        assert await world.states(job.id) == ["void"]
        await world.store.budgets.cap_job(job.id, 60 * WORST, world.clock.now())
        assert (await money(world, job.id))["reserved"] == 50 * WORST
        for _ in range(30):
            await world.round()
            books = await money(world, job.id)
            assert sum(world.bought().values()) * ACTUAL <= books["spent"] + books["reserved"] <= 60 * WORST
            world.advance(timedelta(hours=1))
        await world.settle()
        books = await money(world, job.id)
        assert books["spent"] == sum(world.bought().values()) * ACTUAL <= 60 * WORST
        assert books["reserved"] == 0


@in_a_loop
async def test_a_clear_no_frees_what_was_reserved(tmp_path: Path) -> None:
    """The same batch reserves it again when it is sent again."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.script("create", "529")
        job = await capped(world, 10, 10 * WORST)
        await world.tick("plan", "submit")
        assert (await money(world, job.id))["reserved"] == 0
        await world.settle()
        assert (await money(world, job.id))["spent"] == 10 * ACTUAL


@in_a_loop
async def test_a_day_that_is_used_up_is_waited_for(tmp_path: Path) -> None:
    """The job says until when, is not paused, and goes on by itself at midnight UTC."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.advance(datetime(2026, 11, 23, 20, 0, tzinfo=UTC) - world.clock.now())
        await world.store.budgets.cap_scope(Scope.DAY, 10 * WORST, "person", world.clock.now())
        job = await world.submit(params=rows(15))
        for _ in range(60):
            await world.round()
            world.advance(timedelta(minutes=1))
        world.advance(datetime(2026, 11, 23, 23, 20, tzinfo=UTC) - world.clock.now())
        await world.round()
        after = await world.store.commands.get(job.id)
        assert (after.state, after.requests.succeeded) == ("running", 12)
        status = await world.status(job.id)
        words = (
            "the budget of a day is $0.0066, $0.0003 of it is left, and the next request may cost $0.00066; "
            "goes on at 2026-11-24 00:00 UTC by itself"
        )
        assert [(item.kind, item.message) for item in status.attention] == [("budget_waits", words)]
        world.advance(timedelta(minutes=45))
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.state, after.requests.succeeded) == ("finished", 15)
        assert await world.attention(job.id) == []
        books = await money(world, job.id)
        assert books["day 2026-11-23 spent"] == 12 * ACTUAL
        assert books["day 2026-11-24 spent"] == 3 * ACTUAL


@in_a_loop
async def test_the_day_is_the_one_of_the_api(tmp_path: Path) -> None:
    """Whatever our clock says: else batches would be planned again and again, and never be sent."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.advance(timedelta(0), api=timedelta(days=2))
        await world.store.budgets.cap_scope(Scope.DAY, 10 * WORST, "person", world.clock.now())
        job = await world.submit(params=rows(15))
        for _ in range(90):
            await world.round()
            world.advance(timedelta(minutes=1))
        assert (await world.store.commands.get(job.id)).requests.succeeded == 12
        assert len(await world.batches(job.id)) <= 4
        (matter,) = (await world.status(job.id)).attention
        assert "goes on at 2026-11-26 00:00 UTC by itself" in matter.message
        assert (await money(world, job.id))["day 2026-11-25 spent"] == 12 * ACTUAL
        (shown,) = await world.store.read(lambda reads: reads.budgets(world.clock.now()))
        assert (shown.key, shown.spent) == ("2026-11-25", 12 * ACTUAL)
        assert "budget.warned" in await kinds(world)


@in_a_loop
async def test_just_before_midnight_both_days_hold_the_reservation(tmp_path: Path) -> None:
    """Until the API says when it made the batch."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.advance(datetime(2026, 11, 23, 23, 45, tzinfo=UTC) - world.clock.now())
        world.script("create", "drop_after_accept")
        job = await capped(world, 5, 100 * WORST)
        await world.tick("plan", "submit")
        books = await money(world, job.id)
        assert books["day 2026-11-23 reserved"] == books["day 2026-11-24 reserved"] == 5 * WORST
        assert books["month 2026-11 reserved"] == books["total reserved"] == 5 * WORST
        other = await capped(world, 3, 100 * WORST, "other")
        world.advance(timedelta(seconds=5))
        await world.tick("plan", "submit")
        books = await money(world, other.id)
        assert (books["day 2026-11-23 reserved"], books["day 2026-11-24 reserved"]) == (8 * WORST, 5 * WORST)
        await world.settle()
        books = await money(world, job.id)
        assert (books["day 2026-11-23 spent"], books["day 2026-11-24 spent"]) == (8 * ACTUAL, 0)
        assert books["day 2026-11-23 reserved"] == books["total reserved"] == 0


@in_a_loop
async def test_what_was_sent_before_there_was_a_cap_is_reserved_when_one_is_set(tmp_path: Path) -> None:
    """Nothing more is sent before that is known."""
    async with new_world(tmp_path / "store.db", max_requests=50, wrap=priced) as world:
        job = await world.submit(params=rows(100))
        await world.tick("plan", "submit")
        assert (await money(world, job.id))["reserved"] == 0
        await world.store.budgets.cap_job(job.id, 110 * WORST, world.clock.now())
        await world.tick("plan")
        assert (await money(world, job.id))["reserved"] == 100 * WORST
        await world.settle()
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == (100 * ACTUAL, 0)


@in_a_loop
async def test_a_lowered_cap_takes_back_what_is_planned(tmp_path: Path) -> None:
    """A planned batch that does not fit any more is planned by what is left; what is in flight is settled."""
    async with new_world(tmp_path / "store.db", max_requests=50, max_in_flight_batches=1, wrap=priced) as world:
        job = await capped(world, 100, 100 * WORST)
        await world.tick("plan")
        await world.store.budgets.cap_job(job.id, 20 * WORST, world.clock.now())
        await world.settle()
        counts = [(batch.count, batch.state.value) for batch in await world.batches(job.id)]
        assert counts[:2] == [(50, "abandoned"), (20, "settled")]
        assert (await world.store.commands.get(job.id)).reason_code == "budget"


@in_a_loop
async def test_a_lowered_budget_takes_back_what_is_planned(tmp_path: Path) -> None:
    """Likewise with a budget of all jobs together."""
    async with new_world(tmp_path / "store.db", max_requests=50, max_in_flight_batches=1, wrap=priced) as world:
        await world.store.budgets.cap_scope(Scope.TOTAL, 100 * WORST, "person", world.clock.now())
        job = await world.submit(params=rows(100))
        await world.tick("plan")
        await world.store.budgets.cap_scope(Scope.TOTAL, 20 * WORST, "person", world.clock.now())
        await world.settle()
        counts = [(batch.count, batch.state.value) for batch in await world.batches(job.id)]
        assert counts[:2] == [(50, "abandoned"), (20, "settled")]


def dearer(context: Context) -> Context:
    """The engine with another price list: everything costs a hundred times as much."""
    rates = Rates(120_000_000, 2_260_000_000, 120_000_000, 120_000_000, 120_000_000)
    return replace(context, prices=PriceTable({"claude-haiku-4-5": rates}))


@in_a_loop
async def test_a_batch_that_was_planned_at_old_prices_is_bounded_anew_before_it_is_sent(tmp_path: Path) -> None:
    """The engine was started again with a dearer price list: of ten planned requests it sends the four that fit."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 10, 400 * WORST)
        await world.tick("plan")
        async with next_life(world, wrap=dearer) as later:
            await later.tick("submit", "plan", "submit")
            assert (await money(later, job.id))["reserved"] == 400 * WORST
            counts = [(batch.count, batch.state.value) for batch in await later.batches(job.id)]
            assert counts == [(10, "abandoned"), (4, "in_progress")]
            await later.settle()
            books = await money(later, job.id)
            assert (books["spent"], books["reserved"]) == (400 * ACTUAL, 0)


@in_a_loop
async def test_prices_that_are_loaded_again_hold_for_what_is_planned_already(tmp_path: Path) -> None:
    """Also without a new life."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 10, 2000 * WORST)
        await world.tick("plan")
        world.context.prices = dearer(world.context).prices
        await world.tick("submit")
        assert (await money(world, job.id))["reserved"] == 1000 * WORST


@in_a_loop
async def test_a_batch_that_is_sent_on_another_day_is_bounded_anew(tmp_path: Path) -> None:
    """A price that rises the day after tomorrow was not looked at when it was planned."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 10, 100 * WORST)
        await world.tick("plan")
        asked = world.context.prices.asked  # type: ignore[attr-defined]
        asked.clear()
        world.advance(timedelta(days=2))
        await world.tick("submit")
        assert {str(day) for _, day in asked} == {"2026-11-25", "2026-11-26"}
        assert (await money(world, job.id))["reserved"] == 10 * WORST


@in_a_loop
async def test_a_batch_that_costs_more_than_its_bound_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The prices rose while it was at the API: both numbers are in event and log, and a person is shown them."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 10, 100 * WORST)
        await world.tick("plan", "submit")
        world.context.prices = dearer(world.context).prices
        await world.settle()
        assert "budget.exceeded" in await kinds(world)
        told = [item for item in (await world.status(job.id)).attention if item.kind == "budget_exceeded"]
        words = "$0.53 was billed, and $0.0066 was reserved for it: its bound was wrong"
        assert [item.message for item in told] == [words]
        assert [
            said for record in caplog.records if words in (said := record.getMessage()) and "budget.exceeded" in said
        ]


@in_a_loop
async def test_a_crash_between_intent_and_answer_keeps_the_reservation(tmp_path: Path) -> None:
    """It is in the transaction of the intent, and a doubt has it until it is decided."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.script("create", "drop_after_accept")
        job = await capped(world, 10, 10 * WORST)
        await world.tick("plan", "submit")
        async with next_life(world, wrap=priced) as later:
            assert (await money(later, job.id))["reserved"] == 10 * WORST
            await later.settle()
            books = await money(later, job.id)
            assert (books["spent"], books["reserved"]) == (10 * ACTUAL, 0)


@in_a_loop
async def test_an_answer_without_a_price_holds_what_is_left_of_its_batch(tmp_path: Path) -> None:
    """The job is paused, and says why; when a person resumes it, what is held is still nobody's."""
    async with new_world(tmp_path / "store.db", max_requests=5, max_in_flight_batches=1, wrap=priced) as world:
        job = await capped(world, 12, 12 * WORST)
        await world.tick("plan", "submit")
        world.context.prices = PriceTable({})
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.reason_code, after.requests.succeeded) == ("unknown_price", 5)
        assert str(after.reason).startswith("what 5 answers of msgbatch_")
        world.context.prices = PriceTable({"claude-haiku-4-5": RATES})
        await world.commands.resume(job.id)
        await world.settle()
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == (7 * ACTUAL, 5 * WORST)
        assert await world.commands.reprice(job.id) == 5
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == (12 * ACTUAL, 0)


@in_a_loop
async def test_an_answer_of_an_unknown_kind_holds_no_more_than_it_can_cost(tmp_path: Path) -> None:
    """What the others left is freed; the job is paused once, and says that no price is missing."""
    async with new_world(tmp_path / "store.db", max_requests=10, max_in_flight_batches=1, wrap=priced) as world:
        world.machine.plan.set({"odd_kind": 0.3})
        job = await capped(world, 20, 20 * WORST)
        await world.settle()
        world.machine.plan.set({})
        after = await world.store.commands.get(job.id)
        odd = 10 - after.requests.succeeded
        assert 0 < odd < 10
        words = f"what {humanize.count(odd, 'answer')} of msgbatch_"
        assert (after.reason_code, str(after.reason)[: len(words)]) == ("unknown_cost", words)
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == ((10 - odd) * ACTUAL, odd * WORST)
        await world.commands.resume(job.id)
        await world.settle()
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == ((20 - odd) * ACTUAL, odd * WORST)


@in_a_loop
async def test_what_is_kept_for_answers_of_unknown_cost_is_not_waited_for(tmp_path: Path) -> None:
    """Nothing frees it but a person: a later job, too, is paused and says so."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.machine.plan.set({"odd_kind": 1.0})
        await world.store.budgets.cap_scope(Scope.TOTAL, 10 * WORST, "person", world.clock.now())
        await world.submit(params=rows(10), name="first")
        await world.settle()
        job = await world.submit(params=rows(1), name="second")
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.state, after.reason_code) == ("paused", "budget")
        assert str(after.reason).startswith(
            "the budget of all jobs together is $0.0066, $0.00 of it is left, $0.0066 is kept for answers whose "
            "cost is not known, and the next request may cost $0.00066"
        )


@in_a_loop
async def test_results_that_never_come_are_taken_as_spent(tmp_path: Path) -> None:
    """As much as each of them may have cost; the rest of its batch is freed."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        world.machine.plan.set({"missing": 0.5})
        job = await capped(world, 10, 10 * WORST)
        await world.tick("plan", "submit")
        world.machine.plan.set({})
        await world.settle(step=timedelta(hours=2))
        after = await world.store.commands.get(job.id)
        missing = after.requests.failed
        assert 0 < missing < 10
        books = await money(world, job.id)
        assert (books["spent"], books["reserved"]) == ((10 - missing) * ACTUAL + missing * WORST, 0)


@in_a_loop
async def test_a_model_without_a_price_is_not_sent_under_a_cap(tmp_path: Path) -> None:
    """Whatever was taken in before there was a cap: the job pauses and names the model."""
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 1, CENT, params=[{**message("hello"), "model": "claude-x-9"}])
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.reason_code, world.creates) == ("unknown_price", 0)
        assert str(after.reason).startswith("there is no price for claude-x-9 — put the price of the model into")


@in_a_loop
async def test_a_request_without_a_bound_waits_for_a_person_and_the_others_are_sent(tmp_path: Path) -> None:
    """A server tool makes the API read again as often as it likes."""
    searching = {**message("hello"), "tools": [{"type": "web_search_20260209", "name": "web_search"}]}
    async with new_world(tmp_path / "store.db", wrap=priced) as world:
        job = await capped(world, 0, CENT, params=[*rows(3), searching, *rows(2)])
        await world.settle()
        after = await world.store.commands.get(job.id)
        assert (after.reason_code, after.requests.succeeded) == ("no_bound", 3)
        assert str(after.reason).startswith("tools.0 (web_search_20260209) has no bound on what it may cost")


def test_the_rates_of_haiku_are_those_of_the_acceptance_example() -> None:
    """1,000 rows of 1,000 tokens in and 64 out come to $0.66 at most, and $0.525 with 10 out."""
    assert (1000 * HAIKU_4_5.input + 64 * HAIKU_4_5.output) // 1000 == WORST
    assert (1000 * HAIKU_4_5.input + 10 * HAIKU_4_5.output) // 1000 == ACTUAL
