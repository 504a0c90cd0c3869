"""How long bodies are kept: by a person's word, by age in a daemon, and cleared away whoever marked them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from engine.test_ingest import take, write
from support.world import World, in_a_loop, new_world

from orchestrator.domain.errors import GuardRefused, Purged
from orchestrator.domain.model import JobRow
from orchestrator.engine.purge import PurgeStage
from orchestrator.engine.sample import SampleStage


async def finished(world: World, folder: Path, name: str) -> JobRow:
    """A finished job of two requests."""
    taken = await take(world, write(folder / f"{name}.jsonl", [f"{name}1", f"{name}2"]))
    assert taken.job is not None
    await world.settle()
    return await world.store.commands.get(taken.job.id)


async def is_gone(world: World, job: JobRow) -> bool:
    """No payload of *job* is left, and its results are told to be gone."""
    query = "SELECT count(*) FROM payload WHERE first_id >> 32 = ?"
    left: int = await world.store._database.read(lambda c: c.execute(query, (job.id,)).fetchone()[0])
    try:
        await world.store.read(lambda reads: reads.results(job.id, above=0, limit=1))
    except Purged:
        return left == 0
    return False


@in_a_loop
async def test_a_person_purges_one_job_or_all_that_are_old(tmp_path: Path) -> None:
    """At once, whole, and once; a job that runs is refused."""
    async with new_world(tmp_path / "store.db") as world:
        one = await finished(world, tmp_path, "one")
        assert await world.commands.purge(one.id)
        assert not await world.commands.purge(one.id)
        assert await is_gone(world, one)
        two = await finished(world, tmp_path, "two")
        assert await world.commands.purge_older(timedelta(days=1)) == []
        assert [job.id for job in await world.commands.purge_older(timedelta(0))] == [two.id]
        assert await is_gone(world, two)
        running = await take(world, write(tmp_path / "three.jsonl", ["x"]))
        assert running.job is not None
        with pytest.raises(GuardRefused, match="is running"):
            await world.commands.purge(running.job.id)


@in_a_loop
async def test_a_daemon_lets_old_bodies_go_and_a_command_does_not(tmp_path: Path) -> None:
    """`[database] keep_bodies`: looked at once an hour; other engines only clear away what is marked."""
    async with new_world(tmp_path / "store.db") as world:
        job = await finished(world, tmp_path, "one")
        kept = replace(world.context, settings=replace(world.context.settings, keep_bodies=timedelta(days=1)))
        assert job.finished_at is not None
        late = job.finished_at + timedelta(days=1)
        for stage in (
            PurgeStage(kept, looks_for_old=False),
            PurgeStage(world.context, looks_for_old=True),
        ):
            assert await stage.tick(late) == 0
        daemon = PurgeStage(kept, looks_for_old=True)
        assert await daemon.tick(late - timedelta(minutes=1)) == 0
        assert await daemon.tick(late) == 0, "it looked a minute ago"
        assert await daemon.tick(late + timedelta(hours=1)) > 0
        while await daemon.tick(late + timedelta(hours=1)):
            pass
        assert await is_gone(world, job)
        assert (await world.store.commands.get(job.id)).purged_by == "retention"


@in_a_loop
async def test_what_was_marked_is_cleared_away_by_any_engine(tmp_path: Path) -> None:
    """A purge that was cut short, by a kill or by who asked for it, is finished by the stage."""
    async with new_world(tmp_path / "store.db") as world:
        job = await finished(world, tmp_path, "one")
        await world.store.purge.mark(job.id, "person", world.clock.now())
        assert not await is_gone(world, job)
        stage = PurgeStage(world.context, looks_for_old=False)
        while await stage.tick(world.clock.now()):
            pass
        assert await is_gone(world, job)


@in_a_loop
async def test_samples_are_taken_when_something_changed_and_kept_for_a_month(tmp_path: Path) -> None:
    """Every ten seconds at most; a quiet night costs no rows; what is older than thirty days goes."""
    async with new_world(tmp_path / "store.db") as world:
        stage, now = SampleStage(world.context), world.clock.now()

        async def queued() -> list[int]:
            since, step = now - timedelta(days=99), timedelta(seconds=1)
            return [s.queued for s in await world.store.read(lambda reads: reads.samples(since=since, step=step))]

        await stage.tick(now)
        await world.submit(3)
        await stage.tick(now + timedelta(seconds=9))
        assert await queued() == [0]
        for second in (10, 20, 30):
            await stage.tick(now + timedelta(seconds=second))
        assert await queued() == [0, 3]
        await world.settle()
        await stage.tick(now + timedelta(days=30, seconds=9))
        (_, last) = await world.store.read(lambda reads: reads.samples(since=now, step=timedelta(seconds=1)))
        assert (last.queued, last.in_flight_requests, last.settled, last.failed) == (0, 0, 3, 0)
