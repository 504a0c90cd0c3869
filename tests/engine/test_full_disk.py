"""Promise 11: disk full sends nothing new, status still answers, and work goes on by itself when space returns."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from support.world import World, in_a_loop, new_world

from orchestrator.domain.errors import StoreFull
from orchestrator.domain.ids import JobId
from orchestrator.engine.runner import Runner

pytestmark = pytest.mark.sqlite

PLENTY = 1_000_000


async def disk(world: World, *, full: bool) -> None:
    """Let SQLite meet the end of the disk, or give it room again."""
    walk_pages = await world.store._database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    limit = int(walk_pages) if full else PLENTY
    await world.store._database._writer.run(lambda c: c.execute(f"PRAGMA max_page_count = {limit}").fetchall())


async def fill(world: World, job: JobId) -> None:
    """Use up the free pages, down to the last small row: the next write that needs room meets the end."""
    await disk(world, full=True)
    for size in (3000, 300, 1):
        with suppress(StoreFull):
            for number in range(1000):
                await world.store.attention.attend(job, f"{size}-{number}", None, "y" * size, world.clock.now())
    with suppress(StoreFull):  # what is full by now may be the table of attention: the log of events must be too
        for _ in range(1000):
            await world.store.attention.unattend(job, "1-0", None)
            await world.store.attention.attend(job, "1-0", None, "y", world.clock.now())


@in_a_loop
async def test_a_full_disk_sends_nothing_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    """No POST without a durable intent; nothing is lost meanwhile (T50)."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        await world.tick("plan")
        await fill(world, job.id)
        for _ in range(3):
            with pytest.raises(StoreFull):
                await world.tick("submit")
        assert world.creates == 0
        assert (await world.status(job.id)).job.requests.total == 20
        await disk(world, full=False)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 20
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_full_disk_rises_as_itself_out_of_a_stage_with_many_tasks(tmp_path: Path) -> None:
    """The runner waits a full disk out by its class: a group of errors would end the process instead."""
    async with new_world(tmp_path / "store.db", max_requests=10) as world:
        job = await world.submit(60)
        await world.tick("plan", "submit")
        for batch in await world.batches(job.id):
            world.machine._by_id[str(batch.remote_id)].work_ends_at = world.machine.now()
        await world.tick("poll")
        await fill(world, job.id)
        with pytest.raises(StoreFull):
            await world.tick("collect")
        await disk(world, full=False)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 60


@in_a_loop
async def test_a_full_disk_at_the_start_is_waited_out(tmp_path: Path) -> None:
    """Promise 11: an engine that starts on a full disk goes on by itself when there is space."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        await world.tick("plan")
        (batch,) = await world.batches(job.id)
        page = await world.provider.page(after_id=None, limit=1)
        assert await world.store.submit.intend(batch, None, page.meta, world.clock.now())
        await fill(world, job.id)
        stop = asyncio.Event()
        running = asyncio.create_task(Runner(world.context).run(world.units, stop))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not running.done()
        assert await world.states(job.id) == ["submitting"]
        await disk(world, full=False)
        for _ in range(1000):
            await asyncio.sleep(0)
            if await world.states(job.id) != ["submitting"]:
                break
        stop.set()
        await running
        assert "submitting" not in await world.states(job.id)
