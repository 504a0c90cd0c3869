"""The contract of plan, submit, bisect, params, gates, poll, attention, collect and settle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from store.conformance.contract import case
from store.store_world import (
    BODY,
    LATER,
    META,
    NOW,
    PARAMS,
    ROOM,
    WIDE,
    batch_of,
    collected,
    ended,
    in_progress,
    lost,
    planned,
    remote,
    running_job,
    settle_all,
    submitting,
    won,
)

from orchestrator.domain.ids import Nonce
from orchestrator.domain.packing import pack
from orchestrator.domain.result_outcome import Outcome, Settlement
from orchestrator.domain.states import BatchState, JobState, RequestState
from orchestrator.ports.dispatch import UnitKind
from orchestrator.ports.store import Store, Window

NONCES = (Nonce("x" * 20), Nonce("y" * 20))


@case
async def requests_are_planned_in_input_order_whole_or_not_at_all(store: Store) -> None:
    """A batch that somebody else took a request of is not made."""
    job = await running_job(store, 5)
    assert await store.plan.queued(job.id, 2, list) == [(1, len(PARAMS)), (2, len(PARAMS))]
    found = await store.plan.queued(job.id, 3, lambda rows: pack(rows, WIDE))
    nonce = await store.plan.nonce(job.id, Nonce("a" * 20))
    assert (len(nonce), nonce == await store.plan.nonce(job.id, Nonce("a" * 20))) == (20, True)
    for narrow in (Window(batches=0, requests=9), Window(batches=1, requests=2)):
        assert await store.plan.plan(job, found, nonce, narrow, NOW) is None
    made = await store.plan.plan(job, found, nonce, Window(batches=1, requests=3), NOW)
    assert made is not None
    assert await store.plan.plan(job, found, Nonce("b" * 20), ROOM, NOW) is None
    batch = await batch_of(store, made)
    assert (batch.state, batch.count, batch.nonce) == (BatchState.PLANNED, 3, nonce)
    counts = (await store.commands.get(job.id)).requests
    assert (counts.total, counts.queued, counts.batched) == (5, 2, 3)
    assert 1 <= await store.plan.size_jitter() <= 999


@case
async def jobs_take_turns_and_the_queue_is_measured(store: Store) -> None:
    """The one with the least in flight comes first, among equals the older one; a paused job is not there."""
    one, two = await running_job(store, 4, "one"), await running_job(store, 4, "two")
    assert [each.job.id for each in await store.plan.plannable(limit=9)] == [one.id, two.id]
    await submitting(store, one.id, limit=2)
    (first, second) = await store.plan.plannable(limit=9)
    assert (await store.plan.look(limit=1)).first == [first]
    assert ((first.job.id, first.in_flight), (second.job.id, second.in_flight)) == ((two.id, 0), (one.id, 2))
    assert [each.job.id for each in await store.plan.plannable(limit=1, skip=1)] == [one.id]
    await planned(store, two.id, limit=3, nonce="b")
    load = await store.plan.queue_load()
    assert (load.batches, load.requests, load.waiting_batches) == (2, 5, 1)
    await store.commands.pause(two.id, "by_user", "why not", NOW)
    assert [each.job.id for each in await store.plan.plannable(limit=9)] == [one.id]


@case
async def a_queued_request_that_fits_no_batch_fails_once(store: Store) -> None:
    """With its error and its result, in the counts and in the output."""
    job = await running_job(store, 2)
    assert await store.plan.fail_queued(job.id, 1, ("too_large", "no"), BODY, NOW)
    assert not await store.plan.fail_queued(job.id, 1, ("too_large", "no"), BODY, NOW)
    counts = (await store.commands.get(job.id)).requests
    assert (counts.queued, counts.failed) == (1, 1)
    (row,) = await store.read(lambda reads: reads.results(job.id, above=0, limit=9))
    assert (row.state, row.body) == (RequestState.FAILED, BODY)


@case
async def what_somebody_must_do_something_with_is_due(store: Store) -> None:
    """From the rows alone: a unit of work that was lost is found again, and a batch that the API has needs none."""
    paused, job = await running_job(store, 6, "paused"), await running_job(store, 6)
    await planned(store, paused.id)
    await store.commands.pause(paused.id, "by_user", "asked", NOW)
    batch = await planned(store, job.id, limit=2, nonce="b")
    assert list(await store.submit.due()) == [(UnitKind.SUBMIT, batch.id, job.priority)]
    sent = await store.submit.intend(batch, None, META, NOW)
    assert sent is not None
    assert list(await store.submit.due()) == [(UnitKind.SUBMIT, batch.id, job.priority)]
    assert await store.submit.accept(sent, remote("a", 2), META, NOW)
    assert list(await store.submit.due()) == []
    taken = await batch_of(store, batch.id)
    assert await store.poll.ended(taken, remote("a", 2), NOW)
    assert list(await store.submit.due()) == [(UnitKind.COLLECT, batch.id, job.priority)]


@case
async def every_step_of_a_batch_is_refused_where_the_row_moved(store: Store) -> None:
    """The value that was read carries a fence: a stale one moves nothing."""
    job = await running_job(store, 6)
    batch = await planned(store, job.id, limit=2)
    assert [found.id for found in await store.submit.sendable(9)] == [batch.id]
    assert (await store.submit.find(batch.id), await store.submit.is_sendable(batch)) == (batch, True)
    sent = await store.submit.intend(batch, remote("c", 1), META, NOW)
    assert sent is not None
    assert (await store.submit.find(batch.id), await store.submit.is_sendable(sent)) == (sent, False)
    assert (sent.state, sent.cursor_id, sent.sent_at) == (BatchState.SUBMITTING, "msgbatch_c", NOW)
    assert await store.submit.intend(batch, None, META, NOW) is None
    assert await store.submit.sendable(9) == []
    assert [found.id for found in await store.submit.stranded()] == [batch.id]
    assert await store.submit.is_sending(sent)
    assert not await store.submit.is_sending(batch), "the word is for whoever holds the intent"
    stale = batch
    assert not await store.submit.accept(stale, remote("a", 2), META, NOW)
    assert not await store.submit.give_back(stale, "busy", NOW, cut=False)
    assert not await store.submit.doubt(stale, "reset", NOW)
    assert not await store.bisect.abandon(stale, "no", NOW)
    assert await store.submit.accept(sent, remote("a", 2), META, NOW)
    assert not await store.submit.accept(sent, remote("a", 2), META, NOW)
    assert await store.submit.stranded() == []
    taken = await batch_of(store, batch.id)
    assert (taken.state, taken.remote_id, taken.organization) == (BatchState.IN_PROGRESS, "msgbatch_a", "org-1")


@case
async def a_batch_that_was_refused_waits_to_be_sent_again(store: Store) -> None:
    """Under its nonce; a connection that broke inside the body is counted."""
    job = await running_job(store, 2)
    sent = await submitting(store, job.id)
    assert await store.submit.give_back(sent, "busy", NOW, cut=True)
    (waiting,) = await store.submit.sendable(9)
    assert (waiting.nonce, waiting.cuts, waiting.state) == (sent.nonce, sent.cuts + 1, BatchState.PLANNED)
    again = await store.submit.intend(waiting, None, META, NOW)
    assert again is not None
    assert await store.submit.doubt(again, "reset", NOW)
    assert [found.id for found in await store.doubt.in_doubt()] == [sent.id]


@case
async def an_intent_asks_for_the_limit_and_the_gate(store: Store) -> None:
    """None is sent before its time; after a create that failed no two side by side, but one alone may be tried."""
    job = await running_job(store, 3)
    first, second = await planned(store, job.id, 1), await planned(store, job.id, 1, nonce="b")
    assert await store.submit.intend(first, None, META, NOW, 0) is None
    for gate in ("create", "create.asked"):
        await store.gates.shut(gate, LATER, "busy", NOW)
        assert await store.submit.intend(first, None, META, LATER - timedelta(microseconds=1), 1) is None
        sent = await store.submit.intend(first, None, META, LATER, 1)
        assert sent is not None
        assert await store.submit.intend(second, None, META, LATER, 9) is None
        assert await store.submit.give_back(sent, "busy", NOW, cut=False)
        first = await batch_of(store, first.id)
        await store.gates.open(gate)
    assert await store.submit.intend(first, None, META, NOW, 1) is not None
    assert await store.submit.intend(second, None, META, NOW, 1) is None
    assert await store.submit.intend(second, None, META, NOW, 2) is not None


@case
async def the_most_urgent_batch_is_sent_first(store: Store) -> None:
    """And no more of them than were asked for."""
    first, second = await running_job(store, 2, "a"), await running_job(store, 2, "b")
    one, two = await planned(store, first.id), await planned(store, second.id, nonce="b")
    assert [found.id for found in await store.submit.sendable(1)] == [one.id]
    assert [found.id for found in await store.submit.sendable(2)] == [one.id, two.id]
    await store.commands.pause(first.id, "by_user", "why not", NOW)
    assert [found.id for found in await store.submit.sendable(2)] == [two.id]


@case
async def an_abandoned_batch_gives_its_requests_back_but_the_one_at_fault(store: Store) -> None:
    """The place in the batch says which that is."""
    job = await running_job(store, 3)
    sent = await submitting(store, job.id)
    assert await store.bisect.abandon(sent, "400", NOW, failed=(1, "invalid_request_error", "bad", BODY))
    assert not await store.bisect.abandon(sent, "400", NOW)
    counts = (await store.commands.get(job.id)).requests
    assert (counts.queued, counts.batched, counts.failed) == (2, 0, 1)
    view = await store.read(lambda reads: reads.request(job.id, "r2"))
    assert (view.state, view.error_type) == (RequestState.FAILED, "invalid_request_error")
    assert (await batch_of(store, sent.id)).state is BatchState.ABANDONED


@case
async def a_refused_batch_is_halved_and_a_half_waits_for_its_sibling(store: Store) -> None:
    """The halves hold the same requests in the same order, each once."""
    job = await running_job(store, 5)
    sent = await submitting(store, job.id)
    assert await store.bisect.halve(sent, NONCES, "413", NOW)
    assert not await store.bisect.halve(sent, NONCES, "413", NOW)
    left, right = await store.submit.sendable(9)
    assert [(half.count, half.parent_id, half.depth) for half in (left, right)] == [(2, sent.id, 1), (3, sent.id, 1)]
    assert [number for number, _ in await store.params.slice(right.id, 0, 10**6)] == [3, 4, 5]
    assert await store.bisect.parked() == []
    going = await store.submit.intend(left, None, META, NOW)
    assert going is not None
    assert await store.bisect.park(going, "no reason given", NOW)
    assert not await store.bisect.park(going, "no reason given", NOW)
    ((parked, sibling),) = await store.bisect.parked()
    assert (parked.id, parked.refusal) == (left.id, "no reason given")
    assert sibling is not None
    assert sibling.id == right.id
    assert [found.id for found in await store.submit.sendable(9)] == [right.id], "what is parked is not sent"


@case
async def the_params_of_a_batch_come_back_byte_for_byte(store: Store) -> None:
    """In order, from a number on, at least as much as was asked for; empty at the end."""
    job = await running_job(store, 3)
    batch = await planned(store, job.id)
    found = await store.params.slice(batch.id, 0, 1)
    assert found[0] == (1, PARAMS)
    rest = found + await store.params.slice(batch.id, found[-1][0], 10**6)
    assert rest == [(number, PARAMS) for number in (1, 2, 3)]
    assert await store.params.slice(batch.id, 3, 10**6) == []


@case
async def a_gate_counts_refusals_until_a_call_works(store: Store) -> None:
    """None while there was none; among several, those that are shut."""
    assert await store.gates.get("create") is None
    for tries, until in ((1, LATER), (2, NOW)):  # which does not shorten it
        await store.gates.shut("create", until, "busy", NOW)
        gate = await store.gates.get("create")
        assert gate is not None
        assert (gate.until, gate.tries, gate.why) == (LATER, tries, "busy")
    assert [gate.name for gate in await store.gates.among(["list", "create"])] == ["create"]
    await store.gates.open("create", LATER)
    assert await store.gates.get("create") is not None, "it was shut anew"
    await store.gates.open("create", NOW)
    await store.gates.open("create")
    assert await store.gates.among(["list", "create"]) == []


@case
async def the_api_s_word_on_a_batch_is_taken_once(store: Store) -> None:
    """Watched until it has ended; canceling is told by who asked."""
    job = await running_job(store, 6)
    assert not await store.poll.is_watching()
    one = await in_progress(store, job.id, limit=2, nonce="a")
    sent = await submitting(store, job.id, limit=2, nonce="b")
    assert await store.submit.accept(sent, remote("b", 2, created_at=LATER), META, NOW)
    two = await batch_of(store, sent.id)
    assert await store.poll.is_watching()
    assert [batch.id for batch in await store.poll.watched()] == [two.id, one.id], "the newest first"
    assert await store.poll.to_cancel() == []
    assert await store.poll.asked_to_cancel(one, NOW)
    assert not await store.poll.asked_to_cancel(one, NOW)
    assert await store.poll.seen_canceling(two, NOW)
    assert not await store.poll.seen_canceling(two, NOW)
    stopping = await batch_of(store, one.id)
    assert (stopping.state, stopping.cancel_asked_at) == (BatchState.CANCELING, NOW)
    assert await store.poll.ended(stopping, remote("a", 2), NOW)
    assert not await store.poll.ended(stopping, remote("a", 2), NOW)
    assert [batch.id for batch in await store.poll.uncollected()] == [one.id]
    over = await batch_of(store, one.id)
    assert over.api_counts is not None
    assert (over.state, over.api_counts.succeeded) == (BatchState.ENDED, 2)


@case
async def attention_is_shown_until_its_cause_is_gone(store: Store) -> None:
    """The first time it is an event, too; saying it again changes its words."""
    job = await running_job(store, 2)
    batch = await planned(store, job.id)
    for words in ("one", "two"):
        await store.attention.attend(job.id, "stuck", batch.id, words, NOW)
    await store.attention.attend(job.id, "other", None, "three", LATER)
    shown = await store.read(lambda reads: reads.attentions())
    assert [(who.id, what.kind, what.batch_id, what.message) for who, what in shown] == [
        (job.id, "stuck", batch.id, "two"), (job.id, "other", None, "three")]  # fmt: skip
    events = await store.read(lambda reads: reads.events(job.id))
    assert [event.kind for event in events if event.kind.startswith("attention")] == [
        "attention.stuck",
        "attention.other",
    ]
    for _ in range(2):
        await store.attention.unattend(job.id, "stuck", batch.id)
    assert len(await store.read(lambda reads: reads.attentions())) == 1


@case
async def a_download_that_is_repeated_stores_every_line_once(store: Store) -> None:
    """The first of two lines wins, in one chunk and over two; the counts are kept."""
    job = await running_job(store, 4)
    batch = await ended(store, job.id)
    assert [found.id for found in await store.collect.to_collect(NOW, 9)] == [batch.id]
    assert await store.collect.to_collect(NOW, 0) == []
    assert await store.collect.store_lines(batch, [won(1), won(1, b'{"type":"other"}'), lost(2)], NOW) == 2
    assert await store.collect.store_lines(batch, [won(1, b"{}"), won(2, b"{}"), won(3)], NOW) == 1
    seen = await store.collect.progress(batch)
    assert (seen.count, seen.seen, seen.by_kind) == (4, 3, {"succeeded": 2, "expired": 1})
    rows = await store.read(lambda reads: reads.results(job.id, above=0, limit=9))
    assert [(row.number, row.body) for row in rows] == [(1, BODY), (3, BODY)]
    assert await store.collect.again(batch, LATER, NOW, full=True)
    assert await store.collect.to_collect(NOW, 9) == []
    (due,) = await store.collect.to_collect(LATER, 9)
    assert (due.first_download_date, due.download_due_at) == (NOW, LATER)
    await store.collect.store_lines(due, [lost(4, Outcome.FAILED, "errored")], NOW)
    assert await store.collect.collected(due, NOW)
    assert not await store.collect.collected(due, NOW)
    assert await store.collect.to_collect(LATER, 9) == []


@case
async def results_that_never_come_are_given_up(store: Store) -> None:
    """Those that came stay; the others fail with the reason."""
    job = await running_job(store, 3)
    batch = await ended(store, job.id)
    await store.collect.store_lines(batch, [won(1)], NOW)
    assert await store.collect.give_up(batch, ("results_lost", "gone"), BODY, NOW) == 2
    assert await store.collect.give_up(batch, ("results_lost", "gone"), BODY, NOW) == 0
    counts = (await store.commands.get(job.id)).requests
    assert (counts.succeeded, counts.failed, counts.batched) == (1, 2, 0)
    assert await store.read(lambda reads: reads.failed_of_type(job.id, "results_lost")) == 2


@case
async def what_did_not_succeed_is_decided_and_the_job_ends(store: Store) -> None:
    """Queued again while attempts are left; then it fails, the batch is settled and the job finished."""
    job = await running_job(store, 2)
    batch = await collected(store, job.id, [won(1), lost(2)])
    assert [found.id for found in await store.settle.to_settle()] == [batch.id]
    assert await store.settle.outcomes(batch) == {Outcome.AGAIN: 1}
    assert await store.settle.settle(batch, 2, NOW) == {Settlement.AGAIN: 1}
    assert await store.settle.settle(batch, 2, NOW) is None
    assert await store.settle.to_settle() == await store.poll.uncollected() == []
    assert await store.settle.finish_jobs(NOW) == [], "one is queued again"
    last = await collected(store, job.id, [lost(2)], nonce="b")
    assert await store.settle.settle(last, 2, NOW) == {Settlement.FAILED: 1}
    await settle_all(store, last)
    (before,) = await store.settle.finish_jobs(NOW)
    assert await store.settle.finish_jobs(NOW) == []
    after = await store.commands.get(job.id)
    assert (before.state, after.state, after.finished_at) == (JobState.RUNNING, JobState.FINISHED, NOW)
    assert (after.requests.succeeded, after.requests.failed) == (1, 1)


@case
async def a_settled_batch_is_deleted_at_the_api_once(store: Store) -> None:
    """The oldest first, as many as were asked for."""
    job = await running_job(store, 2)
    batches = []
    for nonce, number in (("a", 1), ("b", 2)):
        batches.append(await collected(store, job.id, [won(number)], nonce, limit=1))
        await settle_all(store, batches[-1])
    assert [found.id for found in await store.settle.to_delete(1)] == [batches[0].id]
    for _ in range(2):
        await store.settle.deleted(batches[0], LATER)
    assert [found.id for found in await store.settle.to_delete(9)] == [batches[1].id]
    assert (await batch_of(store, batches[0].id)).deleted_at == LATER


@case
async def a_lost_file_is_not_found_in_a_healthy_store(store: Store) -> None:
    """The look costs nothing and says nothing."""
    await store.check_files()
    job = await running_job(store, 1)
    assert replace(job, fence=job.fence) == await store.commands.get(job.id)
