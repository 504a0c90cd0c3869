"""A name that is chosen for a content which is a job already: one rule, whichever face it comes through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine.test_ingest import write
from support.world import API_VERSION, World, in_a_loop, new_world

from orchestrator.domain.errors import GuardRefused, InputError
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import open_source
from orchestrator.ports.engine import IngestOptions, IngestResult


async def hand_in(world: World, path: Path, name: str | None = None, **more: Any) -> IngestResult:
    """Hand a file in, with a name that was chosen, or with its own."""
    source = open_source(path, rules=ParamRules(api_version=API_VERSION), max_line_bytes=1_000_000)
    called: dict[str, Any] = {"name": path.stem if name is None else name, "is_named": name is not None}
    new = NewJob(**called, source=str(path), api_version=API_VERSION, betas=(), **more)
    return await world.commands.ingest(source, new, IngestOptions())


async def found(world: World, ref: str) -> JobSnapshot:
    return await world.store.read(lambda reads: reads.find(ref))


@in_a_loop
async def test_a_job_that_is_there_is_called_as_was_chosen_last(tmp_path: Path) -> None:
    """README (ii): `name=reviews` for what is a job already was dropped in silence, and asking for it was 404."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "requests.jsonl", ["x", "y"])
        first = (await hand_in(world, path)).job
        assert first is not None
        chosen = await hand_in(world, path, "reviews", key="order-17")
        assert chosen.job is not None
        assert (chosen.job.id, chosen.attached) == (first.id, True)
        assert (chosen.job.name, chosen.renamed_from) == ("reviews", "requests")
        assert (await found(world, "reviews")).id == (await found(world, "requests")).id == first.id
        assert (await found(world, "reviews")).key == "order-17"
        again = await hand_in(world, path, "reviews", key="order-17")
        assert (again.attached, again.renamed_from) == (True, None)
        by_key = await hand_in(world, path, "other", key="order-17")
        assert (by_key.renamed_from, (await found(world, "other")).id) == ("reviews", first.id)
        plain = await hand_in(world, path)
        assert (plain.attached, plain.renamed_from, plain.job and plain.job.name) == (True, None, "other")
        events = await world.store.read(lambda reads: reads.events(first.id))
        assert [(each.old, each.new) for each in events if each.kind == "job.renamed"] == [
            ("requests", "reviews"),
            ("reviews", "other"),
        ]


@in_a_loop
async def test_a_name_that_means_another_job_is_refused_with_both_named(tmp_path: Path) -> None:
    """README (ii): the name would lead to the other job's results; nothing is changed, the key is not bound either."""
    async with new_world(tmp_path / "store.db") as world:
        old, newer = write(tmp_path / "old.jsonl", ["x"]), write(tmp_path / "newer.jsonl", ["y"])
        first = (await hand_in(world, old)).job
        second = (await hand_in(world, newer, "taken")).job
        assert first is not None
        assert second is not None
        with pytest.raises(GuardRefused, match=f"'taken' means another job, {second.public_id}") as refused:
            await hand_in(world, old, "taken", key="k")
        assert first.public_id in str(refused.value.hint)
        assert (await found(world, first.public_id)).name == "old"
        assert (await found(world, first.public_id)).key is None
        assert len(await world.store.read(lambda reads: reads.jobs(limit=9))) == 2
        turned = await hand_in(world, newer, "old")
        assert (turned.renamed_from, (await found(world, "old")).id) == ("taken", second.id)


@in_a_loop
async def test_a_file_that_changed_is_told_although_its_job_was_renamed(tmp_path: Path) -> None:
    """README (ii): the other name does not make the old file unknown: what changed is told, not mixed."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "requests.jsonl", ["x"])
        await hand_in(world, path)
        await hand_in(world, path, "reviews")
        write(path, ["x", "z"])
        for name in (None, "reviews"):
            with pytest.raises(InputError, match="are not those any more of which job"):
                await hand_in(world, path, name)
        assert (await hand_in(world, path, "third")).attached is False
