"""Promise 2, the batch exists: a POST whose answer was lost is found again and proven, never sent twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import IMPATIENT, PATIENT, World, in_a_loop, new_world, next_life

from orchestrator.domain.api_answers import Accepted, CreateAnswer, RemoteBatch

MINUTE = timedelta(minutes=1)


async def finished_once(world: World, job: int, count: int) -> None:
    """The job is finished, every request succeeded, none was bought twice."""
    await world.settle()
    status = await world.status(job)  # type: ignore[arg-type]  # a JobId is an int
    assert status.job.state == "finished"
    assert status.job.requests.succeeded == count
    assert sorted(world.bought().values()) == [1] * count
    assert world.creates <= await world.intents()


@pytest.mark.parametrize(
    "fault", ["drop_after_accept", "hang_after_accept", "error_after_accept", "garbled_after_accept"]
)
@in_a_loop
async def test_a_batch_whose_answer_was_lost_is_adopted_by_proof(tmp_path: Path, fault: str) -> None:
    """Promise 2: one POST, one batch at the API, nothing bought twice."""
    patience = IMPATIENT if fault == "hang_after_accept" else PATIENT
    async with new_world(tmp_path / "store.db", patience=patience) as world:
        job = await world.submit(30)
        world.script("create", fault)
        await world.tick("plan", "submit")
        assert await world.states(job.id) == ["in_doubt"]
        await finished_once(world, job.id, 30)
        assert (world.creates, world.machine.batches_created) == (1, 1)
        assert await world.states(job.id) == ["settled"]


@pytest.mark.parametrize("fault", ["html_200", "garbled_200", "redirect", "drop", "408", "409", "500", "503"])
@in_a_loop
async def test_an_answer_that_says_nothing_clear_is_doubt(tmp_path: Path, fault: str) -> None:
    """Promise 2: only a MessageBatch with our count is a yes; everything that is not a documented no is doubt."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", fault)
        await world.tick("plan", "submit")
        assert await world.states(job.id) == ["in_doubt"]
        await finished_once(world, job.id, 30)
        assert (world.creates, world.machine.batches_created) == (2, 1)
        assert await world.states(job.id) == ["void", "settled"]


@in_a_loop
async def test_two_answers_lost_in_a_row_leave_two_batches_not_four(tmp_path: Path) -> None:
    """Promise 2: each batch has one unclear POST in its life, however many of them follow each other."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(200)
        world.script("create", "drop_after_accept", 2)
        await finished_once(world, job.id, 200)
        assert (world.creates, world.machine.batches_created) == (2, 2)


@in_a_loop
async def test_two_jobs_in_doubt_with_equal_counts_each_get_their_own_batch(tmp_path: Path) -> None:
    """Promise 2: a provisional candidate is never hidden from another batch in doubt (T4)."""
    async with new_world(tmp_path / "store.db") as world:
        first = await world.submit(30, name="first")
        second = await world.submit(30, name="second")
        world.script("create", "drop_after_accept", 2)
        await world.settle()
        for job in (first, second):
            assert (await world.status(job.id)).job.requests.succeeded == 30
            lines = await world.results(job.id)
            echoes = [line["result"]["message"]["content"][0]["text"] for line in lines]  # type: ignore[index]
            assert all(job.name in echo for echo in echoes)
        assert (world.creates, world.machine.batches_created) == (2, 2)


@in_a_loop
async def test_one_in_doubt_that_exists_and_one_that_does_not_are_told_apart(tmp_path: Path) -> None:
    """Promise 2: the same candidate for two batches in doubt goes to its owner, the other one is void."""
    async with new_world(tmp_path / "store.db") as world:
        first = await world.submit(30, name="first")
        second = await world.submit(30, name="second")
        world.script("create", "drop")
        world.script("create", "drop_after_accept")
        await world.settle()
        assert sorted(await world.states(first.id) + await world.states(second.id)) == ["settled", "settled", "void"]
        assert (world.creates, world.machine.batches_created) == (3, 2)
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_neighbours_batch_of_the_same_size_is_proven_foreign_and_not_read_again(tmp_path: Path) -> None:
    """Promise 2: only results prove; the verdict is stored per remote id."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        world.machine.add_foreign(30)
        world.machine.add_foreign(30)
        await world.tick("plan", "submit")
        world.machine.add_foreign(30)
        world.machine.add_foreign(30)
        await finished_once(world, job.id, 30)
        assert (world.creates, world.machine.batches_created) == (1, 1)
        assert world.machine.calls["results"] <= 4 + 1 + 1  # each candidate once, and the download itself


@in_a_loop
async def test_a_deleted_cursor_batch_does_not_lose_the_search(tmp_path: Path) -> None:
    """Promise 2: the walk goes from the newest down; the cursor is an instant, never a place in the list."""
    async with new_world(tmp_path / "store.db") as world:
        (cursor,) = world.machine.add_foreign(7)
        world.advance(timedelta(hours=1))
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        (batch,) = await world.batches(job.id)
        assert batch.cursor_id == cursor
        world.machine.delete(cursor)
        await finished_once(world, job.id, 30)
        assert world.creates == 1


@in_a_loop
async def test_the_first_batch_ever_can_be_in_doubt(tmp_path: Path) -> None:
    """Promise 2: without a cursor the walk ends at the cursor's Date."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "error_after_accept")
        await world.tick("plan", "submit")
        (batch,) = await world.batches(job.id)
        assert batch.cursor_id is None
        assert batch.cursor_date is not None
        await finished_once(world, job.id, 30)
        assert world.creates == 1


@in_a_loop
async def test_a_crash_loop_shorter_than_the_wait_still_converges(tmp_path: Path) -> None:
    """Promise 2: the first Date after discovery is committed, so a new process does not start the wait again."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        life, states = world, ["in_doubt"]
        for _ in range(12):
            await life.die()
            async with next_life(life) as life:
                await life.round()
                life.advance(5 * MINUTE)
                states = await life.states(job.id)
        assert states != ["in_doubt"]
        async with next_life(life) as last:
            await finished_once(last, job.id, 30)
            assert last.creates == 1


@in_a_loop
async def test_a_batch_that_is_listed_late_but_within_the_wait_is_found(tmp_path: Path) -> None:
    """Promise 2: the wait is longer than the list's lag."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.machine.plan.set({"list_lag": 900})
        world.script("create", "drop_after_accept")
        await finished_once(world, job.id, 30)
        assert (world.creates, await world.states(job.id)) == (1, ["settled"])


@pytest.mark.parametrize("skew", [timedelta(hours=24), timedelta(hours=-24)])
@in_a_loop
async def test_our_clock_set_by_a_day_between_lives_changes_nothing(tmp_path: Path, skew: timedelta) -> None:
    """Promise 2: only the API's clock counts, never ours (T44)."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit", "doubt")
        world.advance(skew, api=timedelta(0))
        async with next_life(world) as second:
            await second.tick("recover", "doubt")
            assert await second.states(job.id) == ["in_doubt"]
            await finished_once(second, job.id, 30)
            assert second.creates == 1


@in_a_loop
async def test_a_batch_dated_a_little_before_its_cursor_is_found(tmp_path: Path) -> None:
    """Promise 2: the list's order and `created_at` may differ; the walk goes ten minutes further."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.add_foreign(7)
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        world.machine._batches[-1].created_at -= 9 * MINUTE
        await finished_once(world, job.id, 30)
        assert world.creates == 1


@in_a_loop
async def test_results_without_a_readable_line_prove_nothing(tmp_path: Path) -> None:
    """Promise 2: foreign means a hundred complete lines, or all of them; garbage is read again."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        world.machine.plan.set({"garbled": 1})
        for _ in range(40):
            await world.tick("doubt")
            world.advance(MINUTE)
        assert await world.states(job.id) == ["in_doubt"]
        world.machine.plan.set({})
        await finished_once(world, job.id, 30)
        assert world.creates == 1


@in_a_loop
async def test_one_spoilt_reading_does_not_give_our_batch_away(tmp_path: Path) -> None:
    """Promise 2 (found in a simulated world): our only line garbled and a stranger's beside it, once, prove nothing."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(1)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        world.machine.plan.set({"foreign_lines": 1, "garbled": 1})
        await world.tick("doubt")  # the wait counts from here
        world.advance(timedelta(minutes=25))
        await world.tick("doubt")
        assert world.machine.calls["results"] == 1, "it was read while it was spoilt"
        world.machine.plan.set({})
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 1
        assert world.creates == 1


@in_a_loop
async def test_an_intent_without_an_answer_is_in_doubt_after_a_crash(tmp_path: Path) -> None:
    """Promise 2: a crash inside the POST is an unclear answer."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        await world.tick("plan")
        (batch,) = await world.store.submit.sendable(1)
        page = await world.provider.page(after_id=None, limit=1)
        assert await world.store.submit.intend(batch, None, page.meta, world.clock.now()) is not None
        async with next_life(world) as second:
            assert await second.states(job.id) == ["in_doubt"]
            await finished_once(second, job.id, 30)
            assert second.creates == 1


@in_a_loop
async def test_a_cursor_from_the_future_hides_no_batch(tmp_path: Path) -> None:
    """Promise 2: one odd `created_at` at the top of the list must not end the search above our own batch."""
    async with new_world(tmp_path / "store.db") as world:
        world.clock.advance(timedelta(0), api=timedelta(hours=2))
        (prefetch,) = world.machine.add_foreign(3)
        world.machine._by_id[prefetch].created_at += timedelta(minutes=30)
        world.machine.plan.set({"list_lag": -3600})  # or the sandbox would not list it yet
        job = await world.submit(10)
        world.script("create", "drop_after_accept")
        await world.tick("plan", "submit")
        (batch,) = await world.batches(job.id)
        assert batch.cursor_id == prefetch
        await world.settle()
        assert world.machine.batches_created == 1
        assert (await world.status(job.id)).job.requests.succeeded == 10


class SameId:
    """The API, but every create is answered with the id of the first."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._first: RemoteBatch | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, body: Any, headers: Any) -> CreateAnswer:
        """What the API did, under the first batch's id."""
        answer: CreateAnswer = await self._inner.create(body, headers)
        assert isinstance(answer, Accepted)
        self._first = answer.batch if self._first is None else self._first
        return replace(answer, batch=replace(answer.batch, id=self._first.id))


@in_a_loop
async def test_an_id_that_is_another_batchs_is_doubt_not_an_answer(tmp_path: Path) -> None:
    """Promise 2: the batch exists under some other id; it is found and proven, not sent again."""
    async with new_world(
        tmp_path / "store.db",
        max_requests=10,
        wrap=lambda context: replace(context, provider=SameId(context.provider)),
    ) as world:
        job = await world.submit(20)
        await world.tick("plan", "submit")
        assert sorted(await world.states(job.id)) == ["in_doubt", "in_progress"]
        await world.settle()
        assert world.machine.batches_created == 2
        assert (await world.status(job.id)).job.requests.succeeded == 20
