"""A pilot: some requests of a job, drawn by lot, go first; the others when a person has seen what they will cost."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from support.world import World, in_a_loop, message, new_world, next_life

from orchestrator.domain import money
from orchestrator.domain.ids import JobId
from orchestrator.domain.pilot import PilotState, draw

MARK: Final = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
#: 5,000 tokens of the sandbox's, more than Haiku 4.5 keeps at least.
LONG: Final = "word " * 4_000
WIDE: Final = 100_000_000
AMOUNT: Final = re.compile(r"\$[0-9.]+")


async def numbers(world: World, job: JobId) -> list[list[int]]:
    """The requests of each batch of *job*, in the order of planning."""
    batches = await world.batches(job)
    return [[number for number, _ in await world.store.params.slice(batch.id, 0, 1 << 30)] for batch in batches]


def marked(count: int, ttl: str = "1h") -> list[dict[str, object]]:
    """Requests that share a system prompt, and mark it."""
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
    return [{**message(f"question {number}"), "system": system} for number in range(count)]


@in_a_loop
async def test_a_pilot_goes_first_and_then_the_job_waits(tmp_path: Path) -> None:
    """Only requests of the sample are sent; when all have ended, the job is paused; a resume sends the others."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(500, pilot=20)
        assert job.pilot is PilotState.WAIT
        await world.settle()
        drawn = await numbers(world, job.id)
        assert [len(some) for some in drawn] == [20]
        assert drawn != [list(range(1, 21))]
        found = await world.store.commands.get(job.id)
        assert (found.state, found.reason_code, found.pilot) == ("paused", "pilot", PilotState.OVER)
        assert str(found.reason).startswith("the pilot of 20 requests has ended; the other 480 are expected to cost $")
        assert await world.commands.resume(job.id)
        await world.settle()
        sent = [number for some in await numbers(world, job.id) for number in some]
        assert sorted(sent) == list(range(1, 501))
        assert (await world.store.commands.get(job.id)).state == "finished"
        assert [line["custom_id"] for line in await world.results(job.id)] == [f"r{n}" for n in range(1, 501)]


@in_a_loop
async def test_what_a_pilot_tells_is_what_the_others_cost(tmp_path: Path) -> None:
    """The sandbox bills the rest within the interval that the reason has; the whole is the two together."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(params=[message("word " * (1 + n * 7 % 100)) for n in range(2_000)], pilot=100)
        await world.settle()
        status = await world.status(job.id)
        assert status.cost is not None
        assert status.cost.expected is not None
        low, expected, high = status.cost.expected
        told = (money.shown(nanos - status.cost.nanos) for nanos in (expected, low, high))
        assert tuple(AMOUNT.findall(str(status.job.reason))) == tuple(told)
        await world.commands.resume(job.id)
        await world.settle()
        billed = world.machine.bill().total_nanos
        assert low <= billed <= high
        assert expected == pytest.approx(billed, rel=0.1)


@in_a_loop
async def test_a_pilot_that_goes_on_needs_nobody(tmp_path: Path) -> None:
    """Nothing of the rest is sent before all of the pilot has ended, and nothing is waited for then."""
    async with new_world(tmp_path / "store.db", max_requests=10) as world:
        job = await world.submit(60, pilot=15, after_pilot="go_on")
        while (await world.store.commands.get(job.id)).pilot_goes:
            assert sum(len(some) for some in await numbers(world, job.id)) <= 15
            await world.round()
            world.advance(timedelta(minutes=1))
        await world.settle()
        found = await world.store.commands.get(job.id)
        assert (found.state, found.requests.succeeded) == ("finished", 60)
        assert [len(some) for some in await numbers(world, job.id)][:2] == [10, 5]


@in_a_loop
async def test_a_pilot_is_the_same_in_the_next_life(tmp_path: Path) -> None:
    """It was drawn when the job was made: a crash before, in between or after draws no other."""
    place = tmp_path / "store.db"
    async with new_world(place, max_requests=10) as world:
        job = await world.submit(200, pilot=25)
        drawn = [member.number for member in await world.store.prefixes.piloted(job.id, 1_000)]
        await world.tick("plan", "submit")
        async with next_life(world) as second:
            await second.settle()
            sent = [number for some in await numbers(second, job.id) for number in some]
            assert sorted(sent) == drawn
            assert len(set(sent)) == 25
            assert (await second.store.commands.get(job.id)).reason_code == "pilot"


@in_a_loop
async def test_a_request_of_a_pilot_that_is_sent_again_still_holds_the_others(tmp_path: Path) -> None:
    """What fell out of its batch is queued again; only its last word ends the pilot."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(50, pilot=5)
        world.machine.plan.set({"expire": 1.0})
        while len(await world.batches(job.id)) < 2:
            await world.round()
            world.advance(timedelta(hours=1))
        world.machine.plan.set({})
        drawn = await numbers(world, job.id)
        assert [len(some) for some in drawn] == [0, 5]
        await world.settle()
        assert await numbers(world, job.id) == drawn
        found = await world.store.commands.get(job.id)
        assert (found.reason_code, found.requests.queued) == ("pilot", 45)


@in_a_loop
async def test_a_job_that_is_no_larger_than_its_pilot_has_none(tmp_path: Path) -> None:
    """All of it goes at once, and nothing is waited for."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20, pilot=20)
        assert job.pilot is None
        await world.settle()
        assert (await world.store.commands.get(job.id)).state == "finished"


@in_a_loop
async def test_a_pilot_of_marked_requests_primes_their_prefix_and_tells_the_price_of_the_others(tmp_path: Path) -> None:
    """One of the sample writes, the others read; what the writer cost is no part of what is expected of the rest."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, max_requests=1_000) as world:
        job = await world.submit(params=marked(600), pilot=30)
        await world.settle()
        assert [len(some) for some in await numbers(world, job.id)] == [1, 29]
        status = await world.status(job.id)
        expected = float(AMOUNT.findall(str(status.job.reason))[0].removeprefix("$"))
        before = world.machine.bill().total_nanos
        await world.commands.resume(job.id)
        await world.settle()
        sent = [number for some in await numbers(world, job.id) for number in some]
        assert sorted(sent) == list(range(1, 601))
        rest = (world.machine.bill().total_nanos - before) / 1e9
        assert expected == pytest.approx(rest, rel=0.05)
        cost = (await world.status(job.id)).cost
        assert cost is not None
        assert cost.hit_rate is not None
        assert cost.hit_rate > 0.99


@in_a_loop
async def test_what_is_kept_for_five_minutes_is_written_anew_after_a_pilot(tmp_path: Path) -> None:
    """A person takes longer to look than it is kept."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=marked(90, "5m"), pilot=10)
        await world.settle()
        world.advance(timedelta(hours=1))
        await world.commands.resume(job.id)
        await world.settle()
        assert [len(some) for some in await numbers(world, job.id)] == [1, 9, 1, 79]


def test_a_lot_is_fair_and_the_same_for_the_same_input() -> None:
    """Every number has the same chance, the head of the file too; those that are missing are made up for."""
    assert draw("a", 100, 10_000) == draw("a", 100, 10_000) != draw("b", 100, 10_000)
    means = [sum(draw(str(seed), 100, 10_000)) / 100 for seed in range(200)]
    assert 4_800 < sum(means) / len(means) < 5_200
    assert len(set(draw("a", 10, 20, missing=5))) == 15
    assert sorted(draw("a", 30, 20, missing=5)) == list(range(1, 21))
