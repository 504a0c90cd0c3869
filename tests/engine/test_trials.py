"""Trials: all of an input is handed in, some of its requests are sent, and the rest when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import World, in_a_loop, message, new_world

from orchestrator.domain.errors import UsageError
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import JobOptions
from orchestrator.domain.model import JobRow
from orchestrator.domain.pilot import draw


async def sent(world: World, job: JobId) -> list[list[int]]:
    """The requests of each batch of *job*, in the order of planning."""
    batches = await world.batches(job)
    return [[number for number, _ in await world.store.params.slice(batch.id, 0, 1 << 30)] for batch in batches]


async def handed_in(world: World, count: int = 50, **how: int | bool) -> JobRow:
    """The job of *count* requests, which may be there already, when everything has happened that happens by itself."""
    job = await world.submit(count, force_new=False, **how)  # type: ignore[arg-type]
    await world.settle()
    return await world.store.commands.get(job.id)


async def written(world: World, job: JobId) -> list[str]:
    """The custom_ids of what a trial writes."""
    return [
        r.custom_id for r in await world.store.read(lambda reads: reads.results(job, above=0, limit=99, trial=True))
    ]


@in_a_loop
async def test_a_trial_sends_its_requests_alone_and_the_rest_when_it_is_asked_for(tmp_path: Path) -> None:
    """The whole input is the job; the same input without a limit buys only what is missing."""
    async with new_world(tmp_path / "store.db") as world:
        tried = await handed_in(world, limit=10)
        assert (tried.requests.total, tried.requests.queued, tried.requests.succeeded) == (50, 40, 10)
        assert (tried.state, tried.reason_code, tried.trial, tried.is_tried) == ("paused", "trial", 10, True)
        assert str(tried.reason).startswith(
            "the trial of 10 of 50 requests has ended; the other 40 are expected to cost $"
        )
        assert await sent(world, tried.id) == [list(range(1, 11))]
        again = await handed_in(world, limit=10)
        assert (again.id, again.is_tried, again.reason) == (tried.id, True, tried.reason)
        whole = await handed_in(world)
        assert (whole.id, whole.state, whole.trial) == (tried.id, "finished", None)
        assert await sent(world, tried.id) == [list(range(1, 11)), list(range(11, 51))]
        assert [line["custom_id"] for line in await world.results(tried.id)] == [f"r{n}" for n in range(1, 51)]


@in_a_loop
async def test_a_larger_limit_buys_only_what_is_missing(tmp_path: Path) -> None:
    """What was chosen so far counts together: a smaller one, and a lot, add nothing that is there."""
    async with new_world(tmp_path / "store.db") as world:
        await handed_in(world, limit=10)
        larger = await handed_in(world, limit=30)
        assert (larger.trial, larger.is_tried) == (30, True)
        assert await sent(world, larger.id) == [list(range(1, 11)), list(range(11, 31))]
        assert (await handed_in(world, limit=20)).trial == 30
        lot = await handed_in(world, sample=10, seed=7)
        drawn = {number for number in draw("7", 10, 50)[:10] if number > 30}
        assert (lot.trial, lot.is_tried) == (30 + len(drawn), True)
        assert (await sent(world, lot.id))[2:] == [sorted(drawn)]
        assert await written(world, lot.id) == [f"r{n}" for n in [*range(1, 31), *sorted(drawn)]]
        assert (await handed_in(world, limit=50)).state == "finished"


@in_a_loop
async def test_a_limit_that_grows_while_its_trial_goes(tmp_path: Path) -> None:
    """What is being sent is not sent again; without a limit the rest follows at once."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(50, limit=5)
        await world.tick("plan", "submit")
        larger = await world.submit(50, limit=8, force_new=False)
        assert (larger.id, larger.trial, larger.pilot_goes) == (job.id, 8, True)
        await world.tick("plan", "submit")
        assert await sent(world, job.id) == [[1, 2, 3, 4, 5], [6, 7, 8]]
        whole = await handed_in(world)
        assert (whole.state, whole.requests.succeeded) == ("finished", 50)


@in_a_loop
async def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """By lot from all of it; its results are shown in the order of the input."""
    async with new_world(tmp_path / "store.db") as world:
        found: list[Sequence[str]] = []
        for number, seed in enumerate((1, 1, 2)):
            job = await world.submit(40, name=f"lot {number}", sample=8, seed=seed)
            await world.settle()
            (numbers,) = await sent(world, job.id)
            assert await written(world, job.id) == [f"r{n}" for n in numbers]
            found.append([str(n) for n in numbers])
        assert found[0] == found[1] != found[2]


@in_a_loop
async def test_a_limit_of_all_is_an_ordinary_job(tmp_path: Path) -> None:
    """Nothing waits, and nothing is said of a trial."""
    async with new_world(tmp_path / "store.db") as world:
        for how in ({"limit": 50}, {"limit": 51}, {"sample": 50}):
            job = await world.submit(50, **how)  # type: ignore[arg-type]
            assert (job.pilot, job.trial) == (None, None)


@in_a_loop
async def test_twins_in_a_trial_have_their_answers(tmp_path: Path) -> None:
    """The original is before them; twins of it behind the limit are no part of what the trial writes."""
    kinds = [1, 1, 2, 1, 3, 4, 1, 2]
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(params=[message(f"kind {kind}") for kind in kinds], dedupe=True, limit=4)
        await world.settle()
        assert [batch.count for batch in await world.batches(job.id)] == [2]
        assert await written(world, job.id) == ["r1", "r2", "r3", "r4"]
        found = await world.store.commands.get(job.id)
        assert (found.is_tried, found.requests.succeeded) == (True, 6)
        await world.commands.resume(job.id)
        await world.settle()
        assert [batch.count for batch in await world.batches(job.id)] == [2, 2]
        assert (await world.store.commands.get(job.id)).state == "finished"


@in_a_loop
async def test_a_resume_after_a_trial_sends_the_rest_and_one_within_it_does_not(tmp_path: Path) -> None:
    """A person who pauses a trial goes on with that; only its end asks about the rest."""
    async with new_world(tmp_path / "store.db", max_requests=5) as world:
        job = await world.submit(30, limit=10)
        await world.tick("plan", "submit")
        assert await world.commands.pause(job.id)
        assert await world.commands.resume(job.id)
        await world.settle()
        tried = await world.store.commands.get(job.id)
        assert (tried.is_tried, tried.requests.succeeded) == (True, 10)
        assert await world.commands.resume(job.id)
        await world.settle()
        whole = await world.store.commands.get(job.id)
        assert (whole.state, whole.trial, whole.requests.succeeded) == ("finished", None, 30)


@in_a_loop
async def test_a_trial_holds_what_waits_and_not_what_is_on_its_way(tmp_path: Path) -> None:
    """A job that sends all of its requests goes on; one that is paused sends those of the trial alone."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(40)
        assert (await world.submit(40, limit=15, force_new=False)).trial is None
        assert await world.commands.pause(job.id)
        held = await world.submit(40, limit=15, force_new=False)
        assert (held.state, held.reason_code, held.trial) == ("paused", "by_user", 15)
        assert await world.commands.resume(job.id)
        await world.settle()
        assert await sent(world, job.id) == [list(range(1, 16))]
        assert (await world.store.commands.get(job.id)).is_tried


@in_a_loop
async def test_a_failure_of_a_trial_is_retried_without_the_rest(tmp_path: Path) -> None:
    """What a person asks for again is sent, and no more; so it is after a pilot."""
    async with new_world(tmp_path / "store.db") as world:
        for how, size in (({"limit": 3}, 3), ({"pilot": 4}, 4)):
            world.machine.plan.set({"invalid": 1.0})
            job = await world.submit(50, name=str(how), **how)  # type: ignore[arg-type]
            await world.settle()
            failed = await world.store.commands.get(job.id)
            assert (failed.state, failed.requests.failed) == ("paused", size)
            world.machine.plan.set({})
            assert await world.commands.retry(job.id, ()) == size
            await world.settle()
            again = await world.store.commands.get(job.id)
            assert (again.reason_code, again.trial) == (failed.reason_code, failed.trial)
            assert (again.requests.succeeded, again.requests.queued) == (size, 50 - size)


@in_a_loop
async def test_a_trial_that_was_canceled_is_retried_as_one(tmp_path: Path) -> None:
    """All of its requests are queued again, and those of the trial are sent."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20, limit=5)
        assert await world.commands.cancel(job.id)
        await world.settle()
        assert await world.commands.retry(job.id, ()) == 20
        await world.settle()
        again = await world.store.commands.get(job.id)
        assert (again.is_tried, again.requests.succeeded, again.requests.queued) == (True, 5, 15)


@in_a_loop
async def test_a_job_that_waits_after_its_pilot_may_be_tried_further(tmp_path: Path) -> None:
    """They are one thing: what was sent for the pilot counts."""
    async with new_world(tmp_path / "store.db") as world:
        first = await world.submit(30, pilot=5)
        await world.settle()
        assert (await world.store.commands.get(first.id)).reason_code == "pilot"
        tried = await handed_in(world, 30, limit=10)
        assert (tried.id, tried.is_tried) == (first.id, True)
        numbers = [number for some in await sent(world, first.id) for number in some]
        assert len(numbers) == len(set(numbers)) == tried.trial
        assert set(range(1, 11)) <= set(numbers)


@in_a_loop
async def test_a_trial_under_a_cap_is_a_part_of_it(tmp_path: Path) -> None:
    """What the trial cost counts; a cap that stops it waits for more, and then the trial goes on, not the rest."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(40, limit=10, max_cost="0.000001")
        await world.settle()
        stopped = await world.store.commands.get(job.id)
        assert (stopped.reason_code, stopped.trial) == ("budget", 10)
        assert await world.commands.cap_job(job.id, 10**9)
        await world.settle()
        tried = await world.store.commands.get(job.id)
        assert (tried.is_tried, tried.requests.succeeded) == (True, 10)


@in_a_loop
async def test_marked_requests_of_a_trial_prime_their_prefix(tmp_path: Path) -> None:
    """As those of a pilot: one goes ahead, the others of the trial follow, and nobody else."""
    system = [{"type": "text", "text": "word " * 4_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    params = [{**message(f"question {number}"), "system": system} for number in range(120)]
    async with new_world(tmp_path / "store.db", max_bytes=100_000_000) as world:
        job = await world.submit(params=params, limit=20)
        await world.settle()
        assert await sent(world, job.id) == [[1], list(range(2, 21))]
        world.advance(timedelta(minutes=5))
        await world.commands.resume(job.id)
        await world.settle()
        assert sorted(n for some in await sent(world, job.id) for n in some) == list(range(1, 121))


def test_one_thing_says_which_requests_go_first() -> None:
    """Two of them, a seed without a lot, and a trial of a job that still grows are told."""

    def refused(**how: Any) -> str:
        with pytest.raises(UsageError) as caught:
            JobOptions(**how).new_job("<x>", default_name="x", default_version=None)
        return f"{caught.value.message}; {caught.value.hint}"

    assert refused(limit=1, sample=1).startswith("limit and sample exclude each other; each says")
    assert refused(limit=1, pilot=2).startswith("pilot and limit exclude each other")
    assert refused(seed=1).startswith("a seed is for a sample")
    assert refused(limit=0) == "limit is 0; a limit is a whole number from 1 to 4,294,967,295"
    assert "a sample has 1 to 10,000 requests" in refused(sample=10_001)
    with pytest.raises(UsageError, match="an open job has no trial"):
        JobOptions(limit=1).new_job("<x>", default_name="x", default_version=None, still_open=True)
