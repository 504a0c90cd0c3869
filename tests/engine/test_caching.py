"""The prompt cache in a job's life: what it saves is measured, and a cache that costs more than none is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from support.world import IMPATIENT, World, in_a_loop, message, new_world, next_life

from orchestrator.domain.ids import JobId
from orchestrator.domain.spending import Cost

#: 5,000 tokens of the sandbox's, more than Haiku 4.5 keeps at least.
LONG: Final = "word " * 4_000
WIDE: Final = 100_000_000
MARK: Final = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def marked(count: int, text: str = LONG, **more: object) -> list[dict[str, object]]:
    """Requests that share a system prompt, and mark it."""
    system = [{"type": "text", "text": text, **MARK}]
    return [{**message(f"question {number}"), "system": system, **more} for number in range(count)]


async def cost(world: World, job: JobId) -> Cost:
    """What the job has cost."""
    found = (await world.status(job)).cost
    assert found is not None
    return found


async def counts(world: World, job: JobId) -> list[int]:
    """How many requests each batch of *job* has, in the order of planning."""
    return [batch.count for batch in await world.batches(job)]


async def told(world: World, kind: str) -> list[str]:
    """What the events of *kind* say."""
    query = "SELECT why FROM event WHERE kind = ? ORDER BY id"
    found: list[Any] = await world.store._database.read(lambda c: c.execute(query, (kind,)).fetchall())
    return [row[0] for row in found]


@in_a_loop
async def test_markers_that_cost_more_than_none_are_told_when_the_job_is_over(tmp_path: Path) -> None:
    """Each request marks its own end: all of it is written, nothing read. Without markers nothing is said."""
    async with new_world(tmp_path / "store.db") as world:
        plain = await world.submit(params=[{**message("word " * 4_000), "system": "Be kind."} for _ in range(3)])
        await world.settle()
        assert (await cost(world, plain.id)).hit_rate is None
        poor = await world.submit(params=[message(f"{number} {LONG}", **MARK) for number in range(3)])
        await world.settle()
        found = await cost(world, poor.id)
        assert found.hit_rate == 0
        assert found.saved_nanos is not None
        assert found.saved_nanos < 0
        assert [why.partition(" in the")[0] for why in await told(world, "cache.poor")] == [
            "0% of the marked tokens were found"
        ]


@in_a_loop
async def test_one_request_of_a_marked_prefix_goes_ahead_and_the_others_read_it(tmp_path: Path) -> None:
    """By default; the others wait until it was answered, and results come in the order of the input all the same."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=marked(150))
        await world.tick("plan")
        assert await counts(world, job.id) == [1]
        await world.round()
        assert await counts(world, job.id) == [1]
        await world.settle()
        assert await counts(world, job.id) == [1, 100, 49]
        found = await cost(world, job.id)
        assert found.hit_rate is not None
        assert found.hit_rate > 0.99
        assert [line["custom_id"] for line in await world.results(job.id)] == [f"r{n}" for n in range(1, 151)]
        assert await told(world, "cache.primed") == ["1 request, one of each marked prefix, ahead of the others"]


@in_a_loop
async def test_without_priming_every_request_of_a_cold_batch_writes(tmp_path: Path) -> None:
    """With `cache` off they are sent in their order; that is dearer by what both jobs say that they saved."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        primed = await world.submit(params=marked(90), name="primed")
        await world.settle()
        world.advance(timedelta(hours=2))
        plain = await world.submit(params=marked(90), name="plain", cache="off")
        await world.settle()
        assert await counts(world, plain.id) == [90]
        cold, warm = await cost(world, plain.id), await cost(world, primed.id)
        assert cold.hit_rate == 0
        assert cold.saved_nanos is not None
        assert warm.saved_nanos is not None
        assert cold.nanos - warm.nanos == warm.saved_nanos - cold.saved_nanos > 0


@in_a_loop
async def test_all_prefixes_go_ahead_together_and_each_is_finished_before_the_next(tmp_path: Path) -> None:
    """One real request of each in one batch; others that share nothing do not wait."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, max_requests=40) as world:
        books = [marked(30, f"{number} {LONG}") for number in range(3)]
        mixed = [row for rows in zip(*books, strict=True) for row in rows]
        job = await world.submit(params=[*mixed, *(message(f"plain {number}") for number in range(5))])
        await world.tick("plan")
        assert await counts(world, job.id) == [3, 5]
        await world.settle()
        assert (await counts(world, job.id))[:3] == [3, 5, 40]
        (third,) = [batch for batch in await world.batches(job.id) if batch.id == 3]
        numbers = [number for number, _ in await world.store.params.slice(third.id, 0, 1 << 30)]
        assert [number for number in numbers if number % 3 == 1] == list(range(4, 89, 3))
        found = await cost(world, job.id)
        assert found.hit_rate is not None
        assert found.hit_rate > 0.9


@pytest.mark.parametrize(
    "params",
    [
        marked(2),
        marked(40, "word " * 1_000),
        [message(f"{number} {LONG}", **MARK) for number in range(40)],
        marked(3, "word " * 4_000, model="claude-haiku-5-5"),
    ],
    ids=["too few", "too short", "at the end alone", "saves too little"],
)
@in_a_loop
async def test_nothing_waits_where_it_would_save_nothing(tmp_path: Path, params: list[dict[str, object]]) -> None:
    """Two requests, a prefix that the model does not keep, one that nobody shares, and less than five cents."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=params)
        await world.tick("plan")
        assert await counts(world, job.id) == [len(params)]


@in_a_loop
async def test_a_model_without_a_price_is_primed(tmp_path: Path) -> None:
    """What it saves is not known, and it is not nothing."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=marked(9, model="claude-opus-5"))
        await world.tick("plan")
        assert await counts(world, job.id) == [1]


@in_a_loop
async def test_a_request_that_fails_ahead_of_the_others_does_not_hold_them_for_ever(tmp_path: Path) -> None:
    """Another goes ahead; after three the rest goes without."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, max_attempts=1) as world:
        world.machine.plan.set({"expire": 1.0})
        job = await world.submit(params=marked(60))
        for _ in range(60):
            await world.round()
            world.advance(timedelta(hours=1))
            if len(await counts(world, job.id)) > 3:
                break
        assert await counts(world, job.id) == [1, 1, 1, 57]


@in_a_loop
async def test_a_prefix_that_nobody_used_for_an_hour_is_written_again(tmp_path: Path) -> None:
    """After a pause of the job; with two requests left it is not worth it."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, max_requests=30) as world:
        job = await world.submit(params=marked(93))
        await world.until_collected(job.id)
        await world.commands.pause(job.id)
        await world.until_collected(job.id)
        sent = len(await counts(world, job.id))
        world.advance(timedelta(minutes=51))
        await world.commands.resume(job.id)
        await world.tick("plan")
        assert (await counts(world, job.id))[sent:] == [1]
        await world.settle()
        found = await cost(world, job.id)
        assert found.hit_rate is not None
        assert found.hit_rate > 0.95


@in_a_loop
async def test_two_engines_send_one_request_ahead(tmp_path: Path) -> None:
    """What was read before the other planned is not planned on."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        other = world.beside()
        job = await world.submit(params=marked(60))
        await asyncio.gather(world.tick("plan"), other.tick("plan"))
        assert await counts(world, job.id) == [1]
        for _ in range(60):
            await asyncio.gather(world.tick("plan"), other.tick("plan"))
            await world.round()
            world.advance(timedelta(minutes=1))
        assert await counts(world, job.id) == [1, 59]


@in_a_loop
async def test_after_a_crash_the_others_wait_still(tmp_path: Path) -> None:
    """The rows say what was sent ahead: a new process begins where the other stood."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        job = await world.submit(params=marked(60))
        await world.tick("plan")
        async with next_life(world) as second:
            await second.tick("plan", "submit", "plan")
            assert await counts(second, job.id) == [1]
            async with next_life(second) as third:
                await third.tick("plan")
                assert await counts(third, job.id) == [1]
                await third.settle()
                assert await counts(third, job.id) == [1, 59]


@in_a_loop
async def test_what_was_sent_ahead_and_given_back_is_sent_ahead_again(tmp_path: Path) -> None:
    """A batch that the API never had: its request waits again, and goes first."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE, patience=IMPATIENT) as world:
        world.script("create", "drop")
        job = await world.submit(params=marked(60))
        await world.settle()
        assert await counts(world, job.id) == [1, 1, 59]
        assert (await world.status(job.id)).job.requests.succeeded == 60


@in_a_loop
async def test_under_a_cap_only_what_goes_next_is_paid_for(tmp_path: Path) -> None:
    """A part of a batch that is not all neighbours is cut by its own requests' costs."""
    async with new_world(tmp_path / "store.db", max_bytes=WIDE) as world:
        pairs = zip(marked(20), marked(20, f"2 {LONG}"), strict=True)
        job = await world.submit(params=[row for pair in pairs for row in pair])
        await world.store.budgets.cap_job(job.id, 10**11, world.clock.now())
        await world.settle()
        assert await counts(world, job.id) == [2, 38]
