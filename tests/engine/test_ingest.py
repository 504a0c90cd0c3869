"""Intake: whole or not at all; the same content is the same job; a changed file is told, not mixed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.world import API_VERSION, World, in_a_loop, new_world, next_life

from orchestrator.domain.errors import GuardRefused, InputError, StoreError
from orchestrator.domain.humanize import IMPORT_ENDS
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import open_source
from orchestrator.ports.engine import IngestOptions, IngestResult
from orchestrator.ports.streams import InputLine, InputProblem
from orchestrator.views.job_views import does_not_apply

PARAMS = '{"model":"claude-haiku-4-5","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}'


def write(path: Path, ids: Sequence[str], *, extra: str = "") -> Path:
    """A file of requests."""
    lines = [f'{{"custom_id":"{name}","params":{PARAMS}}}' for name in ids]
    path.write_text("\n".join(lines) + "\n" + extra)
    return path


async def take(world: World, path: Path, **terms: Any) -> IngestResult:
    """Hand a file in, as `run` does."""
    source = open_source(path, rules=ParamRules(api_version=API_VERSION), max_line_bytes=1_000_000)
    new = NewJob(name=path.stem, source=str(path), api_version=API_VERSION, betas=())
    return await world.commands.ingest(source, new, IngestOptions(**terms))


async def nothing_is_left(world: World) -> bool:
    """No job, no request, no payload, no row."""
    tables = ("job", "request", "payload", "source_row")
    query = " UNION ".join(f"SELECT count(*) FROM {table}" for table in tables)  # noqa: S608 - these
    found = await world.store._database.read(lambda c: c.execute(query).fetchall())
    return found == [(0,)]


@in_a_loop
async def test_the_same_content_attaches_to_the_job_that_is_there(tmp_path: Path) -> None:
    """Promise 7: the same command twice sends nothing twice, whatever the file is called."""
    async with new_world(tmp_path / "store.db") as world:
        first = await take(world, write(tmp_path / "a.jsonl", ["x", "y"]))
        assert first.job is not None
        await world.settle()
        again = await take(world, write(tmp_path / "b.jsonl", ["x", "y"]))
        assert again.attached
        assert again.job is not None
        assert again.job.id == first.job.id
        await world.settle()
        assert world.creates == 1
        force_new = await take(world, tmp_path / "a.jsonl", force_new=True)
        assert force_new.job is not None
        assert force_new.job.id != first.job.id


@in_a_loop
async def test_a_changed_file_under_the_same_name_is_told_not_mixed(tmp_path: Path) -> None:
    """Promise 7: nothing is stored or sent; `--new` makes another job."""
    async with new_world(tmp_path / "store.db") as world:
        await take(world, write(tmp_path / "a.jsonl", ["x", "y"]))
        with pytest.raises(InputError, match="are not those any more of which job"):
            await take(world, write(tmp_path / "a.jsonl", ["x", "y", "z"]))
        assert len(await world.store.read(lambda reads: reads.jobs(limit=10))) == 1
        taken = await take(world, tmp_path / "a.jsonl", force_new=True)
        assert taken.job is not None
        assert taken.job.requests.total == 3


@in_a_loop
async def test_one_bad_line_refuses_the_whole_and_leaves_nothing(tmp_path: Path) -> None:
    """All or nothing by default, with both line numbers of a duplicate."""
    async with new_world(tmp_path / "store.db") as world:
        taken = await take(world, write(tmp_path / "a.jsonl", ["x", "y", "x"], extra="{oops\n"))
        assert taken.job is None
        assert taken.problem_count == 2
        assert {problem.line for problem in taken.problems} == {3, 4}
        assert any(":1" in problem.message for problem in taken.problems)
        assert await nothing_is_left(world)


@in_a_loop
async def test_skip_bad_takes_the_rest_and_keeps_what_it_left_out(tmp_path: Path) -> None:
    """`--skip-bad`: the refused lines are kept with their reasons."""
    async with new_world(tmp_path / "store.db") as world:
        taken = await take(world, write(tmp_path / "a.jsonl", ["x", "y", "x"], extra="{oops\n"), skip_bad=True)
        assert taken.job is not None
        job = taken.job.id
        assert (taken.job.requests.total, taken.refused) == (2, 2)
        refused = await world.store.read(lambda reads: reads.refused(job))
        assert [problem.line for problem in refused] == [3, 4]


class CutSource:
    """A source whose reading ends in the middle."""

    name = "<cut>"
    content_hash = "none"
    size_bytes = 0

    async def chunks(self) -> AsyncGenerator[Sequence[InputLine | InputProblem], None]:
        """One chunk, then the end of the world."""
        yield [InputLine(1, "x", PARAMS.encode())]
        raise InputError("the file is cut short")


@in_a_loop
async def test_an_import_that_fails_or_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Killed in the middle: the next `run` starts the intake again, without doubles."""
    async with new_world(tmp_path / "store.db") as world:
        new = NewJob(name="cut", source="<cut>", api_version=API_VERSION, betas=())
        with pytest.raises(InputError):
            await world.commands.ingest(CutSource(), new, IngestOptions())
        assert await nothing_is_left(world)
        job = await world.store.ingest.begin(new, "cut-1", world.clock.now())
        await world.store.ingest.add(job.id, [InputLine(1, "x", PARAMS.encode(), b"{}")], world.clock.now())
        await world.round()
        assert world.creates == 0
        async with next_life(world) as second:
            assert await nothing_is_left(second)


@in_a_loop
async def test_what_is_refused_is_kept_with_its_row_and_can_be_handed_in_again(tmp_path: Path) -> None:
    """A repeated id, and a line that is wrong: both lines as they were, the row of each with it."""
    path = tmp_path / "a.jsonl"
    line = f'{{"custom_id":"x","params":{PARAMS},"row":{{"id":"007"}}}}'
    wrong = line.replace('"x"', '"y"').replace('"max_tokens":5', '"max_tokens":0')
    path.write_text(f"{line}\n{line}\n{wrong}\n")
    async with new_world(tmp_path / "store.db") as world:
        taken = await take(world, path, skip_bad=True)
        assert taken.job is not None
        job = taken.job.id
        refused = await world.store.read(lambda reads: reads.refused(job))
        assert [problem.raw.decode() for problem in refused] == [line, wrong]
        path.write_bytes(refused[0].raw)
        again = await take(world, path, force_new=True)
        assert again.job is not None
        other = again.job.id
        await world.settle()
        for each in (job, other):
            found = await world.store.read(lambda reads, each=each: reads.results(each, above=0, limit=9, rows=True))  # type: ignore[misc]
            assert [result.row for result in found] == [b'{"id":"007"}']
        attached = await take(world, path)
        assert attached.attached


@in_a_loop
async def test_a_job_being_read_is_not_planned(tmp_path: Path) -> None:
    """Nothing is sent before the whole input is in."""
    async with new_world(tmp_path / "store.db") as world:
        new = NewJob(name="half", source="<half>", api_version=API_VERSION, betas=())
        job = await world.store.ingest.begin(new, "half-1", world.clock.now())
        await world.store.ingest.add(job.id, [InputLine(1, "x", PARAMS.encode())], world.clock.now())
        assert await world.tick("plan", "submit") == 0


@in_a_loop
async def test_a_duplicate_that_was_left_out_is_kept_whole(tmp_path: Path) -> None:
    """What `--skip-bad` leaves out can be mended and handed in again: from standard input there is no other copy."""
    async with new_world(tmp_path / "store.db") as world:
        taken = await take(world, write(tmp_path / "in.jsonl", ["a", "b", "a"]), skip_bad=True)
        assert taken.job is not None
        job = taken.job.id
        (refused,) = await world.store.read(lambda reads: reads.refused(job))
        assert (refused.line, refused.raw) == (3, f'{{"custom_id":"a","params":{PARAMS}}}'.encode())


@in_a_loop
async def test_many_who_bring_the_same_file_at_once_share_one_job(tmp_path: Path) -> None:
    """Promise 7: looking whether the content is there and letting it run are one step; else it is bought again."""
    async with new_world(tmp_path / "store.db") as world:
        path = write(tmp_path / "in.jsonl", [f"r{i}" for i in range(30)])
        taken = await asyncio.gather(*(take(world, path) for _ in range(6)))
        assert len({each.job.id for each in taken if each.job is not None}) == 1
        assert sorted(each.attached for each in taken) == [False] + [True] * 5
        await world.settle()
        assert world.machine.batches_created == 1


@in_a_loop
async def test_an_intake_may_be_cancelled_at_any_moment(tmp_path: Path) -> None:
    """Style guide, "Async": the commit of a cancelled write may have happened. Whole or not at all, and no error."""
    stored = 0
    async with new_world(tmp_path / "store.db") as world:
        for turns in range(60):
            task = asyncio.create_task(world.submit(5, name=f"job {turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() or task.exception() is None
            jobs = await world.store.read(lambda reads: reads.unfinished())
            assert all((job.state, job.requests.queued) == ("running", 5) for job in jobs if job.state != "importing")
            stored += task.cancelled() and any(job.name == f"job {turns}" for job in jobs)
        assert stored > 0, "none was cancelled while its last write was committed"
        await world.tick("imports")  # M8: what a cancelled first write began is nobody's
        rows = await world.store.read(lambda reads: reads.jobs(limit=99))
        assert {job.state for job in rows} == {"running"}


class Failing:
    """A source that brings some requests, and then *fails*."""

    name, content_hash, size_bytes = "<failing>", "", 0

    def __init__(self, fails: Callable[[], Awaitable[None]]) -> None:
        self._fails = fails

    async def chunks(self) -> AsyncGenerator[list[InputLine | InputProblem], None]:
        """One chunk, then the end of it."""
        yield [InputLine(number, f"r{number}", PARAMS.encode()) for number in range(1, 100)]
        await self._fails()
        raise ConnectionResetError("the client went away")


async def refuse_writes(world: World, *, refused: bool) -> None:
    """Every write of the store fails from now on, as on a disk that takes nothing any more; or works again."""
    await world.store._database._writer.run(lambda c: c.execute(f"PRAGMA query_only = {int(refused)}").fetchall())


@pytest.mark.sqlite
@in_a_loop
async def test_what_a_failed_import_could_not_take_away_is_taken_away_later(tmp_path: Path) -> None:
    """M8. Its discard met the same disk: the engine tries again, and not only at the next start."""
    async with new_world(tmp_path / "store.db") as world:
        kept = await world.submit(3)
        source = Failing(lambda: refuse_writes(world, refused=True))
        new = NewJob(name="lost", source="<failing>", api_version=API_VERSION, betas=())
        with pytest.raises(ConnectionResetError):  # its own reason, not that of the discard
            await world.commands.ingest(source, new, IngestOptions())
        assert len(await world.store.read(lambda reads: reads.jobs(limit=9))) == 2
        with pytest.raises(StoreError):
            await world.tick("imports")
        await refuse_writes(world, refused=False)
        assert await world.tick("imports") == 1
        assert [job.id for job in await world.store.read(lambda reads: reads.jobs(limit=9))] == [kept.id]
        assert await world.tick("imports") == 0


@in_a_loop
async def test_an_import_under_way_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    """M8. While another one is cleared away."""
    async with new_world(tmp_path / "store.db") as world:

        async def meanwhile() -> None:
            world.context.imports.left.add("another-3f9a2c")
            assert await world.tick("imports") == 0
            (job,) = await world.store.read(lambda reads: reads.jobs(limit=9))
            with pytest.raises(GuardRefused) as refused:
                await world.commands.purge(job.id)
            assert refused.value.hint == IMPORT_ENDS
            assert not await world.commands.cancel(job.id)
            assert does_not_apply("cancel", job).hint == IMPORT_ENDS

        new = NewJob(name="slow", source="<failing>", api_version=API_VERSION, betas=())
        with pytest.raises(ConnectionResetError):
            await world.commands.ingest(Failing(meanwhile), new, IngestOptions())
        assert await nothing_is_left(world)


@in_a_loop
async def test_what_is_kept_of_refused_lines_does_not_grow_with_them(tmp_path: Path) -> None:
    """M2: ten thousand problems with 64 KiB of their line each would be 640 MB; the lines are in the store."""
    async with new_world(tmp_path / "store.db") as world:
        bad = "".join(f'{{"custom_id":"b{n}","params":{{}},"x{n}":"{"y" * 60_000}"}}\n' for n in range(50))
        path = write(tmp_path / "bad.jsonl", ["a"], extra=bad)
        source = open_source(path, rules=ParamRules(api_version=API_VERSION), max_line_bytes=1_000_000)
        new = NewJob(name="bad", source=str(path), api_version=API_VERSION, betas=())
        taken = await world.commands.ingest(source, new, IngestOptions(skip_bad=True, max_problems=10_000))
        assert taken.job is not None
        assert (taken.refused, taken.problem_count > 0) == (50, True)
        assert max(len(problem.raw) for problem in taken.problems) == 1024
        job = taken.job.id
        stored = await world.store.read(lambda reads: reads.refused(job, limit=9))
        assert len(stored[0].raw) > 60_000
