"""What a service reads: jobs and batches by page and filter, sums over all jobs, the newest events, samples."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from store.store_world import (
    LATER,
    NOW,
    collected,
    in_doubt,
    in_progress,
    lost,
    open_store,
    planned,
    raw,
    remote,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.ids import BatchId
from orchestrator.domain.queries import JobFilter, Sample
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.reads import Reads


def test_jobs_are_listed_by_state_and_text(tmp_path: Path) -> None:
    """A part of the name or of the id, whatever its case; nothing in it is a pattern."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            for name in ("Alpha", "beta", "al%pha"):
                await running_job(store, 1, name=name)
            await store.commands.pause((await store.read(lambda reads: reads.find("beta"))).id, "c", "r", NOW)

            async def dict_rows(limit: int = 9, **where: object) -> list[str]:
                wanted = JobFilter(**where)  # type: ignore[arg-type]  # fields by name, of the types that it takes
                return [job.name for job in await store.read(lambda reads: reads.jobs(limit=limit, where=wanted))]

            assert await dict_rows(text="ALPHA") == ["Alpha"]
            assert await dict_rows(text="%") == ["al%pha"]
            assert await dict_rows(text="-ID") == ["al%pha", "beta", "Alpha"]
            assert await dict_rows(text="_") == []
            assert await dict_rows(states=frozenset({JobState.PAUSED})) == ["beta"]
            assert await dict_rows(states=frozenset({JobState.PAUSED, JobState.RUNNING}), text="a", limit=2) == [
                "al%pha", "beta",
            ]  # fmt: skip

    asyncio.run(run())


def test_totals_are_the_sums_over_all_jobs(tmp_path: Path) -> None:
    """Every state is a key; what the API holds or may hold is in flight."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            empty = await store.read(lambda reads: reads.totals())
            assert (empty.requests.total, empty.in_flight_requests, empty.oldest_unfinished_at) == (0, 0, None)
            job = (await running_job(store, 10)).id
            await settle_all(store, await collected(store, job, [won(1), won(3), lost(2)], limit=3), max_attempts=1)
            assert await store.plan.fail_queued(job, 4, ("invalid", "too large"), b"{}", NOW)
            await in_progress(store, job, limit=2, nonce="b")
            await in_doubt(store, job, limit=1, nonce="c")
            await running_job(store, 5, name="other")
            totals = await store.read(lambda reads: reads.totals())
            counts = totals.requests
            assert (counts.total, counts.queued, counts.batched, counts.succeeded, counts.failed) == (15, 8, 3, 2, 2)
            assert totals.in_flight_requests == 3
            assert {state: n for state, n in totals.jobs.items() if n} == {JobState.RUNNING: 2}
            assert {state: n for state, n in totals.batches.items() if n} == {
                BatchState.SETTLED: 1, BatchState.IN_PROGRESS: 1, BatchState.IN_DOUBT: 1,
            }  # fmt: skip
            assert set(totals.batches) == set(BatchState)
            assert (totals.next_expiry, totals.oldest_unfinished_at) == (NOW + timedelta(hours=24), NOW)

    asyncio.run(run())


def test_what_needs_a_person_is_told_for_all_jobs_at_once(tmp_path: Path) -> None:
    """With its job, the oldest first."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            one, two = await running_job(store, 1, name="one"), await running_job(store, 1, name="two")
            await store.attention.attend(one.id, "late", None, "later", LATER)
            await store.attention.attend(two.id, "early", None, "earlier", NOW)
            found = await store.read(lambda reads: reads.attentions())
            assert [(job.name, attention.kind) for job, attention in found] == [("two", "early"), ("one", "late")]

    asyncio.run(run())


def test_batches_are_paged_newest_first_by_state_and_job(tmp_path: Path) -> None:
    """Pages that are merged from several states are in order, and nothing is missing."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            one, two = await running_job(store, 9, name="one"), await running_job(store, 9, name="two")
            made = [
                (await in_progress(store, one.id, limit=2, nonce="a")).id,
                (await planned(store, two.id, limit=2, nonce="b")).id,
                (await in_doubt(store, one.id, limit=2, nonce="c")).id,
                (await in_progress(store, two.id, limit=2, nonce="d")).id,
            ]

            async def paged(**more: object) -> list[int]:
                rows = await store.read(lambda reads: reads.batches_page(**more))  # type: ignore[arg-type]  # by name
                return [row.id for row in rows]

            assert await paged(limit=9) == made[::-1]
            assert await paged(limit=2, before=made[3]) == [made[2], made[1]]
            assert await paged(limit=9, job=one.id) == [made[2], made[0]]
            states = frozenset({BatchState.IN_PROGRESS, BatchState.PLANNED})
            assert await paged(limit=2, states=states) == [made[3], made[1]]
            assert await paged(limit=9, states=states, before=made[3]) == [made[1], made[0]]
            assert await paged(limit=9, states=states, job=two.id) == [made[3], made[1]]

    asyncio.run(run())


def test_the_candidates_of_a_batch_in_doubt_are_shown(tmp_path: Path) -> None:
    """What a person has to choose between, with what is known of each."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            doubted = await in_doubt(store, job.id)
            assert await store.read(lambda reads: reads.candidates(doubted.id)) == []
            seen = [remote("x", 4, created_at=LATER), remote("y", 4)]
            await store.evidence.add_candidates(doubted, seen)
            found = await store.read(lambda reads: reads.candidates(doubted.id))
            assert [(r.remote_id, r.verdict) for r in found] == [("msgbatch_y", "unproven"), ("msgbatch_x", "unproven")]

    asyncio.run(run())


def test_events_are_read_from_the_newest_and_of_all_jobs(tmp_path: Path) -> None:
    """A page shows the newest first; the number of the last is where one begins to listen."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            assert await store.read(lambda reads: reads.last_event()) == 0
            one = await running_job(store, 1, name="one")
            two = await running_job(store, 1, name="two")
            every = await store.read(lambda reads: reads.events(None))
            assert await store.read(lambda reads: reads.last_event()) == every[-1].id
            newest = await store.read(lambda reads: reads.newest_events(None, limit=3))
            assert newest == every[::-1][:3]
            older = await store.read(lambda reads: reads.newest_events(None, limit=9, before=newest[-1].id))
            assert older == every[::-1][3:]
            mine = await store.read(lambda reads: reads.newest_events(one.id, limit=9))
            assert mine == [event for event in every[::-1] if event.job_id == one.id]
            assert {event.job_id for event in every} == {one.id, two.id}

    asyncio.run(run())


def test_samples_are_thinned_to_the_last_of_each_step(tmp_path: Path) -> None:
    """A chart of a month asks for few points; a step without a sample is left out."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            with closing(raw(store.path)) as c:
                for second in (0, 10, 20, 60, 200):
                    at = (NOW + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                    c.execute("INSERT INTO sample VALUES (?, ?, 0, 0, 0, 0, 0, 1)", (at, second))

            def seen(since: int, step: int) -> Callable[[Reads], list[Sample]]:
                return lambda reads: reads.samples(since=NOW + timedelta(seconds=since), step=timedelta(seconds=step))

            assert [s.queued for s in await store.read(seen(0, 60))] == [20, 60, 200]
            assert [s.queued for s in await store.read(seen(10, 1))] == [10, 20, 60, 200]
            assert (await store.read(seen(0, 60)))[0].at == NOW + timedelta(seconds=20)

    asyncio.run(run())


def test_the_way_of_each_batch_is_told_from_its_events(tmp_path: Path) -> None:
    """The timeline: when a batch came into which state, for the batches that are drawn and no others."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            await in_doubt(store, job.id, limit=1, nonce="a")
            await in_doubt(store, job.id, limit=1, nonce="b")
            (first, second) = await store.doubt.in_doubt()
            await store.doubt.claim(second, remote("b", 1), LATER)
            found = await store.read(lambda reads: reads.batch_histories([first.id, second.id, BatchId(99)]))
            doubt = [(NOW, BatchState.PLANNED), (NOW, BatchState.SUBMITTING), (NOW, BatchState.IN_DOUBT)]
            assert found == {first.id: doubt, second.id: [*doubt, (LATER, BatchState.IN_PROGRESS)]}
            assert await store.read(lambda reads: reads.batch_histories([])) == {}

    asyncio.run(run())
