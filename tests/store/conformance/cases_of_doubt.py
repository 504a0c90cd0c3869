"""The contract of doubt, evidence, sweep, reconciliation and strays."""

from __future__ import annotations

from array import array
from datetime import timedelta

from store.conformance.contract import case, restored
from store.store_world import (
    LATER,
    NOW,
    batch_of,
    duplicates,
    in_doubt,
    planned,
    remote,
    running_job,
    submitting,
    won,
)

from orchestrator.domain.ids import Nonce
from orchestrator.domain.states import BatchState
from orchestrator.ports.doubts import StrayOutcome
from orchestrator.ports.store import Store


@case
async def a_doubt_keeps_the_api_s_first_date(store: Store) -> None:
    """The first Date stays, whatever comes after; looks count from the end of the wait on."""
    job = await running_job(store)
    batch = await in_doubt(store, job.id)
    await store.doubt.note_date([batch], NOW)
    await store.doubt.note_date([batch], LATER)
    (waiting,) = await store.doubt.in_doubt()
    assert waiting.doubt_date == NOW
    assert await store.doubt.end_wait(waiting, LATER)
    assert not await store.doubt.end_wait(batch, NOW)
    assert not await store.doubt.looked(waiting, found=False), "the row moved since it was read"
    (closed,) = await store.doubt.in_doubt()
    assert await store.doubt.looked(closed, found=False)
    (looked,) = await store.doubt.in_doubt()
    assert (looked.doubt_until, looked.doubt_looks) == (LATER, 1)
    assert await store.doubt.looked(looked, found=True)
    assert (await batch_of(store, batch.id)).doubt_looks == 0


@case
async def a_batch_that_never_was_gives_its_requests_back(store: Store) -> None:
    """Once, with no attempt burnt, and it is looked for on."""
    job = await running_job(store)
    batch = await in_doubt(store, job.id)
    assert await store.doubt.void(batch, LATER, "never seen", NOW)
    assert not await store.doubt.void(batch, LATER, "never seen", NOW)
    assert not await store.doubt.claim(batch, remote("a", 4), NOW)
    assert (await store.commands.get(job.id)).requests.queued == 4
    assert (await store.read(lambda reads: reads.request_at(job.id, 1))).attempts == 0
    (swept,) = await store.sweep.to_sweep()
    assert (swept.id, swept.state, swept.closed_date) == (batch.id, BatchState.VOID, LATER)
    for _ in range(2):
        await store.sweep.swept(swept)
    assert await store.sweep.to_sweep() == []


@case
async def a_proof_makes_a_remote_batch_ours_for_ever(store: Store) -> None:
    """Candidates are kept until they are proven, and a proof is final."""
    job = await running_job(store)
    one, two = await in_doubt(store, job.id, limit=2, nonce="a"), await in_doubt(store, job.id, limit=2, nonce="b")
    shown = [remote("z", 2), remote("y", 2)]
    for batch in (one, two):
        await store.evidence.add_candidates(batch, shown)
        await store.evidence.add_candidates(batch, shown)
    assert [found.remote_id for found in await store.evidence.candidates(two)] == ["msgbatch_y", "msgbatch_z"]
    assert await store.evidence.unclaimed(shown) == shown
    await store.evidence.readable("msgbatch_y", unreadable_at=NOW)
    await store.evidence.readable("msgbatch_y", unreadable_at=LATER)
    assert (await store.evidence.candidates(two))[0].unreadable_since == NOW, "since the first time"
    await store.evidence.readable("msgbatch_y", unreadable_at=None)
    assert (await store.evidence.candidates(two))[0].unreadable_since is None
    assert await store.evidence.judge("msgbatch_y", "foreign")
    assert not await store.evidence.judge("msgbatch_y", "unprovable")
    assert await store.doubt.claim(one, shown[0], NOW)
    assert not await store.doubt.claim(two, shown[0], NOW)
    assert await store.evidence.unclaimed(shown) == []
    found = await store.evidence.by_nonce(one.nonce)
    assert found is not None
    assert (found.id, found.state, found.remote_id) == (one.id, BatchState.IN_PROGRESS, "msgbatch_z")
    assert await store.evidence.by_nonce(Nonce("q" * 20)) is None
    verdicts = await store.read(lambda reads: reads.candidates(two.id))
    assert {one.remote_id: one.verdict for one in verdicts} == {"msgbatch_y": "foreign", "msgbatch_z": "ours"}


@case
async def an_answer_that_comes_late_is_proof(store: Store) -> None:
    """Of a batch in doubt; of one that is over it changes nothing, and an id that is another's proves nothing."""
    job = await running_job(store, 6)
    sent = await submitting(store, job.id, limit=2, nonce="a")
    assert await store.submit.doubt(sent, "taken over", NOW)
    claimed = await store.doubt.claim_late(sent, remote("z", 2), NOW)
    assert (claimed.state, claimed.remote_id) == (BatchState.IN_PROGRESS, "msgbatch_z")
    assert await store.doubt.claim_late(sent, remote("z", 2), NOW) == claimed
    assert await store.evidence.unclaimed([remote("z", 2)]) == []
    other = await in_doubt(store, job.id, limit=2, nonce="b")
    assert (await store.doubt.claim_late(other, remote("z", 2), NOW)).state is BatchState.IN_DOUBT
    assert await store.doubt.void(other, NOW, "never seen", NOW)
    over = await store.doubt.claim_late(other, remote("y", 2), NOW)
    assert (over.state, over.remote_id) == (BatchState.VOID, None)


@case
async def a_batch_that_was_bought_twice_is_counted_once(store: Store) -> None:
    """And its results are kept beside the job's."""
    job = await running_job(store)
    batch = await in_doubt(store, job.id)
    await store.doubt.void(batch, NOW, "never seen", NOW)
    closed = await batch_of(store, batch.id)
    await store.sweep.see([remote("late", 4)])
    await store.sweep.see([remote("late", 4)])
    assert await store.sweep.duplicate(closed, "msgbatch_late", NOW)
    assert not await store.sweep.duplicate(closed, "msgbatch_late", NOW)
    for _ in range(2):
        await store.sweep.keep_duplicate_results(batch.id, "msgbatch_late", duplicates(1, 2))
    assert await store.sweep.unkept() == {"msgbatch_late": batch.id}, "two of its four results are missing"
    await store.sweep.keep_duplicate_results(batch.id, "msgbatch_late", duplicates(3, 4))
    assert await store.sweep.unkept() == {}
    assert (await store.read(lambda reads: reads.meta())).duplicates_total == 1
    events = await store.read(lambda reads: reads.events(job.id))
    assert [event.kind for event in events].count("batch.duplicate") == 1


@case
async def a_store_that_lacks_nothing_searches_for_nothing(store: Store) -> None:
    """And nothing in it waits for a search."""
    job = await running_job(store)
    assert await store.reconcile.open() is None
    assert await store.reconcile.pending() == (None, [])
    assert not await store.reconcile.close(NOW)
    await planned(store, job.id)
    assert len(await store.submit.sendable(9)) == 1
    await store.attention.attend(job.id, "searching", None, "words", NOW)
    assert await store.reconcile.jobs_with_attention("searching") == [job.id]
    assert await store.reconcile.jobs_with_attention("other") == []


@case
async def a_store_that_misses_commits_searches_from_then_on(store: Store) -> None:
    """What was seen and is gone opens the search in the middle of a life; nothing is planned or sent until it ends."""
    job = await running_job(store)
    await planned(store, job.id, limit=1)
    await store.reconcile.begin(NOW)
    search = await store.reconcile.open()
    assert search is not None
    assert (search.cause, search.until, search.looks) == ("behind", None, 0)
    assert await store.submit.sendable(9) == []
    assert await store.plan.plannable(limit=9) == []


@restored
async def a_store_that_was_put_back_sends_nothing_until_it_has_looked(store: Store) -> None:
    """The wait by the API's Date stays; one whole look without a question ends the search."""
    search = await store.reconcile.open()
    assert search is not None
    assert (search.cause, search.until, search.looks) == ("copied", None, 0)
    (job,) = await store.reconcile.unfinished()
    assert await store.plan.plannable(limit=9) == []
    assert not await store.reconcile.close(NOW)
    await store.reconcile.note_date(NOW)
    await store.reconcile.note_date(LATER)
    await store.reconcile.looked(is_open=False)
    await store.reconcile.end_wait(LATER)
    waited, strays = await store.reconcile.pending()
    assert waited is not None
    assert (waited.first_date, waited.until, waited.looks, strays) == (NOW, LATER, 0, [])
    assert not await store.reconcile.close(NOW), "nobody looked since"
    await store.reconcile.looked(is_open=False)
    await store.reconcile.looked(is_open=True)
    assert not await store.reconcile.close(NOW), "a look that leaves something open begins anew"
    await store.reconcile.looked(is_open=False)
    assert await store.reconcile.close(NOW)
    assert not await store.reconcile.close(NOW)
    assert [each.job.id for each in await store.plan.plannable(limit=9)] == [job]


@case
async def a_remote_batch_with_our_nonce_becomes_a_batch_of_its_job(store: Store) -> None:
    """With those of its requests that wait for a result; what was planned for them is dropped."""
    job = await running_job(store)
    nonce = await store.plan.nonce(job.id, Nonce("a" * 20))
    assert await store.strays.owner(nonce) == job.id
    assert await store.strays.owner(Nonce("q" * 20)) is None
    dropped = await planned(store, job.id, limit=2, nonce="b")
    found = remote("far", 3)
    await store.strays.keep(found, nonce, None, None)
    await store.strays.keep(found, nonce, job.id, array("I", [1, 2, 3]))
    _, (stray,) = await store.reconcile.pending()
    assert (stray.remote_id, stray.job_id, stray.count) == (found.id, job.id, 3)
    assert await store.strays.absorb(stray, NOW) is StrayOutcome.TAKEN
    assert await store.strays.absorb(stray, NOW) is StrayOutcome.WAITS, "once"
    assert (await batch_of(store, dropped.id)).state is BatchState.ABANDONED
    (batch,) = await store.poll.watched()
    assert (batch.remote_id, batch.count, batch.nonce) == (found.id, 3, nonce)
    counts = (await store.commands.get(job.id)).requests
    assert (counts.queued, counts.batched) == (1, 3)


@case
async def a_stray_whose_requests_all_have_results_is_dropped(store: Store) -> None:
    """And one of which some are out waits for them."""
    job = await running_job(store, 2)
    sent = await submitting(store, job.id)
    nonce = await store.plan.nonce(job.id, Nonce("a" * 20))
    await store.strays.keep(remote("far", 2), nonce, job.id, array("I", [1, 2]))
    _, (stray,) = await store.reconcile.pending()
    assert await store.strays.absorb(stray, NOW) is StrayOutcome.WAITS
    await store.submit.doubt(sent, "reset", NOW)
    doubted = await batch_of(store, sent.id)
    await store.doubt.claim(doubted, remote("near", 2), NOW)
    await store.poll.ended(await batch_of(store, sent.id), remote("near", 2), NOW)
    await store.collect.store_lines(await batch_of(store, sent.id), [won(1), won(2)], NOW)
    assert await store.strays.absorb(stray, NOW) is StrayOutcome.DROPPED
    assert (await store.reconcile.pending())[1] == []


@case
async def a_batch_that_is_only_planned_here_may_be_out_already(store: Store) -> None:
    """Proven by its results, it is in progress, as if it had been sent by this store."""
    job = await running_job(store)
    batch = await planned(store, job.id)
    there = remote("a", 4, created_at=NOW - timedelta(hours=1))
    assert await store.strays.claim_planned(batch, there, NOW)
    assert not await store.strays.claim_planned(batch, there, NOW)
    taken = await batch_of(store, batch.id)
    assert (taken.state, taken.remote_id) == (BatchState.IN_PROGRESS, there.id)
