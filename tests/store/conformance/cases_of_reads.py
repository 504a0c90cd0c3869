"""The contract of what the faces read: pages by key, their order, their ends, and what is not there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from store.conformance.contract import case
from store.store_world import (
    BODY,
    LATER,
    NOW,
    PARAMS,
    batch_of,
    collected,
    ended,
    in_progress,
    lines,
    lost,
    new_job,
    planned,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.errors import GuardRefused, NoSuchThing
from orchestrator.domain.ids import BatchId, JobId, RemoteId
from orchestrator.domain.notices import DeliveryState, EndpointSpec
from orchestrator.domain.queries import JobFilter, Leap, RequestFilter, SettledCursor
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.states import BatchState, JobState, RequestState
from orchestrator.ports.store import Store
from orchestrator.ports.streams import InputProblem


@case
async def a_job_is_found_by_id_prefix_name_or_as_the_last(store: Store) -> None:
    """One that changes something asks for the only one of a name."""
    with pytest.raises(NoSuchThing):
        await store.read(lambda reads: reads.find("@last"))
    one, two = await running_job(store, 1, "one"), await running_job(store, 1, "two")
    for ref in ("one", "one-id", "one-i"):
        assert (await store.read(lambda reads, ref=ref: reads.find(ref))).id == one.id  # type: ignore[misc]
    assert (await store.read(lambda reads: reads.find("@last"))).id == two.id
    assert (await store.read(lambda reads: reads.sole("one"))).id == one.id
    with pytest.raises(NoSuchThing):
        await store.read(lambda reads: reads.find("nobody"))
    twin = await store.ingest.begin(new_job("one"), "three-id", NOW)
    assert (await store.read(lambda reads: reads.find("one"))).id == twin.id, "the newest of that name"
    with pytest.raises(GuardRefused):
        await store.read(lambda reads: reads.sole("one"))


@case
async def jobs_are_listed_from_the_newest_page_by_page(store: Store) -> None:
    """By state and text; the other way round for what follows one."""
    made = [(await running_job(store, 1, name)).id for name in ("one", "two", "three")]
    await store.commands.pause(made[1], "by_user", "why not", NOW)
    first = await store.read(lambda reads: reads.jobs(limit=2))
    assert [job.id for job in first] == [made[2], made[1]]
    rest = await store.read(lambda reads: reads.jobs(limit=9, before=made[1]))
    assert [job.id for job in rest] == [made[0]]
    paused = JobFilter(states=frozenset({JobState.PAUSED}))
    assert [job.id for job in await store.read(lambda reads: reads.jobs(limit=9, where=paused))] == [made[1]]
    text = JobFilter(text="thr")
    assert [job.id for job in await store.read(lambda reads: reads.jobs(limit=9, where=text))] == [made[2]]
    tagged = await store.ingest.begin(replace(new_job("four"), tags=("x", "y")), "four-id", NOW)
    for tags, found in (({"x"}, [tagged.id]), ({"x", "y"}, [tagged.id]), ({"x", "z"}, [])):
        wanted = JobFilter(tags=frozenset(tags))
        assert [job.id for job in await store.read(lambda reads, w=wanted: reads.jobs(limit=9, where=w))] == found  # type: ignore[misc]
    await store.ingest.discard(tagged.id)
    assert [job.id for job in await store.read(lambda reads: reads.newer_jobs(made[0], limit=1))] == [made[1]]
    known = await store.read(lambda reads: reads.known([made[2], JobId(999)]))
    assert list(known) == [made[2]]
    assert [job.id for job in await store.read(lambda reads: reads.unfinished())] == made
    assert (await store.read(lambda reads: reads.get(made[1]))).state is JobState.PAUSED


@case
async def lines_that_were_refused_are_told_in_file_order(store: Store) -> None:
    """A page ends with a whole line."""
    job = await store.ingest.begin(new_job(), "id", NOW)
    await store.ingest.add(job.id, lines(["a"]), NOW)
    bad = [
        InputProblem(line=line, field=field, message="m", remedy="r", raw=b"x")
        for line, field in ((2, "f"), (3, "f"), (3, "g"))
    ]
    await store.ingest.add_refused(job.id, bad)
    assert await store.read(lambda reads: reads.refused(job.id)) == bad
    assert await store.read(lambda reads: reads.refused(job.id, after=2)) == bad[1:]
    assert await store.read(lambda reads: reads.refused(job.id, limit=1)) == bad[:1]


@case
async def a_job_s_status_adds_up(store: Store) -> None:
    """Batches by state, stop reasons, attention; the sums over all jobs say the same."""
    job = await running_job(store, 3)
    await in_progress(store, job.id, limit=2)
    await planned(store, job.id, nonce="b")
    await store.attention.attend(job.id, "stuck", None, "words", NOW)
    status = await store.read(lambda reads: reads.status(job))
    assert set(status.batches) == {state.value for state in BatchState}
    assert (status.batches["in_progress"], status.batches["planned"], status.sandbox) == (1, 1, False)
    assert [one.kind for one in status.attention] == ["stuck"]
    assert status.next_expiry == NOW + timedelta(hours=24)
    totals = await store.read(lambda reads: reads.totals())
    assert (totals.requests.total, totals.requests.batched, totals.in_flight_requests) == (3, 3, 2)
    assert (totals.jobs[JobState.RUNNING], totals.batches[BatchState.PLANNED]) == (1, 1)
    assert (totals.next_expiry, totals.oldest_unfinished_at) == (status.next_expiry, NOW)
    meta = await store.read(lambda reads: reads.meta())
    assert (meta.sandbox, meta.duplicates_total, bool(meta.lineage)) == (False, 0, True)
    assert await store.read(lambda reads: reads.asked_again_at(job)) is None
    await store.gates.shut("list", LATER, "busy", NOW)
    assert [gate.name for gate in await store.read(lambda reads: reads.gates())] == ["list"]


@case
async def requests_are_listed_in_input_order_whatever_they_became(store: Store) -> None:
    """By state, batch or error; one by one by their custom_id or number."""
    job = await running_job(store, 5)
    batch = await collected(store, job.id, [won(2), lost(1, Outcome.FAILED)], limit=2)
    rows = await store.read(lambda reads: reads.requests(job.id, limit=9))
    assert [(row.number, row.state) for row in rows][:3] == [
        (1, RequestState.FAILED), (2, RequestState.SUCCEEDED), (3, RequestState.QUEUED)]  # fmt: skip
    assert [row.number for row in await store.read(lambda reads: reads.requests(job.id, above=3, limit=1))] == [4]
    queued = RequestFilter(state=RequestState.QUEUED)
    assert [r.number for r in await store.read(lambda reads: reads.requests(job.id, limit=9, where=queued))] == [
        3,
        4,
        5,
    ]
    within = RequestFilter(batch=batch.id)
    assert [r.number for r in await store.read(lambda reads: reads.requests(job.id, limit=9, where=within))] == [1, 2]
    one = await store.read(lambda reads: reads.request(job.id, "r2"))
    assert (one.number, one.params, one.result, one.failed_attempts) == (2, PARAMS, BODY, ())
    failed = await store.read(lambda reads: reads.request_at(job.id, 1))
    assert ([trip.kind for trip in failed.failed_attempts], failed.custom_id) == (["expired"], "r1")
    assert await store.read(lambda reads: reads.neighbours(job.id, 1)) == (None, 2)
    assert await store.read(lambda reads: reads.neighbours(job.id, 5)) == (4, None)
    for look in (lambda reads: reads.request(job.id, "nobody"), lambda reads: reads.request_at(job.id, 6)):
        with pytest.raises(NoSuchThing):
            await store.read(look)


@case
async def results_come_in_input_order_or_in_that_of_their_settling(store: Store) -> None:
    """Each once, page by page; the end is an empty page at the same place."""
    job = await running_job(store, 4)
    for nonce, rows in (("a", [won(2), lost(1, Outcome.FAILED, "errored")]), ("b", [won(3), won(4)])):
        batch = await collected(store, job.id, rows, nonce, limit=2)
        await settle_all(store, batch)
    await store.settle.finish_jobs(NOW)
    found = await store.read(lambda reads: reads.results(job.id, above=0, limit=9))
    assert [row.number for row in found] == [1, 2, 3, 4]
    assert [row.number for row in await store.read(lambda reads: reads.results(job.id, above=2, limit=1))] == [3]
    place, seen = SettledCursor(), []
    while True:
        page, place = await store.read(lambda reads, at=place: reads.settled_results(job.id, after=at, limit=3))  # type: ignore[misc]
        if not page:
            break
        seen += [row.number for row in page]
    assert seen == [1, 2, 3, 4]
    (group,) = await store.read(lambda reads: reads.errors(job.id))
    assert (group.error_type, group.count, group.examples) == ("errored", 1, (("r1", 1),))
    assert await store.read(lambda reads: reads.errors(job.id, groups=0)) == []
    assert await store.read(lambda reads: reads.failed_of_type(job.id, "errored")) == 1
    assert [old.id for old in await store.read(lambda reads: reads.over_since(NOW))] == [job.id]


@case
async def batches_are_found_by_either_name_and_listed_from_the_newest(store: Store) -> None:
    """Ours among the API's; by state and job."""
    job = await running_job(store, 6)
    one, two = await ended(store, job.id, limit=2), await in_progress(store, job.id, limit=2, nonce="b")
    three = await planned(store, job.id, nonce="c")
    assert [batch.id for batch in await store.read(lambda reads: reads.batches(job.id))] == [one.id, two.id, three.id]
    page = await store.read(lambda reads: reads.batches_page(limit=2))
    assert [batch.id for batch in page] == [three.id, two.id]
    rest = await store.read(lambda reads: reads.batches_page(limit=9, before=two.id, job=job.id))
    assert [batch.id for batch in rest] == [one.id]
    states = frozenset({BatchState.ENDED, BatchState.PLANNED})
    assert [b.id for b in await store.read(lambda reads: reads.batches_page(limit=9, states=states))] == [
        three.id,
        one.id,
    ]
    assert (await store.read(lambda reads: reads.batch("msgbatch_a"))).id == one.id
    assert (await batch_of(store, two.id)).remote_id == "msgbatch_b"
    with pytest.raises(NoSuchThing):
        await store.read(lambda reads: reads.batch("msgbatch_nobody"))
    ours = await store.read(lambda reads: reads.batches_by_remote(["msgbatch_a", "msgbatch_x"]))
    assert {remote: batch.id for remote, batch in ours.items()} == {RemoteId("msgbatch_a"): one.id}
    assert await store.read(lambda reads: reads.candidates(one.id)) == []
    assert await store.read(lambda reads: reads.spans(job.id)) == [(NOW, NOW + timedelta(hours=1))]


@case
async def the_history_is_read_from_either_end(store: Store) -> None:
    """Of one job or of all; the states of a batch in their order."""
    assert await store.read(lambda reads: reads.last_event()) == 0
    job = await running_job(store, 2)
    batch = await in_progress(store, job.id)
    await running_job(store, 1, "other")
    events = await store.read(lambda reads: reads.events(job.id))
    assert [event.kind for event in events][:3] == ["job.created", "job.moved", "batch.planned"]
    newest = await store.read(lambda reads: reads.newest_events(job.id, limit=2))
    assert newest == events[:-3:-1]
    assert await store.read(lambda reads: reads.newest_events(job.id, limit=9, before=events[1].id)) == events[:1]
    every = await store.read(lambda reads: reads.events(None, after=events[-1].id, limit=1))
    assert [event.kind for event in every] == ["job.created"]
    assert await store.read(lambda reads: reads.last_event()) == every[0].id + 1
    histories = await store.read(lambda reads: reads.batch_histories([batch.id, BatchId(99)]))
    assert {key: [state for _, state in steps] for key, steps in histories.items()} == {
        batch.id: [BatchState.PLANNED, BatchState.SUBMITTING, BatchState.IN_PROGRESS]}  # fmt: skip


@case
async def samples_are_thinned_to_the_last_of_each_step(store: Store) -> None:
    """And found by a moment; None before the first."""
    times = [NOW + timedelta(seconds=seconds) for seconds in (0, 20, 70)]
    for number, at in enumerate(times):
        await running_job(store, 1, f"job{number}")
        await store.samples.take(at, keep_from=NOW, watched=True)
    found = await store.read(lambda reads: reads.samples(since=NOW, step=timedelta(minutes=1)))
    assert [sample.at for sample in found] == times[1:]
    then = await store.read(lambda reads: reads.sample_at(NOW + timedelta(seconds=30)))
    assert then is not None
    assert (then.at, then.queued) == (times[1], 2)
    assert await store.read(lambda reads: reads.sample_at(NOW - timedelta(days=1))) is None


@case
async def what_was_settled_while_no_engine_looked_is_told_apart(store: Store) -> None:
    """Only of a first sample of an engine, and only what its jobs settled since the one before."""
    await store.samples.take(NOW, keep_from=NOW, watched=True)
    job = await running_job(store, 3)
    await store.commands.cancel(job.id, NOW)
    await store.commands.cancel_queued(job.id)
    at = NOW + timedelta(minutes=1)
    await store.samples.take(at, keep_from=NOW, watched=False)
    assert await store.read(lambda reads: reads.unwatched(since=NOW)) == [Leap(at=at, settled=3, failed=0)]
    assert await store.read(lambda reads: reads.unwatched(since=at)) == []


@case
async def deliveries_are_shown_from_the_newest(store: Store) -> None:
    """With their endpoints, those of today first, and how many are in each state."""
    await store.notices.mirror([EndpointSpec(url="https://old")], NOW)
    await store.notices.mirror([EndpointSpec(url="https://a", events=("job.finished", "job.canceled"))], NOW)
    shown = await store.read(lambda reads: reads.endpoints())
    assert [(one.url, one.active, one.events) for one in shown] == [
        ("https://a", True, ("job.finished", "job.canceled")), ("https://old", False, ())]  # fmt: skip
    one, two = (await store.notices.test(None, NOW))[0], (await store.notices.test(None, NOW))[0]
    assert [each.id for each in await store.read(lambda reads: reads.deliveries(limit=9))] == [two, one]
    assert [each.id for each in await store.read(lambda reads: reads.deliveries(limit=9, before=two))] == [one]
    failed = await store.read(lambda reads: reads.deliveries(limit=9, state=DeliveryState.FAILED))
    assert failed == []
    assert (await store.read(lambda reads: reads.delivery(one))).url == "https://a"
    with pytest.raises(NoSuchThing):
        await store.read(lambda reads: reads.delivery(99))
    counts = await store.read(lambda reads: reads.delivery_counts())
    assert counts == {DeliveryState.WAITING: 2, DeliveryState.DELIVERED: 0, DeliveryState.FAILED: 0}
