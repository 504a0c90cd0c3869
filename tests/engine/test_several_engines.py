"""Several engines on one store: whoever holds a stage or is handed a batch, the rows decide what may happen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import World, in_a_loop, new_world

from orchestrator.domain.api_answers import Accepted, CreateAnswer
from orchestrator.engine.context import Context
from orchestrator.ports.dispatch import Claim, UnitKind
from orchestrator.ports.runtime import CreateBody, Headers

MINUTE = timedelta(minutes=1)


class SlowAnswer:
    """The provider; a create's yes is on its way until it may come."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.is_sent = asyncio.Event()
        self.may_come = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, body: CreateBody, headers: Headers) -> CreateAnswer:
        """Send, and wait with the answer if it is a yes."""
        answer: CreateAnswer = await self._inner.create(body, headers)
        if isinstance(answer, Accepted):
            self.is_sent.set()
            await self.may_come.wait()
        return answer


def slowly(context: Context) -> Context:
    return replace(context, provider=SlowAnswer(context.provider))


async def sending(world: World) -> tuple[asyncio.Task[timedelta | None], SlowAnswer]:
    """The POST of the first batch: the API has it, and its answer is on its way."""
    await world.tick("plan")
    (batch,) = await world.store.submit.sendable(1)
    api = world.context.provider
    assert isinstance(api, SlowAnswer)
    task = asyncio.create_task(world.units.look(UnitKind.SUBMIT, batch.id))
    await api.is_sent.wait()
    return task, api


@in_a_loop
async def test_whoever_holds_every_stage_leaves_the_post_of_another_engine_alone(tmp_path: Path) -> None:
    """An engine that starts, or takes stages over, knows nothing of who sends: only the unit of that batch does."""
    async with new_world(tmp_path / "store.db", wrap=slowly) as world:
        job = await world.submit(10)
        task, api = await sending(world)
        other = world.beside()
        for _ in range(3):
            await other.tick(*(name for name in other.units.makers))
            world.advance(10 * MINUTE)
        assert await world.states(job.id) == ["submitting"]
        api.may_come.set()
        assert await task is None
        assert await world.states(job.id) == ["in_progress"]


@in_a_loop
async def test_a_batch_that_is_handed_out_while_it_is_sent_is_doubted_and_never_sent_again(tmp_path: Path) -> None:
    """Promise 2: its poster counts as gone. What it hears later changes nothing that is another's by now."""
    async with new_world(tmp_path / "store.db", wrap=slowly) as world:
        job = await world.submit(10)
        task, api = await sending(world)
        (batch,) = await world.batches(job.id)
        other = world.beside()
        other.context.provider = world.provider  # whose answers come at once
        assert await other.units.look(UnitKind.SUBMIT, batch.id) is None
        api.may_come.set()
        await task
        await world.settle()
        assert set(world.bought().values()) == {1}
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert "in_doubt" in {event.new for event in await world.store.read(lambda reads: reads.events(job.id))}


@in_a_loop
async def test_two_engines_that_are_handed_one_batch_send_it_once(tmp_path: Path) -> None:
    """Promise 2: both read it as planned; one of them stores the intent, the other sends nothing."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        await world.tick("plan")
        (batch,) = await world.batches(job.id)
        other = world.beside()
        await asyncio.gather(*(one.units.look(UnitKind.SUBMIT, batch.id) for one in (world, other)))
        assert (world.creates, await world.intents()) == (1, 1)


@in_a_loop
async def test_a_post_that_was_sent_before_does_not_end_the_pause_that_the_api_asked_for(tmp_path: Path) -> None:
    """Promise 5: its yes comes after another's 429, and says nothing of what may be sent now."""
    async with new_world(tmp_path / "store.db", wrap=slowly, max_requests=10) as world:
        job = await world.submit(20)
        task, api = await sending(world)
        world.machine.plan.set({"retry_after": 600})
        world.script("create", "429")
        await world.beside().tick("submit")
        api.may_come.set()
        await task
        await world.tick("submit")
        assert (world.creates, await world.states(job.id)) == (2, ["in_progress", "planned"])
        world.advance(11 * MINUTE)
        await world.tick("submit")
        assert await world.states(job.id) == ["in_progress", "in_progress"]


@pytest.mark.parametrize("limit", [{"max_in_flight_requests": 20}, {"max_in_flight_batches": 2}])
@in_a_loop
async def test_two_planners_at_once_do_not_pass_the_window(tmp_path: Path, limit: dict[str, Any]) -> None:
    """Promise 5: each asked how much room there was before the other had planned."""
    async with new_world(tmp_path / "store.db", max_requests=10, **limit) as world:
        jobs = [await world.submit(30, name=f"job {number}") for number in range(2)]
        other = world.beside()
        for _ in range(3):
            await asyncio.gather(world.tick("plan"), other.tick("plan"))
        load = await world.store.plan.queue_load()
        assert (load.batches, load.requests) == (2, 20)
        assert sum([len(await world.batches(job.id)) for job in jobs]) == 2


@pytest.mark.parametrize("turns", range(0, 20, 4))
@in_a_loop
async def test_two_looks_of_two_engines_at_the_same_moment_are_one_look(tmp_path: Path, turns: int) -> None:
    """Promise 2: a batch that the list leaves out for a moment is not void because two engines saw that."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        other = world.beside()
        for one in (world, other):
            await one.tick("doubt")
        world.advance(25 * MINUTE)
        world.machine.hide(world.machine._batches[0].id, world.machine.now() + MINUTE)
        first = asyncio.create_task(world.tick("doubt"))
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not first.done()
        await asyncio.gather(first, other.tick("doubt"))
        assert await world.states(job.id) == ["in_doubt"]
        world.advance(10 * MINUTE)
        await world.settle()
        assert world.creates == 1


@in_a_loop
async def test_a_batch_with_nothing_to_do_wants_no_second_look(tmp_path: Path) -> None:
    """A unit that came too often, late, or of a job that waits for a person."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        await world.tick("plan")
        (batch,) = await world.batches(job.id)
        await world.commands.pause(job.id)
        for kind in (UnitKind.SUBMIT, UnitKind.COLLECT):
            assert await world.units.look(kind, batch.id) is None
        assert world.creates == 0
        await world.commands.resume(job.id)
        await world.tick("plan", "submit")
        (batch,) = [one for one in await world.batches(job.id) if one.state.value == "in_progress"]
        for kind in (UnitKind.SUBMIT, UnitKind.COLLECT):
            assert await world.units.look(kind, batch.id) is None
        assert (world.creates, world.machine.calls["results"]) == (1, 0)


@in_a_loop
async def test_what_cannot_be_done_now_says_when_to_look_again(tmp_path: Path) -> None:
    """A gate that is shut, and a download that failed, have a time; no error of the API comes out."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        await world.tick("plan")
        (batch,) = await world.batches(job.id)
        world.script("create", "429")
        again = await world.units.look(UnitKind.SUBMIT, batch.id)
        assert again is not None
        assert timedelta(0) < again <= 2 * MINUTE
        assert await world.units.look(UnitKind.SUBMIT, batch.id) is not None, "the gate is shut"
        assert world.creates == 1
        world.advance(again)
        assert await world.units.look(UnitKind.SUBMIT, batch.id) is None
        world.advance(timedelta(hours=1))
        await world.tick("poll")
        world.script("results", "500", 9)
        later = await world.units.look(UnitKind.COLLECT, batch.id)
        assert later is not None
        assert timedelta(0) < later <= timedelta(hours=1)


class PausesNoted:
    """The clock, and how long each pause was."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.pauses: list[timedelta] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def sleep(self, pause: timedelta) -> None:
        self.pauses.append(pause)
        await self._inner.sleep(pause)


@in_a_loop
async def test_a_stage_is_held_until_it_is_lost(tmp_path: Path) -> None:
    """Whoever is told that it is another's lets go at once, and asks as often as the dispatcher says.

    The health of this process does not wait for the stage.
    """
    noted: list[PausesNoted] = []

    def noting(context: Context) -> Context:
        noted.append(PausesNoted(context.clock))
        return replace(context, clock=noted[-1])

    async with new_world(tmp_path / "store.db", wrap=noting) as world:
        asked = 0

        async def is_ours() -> bool:
            nonlocal asked
            asked += 1
            return asked < 3

        every = timedelta(seconds=7)
        async with asyncio.timeout(10):
            await world.units.hold("poll", Claim(is_ours=is_ours, every=every), asyncio.Event())
        assert asked == 3
        assert noted[-1].pauses.count(every) == 3
        world.advance(timedelta(hours=1))
        assert world.context.liveness.trouble(world.clock.now()) == "the engine is starting"
