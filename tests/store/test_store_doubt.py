"""Doubt and evidence: dates that outlive a process, verdicts that are final, purchases that should not exist."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from store.store_world import (
    LATER,
    META,
    NOW,
    batch_of,
    duplicates,
    in_doubt,
    open_store,
    raw,
    remote,
    running_job,
    submitting,
)

from orchestrator.domain.ids import Nonce

NONCES = (Nonce("x" * 20), Nonce("y" * 20))


def test_a_doubt_keeps_the_apis_first_date_over_restarts(tmp_path: Path) -> None:
    """Promise 2: a wait by our own clock starts again with each process, the API's Date does not: a crash loop ends."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await in_doubt(store, job.id)
            await store.doubt.note_date([batch], NOW)
            await store.doubt.note_date([batch], LATER)
        async with open_store(tmp_path / "store.db") as store:
            await store.doubt.note_date([batch], LATER)
            (again,) = await store.doubt.in_doubt()
            assert again.doubt_date == NOW
            assert await store.doubt.looked(again, found=False)
            (looked,) = await store.doubt.in_doubt()
            assert looked.doubt_looks == 1
            assert await store.doubt.end_wait(looked, LATER)
            (closed,) = await store.doubt.in_doubt()
            assert (closed.doubt_until, closed.doubt_looks) == (LATER, 0), "looks count from the closed set on"
            assert not await store.doubt.end_wait(closed, NOW)

    asyncio.run(run())


def test_a_verdict_is_final_and_a_candidate_hides_from_nobody(tmp_path: Path) -> None:
    """Two batches in doubt of one size: both keep the candidate until it is proven."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            one, two = [await submitting(store, job.id, limit=2, nonce=nonce) for nonce in "ab"]
            for batch in (one, two):
                assert await store.submit.doubt(batch, "reset", NOW)
                await store.evidence.add_candidates(batch, [remote("z", 2), remote("y", 2)])
                await store.evidence.add_candidates(batch, [remote("z", 2)])
            assert [b.id for b in await store.commands.doubts_about("msgbatch_z")] == [one.id, two.id]
            assert await store.evidence.judge("msgbatch_y", "foreign")
            assert not await store.commands.disown("msgbatch_y", NOW), "proven already"
            found = await store.evidence.unclaimed([remote("z", 2), remote("y", 2), remote("x", 2)])
            assert [r.id for r in found] == ["msgbatch_z", "msgbatch_x"]
            await store.evidence.readable("msgbatch_z", unreadable_at=NOW)
            await store.evidence.readable("msgbatch_z", unreadable_at=LATER)
            (_, seen) = await store.evidence.candidates(one)
            assert (seen.remote_id, seen.unreadable_since) == ("msgbatch_z", NOW)
            now_one = await batch_of(store, one.id)
            assert await store.doubt.claim(now_one, remote("z", 2), NOW)
            assert not await store.evidence.judge("msgbatch_z", "foreign"), "a proof is final"
            assert await store.evidence.unclaimed([remote("z", 2)]) == []
            assert await store.doubt.void(await batch_of(store, two.id), LATER, "nobody", NOW)
            assert (await store.commands.get(job.id)).requests.queued == 2
            mine = await store.evidence.by_nonce(Nonce("a" * 20))
            assert mine is not None
            assert mine.id == one.id
            assert await store.evidence.by_nonce(NONCES[0]) is None

    asyncio.run(run())


def test_a_duplicate_purchase_is_counted_once_and_its_results_are_kept_apart(tmp_path: Path) -> None:
    """Promise 2, late sweep: what should not exist is reported, never mixed in."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await in_doubt(store, job.id)
            assert await store.doubt.void(batch, NOW, "never seen", NOW)
            (gone,) = await store.sweep.to_sweep()
            assert (gone.id, gone.closed_date) == (batch.id, NOW)
            await store.sweep.see([remote("a", 4)])
            assert await store.sweep.duplicate(gone, "msgbatch_a", NOW)
            assert not await store.sweep.duplicate(gone, "msgbatch_a", NOW)
            for _ in range(2):
                await store.sweep.keep_duplicate_results(gone.id, "msgbatch_a", duplicates(1, 2))
            meta = await store.read(lambda reads: reads.meta())
            assert meta.duplicates_total == 1
            with closing(raw(store.path)) as c:
                assert c.execute("SELECT count(*), count(DISTINCT number) FROM spare").fetchone() == (2, 2)
            assert (await store.commands.get(job.id)).requests.queued == 4
            await store.sweep.swept(gone)
            assert await store.sweep.to_sweep() == []

    asyncio.run(run())


def test_a_batch_made_elsewhere_is_adopted_whole_or_not(tmp_path: Path) -> None:
    """Its requests are exactly the job's; a job that is planned already, or of another size, is refused."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 3)
            assert not await store.commands.adopt(job, remote("z", 4), META, NONCES[0], NOW)
            assert await store.commands.adopt(job, remote("z", 3), META, NONCES[0], NOW)
            assert not await store.commands.adopt(job, remote("y", 3), META, NONCES[1], NOW)
            (batch,) = await store.poll.watched()
            assert (batch.adopted, batch.remote_id, batch.count) == (True, "msgbatch_z", 3)
            assert await store.collect.numbers(job.id, ["r2", "nobody", "r3"]) == {"r2": 2, "r3": 3}

    asyncio.run(run())
