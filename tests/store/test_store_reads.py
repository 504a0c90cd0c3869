"""The reading side: constant time where it must be, whole pages, and a job found by whatever a person types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from store.store_world import (
    LATER,
    NOW,
    batch_of,
    collected,
    ended,
    finish,
    in_progress,
    lines,
    lost,
    new_job,
    open_store,
    raw,
    remote,
    running_job,
    settle_all,
    submitting,
    won,
)

from orchestrator.domain.errors import NoSuchThing
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import Batch
from orchestrator.domain.queries import JobFilter, ResultRow
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.states import BatchState
from orchestrator.ports.reads import Reads
from orchestrator.store.connect import connect_reader
from orchestrator.store.read import SqlReads
from orchestrator.store.sqlite_reader import StoreReader
from orchestrator.store.sqlite_store import SqliteStore


async def big_job(store: SqliteStore, count: int, name: str) -> JobId:
    """A job of *count* requests, half of them in a batch at the API."""
    job = await store.ingest.begin(new_job(name), f"{name}-id", NOW)
    for start in range(0, count, 5000):
        await store.ingest.add(job.id, lines(f"r{i}" for i in range(start, min(start + 5000, count))), NOW)
    await finish(store, job.id, name)
    await in_progress(store, job.id, limit=min(count // 2, 100_000), nonce=name[0])
    return job.id


def steps_of(path: Path, job: JobId) -> int:
    """How many virtual-machine instructions of SQLite a `status` takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(connect_reader(path)) as c:
        reads = SqlReads(c)
        reads.status(reads.get(job))  # reads the schema
        c.set_progress_handler(count, 1)
        status = reads.status(reads.get(job))
        c.set_progress_handler(None, 0)
        assert status.job.requests.queued > 0
    return steps


@pytest.mark.sqlite
def test_status_costs_the_same_for_a_thousand_requests_and_for_two_hundred_thousand(tmp_path: Path) -> None:
    """`status` answers from maintained counts: SQLite's own instructions are counted, not time."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            small = await big_job(store, 1000, "small")
            large = await big_job(store, 200_000, "large")
            cost = steps_of(store.path, small), steps_of(store.path, large)
            assert cost[1] <= 1.2 * cost[0], cost
            assert cost[1] < 5000, cost

    asyncio.run(run())


def two_results(job: JobId, above: int) -> Callable[[Reads], list[ResultRow]]:
    """A page of two."""
    return lambda reads: reads.results(job, above=above, limit=2)


def batch_named(ref: str) -> Callable[[Reads], Batch]:
    """A batch by what a person types."""
    return lambda reads: reads.batch(ref)


def test_results_come_in_input_order_page_by_page_and_only_what_is_settled(tmp_path: Path) -> None:
    """The output is in the order of the file, however the results came in; paging loses and repeats nothing."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            await running_job(store, 3, name="before")
            job = await running_job(store, 10)
            await running_job(store, 3, name="z-after")
            batch = await ended(store, job.id)
            bodies = {n: b'{"type":"succeeded","n":%d}' % n for n in (9, 2, 7, 1, 10)}
            await store.collect.store_lines(batch, [won(n, body) for n, body in bodies.items()], NOW)
            got, above = [], 0
            while page := await store.read_bulk(two_results(job.id, above)):
                above = page[-1].number
                got += [(row.number, row.custom_id, row.body) for row in page]
            assert got == [(n, f"r{n}", bodies[n]) for n in sorted(bodies)]

    asyncio.run(run())


def test_a_job_is_found_by_id_prefix_name_and_last(tmp_path: Path) -> None:
    """JOB is an id, a unique prefix, a name, or `@last`; an exact word beats a prefix, a newer job an older one."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            with pytest.raises(NoSuchThing, match="no job yet"):
                await store.read(lambda reads: reads.find("@last"))
            ids = {}
            for public_id, name in (("other-x", "rev-a"), ("rev-aaa", "rev"), ("rev-abb", "rev"), ("100%_", "odd")):
                job = await store.ingest.begin(new_job(name), public_id, NOW)
                ids[public_id] = job.id

            async def found(ref: str) -> JobId:
                job = await store.read(lambda reads: reads.find(ref))
                return job.id

            assert await found("rev-aaa") == ids["rev-aaa"]
            assert await found("rev") == ids["rev-abb"], "of two jobs of one name, the newer"
            assert await found("rev-a") == ids["other-x"], "a name beats a prefix"
            assert await found("rev-aa") == ids["rev-aaa"]
            assert await found("oth") == ids["other-x"]
            assert await found("100%") == ids["100%_"]
            assert await found("@last") == ids["100%_"]
            with pytest.raises(NoSuchThing, match="several") as several:
                await found("re")
            assert str(several.value.hint) == "one of: rev-abb, rev-aaa"
            for nothing in ("%", "_", "", "REV-AAA", "rev-aaa0"):
                with pytest.raises(NoSuchThing):
                    await found(nothing)
            with pytest.raises(NoSuchThing) as near:
                await found("othr-x")
            assert str(near.value.hint) == "did you mean other-x?"
            with pytest.raises(NoSuchThing) as far:
                await found("zzzzzz")
            assert far.value.exit_code == 4
            assert "ls" in str(far.value.hint)

    asyncio.run(run())


def test_status_shows_every_state_the_next_expiry_and_the_sweep(tmp_path: Path) -> None:
    """One look, one snapshot, every batch state as a key."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 6)
            await in_progress(store, job.id, limit=2, nonce="a")
            doubted = await submitting(store, job.id, limit=2, nonce="b")
            await store.submit.doubt(doubted, "reset", NOW)
            await store.doubt.void(await batch_of(store, doubted.id), LATER, "never seen", NOW)
            status = await store.read(lambda reads: reads.status(reads.get(job.id)))
            assert set(status.batches) == {state.value for state in BatchState}
            assert {state: n for state, n in status.batches.items() if n} == {"in_progress": 1, "void": 1}
            assert status.next_expiry == NOW + timedelta(hours=24)
            assert status.sweep_until == LATER + timedelta(hours=25)
            assert not status.sandbox
            assert [j.id for j in await store.read(lambda reads: reads.unfinished())] == [job.id]

    asyncio.run(run())


def test_failures_are_grouped_by_cause_with_examples(tmp_path: Path) -> None:
    """`errors`: the largest group first, a few lines of the file each."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 9)
            rows = [
                won(1),
                *(lost(n) for n in range(2, 7)),
                lost(7, Outcome.FAILED, "errored"),
                lost(8, Outcome.FAILED, "errored"),
            ]
            await settle_all(store, await collected(store, job.id, [*rows, won(9)]), max_attempts=1)
            groups = await store.read(lambda reads: reads.errors(job.id, groups=5, examples=2))
            assert [(g.error_type, g.error_message, g.count) for g in groups] == [
                ("expired", "expired in 1 attempts", 5), ("errored", "errored", 2),
            ]  # fmt: skip
            assert groups[0].examples == (("r2", 2), ("r3", 3))
            with pytest.raises(NoSuchThing, match="no request"):
                await store.read(lambda reads: reads.request(job.id, "nobody"))

    asyncio.run(run())


def test_batches_are_found_by_number_and_remote_id_and_events_are_paged(tmp_path: Path) -> None:
    """What `batches show` and `watch` stand on."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 2)
            batch = await ended(store, job.id)
            for ref in ("msgbatch_a", str(batch.id)):
                assert (await store.read(batch_named(ref))).id == batch.id
            for ref in ("msgbatch_b", "99", "²", ""):
                with pytest.raises(NoSuchThing, match="no batch"):
                    await store.read(batch_named(ref))
            mine = await store.read(lambda reads: reads.batches_by_remote(["msgbatch_a", "msgbatch_b"]))
            assert list(mine) == ["msgbatch_a"]
            assert await store.read(lambda reads: reads.spans(job.id)) == [(NOW, NOW + timedelta(hours=1))]
            events = await store.read(lambda reads: reads.events(job.id))
            after = await store.read(lambda reads: reads.events(job.id, after=events[1].id, limit=2))
            assert after == events[2:4]

    asyncio.run(run())


@pytest.mark.sqlite
def test_a_reader_of_its_own_sees_one_snapshot_while_the_engine_goes_on(tmp_path: Path) -> None:
    """`status` beside a running engine: all of one committed state, and it never waits."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            with StoreReader.open(store.path) as reads:
                before = reads.status(reads.find("@last"))
                await settle_all(store, await collected(store, job.id, [won(n) for n in range(1, 5)]))
                await store.settle.finish_jobs(NOW)
                assert reads.status(reads.find("@last")) == before
            with StoreReader.open(store.path) as reads:
                after = reads.status(reads.find("@last"))
                assert (after.job.state, after.job.requests.succeeded) == ("finished", 4)

    asyncio.run(run())


@pytest.mark.sqlite
def test_a_store_whose_owner_was_killed_can_be_read(tmp_path: Path) -> None:
    """The log is still there and nobody owns the store: `status` reads what was acknowledged."""
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"

    async def run() -> None:
        async with open_store(path) as store:
            await running_job(store, 4)
            for suffix in ("", "-wal"):  # as a kill leaves it; both are settled now, nobody writes
                copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())

    asyncio.run(run())
    with StoreReader.open(copy) as reads:
        assert reads.find("job").requests.queued == 4
    with closing(raw(copy)) as c:
        assert c.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_jobs_are_listed_newest_first_in_pages(tmp_path: Path) -> None:
    """`ls`."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            made = [(await running_job(store, 1, name=f"job{n}")).id for n in range(5)]
            first = await store.read(lambda reads: reads.jobs(limit=2))
            rest = await store.read(lambda reads: reads.jobs(limit=9, before=first[-1].id))
            assert [job.id for job in (*first, *rest)] == made[::-1]
            newer = await store.read(lambda reads: reads.newer_jobs(made[1], limit=2))
            assert [job.id for job in newer] == [made[2], made[3]]
            assert await store.read(lambda reads: reads.newer_jobs(made[4], limit=2)) == []

    asyncio.run(run())


def test_jobs_are_found_by_the_day_on_which_they_were_made(tmp_path: Path) -> None:
    """From the first moment of a day in UTC to the last one of another."""
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    moments = (
        midnight - timedelta(milliseconds=1),
        midnight,
        midnight + timedelta(hours=47),
        midnight + timedelta(days=2),
    )

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            for number, at in enumerate(moments):
                job = await store.ingest.begin(new_job(str(number)), f"{number}-id", at)
                await finish(store, job.id, str(number))

            async def found(since: date | None, until: date | None) -> list[str]:
                where = JobFilter(since=since, until=until)
                return [job.name for job in await store.read(lambda reads: reads.jobs(limit=9, where=where))]

            day, last = midnight.date(), date.max
            assert await found(day, day) == ["1"]
            assert await found(day, None) == ["3", "2", "1"]
            assert await found(None, day + timedelta(days=1)) == ["2", "1", "0"]
            assert await found(date.min, last) == ["3", "2", "1", "0"]
            where = JobFilter(since=day)
            newer = await store.read(lambda reads: reads.newer_jobs(JobId(2), limit=9, where=where))
            assert [job.name for job in newer] == ["2", "3"]

    asyncio.run(run())


def test_the_poll_facet_sees_each_batch_where_it_is(tmp_path: Path) -> None:
    """Watched, asked to cancel, ended: one list each, and the API's counts are kept with the batch."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            one = await in_progress(store, job.id, limit=2, nonce="a")
            two = await in_progress(store, job.id, limit=2, nonce="b")
            assert await store.poll.to_cancel() == []
            await store.commands.cancel(job.id, NOW)
            assert [b.id for b in await store.poll.to_cancel()] == [one.id, two.id]
            assert await store.poll.asked_to_cancel(one, NOW)
            assert await store.poll.seen_canceling(two, NOW)
            asked, seen = [await batch_of(store, b.id) for b in (one, two)]
            assert (asked.state, asked.cancel_asked_at, seen.state, seen.cancel_asked_at) == (
                "canceling", NOW, "canceling", None,
            )  # fmt: skip
            assert await store.poll.ended(asked, remote("a", 2), NOW)
            assert [b.id for b in await store.poll.watched()] == [two.id]
            (over,) = await store.poll.uncollected()
            assert over.api_counts == remote("a", 2).counts

    asyncio.run(run())
