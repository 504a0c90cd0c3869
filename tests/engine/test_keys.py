"""The caller's own key of a hand-over: the same key is the same job, whatever happened to the first answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from engine.test_ingest import write
from support.world import API_VERSION, World, in_a_loop, new_world

from orchestrator.domain.errors import KeyReused
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import open_source
from orchestrator.ports.engine import IngestOptions, IngestResult


async def hand_in(world: World, path: Path, key: str, *, force_new: bool = False, **more: Any) -> IngestResult:
    """Hand a file in with a key."""
    source = open_source(path, rules=ParamRules(api_version=API_VERSION), max_line_bytes=1_000_000)
    given: dict[str, Any] = {"name": path.stem, "source": str(path), "api_version": API_VERSION, "betas": (), **more}
    return await world.commands.ingest(source, NewJob(**given, key=key), IngestOptions(force_new=force_new))


async def jobs(world: World) -> list[str | None]:
    """The keys of all jobs, the oldest first."""
    return [job.key for job in (await world.store.read(lambda reads: reads.jobs(limit=99)))[::-1]]


@in_a_loop
async def test_the_same_key_is_the_same_job_even_anew(tmp_path: Path) -> None:
    """An answer that was lost is asked for again: nothing is stored or sent twice, by whatever name."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "a.jsonl", ["x", "y"])
        first = await hand_in(world, path, "k1", force_new=True)
        again = await hand_in(world, path, "k1", force_new=True, name="other")
        assert (first.attached, again.attached) == (False, True)
        assert first.job is not None
        assert again.job is not None
        assert (again.job.id, again.job.key) == (first.job.id, "k1")
        force_new = await hand_in(world, path, "k2", force_new=True)
        assert not force_new.attached
        assert await jobs(world) == ["k1", "k2"]


@in_a_loop
async def test_a_key_that_stands_for_something_else_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    """Other content, other headers or an open job: all are told, none is mixed in."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "a.jsonl", ["x", "y"])
        await hand_in(world, path, "k1")
        for other, more in (
            (write(tmp_path / "b.jsonl", ["z"]), {}),
            (path, {"betas": ("b",)}),
            (path, {"still_open": True}),
        ):
            with pytest.raises(KeyReused, match="'k1' stands for job a-") as refused:
                await hand_in(world, other, "k1", **more)
            assert refused.value.exit_code == 5
        assert await jobs(world) == ["k1"]


@in_a_loop
async def test_what_is_sent_again_without_a_key_is_the_job_before_for_a_while(tmp_path: Path) -> None:
    """Promise 7: of two engines that get one repetition at once, one makes the job; what is meant anew is anew."""
    async with new_world(tmp_path / "store.db") as world:
        path, other = write(tmp_path / "a.jsonl", [f"r{n}" for n in range(50)]), world.beside()
        again = IngestOptions(force_new=True, repeats_within=timedelta(hours=2))

        async def sent(by: World, terms: IngestOptions) -> IngestResult:
            source = open_source(path, rules=ParamRules(api_version=API_VERSION), max_line_bytes=1_000_000)
            new = NewJob(name="a", source=str(path), api_version=API_VERSION, betas=())
            return await by.commands.ingest(source, new, terms)

        both = await asyncio.gather(sent(world, again), sent(other, again))
        assert sorted(taken.attached for taken in both) == [False, True]
        assert (await sent(world, IngestOptions(force_new=True))).attached is False
        world.advance(timedelta(hours=3))
        assert (await sent(other, again)).attached is False
        assert len(await jobs(world)) == 3


@in_a_loop
async def test_of_two_hand_overs_with_one_key_at_once_one_makes_the_job(tmp_path: Path) -> None:
    """Looking and finishing are one transaction."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "a.jsonl", [f"r{n}" for n in range(50)])
        both = await asyncio.gather(*(hand_in(world, path, "k", force_new=True) for _ in range(2)))
        assert sorted(taken.attached for taken in both) == [False, True]
        assert await jobs(world) == ["k"]


@in_a_loop
async def test_a_job_of_the_same_content_gets_the_key_unless_it_has_one(tmp_path: Path) -> None:
    """Without `force_new` the content decides; the key stands for what it came to, so that other content is refused."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "a.jsonl", ["x", "y"])
        source = open_source(path, rules=ParamRules(api_version=API_VERSION), max_line_bytes=1_000_000)
        new = NewJob(name="a", source=str(path), api_version=API_VERSION, betas=())
        await world.commands.ingest(source, new, IngestOptions())
        assert (await hand_in(world, path, "k1")).attached
        assert (await hand_in(world, path, "k2")).attached
        assert await jobs(world) == ["k1"]
        with pytest.raises(KeyReused):
            await hand_in(world, write(tmp_path / "b.jsonl", ["z"]), "k1")


@in_a_loop
async def test_an_open_job_has_its_key_too(tmp_path: Path) -> None:
    """What it began with is what the key stands for; it may have been closed since."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "a.jsonl", ["x", "y"])
        first = await hand_in(world, path, "k1", still_open=True)
        assert first.job is not None
        await world.commands.close(first.job.id)
        again = await hand_in(world, path, "k1", still_open=True)
        assert again.attached
        with pytest.raises(KeyReused):
            await hand_in(world, path, "k1")
