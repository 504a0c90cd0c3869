"""Commands that meet the road at moments where only the store can decide in time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.domain.errors import GuardRefused
from orchestrator.domain.model import BatchRow, JobRow


async def sending(world: World, job: JobRow) -> BatchRow:
    """The job's only batch, in the middle of its POST."""
    await world.tick("plan")
    (batch,) = await world.store.submit.sendable(1)
    page = await world.provider.page(after_id=None, limit=1)
    sent = await world.store.submit.intend(batch, None, page.meta, world.clock.now())
    assert sent is not None
    return sent


@pytest.mark.parametrize("crash", [False, True])
@in_a_loop
async def test_a_clear_no_after_a_cancel_ends_the_job(tmp_path: Path, crash: bool) -> None:
    """T46: canceled during the POST, refused by the API: nothing would ever send the batch, so it is dropped."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        sent = await sending(world, job)
        await world.commands.cancel(job.id)
        assert await world.store.submit.give_back(sent, "429", world.clock.now(), cut=False)
        life = world
        if crash:
            async with next_life(world) as life:
                await life.settle(rounds=10)
                assert (await life.status(job.id)).job.state == "canceled"
            return
        await life.settle(rounds=10)
        assert (await life.status(job.id)).job.state == "canceled"


@in_a_loop
async def test_halves_of_a_canceled_job_are_dropped_too(tmp_path: Path) -> None:
    """T46 meets promise 4: a 413 after the cancel does not leave two halves behind."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        sent = await sending(world, job)
        await world.commands.cancel(job.id)
        nonces = (world.context.entropy.nonce(), world.context.entropy.nonce())
        assert await world.store.bisect.halve(sent, nonces, "413", world.clock.now())
        await world.settle(rounds=10)
        assert (await world.status(job.id)).job.state == "canceled"
        assert world.creates == 0


@in_a_loop
async def test_a_paused_jobs_planned_batches_take_no_room_from_others(tmp_path: Path) -> None:
    """What waits for a person is not in the API's queue: it must not fill the window."""
    async with new_world(tmp_path / "store.db", max_requests=100, max_in_flight_requests=100) as world:
        stuck = await world.submit(100, name="stuck")
        await world.tick("plan")
        await world.commands.pause(stuck.id)
        other = await world.submit(100, name="other")
        await world.settle()
        assert (await world.status(other.id)).job.state == "finished"
        await world.commands.resume(stuck.id)
        await world.settle()
        assert (await world.status(stuck.id)).job.state == "finished"


@in_a_loop
async def test_a_resume_does_not_break_the_window(tmp_path: Path) -> None:
    """Promise 5: what was planned before the pause is sent only when there is room for it again."""
    async with new_world(
        tmp_path / "store.db", max_requests=50, max_in_flight_requests=100, max_in_flight_batches=2
    ) as world:
        stuck = await world.submit(100, name="stuck")
        await world.tick("plan")
        await world.commands.pause(stuck.id)
        other = await world.submit(300, name="other")
        await world.tick("plan", "submit")
        await world.commands.resume(stuck.id)
        for _ in range(100):
            await world.round()
            live = [b for b in world.machine.list(limit=1000).data if b.processing_status != "ended"]
            assert sum(batch.request_counts.processing for batch in live) <= 100
            world.advance(timedelta(minutes=1))
        for job in (stuck, other):
            assert (await world.status(job.id)).job.state == "finished"


@in_a_loop
async def test_a_batch_is_adopted_by_one_job_only(tmp_path: Path) -> None:
    """A remote batch belongs to one batch of ours: the second adoption is refused, with words."""
    async with new_world(tmp_path / "store.db") as world:
        (theirs,) = world.machine.add_foreign(5)
        first, second = await world.submit(5, name="first"), await world.submit(5, name="second")
        await world.commands.adopt(theirs, first.id)
        with pytest.raises(GuardRefused):
            await world.commands.adopt(theirs, second.id)
