"""Everything at once: faults of every kind, neighbours, late lists, crashes at random steps, clocks set at random."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from support.length import IS_LONG
from support.mortal import Fuse, Killed, on_a_fuse
from support.world import World, in_a_loop, new_world, next_life

FOR_EVER = 10**9
LIVES = 25
CREATE = ("refuse", "drop", "drop_mid", "429", "529", "500", "409", "html_200")
ACCEPTED = ("drop_after_accept", "error_after_accept", "garbled_after_accept")
READ = ("500", "429", "drop", "html_200")
RESULTS = ("404", "500", "cut_clean", "cut_line", "cut_reset")
FAULTS = [
    f"{endpoint}.{fault}"
    for endpoint, faults in (("create", CREATE + ACCEPTED), ("list", READ), ("retrieve", READ), ("results", RESULTS))
    for fault in faults
]
LINES = {"garbled": 0.01, "duplicated": 0.05, "foreign_lines": 0.02, "blank_lines": 0.02, "missing_once": 0.02}


def mischief(chance: random.Random) -> dict[str, float]:
    """A world's troubles: some call faults, row faults, line faults, a late list, neighbours."""
    calls = dict.fromkeys(chance.sample(FAULTS, 8), chance.choice([0.02, 0.1, 0.3]))
    rows = {"error": 0.05, "expire": 0.03}
    more = {"list_lag": chance.choice([0, 5, 60, 600]), "flicker404": chance.choice([0, 0.1])}
    return {**calls, **rows, **LINES, **more, "foreign_batches": chance.choice([0, 0, 2])}


async def live(world: World, fuse: Fuse, sparks: int) -> bool:
    """True if the jobs ended before the fuse did."""
    fuse.left = sparks
    try:
        await world.settle(step=timedelta(minutes=7), rounds=600)
    except Killed:
        return False
    except BaseExceptionGroup as group:
        if group.subgroup(Killed) is None:
            raise
        return False
    finally:
        fuse.left = FOR_EVER
    return True


@pytest.mark.parametrize("seed", range(12 if IS_LONG else 5))
@in_a_loop
async def test_whatever_happens_everything_is_answered_and_paid_once(tmp_path: Path, seed: int) -> None:
    """Promises 1, 2, 3 (T1, small): nothing lost, nothing bought twice, one POST per intent, no false duplicate."""
    chance = random.Random(seed)
    fuse = Fuse(FOR_EVER)
    async with AsyncExitStack() as stack:
        life = await stack.enter_async_context(
            new_world(tmp_path / "store.db", seed=1000 * seed + 1, max_requests=10, wrap=on_a_fuse(fuse))
        )
        jobs = [await life.submit(count, name=f"job{count}") for count in (25, 30)]
        for _ in range(LIVES):
            life.machine.plan.set(mischief(chance))
            if await live(life, fuse, chance.randrange(400)):
                break
            life.advance(timedelta(hours=chance.choice([-24, 0, 0, 24])), api=timedelta(minutes=chance.randrange(10)))
            life = await stack.enter_async_context(next_life(life, wrap=on_a_fuse(fuse)))
            for job in jobs:
                if not await life.commands.resume(job.id) and chance.random() < 0.2:
                    await life.commands.pause(job.id)
        for job in jobs:
            await life.commands.resume(job.id)
        life.machine.plan.set({})
        assert await live(life, fuse, FOR_EVER)
        for job in jobs:
            status = await life.status(job.id)
            assert status.job.requests.succeeded == status.job.requests.total, (status, life.machine.plan.options)
        assert set(life.bought().values()) == {1}
        assert len(life.bought()) == 55
        assert life.creates <= await life.intents()
        assert (await life.store.read(lambda reads: reads.meta())).duplicates_total == 0


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5] if IS_LONG else [0, 3])
@in_a_loop
async def test_where_the_assumption_breaks_every_duplicate_is_found(tmp_path: Path, seed: int) -> None:
    """Promise 2 (T3): a list that is later than the wait makes duplicates; reported = bought twice, and spares kept."""
    async with new_world(tmp_path / "store.db", seed=seed + 1, max_requests=10) as world:
        world.machine.seed = world.machine.plan.seed = seed
        world.machine.plan.set({"list_lag": 3000, "create.drop_after_accept": 0.3})
        job = await world.submit(60)
        await world.settle(step=timedelta(minutes=7))
        for _ in range(27 * 4):
            await world.tick("sweep")
            world.advance(timedelta(minutes=15))
        assert (await world.status(job.id)).job.requests.succeeded == 60
        twice = sum(count - 1 for count in world.bought().values())
        spare = "SELECT count(*) FROM spare"
        assert await world.store._database.read(lambda c: c.execute(spare).fetchone()) == (twice,)
        reported = (await world.store.read(lambda reads: reads.meta())).duplicates_total
        assert reported == twice / 10 > 0
        assert set(await world.attention(job.id)) <= {"duplicate"}
        assert await world.store.sweep.to_sweep() == []
