"""Promise 3: every result is stored exactly once, whatever the stream does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import IMPATIENT, PATIENT, World, in_a_loop, new_world, next_life

from orchestrator.domain.api_answers import RemoteBatch
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JobRow

MINUTE = timedelta(minutes=1)


async def ended(world: World, count: int = 60) -> JobRow:
    """A job whose only batch has ended and is not collected."""
    job = await world.submit(count)
    await world.tick("plan", "submit")
    world.advance(timedelta(minutes=15))
    await world.tick("poll")
    assert await world.states(job.id) == ["ended"]
    return job


async def all_right(world: World, job: JobRow, count: int = 60) -> None:
    """Every answer is here, in order, and is the answer to its own question; nothing was bought twice."""
    lines = await world.results(job.id)
    assert [line["custom_id"] for line in lines] == [f"r{i}" for i in range(1, count + 1)]
    for place, line in enumerate(lines, 1):
        text = line["result"]["message"]["content"][0]["text"]  # type: ignore[index]
        assert f"job {place}" in text
    assert set(world.bought().values()) == {1}


@pytest.mark.parametrize("fault", ["cut_clean", "cut_line", "cut_reset", "stall", "500", "404", "html_200", "drop"])
@in_a_loop
async def test_a_download_that_breaks_is_repeated_from_the_start(tmp_path: Path, fault: str) -> None:
    """Promise 3: a cut, silent or loud, never counts as complete; what is stored does not change."""
    async with new_world(tmp_path / "store.db", patience=IMPATIENT if fault == "stall" else PATIENT) as world:
        job = await ended(world)
        world.script("results", fault, 5)
        await world.tick("collect", "settle")
        assert await world.states(job.id) == ["ended"]
        await world.settle()
        assert await world.attention(job.id) == []
        await all_right(world, job)


@pytest.mark.parametrize("fault", ["garbled", "duplicated", "foreign_lines", "blank_lines"])
@in_a_loop
async def test_bad_lines_in_a_download_cost_nothing_but_another_download(tmp_path: Path, fault: str) -> None:
    """Promise 3: good lines are kept, the others come with the next download."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.machine.plan.set({fault: 0.3})
        await world.settle()
        await all_right(world, job)


@in_a_loop
async def test_lines_that_are_missing_once_come_with_the_second_download(tmp_path: Path) -> None:
    """Promise 3: complete means every wire id, not the end of the stream."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"missing_once": 0.2})
        job = await ended(world)
        await world.settle()
        assert world.machine.calls["results"] == 2
        await all_right(world, job)


@in_a_loop
async def test_results_that_never_come_fail_loudly_after_ten_downloads_and_a_day(tmp_path: Path) -> None:
    """Promise 3: `missing_result`, an errored line in the output, attention in `status`, never bought again."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"missing": 0.2})
        job = await ended(world)
        for _ in range(23 * 6):
            await world.round()
            world.advance(10 * MINUTE)
        assert await world.states(job.id) == ["ended"]
        await world.settle(step=10 * MINUTE)
        counts = (await world.status(job.id)).job.requests
        assert counts.failed > 0
        assert counts.succeeded + counts.failed == 60
        assert await world.attention(job.id) == ["missing_result"]
        lines = await world.results(job.id)
        errored = [line for line in lines if line["result"]["type"] == "errored"]  # type: ignore[index]
        assert len(errored) == counts.failed
        assert errored[0]["result"]["error"]["error"]["type"] == "missing_result"  # type: ignore[index]
        assert world.creates == 1
        assert world.machine.calls["results"] >= 10


class Skewed:
    """An API whose counts are wrong in every answer about one batch; all else is the real provider's."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def retrieve(self, remote_id: str) -> RemoteBatch:
        """The batch, with one success called an error."""
        return skewed(await self._inner.retrieve(remote_id))


def skewed(remote: RemoteBatch) -> RemoteBatch:
    """The same batch, with one success called an error."""
    counts = replace(remote.counts, succeeded=remote.counts.succeeded - 1, errored=1)
    return replace(remote, counts=counts)


async def ended_with_skewed_counts(world: World) -> JobId:
    """A job whose batch has ended; the counts that came with the news are wrong."""
    job = await world.submit(20)
    await world.tick("plan", "submit")
    world.advance(15 * MINUTE)
    (remote,) = (await world.provider.page(after_id=None, limit=1)).batches
    (batch,) = await world.batches(job.id)
    assert await world.store.poll.ended(batch, skewed(remote), world.clock.now())
    await world.tick("collect")
    assert (await world.status(job.id)).job.requests.succeeded == 20
    return job.id


@in_a_loop
async def test_counts_that_disagree_are_given_the_same_patience_and_then_told(tmp_path: Path) -> None:
    """Promise 3: all ids came but the API's counts are others: nothing is lost, a person is told."""
    async with new_world(
        tmp_path / "store.db", wrap=lambda context: replace(context, provider=Skewed(context.provider))
    ) as world:
        job = await ended_with_skewed_counts(world)
        assert await world.states(job) == ["ended"]
        await world.settle(step=10 * MINUTE)
        assert await world.attention(job) == ["counts_disagree"]
        assert (await world.status(job)).job.state == "finished"


@in_a_loop
async def test_counts_that_were_stale_at_the_end_are_asked_for_again(tmp_path: Path) -> None:
    """Promise 3: the API's last word counts, not the one it gave in the first second."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended_with_skewed_counts(world)
        await world.tick("settle")
        assert await world.states(job) == ["settled"]
        assert world.machine.calls["results"] == 1


@in_a_loop
async def test_downloads_back_off_from_the_poll_interval_doubling_to_ten_minutes(tmp_path: Path) -> None:
    """Promise 3 and 5: an API that fails is not hammered, and a download is never put off for long."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.machine.plan.set({"results.404": 1})
        pauses = []
        for _ in range(9):
            await world.tick("collect")
            (batch,) = await world.batches(job.id)
            assert batch.download_due_at is not None
            pause = batch.download_due_at - world.clock.now()
            pauses.append(pause.total_seconds())
            world.advance(pause)
        for place, pause_s in enumerate(pauses):
            assert min(30 * 2**place, 600) <= pause_s <= min(30 * 2**place, 600) * 1.25


@in_a_loop
async def test_a_download_put_off_by_a_clock_that_was_set_back_is_due_at_once(tmp_path: Path) -> None:
    """Promise 3: downloads are never put off; our clock may be wrong by a day between two lives."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.script("results", "404")
        await world.tick("collect")
        world.advance(timedelta(hours=-24), api=timedelta(0))
        async with next_life(world) as second:
            await second.tick("mend", "collect", "settle")
            assert await second.states(job.id) == ["settled"]


@in_a_loop
async def test_results_that_stay_away_raise_attention_before_they_are_deleted(tmp_path: Path) -> None:
    """Promise 3: nearing day 29 a person is told, though no batch is being watched any more."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.machine.plan.set({"results.404": 1})
        world.advance(timedelta(days=26))
        await world.tick("poll", "collect")
        assert await world.attention(job.id) == []
        world.advance(timedelta(days=2))
        await world.tick("poll", "collect")
        assert await world.attention(job.id) == ["retention"]
        world.machine.plan.set({})
        await world.settle()
        assert await world.attention(job.id) == []
        await all_right(world, job)


@in_a_loop
async def test_results_that_were_deleted_before_they_came_are_failed_loudly(tmp_path: Path) -> None:
    """Promise 3 (T36): lost by retention ends the job, with attention, and buys nothing again."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.advance(timedelta(days=31))
        await world.settle()
        status = await world.status(job.id)
        assert (status.job.state, status.job.requests.failed) == ("finished", 60)
        assert "missing_result" in await world.attention(job.id)
        assert world.creates == 1


@in_a_loop
async def test_retry_after_on_a_download_is_obeyed_up_to_an_hour(tmp_path: Path) -> None:
    """Promise 5: the API's figure counts, but results are never put off towards their deletion."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.machine.plan.set({"retry_after": 1800})
        world.script("results", "429")
        await world.tick("collect")
        (batch,) = await world.batches(job.id)
        assert batch.download_due_at is not None
        assert batch.download_due_at - world.clock.now() == timedelta(minutes=30)
        world.machine.plan.set({"retry_after": 80_000})
        world.script("results", "429")
        world.advance(timedelta(minutes=30))
        await world.tick("collect")
        (batch,) = await world.batches(job.id)
        assert batch.download_due_at is not None
        assert batch.download_due_at - world.clock.now() == timedelta(hours=1)


@in_a_loop
async def test_a_life_that_ends_inside_a_download_changes_nothing_that_is_stored(tmp_path: Path) -> None:
    """Promise 3: settled rows do not change when the download is repeated."""
    async with new_world(tmp_path / "store.db") as world:
        job = await ended(world)
        world.script("results", "cut_reset")
        await world.tick("collect")
        before = await world.results(job.id)
        async with next_life(world) as second:
            second.advance(MINUTE)
            await second.settle()
            after = {line["custom_id"]: line for line in await second.results(job.id)}
            assert all(after[line["custom_id"]] == line for line in before)
            await all_right(second, job)
