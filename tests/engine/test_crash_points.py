"""Promise 11 and 2: killed between any two steps, the next life finishes; nothing is lost, nothing is bought twice."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from support.length import points_of_each_kind, some_of
from support.mortal import Fuse, Killed, on_a_fuse
from support.world import World, in_a_loop, new_world, next_life

FOR_EVER = 10**9
PARTS = 4


async def live_until_killed(world: World, job: int) -> bool:
    """True if the job ended before the fuse did."""
    try:
        await world.settle(step=timedelta(minutes=2))
    except Killed:
        return False
    except BaseExceptionGroup as group:
        if group.subgroup(Killed) is None:
            raise
        return False
    return True


def unclear(fuse: Fuse) -> bool:
    """True if this life died between an intent and the record of its answer: its POST may be unclear."""
    return fuse.steps.count("before store.submit.intend") > fuse.steps.count("after store.submit.accept")


async def whole_road(path: Path) -> list[str]:
    """The steps of a life that nobody ends."""
    fuse = Fuse(FOR_EVER)
    async with new_world(path, max_requests=15, wrap=on_a_fuse(fuse)) as world:
        job = await world.submit(30)
        fuse.steps.clear()
        assert await live_until_killed(world, job.id)
    return fuse.steps


async def killed_after(path: Path, sparks: int) -> None:
    """One life ends after *sparks*; the next one finishes, and the API's books are right."""
    fuse = Fuse(FOR_EVER)
    async with new_world(path, max_requests=15, wrap=on_a_fuse(fuse)) as world:
        job = await world.submit(30)
        fuse.steps.clear()
        fuse.left = sparks
        await live_until_killed(world, job.id)
        async with next_life(world) as second:
            await second.settle(step=timedelta(minutes=2))
            status = await second.status(job.id)
            where = fuse.steps[-3:]
            assert status.job.requests.succeeded == 30, where
            assert sorted(second.bought().values()) == [1] * 30, where
            assert (await second.store.read(lambda reads: reads.meta())).duplicates_total == 0, where
            void = (await second.states(job.id)).count("void")
            assert void == 0 or unclear(fuse), where
            assert second.machine.batches_created == 2, where


@pytest.mark.parametrize("part", range(PARTS))
@in_a_loop
async def test_a_life_may_end_at_any_step(tmp_path: Path, part: int) -> None:
    """Each call of a port, before it and after it: the same batches, the same answers, paid once; all in the proof."""
    steps = await whole_road(tmp_path / "whole.db")
    for sparks in points_of_each_kind(steps, every=12)[part::PARTS]:
        await killed_after(tmp_path / f"{sparks}.db", sparks)


@pytest.mark.parametrize("part", some_of(range(2), 1))
@in_a_loop
async def test_a_life_that_resolves_a_doubt_may_end_at_any_step(tmp_path: Path, part: int) -> None:
    """The same for a life that finds a batch in doubt: adopted in the end, never bought again."""

    async def one(path: Path, sparks: int) -> list[str]:
        fuse = Fuse(FOR_EVER)
        async with new_world(path, wrap=on_a_fuse(fuse)) as world:
            world.machine.plan.set({"foreign_batches": 2})
            world.script("create", "drop_after_accept")
            job = await world.submit(20)
            await world.tick("plan", "submit")
            world.machine.plan.set({})
            fuse.steps.clear()
            fuse.left = sparks
            await live_until_killed(world, job.id)
            steps = list(fuse.steps)
            async with next_life(world) as second:
                await second.settle(step=timedelta(minutes=2))
                assert (await second.status(job.id)).job.requests.succeeded == 20, fuse.steps[-3:]
                assert second.creates == 1, fuse.steps[-3:]
            return steps

    steps = await one(tmp_path / "whole.db", FOR_EVER)
    for sparks in points_of_each_kind(steps, every=20)[part::2]:
        await one(tmp_path / f"{sparks}.db", sparks)


async def until_first_answer(path: Path) -> int:
    """How many steps a life that finds its batches planned takes until it has stored the answer to a POST."""
    async with new_world(path, max_requests=10) as world:
        job = await world.submit(30)
        await world.tick("plan")
        fuse = Fuse(FOR_EVER)
        async with next_life(world, wrap=on_a_fuse(fuse)) as second:
            assert await live_until_killed(second, job.id)
    return fuse.steps.index("after store.submit.accept") + 1


@in_a_loop
async def test_lives_that_all_end_early_still_finish_the_job(tmp_path: Path) -> None:
    """A crash loop converges in which each life has the time for a POST at most, and none to store its answer (T6)."""
    too_long = await until_first_answer(tmp_path / "whole.db")
    fuse = Fuse(FOR_EVER)
    async with (
        AsyncExitStack() as stack,
        new_world(tmp_path / "store.db", max_requests=10, wrap=on_a_fuse(fuse)) as world,
    ):
        job = await world.submit(30)
        life, lives = world, 0
        while lives < 200:
            fuse.left = too_long - 7 + lives % 7
            if await live_until_killed(life, job.id):
                break
            life.advance(timedelta(minutes=3))
            lives += 1
            fuse.left = FOR_EVER  # (the start itself is gone through below, step by step)
            life = await stack.enter_async_context(next_life(life, wrap=on_a_fuse(fuse)))
        assert 5 < lives < 200
        assert (await life.status(job.id)).job.requests.succeeded == 30
        assert set(life.bought().values()) == {1}
        assert life.machine.batches_created == 3


@in_a_loop
async def test_a_start_may_end_at_any_step(tmp_path: Path) -> None:
    """Recovery is the only way to start, and it may be killed like anything else."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        life = world
        for sparks in range(12):
            await life.die()
            fuse = Fuse(sparks)
            try:
                async with next_life(life, wrap=on_a_fuse(fuse)) as life:
                    await live_until_killed(life, job.id)
            except Killed:
                life.life += 1
        async with next_life(life) as last:
            await last.settle()
            assert (await last.status(job.id)).job.requests.succeeded == 10
            assert last.creates == 1
