"""Promise 2, while the world moves: batches that still run, clocks that are wrong, lists that change under our eyes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.domain.api_answers import BatchPage
from orchestrator.domain.batches_api import ApiError
from orchestrator.domain.model import JobRow
from orchestrator.sandbox import MachineSettings
from orchestrator.sandbox.machine import Machine

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


async def bought_once(world: World, *jobs: JobRow) -> None:
    """Every request of *jobs* has its own answer, and one batch each was made for them, by one POST each."""
    await world.settle()
    for job in jobs:
        lines = await world.results(job.id)
        echoes = [line["result"]["message"]["content"][0]["text"] for line in lines]  # type: ignore[index]
        assert len(echoes) == job.requests.total
        assert all(f"{job.name} " in echo for echo in echoes)
    assert set(world.bought().values()) == {1}
    assert (world.creates, world.machine.batches_created) == (len(jobs), len(jobs))


@in_a_loop
async def test_the_answers_to_both_attempts_of_the_same_requests_may_be_lost(tmp_path: Path) -> None:
    """Promise 2: an answer is lost, the batch is found and has expired; its requests go out again, and lose theirs."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"expire": 1})
        job = await world.submit(30)
        world.script("create", "drop_after_accept", 2)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 30
        assert await world.states(job.id) == ["settled", "settled"]
        assert set(world.bought().values()) == {1}
        assert (world.creates, world.machine.batches_created) == (2, 2)


@in_a_loop
async def test_two_in_doubt_whose_batches_still_run_keep_the_candidates_of_both(tmp_path: Path) -> None:
    """Promise 2 (T4): until one has ended nobody knows whose is whose; neither is taken from the other, or voided."""
    machine = MachineSettings(batch_seconds=(7200, 7200))
    async with new_world(tmp_path / "store.db", machine=machine) as world:
        first = await world.submit(30, name="first")
        second = await world.submit(30, name="second")
        world.script("create", "drop_after_accept", 2)
        await bought_once(world, first, second)
        assert [*await world.states(first.id), *await world.states(second.id)] == ["settled", "settled"]


@in_a_loop
async def test_a_list_that_misses_a_batch_once_does_not_void_it(tmp_path: Path) -> None:
    """Promise 2: a replica that lags shows an old list; nobody, seen once, is not yet nobody."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit", "doubt")
        world.advance(25 * MINUTE)
        world.machine.plan.set({"list_lag": 10**6})
        await world.tick("doubt")
        assert (await world.batches(job.id))[0].doubt_looks == 1
        world.machine.plan.set({})
        await bought_once(world, job)


@pytest.mark.parametrize("skew", [24 * HOUR, -24 * HOUR])
@in_a_loop
async def test_a_clock_set_between_lives_does_not_end_the_wait(tmp_path: Path, skew: timedelta) -> None:
    """Promise 2 (T44): how long a batch was waited for is not the difference of two clocks of ours."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.machine.plan.set({"list_lag": 900})
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit", "doubt")
        world.advance(skew, api=timedelta(0))
        async with next_life(world) as second:
            await bought_once(second, job)


@pytest.mark.parametrize("skew", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR])
@in_a_loop
async def test_a_clock_that_is_wrong_when_a_batch_is_sent_hides_nothing(tmp_path: Path, skew: timedelta) -> None:
    """Promise 2 (T44): what is searched lies between two instants of the API's clock, whatever ours says."""
    async with new_world(tmp_path / "store.db") as world:
        world.advance(skew, api=timedelta(0))
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        await bought_once(world, job)


class Shifting:
    """The API with pages of two batches; whenever a walk goes on, neighbours come on top and old ones are deleted.

    size: of the neighbours. cuts: so many times the batch that the walk stands on is deleted, too.
    """

    def __init__(self, inner: Any, machine: Machine, *, size: int, cuts: int) -> None:
        self._inner = inner
        self._machine = machine
        self._size = size
        self._cuts = cuts
        self.ours: set[str] = set()
        self.moved = self.deleted = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:
        """A small page of a list that has just changed."""
        if after_id is not None:
            self._change(after_id)
        page: BatchPage = await self._inner.page(after_id=after_id, limit=min(limit, 2))
        return page

    def _change(self, place: str) -> None:
        self.moved += 1
        self._machine.add_foreign(self._size)
        shown = [batch.id for batch in self._machine.list(limit=1000).data]
        for doomed in (shown[0], shown[-1]):
            self._delete(doomed, unless=place)
        if self._cuts > 0 and self._delete(place):
            self._cuts -= 1

    def _delete(self, batch: str, *, unless: str | None = None) -> bool:
        if batch in self.ours or batch == unless:
            return False
        with suppress(ApiError):  # it still runs
            self._machine.delete(batch)
            self.deleted += 1
            return True
        return False


@pytest.mark.parametrize(("size", "cuts"), [(30, 0), (7, 6)])
@in_a_loop
async def test_a_list_that_changes_between_its_pages_hides_no_batch(tmp_path: Path, size: int, cuts: int) -> None:
    """Promise 2 (T42): created on top, deleted above, below and in the very place: the walk is whole, or none.

    Where the place itself goes, the neighbours are of another size: a candidate that is deleted needs a person.
    """
    async with new_world(tmp_path / "store.db") as world:
        api = Shifting(world.provider, world.machine, size=size, cuts=cuts)
        shifting = replace(world.context, provider=api)
        world.machine.add_foreign(size, count=5)
        world.advance(HOUR)
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        api.ours.add(world.machine.list().data[0].id)
        world.machine.add_foreign(size, count=9)
        world.wire(shifting)
        await bought_once(world, job)
        assert api.moved > 10
        assert api.deleted > cuts
        assert await world.states(job.id) == ["settled"]
