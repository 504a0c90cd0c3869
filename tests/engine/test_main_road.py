"""The road without trouble, stage by stage: what each tick moves, and that a repeated tick moves nothing more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from support.world import new_world


def test_a_job_is_cut_sent_watched_collected_and_written_in_order(tmp_path: Path) -> None:
    """The main road, promises 1 and 3: every answer, in input order, each request bought once."""

    async def run() -> None:
        async with new_world(tmp_path / "store.db") as world:
            job = await world.submit(250)
            assert await world.tick("plan") == 3
            assert await world.tick("submit") == 3
            assert await world.states(job.id) == ["in_progress"] * 3
            await world.settle()
            status = await world.status(job.id)
            assert status.job.state == "finished"
            assert status.job.requests.succeeded == 250
            assert world.creates == 3
            lines = await world.results(job.id)
            assert [line["custom_id"] for line in lines] == [f"r{i}" for i in range(1, 251)]
            assert set(world.bought().values()) == {1}
            assert len(world.bought()) == 250

    asyncio.run(run())


def test_a_repeated_tick_moves_nothing_more(tmp_path: Path) -> None:
    """Stages are level-triggered and idempotent: calling one again is harmless."""

    async def run() -> None:
        async with new_world(tmp_path / "store.db") as world:
            job = await world.submit(150)
            await world.tick("plan", "plan", "submit", "submit", "submit")
            assert world.creates == 2
            world.advance(timedelta(minutes=30))
            await world.tick("poll", "poll", "collect", "collect", "settle", "settle")
            assert await world.states(job.id) == ["settled", "settled"]
            assert world.machine.calls["results"] == 2
            before = await world.status(job.id)
            await world.round()
            assert (await world.status(job.id)) == before

    asyncio.run(run())
