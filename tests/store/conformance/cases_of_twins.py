"""The contract of twins: identical requests are found at the end of an import, and end as their originals do."""

from __future__ import annotations

from dataclasses import replace

from store.conformance.contract import case
from store.store_world import NOW, collected, finish, lines, new_job, settle_all, won

from orchestrator.domain.model import JobRow
from orchestrator.ports.job_store import DuplicatesCursor
from orchestrator.ports.store import Store

ONE, TWO = b'{"max_tokens":1}', b'{"max_tokens":2}'


async def with_twins(store: Store) -> JobRow:
    """A job of r1 to r5, where r3 and r5 are twins of r1; r4 repeats a custom id and is left out."""
    job = await store.ingest.begin(replace(new_job(), dedupe=True), "twins-id", NOW)
    for number, (name, params) in enumerate(
        (("r1", ONE), ("r2", TWO), ("r3", ONE), ("r2", ONE), ("r5", b'{ "max_tokens": 1 }')), 1
    ):
        await store.ingest.add(job.id, lines([name], first_line=number, params=params), NOW)
    await store.ingest.repeated(job.id, DuplicatesCursor(), leave_out=True)
    found = [params async for many in store.ingest.twins(job.id, stays_open=False) for params in many]
    assert found == [ONE, b'{ "max_tokens": 1 }']
    assert [many async for many in store.ingest.twins(job.id, stays_open=False)] == [], "once"
    return await finish(store, job.id)


@case
async def twins_are_planned_by_nobody_and_end_with_the_batch_of_their_original(store: Store) -> None:
    """Their results are that of the original; the job ends when all of them have."""
    job = await with_twins(store)
    assert (job.requests.total, job.twins, job.to_send) == (4, 2, 2)
    batch = await collected(store, job.id, [won(1), won(2)])
    assert batch.count == 2
    assert await store.plan.plannable(limit=9) == []
    assert await store.settle.follow_left_over() == 0, "the batch of their original is to be settled"
    assert await store.settle.finish_jobs(NOW) == []
    await settle_all(store, batch)
    assert [done.id for done in await store.settle.finish_jobs(NOW)] == [job.id]
    results = await store.read(lambda reads: reads.results(job.id, above=0, limit=9))
    assert [(row.custom_id, row.reused_from) for row in results] == [
        *(("r1", None), ("r2", None), ("r3", "r1"), ("r5", "r1")),
    ]
    assert results[2].body == results[0].body


@case
async def twins_of_what_no_batch_took_end_when_nothing_else_is_left(store: Store) -> None:
    """And go again with their original."""
    job = await with_twins(store)
    assert await store.plan.fail_queued(job.id, 1, ("too_large", "too large"), b"{}", NOW)
    assert await store.settle.follow_left_over() == 0, "another is to be sent"
    await settle_all(store, await collected(store, job.id, [won(2)]))
    assert await store.settle.follow_left_over() == 2
    assert await store.settle.follow_left_over() == 0
    assert [done.requests.failed for done in await store.settle.finish_jobs(NOW)] == [3]
    assert await store.retries.retry(job.id, (), NOW) == 3
    again = await store.commands.get(job.id)
    assert (again.requests.queued, again.twins_waiting, again.state) == (3, 2, "running")
