"""Promise 2 for a store that was put back from a copy: what was sent since is taken in, never bought again."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.world import API_VERSION, IMPATIENT, QUICK, World, in_a_loop, message, new_world, next_life

from orchestrator.domain.errors import GuardRefused, StoreError
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.params import ParamRules
from orchestrator.engine.reconcile import RECONCILING
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from orchestrator.ports.streams import InputLine
from orchestrator.sandbox import MachineSettings
from orchestrator.store.maintenance import back_up

pytestmark = pytest.mark.sqlite

MINUTE = timedelta(minutes=1)
DB = "store.db"


def put_back(world: World, copy: Path) -> None:
    """The engine is dead; *copy* becomes the store."""
    for name in ("", "-wal", "-shm"):
        world.path.with_name(world.path.name + name).unlink(missing_ok=True)
    shutil.copy(copy, world.path)


@asynccontextmanager
async def restored(world: World, copy: Path, **more: object) -> AsyncIterator[World]:
    """Kill *world*, put *copy* in the place of its store, and start the next engine."""
    await world.die()
    put_back(world, copy)
    async with next_life(world, **more) as born:
        yield born


async def copied(world: World, tmp_path: Path, name: str = "copy.db") -> Path:
    """A copy of the store as it is now."""
    back_up(world.path, tmp_path / name)
    return tmp_path / name


async def finished_once(world: World, job: JobRow, count: int, *, beside: int = 0) -> None:
    """The job is over, all is there, and the API's books show every request once (*beside*: so many of other jobs)."""
    await world.settle()
    status = await world.status(job.id)
    assert (status.job.state, status.job.requests.succeeded) == ("finished", count)
    assert sorted(world.bought().values()) == [1] * (count + beside)
    assert len(await world.results(job.id)) == count
    for _ in range(100):
        await world.round()
        if await world.store.reconcile.open() is None:
            break
        world.advance(MINUTE)
    await world.round()
    assert RECONCILING not in await world.attention(job.id)


async def open_job(world: World, prompts: list[str]) -> JobRow:
    """A job that takes more requests, with these."""
    requests = [{"custom_id": prompt, "params": message(prompt)} for prompt in prompts]
    source = source_from_objects(requests, name="<open>", rules=ParamRules(api_version=API_VERSION))
    new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
    taken = await world.commands.ingest(source, new, IngestOptions(force_new=True))
    assert taken.job is not None, taken.problems
    return await world.store.commands.get(taken.job.id)


async def add(world: World, job: JobRow, prompts: list[str]) -> None:
    """Give an open job more."""
    lines = [InputLine(n, prompt, json.dumps(message(prompt)).encode()) for n, prompt in enumerate(prompts, 1)]
    await world.commands.add(job.id, lines)


@pytest.mark.parametrize("when", ["taken in", "planned", "in progress", "settled"])
@in_a_loop
async def test_what_was_sent_after_the_backup_is_not_bought_again(tmp_path: Path, when: str) -> None:
    """H3: at whatever point of its road the copy was made, one POST for each batch and every result."""
    async with new_world(tmp_path / DB, max_requests=10) as world:
        job = await world.submit(30)
        if when != "taken in":
            await world.tick("plan")
        if when in {"in progress", "settled"}:
            await world.tick("submit")
        if when == "settled":
            await world.settle()
        copy = await copied(world, tmp_path)
        await world.settle()
        posts = world.creates
        async with restored(world, copy) as born:
            await finished_once(born, job, 30)
            assert born.creates == posts == 3


@in_a_loop
async def test_a_plain_copy_of_the_file_is_seen_to_be_older_as_well(tmp_path: Path) -> None:
    """H3: `cp` while no engine ran, and back again; in the meantime everything was planned otherwise."""
    async with new_world(tmp_path / DB) as world:
        job = await world.submit(30)
    shutil.copy(tmp_path / DB, tmp_path / "cp.db")
    async with next_life(world, settings=QUICK, max_requests=7) as sent:
        await sent.settle()
        posts = sent.creates
        async with restored(sent, tmp_path / "cp.db", max_requests=10) as born:
            await finished_once(born, job, 30)
            assert born.creates == posts == 5


@in_a_loop
async def test_while_it_looks_nothing_is_sent_and_the_job_says_why(tmp_path: Path) -> None:
    """H3: the attention of every job that waits; another job that is handed in waits too."""
    async with new_world(tmp_path / DB) as world:
        await world.submit(10)
        copy = await copied(world, tmp_path)
        await world.settle()
        async with restored(world, copy) as born:
            fresh = await born.submit(5, name="fresh")
            await born.round()
            for job in await born.store.read(lambda reads: reads.unfinished()):
                status = await born.status(job.id)
                assert [item.kind for item in status.attention] == [RECONCILING]
                assert "nothing is sent until" in status.attention[0].message
                assert "batches missing: 1" in status.attention[0].message
            assert (born.creates, await born.states(fresh.id)) == (1, [])
            await born.settle()
            assert (await born.status(fresh.id)).job.requests.succeeded == 5
            assert await born.attention(fresh.id) == []


@in_a_loop
async def test_a_job_that_was_handed_in_again_is_known_again(tmp_path: Path) -> None:
    """H3: the whole job came after the backup; its batches wait until the same content is handed in again."""
    async with new_world(tmp_path / DB, max_requests=10) as world:
        copy = await copied(world, tmp_path)
        await world.submit(25)
        await world.settle()
        async with restored(world, copy) as born:
            await born.settle()
            for _ in range(60):  # the search is long over
                await born.round()
                born.advance(MINUTE)
            again = await born.submit(25)
            await finished_once(born, again, 25)
            assert born.creates == 3
            other = await born.submit(25, name="other")  # content that was never sent
            await born.settle()
            assert (await born.status(other.id)).job.requests.succeeded == 25
            assert born.creates == 6


@in_a_loop
async def test_a_job_that_is_handed_in_again_while_its_batch_runs_waits_for_it(tmp_path: Path) -> None:
    """H3: nothing can be proven before the batch has ended."""
    async with new_world(tmp_path / DB) as world:
        copy = await copied(world, tmp_path)
        await world.submit(10)
        await world.tick("plan", "submit")
        await world.die()
        world.machine.delay(world.machine._batches[0].id, timedelta(hours=3))
        async with restored(world, copy) as born:
            again = await born.submit(10)
            for _ in range(60):
                await born.round()
                born.advance(2 * MINUTE)
            assert born.creates == 1
            message = (await born.status(again.id)).attention[0].message
            assert "batches there that cannot be told yet: 1" in message
            await finished_once(born, again, 10)


@in_a_loop
async def test_a_neighbours_batch_holds_it_up_until_it_has_ended_or_is_disowned(tmp_path: Path) -> None:
    """H3: it could be ours as long as nobody can read it; a person may say that it is not."""
    async with new_world(tmp_path / DB) as world:
        job = await world.submit(10)
        copy = await copied(world, tmp_path)
        await world.settle()
        (theirs,) = world.machine.add_foreign(10)
        world.machine.delay(theirs, timedelta(hours=20))
        async with restored(world, copy) as born:
            await born.tick("reconcile")
            for _ in range(60):
                await born.round()
                born.advance(MINUTE)
            search = await born.store.reconcile.open()
            assert search is not None
            assert (search.until is not None, search.looks) == (True, 0)
            await born.commands.disown(theirs)
            await finished_once(born, job, 10)
            assert born.creates == 1


@in_a_loop
async def test_what_went_through_several_batches_is_taken_in_in_their_order(tmp_path: Path) -> None:
    """H3: after the copy was made, requests expired and were sent again: what one batch leaves, the next one has."""
    async with new_world(tmp_path / DB, max_requests=10) as world:
        job = await world.submit(20)
        copy = await copied(world, tmp_path)
        world.machine.plan.set({"expire": 0.4})
        await world.settle()
        posts = world.creates
        done = (await world.status(job.id)).job.requests.succeeded
        assert posts > 2
        async with restored(world, copy) as born:
            await born.settle()
            status = await born.status(job.id)
            assert (status.job.requests.succeeded, status.job.state, born.creates) == (done, "finished", posts)
            assert max(born.bought().values()) == 1


@in_a_loop
async def test_of_a_batch_that_holds_more_than_the_copy_knows_the_rest_is_left(tmp_path: Path) -> None:
    """H3: an open job was given more after the copy: what is asked under those numbers now is sent, not mixed up."""
    async with new_world(tmp_path / DB, linger=timedelta(minutes=5)) as world:
        job = await open_job(world, [f"early {n}" for n in range(1, 6)])
        copy = await copied(world, tmp_path)
        await add(world, job, [f"late {n}" for n in range(6, 11)])
        await world.commands.close(job.id)
        await world.settle()
        assert world.creates == 1
        async with restored(world, copy) as born:
            await add(born, job, [f"other {n}" for n in range(6, 11)])
            await born.commands.close(job.id)
            await finished_once(born, job, 10, beside=5)
            assert born.creates == 2


@in_a_loop
async def test_a_store_that_was_deleted_is_not_begun_anew_in_silence(tmp_path: Path) -> None:
    """H3: its mark tells that batches were sent. A person may take a new store into use, which asks the API first."""
    async with new_world(tmp_path / DB) as world:
        await world.submit(10)
        await world.settle()
        await world.die()
        for name in ("", "-wal", "-shm"):
            (tmp_path / f"{DB}{name}").unlink(missing_ok=True)
        with pytest.raises(StoreError, match="is gone, but its mark") as refused:
            async with next_life(world):
                pass
        assert refused.value.exit_code == 8
        assert not (tmp_path / DB).exists()
        async with next_life(world, adopt=True) as born:
            await finished_once(born, await born.submit(10), 10)
            assert born.creates == 1
            async with next_life(born) as third:
                await third.round()
                assert await third.store.reconcile.open() is None


@in_a_loop
async def test_a_copy_elsewhere_asks_first(tmp_path: Path) -> None:
    """H3: a copy without its mark, or with a copy of the mark, cannot know what the original sent meanwhile."""
    async with new_world(tmp_path / "one" / DB) as world:
        job = await world.submit(10)
        copy = await copied(world, tmp_path)
        await world.settle()
        await world.die()
        (tmp_path / "two").mkdir()
        shutil.copy(copy, tmp_path / "two" / DB)
        shutil.copytree(tmp_path / "one", tmp_path / "three")
        for folder in ("two", "three"):
            with pytest.raises(GuardRefused, match="is a copy of a store") as refused:
                async with new_world(tmp_path / folder / DB, sandbox=world.sandbox, clock=world.clock):
                    pass
            assert "adopt-store" in str(refused.value.hint)
        async with new_world(tmp_path / "two" / DB, sandbox=world.sandbox, clock=world.clock, adopt=True) as born:
            await finished_once(born, job, 10)
            assert born.creates == 1


@in_a_loop
async def test_an_adopted_copy_that_is_put_back_once_more_is_behind(tmp_path: Path) -> None:
    """H3: the mark that was made for it counts on from there, so the copy as it was is older than that."""
    async with new_world(tmp_path / "one" / DB) as world:
        job = await world.submit(10)
        copy = await copied(world, tmp_path)
        await world.settle()
        await world.die()
        (tmp_path / "two").mkdir()
        shutil.copy(copy, tmp_path / "two" / DB)
        async with (
            new_world(tmp_path / "two" / DB, sandbox=world.sandbox, clock=world.clock, adopt=True) as adopted,
            restored(adopted, copy) as born,
        ):
            search = await born.store.reconcile.open()
            assert search is not None
            assert search.cause == "behind"
            await finished_once(born, job, 10)
            assert born.creates == 1


@in_a_loop
async def test_an_engine_that_goes_on_with_its_own_store_looks_for_nothing(tmp_path: Path) -> None:
    """H3: neither a restart nor a crash between the intent and the mark is taken for a restored copy."""
    async with new_world(tmp_path / DB, max_requests=10) as world:
        job = await world.submit(30)
        await world.tick("plan", "submit")
        async with next_life(world) as born:
            assert await born.store.reconcile.open() is None
            await finished_once(born, job, 30)


@in_a_loop
async def test_a_store_that_is_put_back_twice_is_found_behind_twice(tmp_path: Path) -> None:
    """H3: also while it still searches, and from a copy that was made after the first time."""
    async with new_world(tmp_path / DB, max_requests=10) as world:
        job = await world.submit(30)
        first = await copied(world, tmp_path, "first.db")
        await world.tick("plan", "submit")
        async with restored(world, first) as born:
            for _ in range(3):
                await born.round()
                born.advance(MINUTE)
            second = await copied(born, tmp_path, "second.db")
            late = await born.submit(10, name="late")
            await born.settle()
            async with restored(born, second) as third:
                again = await third.submit(10, name="late")
                await finished_once(third, job, 30, beside=10)
                assert (await third.status(again.id)).job.requests.succeeded == 10
                assert third.creates == 4
                assert late.content_hash == again.content_hash


@in_a_loop
async def test_a_copy_is_behind_from_the_moment_of_the_post(tmp_path: Path) -> None:
    """H3: the process died while its POST was under way; the mark was written before the first byte left."""
    async with new_world(tmp_path / DB, patience=IMPATIENT) as world:
        job = await world.submit(10)
        copy = await copied(world, tmp_path)
        world.script("create", "hang_after_accept")
        await world.tick("plan", "submit")
        assert await world.states(job.id) == ["in_doubt"]
        async with restored(world, copy) as born:
            await finished_once(born, job, 10)
            assert born.creates == 1


@in_a_loop
async def test_the_search_ends_after_two_looks_that_found_nothing(tmp_path: Path) -> None:
    """H3: as for a doubt, one look proves nothing."""
    async with new_world(tmp_path / DB) as world:
        await world.submit(10)
        copy = await copied(world, tmp_path)
        await world.tick("plan", "submit")
        await world.die()
        list_batches = world.machine._batches[0].id
        async with restored(world, copy) as born:
            await born.tick("reconcile")
            born.advance(timedelta(minutes=25))
            world.machine.hide(list_batches, world.machine.now() + MINUTE)  # from the first look
            await born.tick("reconcile")
            search = await born.store.reconcile.open()
            assert search is not None
            assert search.looks == 1
            born.advance(2 * MINUTE)
            await born.settle()
            assert born.creates == 1


@in_a_loop
async def test_a_resume_while_it_looks_keeps_what_may_have_been_sent(tmp_path: Path) -> None:
    """H3: batches that are only planned in the copy may have been sent under their nonces."""
    async with new_world(tmp_path / DB, max_requests=10) as world:
        job = await world.submit(30)
        await world.tick("plan")
        copy = await copied(world, tmp_path)
        await world.settle()
        async with restored(world, copy) as born:
            assert await born.commands.pause(job.id)
            assert await born.commands.resume(job.id)
            await finished_once(born, job, 30)
            assert born.creates == 3


@pytest.mark.long
@in_a_loop
async def test_a_month_with_restored_copies_and_a_rotated_key_loses_nothing_and_buys_nothing_twice(
    tmp_path: Path,
) -> None:
    """H3, F6, promises 1 and 2: two jobs at a time, a copy put back every few days, the key file changed in between."""
    key = tmp_path / "key"
    key.write_text("key-0")
    key.chmod(0o600)
    machine = MachineSettings(batch_seconds=(60, 600), valid_keys={"key-0": "wrkspc_a"})
    handed: dict[str, int] = {}
    async with new_world(tmp_path / DB, max_requests=20, key=key, machine=machine) as first:
        world, copy = first, await copied(first, tmp_path, "day 0")
        async with AsyncExitStack() as lives:
            for day in range(1, 31):
                for name in (f"a {day}", f"b {day}"):
                    await world.submit(25, name=name)
                    handed[name] = 25
                for _ in range(day % 4):
                    await world.round()
                    world.advance(timedelta(minutes=20))
                if day % 7 == 0:
                    world = await lives.enter_async_context(restored(world, copy, key=key))
                    there = {job.name for job in await world.store.read(lambda reads: reads.jobs(limit=1000))}
                    for name in sorted(set(handed) - there):  # what came after the copy is handed in again
                        await world.submit(25, name=name)
                if day % 5 == 0:
                    copy = await copied(world, tmp_path, f"day {day}")
                if day % 10 == 0:
                    keys = {f"key-{day}": "wrkspc_a"}
                    world.machine.settings = replace(world.machine.settings, valid_keys=keys)
                    await world.round()  # the old key is refused
                    key.write_text(f"key-{day}")
                world.advance(timedelta(hours=2))
            for job in await world.store.read(lambda reads: reads.unfinished()):
                await world.commands.resume(job.id)
            await world.settle(rounds=2000)
            jobs = await world.store.read(lambda reads: reads.jobs(limit=1000))
            assert {job.name: job.requests.succeeded for job in jobs} == handed
            assert set(world.bought().values()) == {1}
            assert sum(world.bought().values()) == 25 * 60


@in_a_loop
async def test_a_folder_that_was_put_back_as_a_whole_is_found_out(tmp_path: Path) -> None:
    """H3: with its mark, in place, so that even the inode is the same: the time of the mark's change tells."""
    folder = tmp_path / "state"
    async with new_world(folder / DB) as world:
        await world.submit(10, name="before")
        await world.settle()
        await world.die()
        shutil.copytree(folder, tmp_path / "kept")
        async with next_life(world) as sent:
            await sent.submit(10, name="after")
            await sent.settle()
            await sent.die()
            for name in ("store.db", "store.db.mark"):
                (folder / name).write_bytes((tmp_path / "kept" / name).read_bytes())
            past_the_tick(folder / "store.db.mark")
            async with next_life(sent) as born:
                await finished_once(born, await born.submit(10, name="after"), 10, beside=10)
                assert born.creates == 2


def past_the_tick(mark: Path) -> None:
    """A file that is put back is changed later than what it says inside: at once, where the clock has gone on."""
    while time.time_ns() - mark.stat().st_ctime_ns < 60_000_000:
        os.sched_yield()
    mark.chmod(0o600)


@in_a_loop
async def test_two_lines_of_one_store_are_told_apart(tmp_path: Path) -> None:
    """H3: an older copy was adopted and went on; a newer copy of the first line is put back: equal counts."""
    async with new_world(tmp_path / DB) as world:
        await world.submit(5, name="one")
        await world.settle()
        old = await copied(world, tmp_path, "old.db")
        await world.submit(5, name="two")
        await world.settle()
        new = await copied(world, tmp_path, "new.db")
        await world.die()
        put_back(world, old)
        (tmp_path / f"{DB}.mark").unlink()
        async with next_life(world, adopt=True) as second:
            await second.settle()
            await second.submit(5, name="three")
            await second.settle()
            async with restored(second, new) as born:
                search = await born.store.reconcile.open()
                assert search is not None
                three = await born.submit(5, name="three")
                await finished_once(born, three, 5, beside=10)
                assert born.creates == 3


@in_a_loop
async def test_what_was_retried_after_the_copy_is_taken_in_though_the_job_is_over_here(tmp_path: Path) -> None:
    """H3: the copy finds the first batch and finishes the job with failures; the retry was bought, and is found."""
    async with new_world(tmp_path / DB) as world:
        job = await world.submit(10)
        world.machine.plan.set({"invalid": 0.5})
        await world.tick("plan", "submit")
        copy = await copied(world, tmp_path)
        await world.settle()
        failed = (await world.status(job.id)).job.requests.failed
        assert 0 < failed < 10
        world.machine.plan.set({})
        assert await world.commands.retry(job.id, ()) == failed
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        async with restored(world, copy) as born:
            for _ in range(90):
                await born.round()
                born.advance(MINUTE)
            assert (await born.status(job.id)).job.requests.succeeded == 10
            assert (born.creates, max(born.bought().values())) == (2, 1)
