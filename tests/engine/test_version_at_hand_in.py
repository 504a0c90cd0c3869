"""Which API version a job is sent with where nobody chose it: its requests decide, once, and all of it goes so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.world import World, in_a_loop, message, new_world

from orchestrator.domain.errors import KeyReused
from orchestrator.domain.job_spec import JobOptions, NewJob
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions, IngestResult
from orchestrator.ports.streams import InputLine, InputProblem, VersionedSource
from orchestrator.views.guarded_source import GuardedSource, attached_to, living_jobs

PLAIN = [message("a"), message("b")]
SAMPLED = [message("a"), message("b", temperature=0.5)]
OLD, NEWEST = "2023-06-01", "2026-10-21"


def new_job(*, version: str | None = None, key: str | None = None) -> NewJob:
    return JobOptions(api_version=version, key=key).new_job("<own>", default_name="own", default_version=None)


async def hand_in(
    world: World, params: Sequence[dict[str, object]], new: NewJob, *, skip_bad: bool = False
) -> IngestResult:
    requests = [{"custom_id": f"r{number}", "params": each} for number, each in enumerate(params)]
    source = source_from_objects(requests, name="<own>", rules=ParamRules(api_version=new.fixed_version))
    return await world.commands.ingest(source, new, IngestOptions(skip_bad=skip_bad))


@in_a_loop
async def test_requests_that_need_the_older_version_are_sent_with_it(tmp_path: Path) -> None:
    """No param is changed, none is refused; why, is kept with the job. Without need it is the newest."""
    async with new_world(tmp_path / "store.db") as world:
        plain = (await hand_in(world, PLAIN, new_job())).job
        sampled = (await hand_in(world, SAMPLED, new_job())).job
        assert plain is not None
        assert sampled is not None
        assert (plain.api_version, plain.version_reason) == (NEWEST, None)
        assert (sampled.api_version, sampled.version_reason) == (OLD, "1 request sets temperature")
        await world.settle()
        assert {batch.api_version for batch in await world.batches(sampled.id)} == {OLD}
        assert {batch.api_version for batch in await world.batches(plain.id)} == {NEWEST}
        status = await world.status(sampled.id)
        assert status.job.requests.succeeded == len(SAMPLED)
        assert status.job.version_reason == "1 request sets temperature"


@in_a_loop
async def test_the_same_requests_are_the_same_job_whoever_chose_the_version(tmp_path: Path) -> None:
    """Promise 7: by the flag or by itself; a key stands for it, too, and tells another version apart."""
    async with new_world(tmp_path / "store.db") as world:
        first = await hand_in(world, SAMPLED, new_job(key="k"))
        for again in (new_job(key="k"), new_job(version=OLD), new_job()):
            taken = await hand_in(world, SAMPLED, again)
            assert taken.attached
            assert (taken.job and taken.job.id) == (first.job and first.job.id)
        with pytest.raises(KeyReused):
            await hand_in(world, PLAIN, new_job(version=NEWEST, key="k"))


@in_a_loop
async def test_only_requests_that_are_taken_in_decide(tmp_path: Path) -> None:
    """A line that was left out needs nothing."""
    async with new_world(tmp_path / "store.db") as world:
        bad = message("c", temperature=0.5, model="claude-sonnet-5-5")
        refused = await hand_in(world, [*PLAIN, bad], new_job())
        assert refused.job is None
        assert [problem.field for problem in refused.problems] == ["params.temperature"]
        taken = await hand_in(world, [*PLAIN, bad], new_job(), skip_bad=True)
        assert taken.job is not None
        assert (taken.job.api_version, taken.refused) == (NEWEST, 1)


@in_a_loop
async def test_what_guards_an_output_knows_the_job_by_the_version_that_it_gets(tmp_path: Path) -> None:
    """A second run of such a file finds its own earlier results, and is not asked for its cost again."""
    async with new_world(tmp_path / "store.db") as world:
        job = (await hand_in(world, SAMPLED, new_job())).job
        seen: list[NewJob] = []

        async def refuse(_hash: str, sent: NewJob) -> None:
            seen.append(sent)

        requests = [{"custom_id": f"r{number}", "params": each} for number, each in enumerate(SAMPLED)]
        source = source_from_objects(requests, name="<own>", rules=ParamRules(api_version=None))
        async for _ in GuardedSource(source, new_job(), refuse, skip_bad=False).chunks():
            pass
        found = attached_to(await living_jobs(world.store), source.content_hash, seen[0], IngestOptions())
        assert (found and found.id) == (job and job.id)


class _Given:
    """A source of one line, checked by somebody for whom the version was open."""

    name, content_hash, size_bytes = "<own>", "h", 1

    async def chunks(self) -> AsyncIterator[list[InputLine]]:
        yield [InputLine(1, "a", b'{"model":"claude-haiku-4-5","max_tokens":1,"messages":[],"temperature":1}')]


@in_a_loop
async def test_lines_that_another_process_checked_are_checked_against_a_version_that_is_fixed_here(
    tmp_path: Path,
) -> None:
    """A server whose settings fix the newest version takes no temperature from a command that left it open."""
    (tmp_path / "unused").touch()
    chunks = [chunk async for chunk in VersionedSource(_Given(), NEWEST).chunks()]  # type: ignore[arg-type] # by its shape
    assert "params.temperature" in [item.field for item in chunks[0] if isinstance(item, InputProblem)]
    (kept,) = [chunk async for chunk in VersionedSource(_Given(), OLD).chunks()]  # type: ignore[arg-type] # by its shape
    assert isinstance(kept[0], InputLine)
