"""Export: settled requests in input order, each line exactly the API's own shape."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.world import MemorySink, in_a_loop, new_world

from orchestrator.engine.export import export


class BrokenSink(MemorySink):
    """A sink whose disk is full."""

    async def write(self, chunk: bytes) -> None:
        """Fail."""
        raise OSError(f"no space left for {len(chunk)} bytes")


@in_a_loop
async def test_a_running_job_gives_what_is_settled_in_input_order(tmp_path: Path) -> None:
    """What was written stays true: settled is settled."""
    async with new_world(tmp_path / "store.db", max_requests=10, max_in_flight_batches=1) as world:
        job = await world.submit(30)
        await world.tick("plan", "submit")
        world.advance(timedelta(minutes=15))
        await world.tick("poll", "collect", "settle", "plan", "submit")
        sink = MemorySink()
        assert await export(world.store, job.id, sink) == 10
        assert sink.state == "committed"
        first = sink.text
        await world.settle()
        whole = MemorySink()
        assert await export(world.store, job.id, whole) == 30
        assert whole.text.startswith(first)


@in_a_loop
async def test_an_export_that_fails_is_aborted_and_can_be_made_again(tmp_path: Path) -> None:
    """Nothing half-written passes for the results."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(5)
        await world.settle()
        sink = BrokenSink()
        with pytest.raises(OSError, match="no space"):
            await export(world.store, job.id, sink)
        assert sink.state == "aborted"
        assert len(await world.results(job.id)) == 5


@in_a_loop
async def test_users_ids_of_any_shape_come_back_as_they_were(tmp_path: Path) -> None:
    """Intake: on the wire ids are ours, in every output they are the user's own."""
    ids = ["a b", "ünï", '"quoted"', "\u2028", "../x", "<script>", "=cmd()", "x" * 500, "🙂"]
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(ids=ids)
        await world.settle()
        assert [line["custom_id"] for line in await world.results(job.id)] == ids
        assert all(len(row.custom_id) <= 64 for row in world.machine.ledger())
