"""Promise 2, the batch does not exist, or cannot be told: void after the wait, a person where nothing proves it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.domain.errors import GuardRefused, NoSuchThing
from orchestrator.domain.model import JobRow

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


async def in_doubt(world: World, fault: str, count: int = 30) -> JobRow:
    """A job whose only batch is in doubt after *fault*, and seen to be."""
    job = await world.submit(count)
    world.script("create", fault)
    await world.tick("plan", "submit", "doubt")
    assert await world.states(job.id) == ["in_doubt"]
    return job


async def ticking(world: World, stage: str, *, span: timedelta, step: timedelta = MINUTE) -> None:
    """Tick one stage while time passes."""
    for _ in range(int(span / step)):
        await world.tick(stage)
        world.advance(step)


@in_a_loop
async def test_a_batch_that_never_was_is_void_after_the_wait_and_two_looks(tmp_path: Path) -> None:
    """Promise 2: not before `doubt_wait` and what a kernel may still send, not at the first look; then sent anew."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop")
        await ticking(world, "doubt", span=22 * MINUTE)
        (batch,) = await world.batches(job.id)
        assert (batch.state, batch.doubt_until) == ("in_doubt", None)
        await world.tick("doubt")
        assert await world.states(job.id) == ["in_doubt"]
        assert (await world.batches(job.id))[0].doubt_looks == 1
        await ticking(world, "doubt", span=3 * MINUTE)
        assert await world.states(job.id) == ["void"]
        status = await world.status(job.id)
        assert status.job.requests.queued == 30
        await world.settle()
        old, new = await world.batches(job.id)
        assert old.nonce != new.nonce
        requests = await world.store.read(lambda reads: [reads.request(job.id, f"r{i}") for i in range(1, 31)])
        assert {request.attempts for request in requests} == {1}
        assert world.creates == 2


@in_a_loop
async def test_the_wait_is_measured_by_the_apis_clock_too(tmp_path: Path) -> None:
    """Promise 2: the same wait + 2 s of the API's Date ends it, though our own clock stands still."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop")
        await world.tick("doubt")
        async with next_life(world) as second:
            second.advance(timedelta(0), api=22 * MINUTE)
            await second.tick("doubt")
            assert (await second.batches(job.id))[0].doubt_until is None
            second.advance(2 * MINUTE, api=timedelta(seconds=3))
            await second.tick("doubt")
            assert (await second.batches(job.id))[0].doubt_until is not None


@in_a_loop
async def test_a_candidate_that_cannot_be_read_for_a_day_needs_a_person(tmp_path: Path) -> None:
    """Promise 2: 404 for 24 h of the API's time is unprovable; nothing is voided, nothing is sent."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop_after_accept")
        world.machine.plan.set({"results.404": 1})
        await ticking(world, "doubt", span=26 * timedelta(hours=1), step=timedelta(minutes=10))
        assert await world.states(job.id) == ["in_doubt"]
        assert await world.attention(job.id) == ["unprovable"]
        assert world.creates == 1


@in_a_loop
async def test_a_person_adopts_an_unprovable_batch(tmp_path: Path) -> None:
    """Promise 2: `batches adopt` decides what nothing can prove; the batch is collected like any other."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop_after_accept")
        world.machine.plan.set({"results.404": 1})
        await ticking(world, "doubt", span=26 * timedelta(hours=1), step=timedelta(minutes=10))
        (remote,) = world.machine.list().data
        assert "collected" in await world.commands.adopt(remote.id, None)
        assert await world.states(job.id) == ["in_progress"]
        assert await world.attention(job.id) == []
        world.machine.plan.set({})
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 30
        assert world.creates == 1


@in_a_loop
async def test_a_person_disowns_an_unprovable_batch(tmp_path: Path) -> None:
    """Promise 2: `batches disown` ends the doubt; the requests are planned into a new batch."""
    async with new_world(tmp_path / "store.db") as world:
        (theirs,) = world.machine.add_foreign(30)
        job = await in_doubt(world, "drop")
        world.machine.plan.set({"results.404": 1})
        await ticking(world, "doubt", span=26 * timedelta(hours=1), step=timedelta(minutes=10))
        await world.commands.disown(theirs)
        assert await world.attention(job.id) == []
        world.machine.plan.set({})
        await world.settle()
        assert await world.states(job.id) == ["void", "settled"]
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_of_two_unprovable_candidates_the_second_is_asked_about_as_soon_as_the_first_is_decided(
    tmp_path: Path,
) -> None:
    """Promise 2 (found in a simulated world): the day that a candidate could not be read is not counted anew."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.add_foreign(30, count=2)
        job = await in_doubt(world, "drop")
        world.machine.plan.set({"results.404": 1})
        await ticking(world, "doubt", span=26 * timedelta(hours=1), step=timedelta(minutes=10))
        for _ in range(2):
            (item,) = (await world.status(job.id)).attention
            (named,) = [remote.id for remote in world.machine.list().data if remote.id in item.message]
            await world.commands.disown(named)
            await ticking(world, "doubt", span=timedelta(minutes=20), step=timedelta(minutes=10))
        assert await world.attention(job.id) == []
        assert await world.states(job.id) == ["void"]


@in_a_loop
async def test_what_is_proven_foreign_cannot_be_adopted(tmp_path: Path) -> None:
    """Promise 2: a person decides what nothing proves, never against a proof."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop_after_accept")
        (ours,) = [batch.id for batch in world.machine._batches]
        (theirs,) = world.machine.add_foreign(30)
        world.machine.delay(ours, timedelta(hours=3))
        await ticking(world, "doubt", span=HOUR)
        with pytest.raises(NoSuchThing):
            await world.commands.adopt(theirs, None)
        assert await world.states(job.id) == ["in_doubt"]
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 30
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_what_is_another_batchs_by_proof_cannot_be_adopted(tmp_path: Path) -> None:
    """Promise 2 (found in a simulated world, as an error of the schema): a remote batch is one batch of ours."""
    async with new_world(tmp_path / "store.db") as world:
        first = await in_doubt(world, "drop_after_accept")
        world.advance(5 * MINUTE)
        second = await in_doubt(world, "drop_after_accept")
        early, late = [batch.id for batch in world.machine._batches]
        world.machine.delay(early, HOUR)
        world.machine.delay(late, timedelta(hours=6))
        await ticking(world, "doubt", span=timedelta(hours=2))
        assert [await world.states(job.id) for job in (first, second)] == [["in_progress"], ["in_doubt"]]
        with pytest.raises(NoSuchThing):
            await world.commands.adopt(early, None)
        assert await world.states(second.id) == ["in_doubt"]


@in_a_loop
async def test_a_person_is_not_asked_about_what_is_proven_meanwhile(tmp_path: Path) -> None:
    """Promise 2: an unprovable candidate that can be read again, and is foreign, needs nobody."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop_after_accept")
        (ours,) = [batch.id for batch in world.machine._batches]
        (theirs,) = world.machine.add_foreign(30)
        world.machine.delay(ours, timedelta(hours=60))
        world.machine._by_id[ours].overrun = timedelta(hours=60)
        world.machine.delay(theirs, timedelta(hours=3))
        await ticking(world, "doubt", span=timedelta(minutes=30))
        world.machine.hide(theirs, world.machine.now() + timedelta(hours=26))
        await ticking(world, "doubt", span=timedelta(hours=25), step=10 * MINUTE)
        assert await world.attention(job.id) == ["unprovable"]
        await ticking(world, "doubt", span=timedelta(hours=2), step=10 * MINUTE)
        assert await world.attention(job.id) == []


@in_a_loop
async def test_a_candidate_for_two_batches_is_not_adopted_by_a_guess(tmp_path: Path) -> None:
    """Promise 2: where a person's word is not clear either, nothing is done."""
    async with new_world(tmp_path / "store.db") as world:
        (theirs,) = world.machine.add_foreign(30)
        await in_doubt(world, "drop")
        world.advance(5 * MINUTE)
        await in_doubt(world, "drop")
        world.machine.plan.set({"results.404": 1})
        await ticking(world, "doubt", span=timedelta(hours=1), step=10 * MINUTE)
        with pytest.raises(GuardRefused):
            await world.commands.adopt(theirs, None)


@in_a_loop
async def test_a_candidate_that_is_seen_in_between_is_not_unprovable(tmp_path: Path) -> None:
    """Promise 2: unprovable means out of reach for a whole day, not now and a day ago."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.add_foreign(30)
        world.machine._batches[-1].work_ends_at += timedelta(hours=60)
        world.machine._batches[-1].overrun = timedelta(hours=60)
        job = await in_doubt(world, "drop")
        world.advance(25 * MINUTE)
        await world.tick("doubt")
        for hours in (1, 22, 1):
            await ticking(world, "doubt", span=timedelta(hours=hours), step=10 * MINUTE)
            away = not world.machine.plan.options
            world.machine.plan.set({"list_lag": 10**6, "retrieve.404": 1} if away and hours == 1 else {})
            await ticking(world, "doubt", span=timedelta(hours=1), step=10 * MINUTE)
        assert await world.states(job.id) == ["in_doubt"]
        assert await world.attention(job.id) == []


@in_a_loop
async def test_a_candidate_that_vanishes_from_the_list_is_still_waited_for(tmp_path: Path) -> None:
    """Promise 2: a candidate, once seen, is never forgotten; a 404 is not proof of absence."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop_after_accept")
        world.advance(25 * MINUTE)
        world.machine.plan.set({"results.404": 1})
        await world.tick("doubt")
        world.machine.plan.set({"list_lag": 10**6, "retrieve.404": 1})
        await ticking(world, "doubt", span=timedelta(hours=2), step=10 * MINUTE)
        assert await world.states(job.id) == ["in_doubt"]
        world.machine.plan.set({})
        await world.settle()
        assert await world.states(job.id) == ["settled"]
        assert world.creates == 1


@in_a_loop
async def test_a_neighbour_that_still_runs_keeps_the_batch_in_doubt(tmp_path: Path) -> None:
    """Promise 2: only an ended candidate can be proven foreign; until then nothing is voided."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.add_foreign(30)
        world.machine._batches[-1].work_ends_at += timedelta(hours=5)
        job = await in_doubt(world, "drop")
        await ticking(world, "doubt", span=timedelta(hours=4), step=5 * MINUTE)
        assert await world.states(job.id) == ["in_doubt"]
        await world.settle(step=5 * MINUTE)
        assert await world.states(job.id) == ["void", "settled"]


@in_a_loop
async def test_neighbours_that_come_after_the_wait_are_no_candidates(tmp_path: Path) -> None:
    """Promise 2: the set of candidates is finite, so a busy workspace cannot keep a batch in doubt for ever."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop")
        for _ in range(30):
            await world.tick("doubt")
            world.advance(MINUTE)
            (batch,) = await world.batches(job.id)
            if batch.doubt_until is not None:
                world.machine.add_foreign(30)
            if batch.state == "void":
                break
        assert await world.states(job.id) == ["void"]


@in_a_loop
async def test_a_batch_listed_later_than_the_wait_is_found_by_the_late_sweep(tmp_path: Path) -> None:
    """Promise 2: where the assumption breaks, the duplicate is counted and reported, its results are kept as spare."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"list_lag": 3600})
        job = await in_doubt(world, "drop_after_accept")
        await world.settle()
        assert (world.creates, world.machine.batches_created) == (2, 2)
        await ticking(world, "sweep", span=timedelta(hours=2), step=5 * MINUTE)
        meta = await world.store.read(lambda reads: reads.meta())
        assert meta.duplicates_total == 1
        assert await world.attention(job.id) == ["duplicate"]
        assert (await world.status(job.id)).job.requests.succeeded == 30
        rows = await world.store._database.read(lambda c: c.execute("SELECT count(*) FROM spare").fetchone())
        assert rows[0] == 30


@in_a_loop
async def test_a_sweep_that_is_killed_before_it_kept_the_spare_finishes_in_the_next_life(tmp_path: Path) -> None:
    """Promise 2: the duplicate's results are kept, also when the first download of them breaks."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"list_lag": 3600})
        job = await in_doubt(world, "drop_after_accept")
        await world.settle()
        world.advance(timedelta(hours=2))
        world.script("results", "ok")
        world.script("results", "cut_reset")
        await world.tick("sweep")
        await ticking(world, "sweep", span=timedelta(hours=1), step=5 * MINUTE)
        rows = await world.store._database.read(lambda c: c.execute("SELECT count(*) FROM spare").fetchone())
        assert rows[0] == 30
        assert await world.attention(job.id) == ["duplicate"]
        assert (await world.store.read(lambda reads: reads.meta())).duplicates_total == 1


@in_a_loop
async def test_a_sweep_ends_after_a_day_of_the_apis_time(tmp_path: Path) -> None:
    """Promise 2: the late sweep lasts 25 h, and `status` says until when."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop")
        await world.settle()
        assert (await world.status(job.id)).sweep_until is not None
        await ticking(world, "sweep", span=timedelta(hours=26), step=timedelta(minutes=30))
        assert await world.store.sweep.to_sweep() == []
        calls = world.machine.calls["list"]
        await ticking(world, "sweep", span=timedelta(hours=2), step=10 * MINUTE)
        assert world.machine.calls["list"] == calls


@in_a_loop
async def test_a_late_batch_that_still_runs_is_not_swept_away(tmp_path: Path) -> None:
    """Promise 2: a suspect that cannot be told yet keeps the sweep going past its 25 hours."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"list_lag": 3600})
        job = await in_doubt(world, "drop_after_accept")
        world.machine._batches[0].work_ends_at += timedelta(hours=40)
        world.machine._batches[0].overrun = timedelta(hours=3)
        await world.settle()
        await ticking(world, "sweep", span=timedelta(hours=30), step=timedelta(minutes=10))
        assert await world.attention(job.id) == ["duplicate"]


@in_a_loop
async def test_many_batches_in_doubt_share_one_walk_of_the_list(tmp_path: Path) -> None:
    """Promise 5: looking after eight doubts costs no more calls than looking after one."""
    async with new_world(tmp_path / "store.db", max_requests=1, max_uploads=8) as world:
        job = await world.submit(8)
        world.script("create", "drop", 8)
        for _ in range(60):
            await world.tick("plan", "submit")
            world.advance(timedelta(seconds=30))
        assert await world.states(job.id) == ["in_doubt"] * 8
        await world.tick("doubt")
        world.advance(25 * MINUTE)
        calls = world.machine.calls["list"]
        await world.tick("doubt")
        assert world.machine.calls["list"] - calls == 2
        world.advance(5 * MINUTE)
        await world.tick("doubt")
        assert await world.states(job.id) == ["void"] * 8


@in_a_loop
async def test_half_a_walk_never_passes_for_a_whole_one(tmp_path: Path) -> None:
    """Promise 2 (T42): a page that fails ends the look; nothing is concluded from what it did not show."""
    async with new_world(tmp_path / "store.db") as world:
        job = await in_doubt(world, "drop_after_accept")
        world.advance(25 * MINUTE)
        for _ in range(4):
            world.script("list", "ok")
            world.script("list", "500", 3)
            await world.tick("doubt")
            world.advance(5 * MINUTE)
        (batch,) = await world.batches(job.id)
        assert (batch.state, batch.doubt_looks) == ("in_doubt", 0)
        await world.settle()
        assert world.creates == 1
