"""Promise 11: while the database does not answer nothing new is sent, and an answer of the API is not dropped."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from support.severed import Line, behind
from support.world import World, new_world

from orchestrator.domain.errors import StoreError, StoreFull, StoreUnreachable
from orchestrator.domain.ids import JobId
from orchestrator.engine.runner import Runner

ACCEPT = "store.submit.accept"


async def states_ever(world: World, job: JobId) -> set[str | None]:
    """Every state that a batch of the job came to."""
    events = await world.store.read(lambda reads: reads.events(job))
    return {event.new for event in events if event.kind == "batch.moved"}


@pytest.mark.parametrize(("heard", "error"), [(False, StoreUnreachable), (True, StoreUnreachable), (False, StoreFull)])
def test_an_answer_in_hand_is_kept_until_it_is_stored(tmp_path: Path, heard: bool, error: type[StoreError]) -> None:
    """Also where the step was stored and only its answer was lost: the fence says so. And on a full disk."""

    async def check() -> None:
        line = Line(only=ACCEPT, failing=3, heard=heard, error=error)
        async with new_world(tmp_path / "store.db", wrap=behind(line)) as world:
            job = await world.submit(20)
            await world.tick("plan")
            begun = world.clock.now()
            await world.tick("submit")
            assert line.failed == [ACCEPT] * 3
            assert world.clock.now() - begun == timedelta(seconds=3)
            assert await states_ever(world, job.id) == {"submitting", "in_progress"}
            await world.settle()
            assert world.creates == 1
            assert set(world.bought().values()) == {1}

    asyncio.run(check())


def test_an_intent_that_cannot_be_stored_sends_nothing(tmp_path: Path) -> None:
    """No POST without a durable intent; the stage is tried again later."""

    async def check() -> None:
        line = Line(only="store.submit.intend", failing=1)
        async with new_world(tmp_path / "store.db", wrap=behind(line)) as world:
            await world.submit(20)
            await world.tick("plan")
            with pytest.raises(StoreUnreachable):
                await world.tick("submit")
            assert world.creates == 0
            await world.settle()
            assert set(world.bought().values()) == {1}

    asyncio.run(check())


def test_an_intent_whose_commit_was_not_heard_becomes_a_doubt(tmp_path: Path) -> None:
    """Whether it was stored is not known, so nothing is sent; recovery finds the row."""

    async def check() -> None:
        line = Line(only="store.submit.intend", failing=1, heard=True)
        async with new_world(tmp_path / "store.db", wrap=behind(line)) as world:
            job = await world.submit(20)
            await world.tick("plan")
            with pytest.raises(StoreUnreachable):
                await world.tick("submit")
            assert (world.creates, await world.states(job.id)) == (0, ["submitting"])
            await world.settle()
            assert {"in_doubt", "void"} <= await states_ever(world, job.id)
            assert set(world.bought().values()) == {1}

    asyncio.run(check())


@pytest.mark.parametrize("step", ["store.params.slice", "store.submit.is_sending"])
def test_a_body_that_cannot_be_read_on_is_a_clear_no(tmp_path: Path, step: str) -> None:
    """Cut before its last bytes, it made no batch: sent again, without the wait of a doubt."""

    async def check() -> None:
        line = Line(only=step, failing=1)
        async with new_world(tmp_path / "store.db", wrap=behind(line)) as world:
            job = await world.submit(20)
            await world.tick("plan", "submit")
            assert (line.failed, await world.states(job.id)) == ([step], ["planned"])
            await world.settle()
            assert await states_ever(world, job.id) == {"submitting", "planned", "in_progress", "ended", "settled"}
            assert set(world.bought().values()) == {1}

    asyncio.run(check())


def test_the_runner_waits_for_the_database(tmp_path: Path) -> None:
    """Every stage is tried again; `healthz` says why nothing goes on meanwhile."""

    async def check() -> None:
        line = Line()
        async with new_world(tmp_path / "store.db", wrap=behind(line)) as world:
            job = await world.submit(20)
            line.failing = 200
            stop = asyncio.Event()
            running = asyncio.create_task(Runner(world.context).run(world.units, stop))
            while line.failing:
                await asyncio.sleep(0)
                assert not running.done()
            assert world.context.liveness.trouble(world.clock.now()) == "the database does not answer"
            for _ in range(100_000):
                await asyncio.sleep(0)
                if (await world.status(job.id)).job.state == "finished":
                    break
            stop.set()
            await running
            assert set(world.bought().values()) == {1}

    asyncio.run(check())
