"""A purge deletes bodies and nothing else, of jobs that are over and of no other, and is finished after a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from store.store_world import (
    LATER,
    NOW,
    audit,
    collected,
    duplicates,
    finish,
    lines_of_table,
    lost,
    new_job,
    open_store,
    raw,
    running_job,
    settle_all,
    won,
)
from support.forked import start_script
from support.length import some_of

from orchestrator.domain.errors import GuardRefused, Purged
from orchestrator.domain.ids import BatchId, JobId
from orchestrator.domain.queries import SettledCursor
from orchestrator.ports.job_store import Content, DuplicatesCursor, IngestOutcome
from orchestrator.ports.streams import InputProblem
from orchestrator.store import purging
from orchestrator.store.sqlite_store import SqliteStore

COUNTS = {
    "payload": "SELECT count(*) FROM payload WHERE first_id >> 32 = ?",
    "rows": "SELECT count(*) FROM source_row WHERE first_id >> 32 = ?",
    "result": "SELECT count(*) FROM result WHERE request_id >> 32 = ?",
    "attempt": "SELECT count(*) FROM attempt WHERE body IS NOT NULL AND request_id >> 32 = ?",
    "refused": "SELECT count(*) FROM refused_line WHERE raw <> x'' AND job_id = ?",
}


async def over(store: SqliteStore, name: str = "job", nonce: str = "a") -> JobId:
    """A finished job with something of everything: 1–3 succeeded, 4, 5 failed, two lines were left out."""
    job = (await store.ingest.begin(new_job(name), f"{name}-id", NOW)).id
    await store.ingest.add(job, lines_of_table(["a", "b", "c", "d", "e", "a"]), NOW)
    await store.ingest.add_refused(job, [InputProblem(line=9, field="params", message="m", remedy="r", raw=b"secret")])
    await store.ingest.repeated(job, DuplicatesCursor(), leave_out=True)
    await finish(store, job, f"hash of {name}")
    rows = [won(3), won(1), lost(4), lost(5), won(2)]
    await settle_all(store, await collected(store, job, rows, nonce), max_attempts=1)
    await store.settle.finish_jobs(NOW)
    return job


async def clear(store: SqliteStore) -> int:
    """Clear what is marked; in how many steps."""
    steps = 0
    while await store.purge.purge_some():
        steps += 1
    return steps


def bodies_of(path: Path, job: JobId) -> dict[str, int]:
    """What is left of a job's bodies."""
    with closing(raw(path)) as c:
        return {name: c.execute(query, (job,)).fetchone()[0] for name, query in COUNTS.items()}


def test_a_purge_takes_the_bodies_of_one_job_and_leaves_all_else(tmp_path: Path) -> None:
    """Counts, ids, errors and history stay; the neighbour keeps everything; the audit has nothing to say."""
    path = tmp_path / "store.db"

    async def run() -> None:
        async with open_store(path) as store:
            one, two = await over(store, "one"), await over(store, "two", "b")
            before, beside = await store.read(lambda reads: reads.get(one)), bodies_of(path, two)
            assert bodies_of(path, one) == beside == {"payload": 1, "rows": 1, "result": 5, "attempt": 2, "refused": 1}
            assert await store.purge.mark(one, "person", LATER)
            assert audit(path) == [], "half purged is sound"
            await clear(store)
            assert not await store.purge.mark(one, "retention", LATER), "once"
            assert bodies_of(path, one) == dict.fromkeys(COUNTS, 0)
            assert bodies_of(path, two) == beside
            after = await store.commands.get(one)
            assert (after.purged_at, after.purged_by, after.requests) == (LATER, "person", before.requests)
            view = await store.read(lambda reads: reads.request(one, "d"))
            assert (view.params, view.row, view.result) == (None, None, None)
            assert (view.error_type, len(view.failed_attempts)) == ("expired", 1)
            assert len(await store.read(lambda reads: reads.requests(one, limit=9))) == 5
            (refused,) = await store.read(lambda reads: reads.refused(one))
            assert (refused.message, refused.raw) == ("m", b"")
            last = (await store.read(lambda reads: reads.events(one)))[-1]
            assert (last.kind, last.why) == ("job.purged", "person")
            assert audit(path) == []

    asyncio.run(run())


def test_the_results_of_a_purged_job_are_told_to_be_gone(tmp_path: Path) -> None:
    """From the mark on, whether the rows are gone or not: never half of them, never another job's."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await over(store)
            await store.purge.mark(job, "person", LATER)
            for _ in range(2):
                with pytest.raises(Purged, match="results of job job-id were deleted"):
                    await store.read_bulk(lambda reads: reads.results(job, above=0, limit=9))
                with pytest.raises(Purged):
                    await store.read_bulk(lambda reads: reads.settled_results(job, after=SettledCursor(), limit=9))
                await clear(store)
            other = await over(store, "other", "b")  # its results get the numbers of those that went
            with pytest.raises(Purged):
                await store.read_bulk(lambda reads: reads.results(job, above=0, limit=9))
            assert (await store.read(lambda reads: reads.request(job, "a"))).result is None
            assert len(await store.read_bulk(lambda reads: reads.results(other, above=0, limit=9))) == 5
            assert audit(store.path) == []

    asyncio.run(run())


def test_a_job_that_is_not_over_is_never_purged_and_a_purged_one_never_runs(tmp_path: Path) -> None:
    """Neither by a person nor by a bug: the schema holds it too."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            running, job = await running_job(store, 2, name="running"), await over(store)
            with pytest.raises(GuardRefused, match="is running"):
                await store.purge.mark(running.id, "person", NOW)
            await store.purge.mark(job, "person", NOW)
            with pytest.raises(GuardRefused, match="was purged"):
                await store.retries.retry(job, (), NOW)
            assert not await store.commands.cancel(job, NOW)
            with closing(raw(store.path)) as c:
                for statement in (
                    "UPDATE job SET state = 'running', finished_at = NULL WHERE purged_at IS NOT NULL",
                    "UPDATE job SET purged_at = NULL, purged_by = NULL, purged_above = NULL",
                    "UPDATE job SET purged_at = 't', purged_by = 'person' WHERE state = 'running'",
                    "UPDATE job SET purged_by = 'nobody'",
                    "DELETE FROM payload WHERE first_id >> 32 = 1",
                    "UPDATE attempt SET body = x'00'",
                ):
                    with pytest.raises(sqlite3.IntegrityError):
                        c.execute(statement)

    asyncio.run(run())


def test_the_same_content_is_a_new_job_after_a_purge(tmp_path: Path) -> None:
    """There is nothing to attach to any more; that the file held something else is no matter either."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await over(store)
            await store.purge.mark(job, "person", NOW)
            again = await store.ingest.begin(new_job(), "again", NOW)
            content = Content(hash="hash of job", size_bytes=1)
            how, made = await store.ingest.conclude(again.id, new_job(), content, NOW, force_new=False)
            assert (how, made.id) == (IngestOutcome.MADE, again.id)

    asyncio.run(run())


def test_old_jobs_are_those_over_for_long_enough(tmp_path: Path) -> None:
    """By when they ended; one that was purged is not told again, one that runs never."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await over(store)
            await running_job(store, 1, name="running")
            assert await store.purge.over_since(NOW - timedelta(seconds=1)) == []
            assert [old.id for old in await store.purge.over_since(NOW)] == [job]
            await store.purge.mark(job, "person", NOW)
            assert await store.purge.over_since(LATER) == []

    asyncio.run(run())


def test_a_purge_of_many_windows_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, slices of results and of blocks: the smallest there are, and several jobs at once."""
    for name, size in (("_WINDOW", 2), ("_ROWS", 1), ("_BLOCKS", 1)):
        monkeypatch.setattr(purging, name, size)

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            jobs = [await over(store, "one"), await over(store, "two", "b")]
            for job in jobs:
                await store.purge.mark(job, "retention", NOW)
            both = await asyncio.gather(clear(store), clear(store))
            assert sum(both) >= 8, both
            assert [bodies_of(store.path, job) for job in jobs] == [dict.fromkeys(COUNTS, 0)] * 2
            assert audit(store.path) == []

    asyncio.run(run())


def test_results_of_a_batch_that_turns_up_after_the_purge_are_not_kept(tmp_path: Path) -> None:
    """Nobody would delete them any more."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await over(store)
            with closing(raw(store.path)) as c:
                c.execute("INSERT INTO remote VALUES ('m', 1, 't', 'ours', 1, NULL)")
            await store.sweep.keep_duplicate_results(BatchId(1), "m", duplicates(1))
            await store.purge.mark(job, "person", NOW)
            await clear(store)
            await store.sweep.keep_duplicate_results(BatchId(1), "m", duplicates(2))
            with closing(raw(store.path)) as c:
                assert c.execute("SELECT count(*) FROM spare").fetchone()[0] == 0

    asyncio.run(run())


def test_a_purge_that_left_something_is_found_by_the_audit(tmp_path: Path) -> None:
    """`db check` tells what a purge should have taken."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await over(store)
            await store.purge.mark(job, "person", NOW)
            with closing(raw(store.path)) as c:
                c.execute("UPDATE job SET purged_above = NULL")
            assert audit(store.path) == ["job job-id: it was purged, and not all of it is gone"]

    asyncio.run(run())


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from store.store_world import open_store
from store.test_store_bodies import NOW, over
from orchestrator.store import purging

purging._WINDOW, purging._ROWS, purging._BLOCKS = 2, 1, 1
left = int(sys.argv[2])

async def run():
    async with open_store(Path(sys.argv[1])) as store:
        job = await over(store)
        write = store.purge._db.write

        async def dying(step):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return await write(step)

        store.purge._db.write = dying
        await store.purge.mark(job, "person", NOW)
        while await store.purge.purge_some():
            pass

asyncio.run(run())
"""


@pytest.mark.process
@pytest.mark.parametrize("steps", some_of([1, 4, 13, 50, 0, 2, 7, 10, 16], 4))
def test_a_purge_that_is_killed_is_finished_by_the_next_start(tmp_path: Path, steps: int) -> None:
    """Killed before the mark nothing is gone; after it nothing is shown, and what is left goes."""
    path = tmp_path / "store.db"
    program = KILLED.format(tests=str(Path(__file__).parent.parent))
    with start_script(program, str(path), str(steps), env=os.environ) as process:
        assert process.wait(60) == (0 if steps == 50 else -signal.SIGKILL)
    assert audit(path) == []

    async def run() -> None:
        async with open_store(path) as store:
            (job,) = await store.read(lambda reads: reads.jobs(limit=9))
            assert (job.purged_at is None) == (steps == 0)
            await clear(store)
            gone = dict.fromkeys(COUNTS, 0)
            assert (bodies_of(path, job.id) == gone) == (steps > 0)
            assert audit(path) == []

    asyncio.run(run())
