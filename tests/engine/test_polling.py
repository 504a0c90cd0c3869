"""Promise 5: waiting is polite. One list sees every batch, and the API's own figures are obeyed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from support.world import QUICK, in_a_loop, new_world

from orchestrator.domain.waiting import Pace
from orchestrator.sandbox import MachineSettings

MINUTE = timedelta(minutes=1)
SLOW = MachineSettings(batch_seconds=(5 * 3600, 6 * 3600))


@in_a_loop
async def test_forty_batches_in_flight_cost_one_list_per_interval(tmp_path: Path) -> None:
    """Promise 5: polling costs the same for 1 batch or 1000."""
    pace = Pace(shortest=MINUTE, longest=MINUTE)
    async with new_world(tmp_path / "store.db", machine=SLOW, max_requests=5, poll=pace) as world:
        job = await world.submit(200)
        await world.tick(*["plan", "submit"] * 10)
        assert await world.states(job.id) == ["in_progress"] * 40
        before = dict(world.machine.calls)
        for _ in range(6 * 20):
            await world.round()
            world.advance(timedelta(seconds=10))
        assert 17 <= world.machine.calls["list"] - before["list"] <= 20
        assert world.machine.calls["retrieve"] == 0
        assert world.machine.calls["results"] == 0


@in_a_loop
async def test_looks_grow_rarer_with_the_age_of_the_youngest_batch(tmp_path: Path) -> None:
    """Promise 5: from `poll_interval` to `poll_interval_max`."""
    async with new_world(tmp_path / "store.db", machine=SLOW) as world:
        await world.submit(10)
        await world.tick("plan", "submit")
        looks: list[int] = []
        for _ in range(4):
            before = world.machine.calls["list"]
            for _ in range(120):
                await world.tick("poll")
                world.advance(timedelta(seconds=30))
            looks.append(world.machine.calls["list"] - before)
        assert looks[0] > looks[1] >= looks[3]
        assert looks[3] >= 60 / 5.5 - 1


@in_a_loop
async def test_only_a_batch_that_the_list_does_not_show_is_asked_for_alone(tmp_path: Path) -> None:
    """Promise 5: `retrieve` is the exception. A 404 proves nothing (promise 2)."""
    async with new_world(tmp_path / "store.db", max_requests=10) as world:
        job = await world.submit(30)
        await world.tick("plan", "submit")
        world.machine.plan.set({"list_lag": 30})
        world.script("retrieve", "404")
        await world.tick("poll")
        assert world.machine.calls["retrieve"] == 3
        assert await world.states(job.id) == ["in_progress"] * 3
        await world.settle()
        assert world.creates == 3


@in_a_loop
async def test_a_batch_that_the_api_hides_for_a_day_needs_attention_and_is_never_sent_again(tmp_path: Path) -> None:
    """Promise 2: a 404 on a known remote id is not proof of absence."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        world.machine.plan.set({"list_lag": 10**6, "flicker404": 1})
        for _ in range(26 * 6):
            await world.round()
            world.advance(10 * MINUTE)
        assert await world.attention(job.id) == ["missing"]
        assert world.creates == 1
        world.machine.plan.set({})
        await world.settle()
        assert await world.attention(job.id) == []
        assert (await world.status(job.id)).job.requests.succeeded == 10


@in_a_loop
async def test_a_batch_that_does_not_end_in_time_needs_attention(tmp_path: Path) -> None:
    """T35: an hour after its 24 hours a person is told; nothing is sent again while it could still succeed."""
    machine = MachineSettings(batch_seconds=(90_000, 90_001), overrun_hours=5)
    async with new_world(tmp_path / "store.db", machine=machine) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        world.advance(timedelta(hours=24, minutes=59))
        await world.tick("poll")
        assert await world.attention(job.id) == []
        world.advance(timedelta(hours=2))
        await world.tick("poll")
        assert await world.attention(job.id) == ["stuck"]
        world.advance(timedelta(hours=3))
        await world.tick("poll")
        assert await world.attention(job.id) == []
        assert world.creates == 1


@in_a_loop
async def test_retry_after_on_a_look_is_obeyed(tmp_path: Path) -> None:
    """Promise 5: by the orchestrator itself, for every kind of read."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(10)
        await world.tick("plan", "submit")
        world.machine.plan.set({"retry_after": 900})
        world.script("list", "429")
        await world.tick("poll")
        before = world.machine.calls["list"]
        for _ in range(14):
            world.advance(MINUTE)
            await world.tick("poll", "doubt", "sweep")
        assert world.machine.calls["list"] == before
        world.advance(2 * MINUTE)
        await world.tick("poll")
        assert world.machine.calls["list"] == before + 1


@in_a_loop
async def test_a_look_that_works_ends_the_streak_whichever_stage_made_it(tmp_path: Path) -> None:
    """The pauses after failures start small again once a read has worked, also when only doubts are left."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(10)
        world.script("create", "drop")
        await world.tick("plan", "submit")
        world.script("list", "500", 3)
        await world.tick("doubt")
        assert await world.store.gates.get("read") is not None
        world.advance(5 * MINUTE)
        await world.tick("doubt")
        assert await world.store.gates.get("read") is None


@in_a_loop
async def test_live_counts_are_not_taken_for_the_end(tmp_path: Path) -> None:
    """Promise 5: counts are never progress; only `ended` is."""
    machine = MachineSettings(batch_seconds=(600, 600), live_counts=True)
    async with new_world(tmp_path / "store.db", machine=machine) as world:
        job = await world.submit(50)
        await world.tick("plan", "submit")
        world.advance(timedelta(seconds=590))
        await world.tick("poll", "collect", "settle")
        assert await world.states(job.id) == ["in_progress"]
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 50


def test_the_default_pace_of_these_tests_is_a_real_one() -> None:
    """The figures above stand on it."""
    assert QUICK.poll == Pace(shortest=timedelta(seconds=30), longest=timedelta(minutes=5))
