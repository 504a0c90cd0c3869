"""The contract of ingest, commands, purge, notices and samples."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store.conformance.contract import case
from store.store_world import (
    LATER,
    META,
    NOW,
    collected,
    finish,
    in_doubt,
    in_progress,
    lines,
    lost,
    new_job,
    planned,
    remote,
    running_job,
    settle_all,
    submitting,
    won,
)

from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.domain.errors import GuardRefused, KeyReused, Purged
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.notices import DeliveryResult, DeliveryState, EndpointSpec
from orchestrator.domain.param_change import ParamChange, applied, change_of
from orchestrator.domain.queries import JobFilter
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.states import BatchState, JobState
from orchestrator.ports.caller import acting_for
from orchestrator.ports.job_store import (
    BY_PERSON,
    BY_RETENTION,
    ChangedRequest,
    Content,
    DuplicatesCursor,
    IngestOutcome,
)
from orchestrator.ports.store import Store
from orchestrator.ports.streams import InputProblem


async def over(store: Store, name: str = "old") -> JobId:
    """A job that is over: two requests succeeded, one failed."""
    job = await running_job(store, 3, name)
    batch = await collected(store, job.id, [won(1), won(2), lost(3, Outcome.FAILED)], nonce=name[0])
    await settle_all(store, batch)
    assert [done.id for done in await store.settle.finish_jobs(NOW)] == [job.id]
    return job.id


@case
async def an_import_is_planned_by_nobody_and_goes_without_a_trace(store: Store) -> None:
    """What is not complete is not there."""
    job = await store.ingest.begin(new_job("one"), "one-id", NOW)
    await store.ingest.add(job.id, lines(["a", "b"]), NOW)
    await store.ingest.add_refused(job.id, [InputProblem(line=9, field="", message="m", remedy="r", raw=b"x")])
    assert [found.id for found in await store.ingest.importing()] == [job.id]
    assert await store.plan.plannable(limit=9) == []
    for _ in range(2):
        await store.ingest.discard(job.id)
    assert await store.ingest.importing() == []
    assert await store.read(lambda reads: reads.known([job.id])) == {}
    assert await store.read(lambda reads: reads.last_event()) == 0, "nothing was made"
    ran = await running_job(store, 1, "two")
    await store.ingest.discard(ran.id)
    assert (await store.commands.get(ran.id)).state is JobState.RUNNING, "what was concluded stays"


@case
async def repeated_custom_ids_are_told_page_by_page_and_can_be_left_out(store: Store) -> None:
    """Of two requests with one id the first stays; both lines are named."""
    job = await store.ingest.begin(new_job(), "id", NOW)
    await store.ingest.add(job.id, lines(["a", "b", "a"]), NOW)
    await store.ingest.add(job.id, lines(["b", "c"], first_line=4), NOW)
    told, go_on = await store.ingest.repeated(job.id, DuplicatesCursor(), leave_out=False)
    assert ([(one.custom_id, one.line, one.first_line) for one in told], go_on) == ([("a", 3, 1), ("b", 4, 2)], None)
    assert told == (await store.ingest.repeated(job.id, DuplicatesCursor(), leave_out=True))[0]
    assert await store.ingest.repeated(job.id, DuplicatesCursor(), leave_out=True) == ([], None)
    assert (await finish(store, job.id)).requests.total == 3


@case
async def the_same_content_is_one_job_and_a_changed_file_is_told(store: Store) -> None:
    """Whoever hands over the same again is led to the job that is there."""

    async def hand_over(public_id: str, new: NewJob, content: str, *, force_new: bool = False) -> tuple[str, JobId]:
        job = await store.ingest.begin(new, public_id, NOW)
        await store.ingest.add(job.id, lines(["a"]), NOW)
        outcome, found = await store.ingest.conclude(
            job.id, new, Content(hash=content, size_bytes=5), NOW, force_new=force_new
        )
        if outcome is not IngestOutcome.MADE:
            await store.ingest.discard(job.id)
        return outcome, found.id

    plain = new_job("n")
    made, first = await hand_over("1", plain, "x")
    assert made == IngestOutcome.MADE
    assert await hand_over("2", plain, "x") == (IngestOutcome.SAME, first)
    assert await hand_over("3", plain, "y") == (IngestOutcome.CHANGED, first)
    outcome, other = await hand_over("4", plain, "x", force_new=True)
    assert (outcome, other != first) == (IngestOutcome.MADE, True)
    keyed = NewJob(name="k", source="<stdin>", api_version="v1", betas=("a", "b"), key="key")
    _, keyed_job = await hand_over("5", keyed, "z")
    assert await hand_over("6", keyed, "z", force_new=True) == (IngestOutcome.SAME, keyed_job), "a key stands for one"
    with pytest.raises(KeyReused):
        await hand_over("7", keyed, "other")


@case
async def an_open_job_grows_until_it_is_closed(store: Store) -> None:
    """All of a hand-over or none, and nothing after the end."""
    job = await running_job(store, 1, still_open=True)
    assert await store.ingest.extend(job.id, lines(["x", "y"]), NOW) == []
    (again,) = await store.ingest.extend(job.id, lines(["z", "x"]), LATER)
    assert (again.custom_id, again.line) == ("x", 2)
    grown = await store.commands.get(job.id)
    assert (grown.requests.total, grown.requests.queued, grown.added_at) == (3, 3, NOW), "with a duplicate, nothing"
    assert await store.ingest.close_open(job.id, NOW)
    assert not await store.ingest.close_open(job.id, NOW)
    with pytest.raises(GuardRefused):
        await store.ingest.extend(job.id, lines(["late"]), NOW)


@case
async def a_pause_and_a_resume_move_a_job_once(store: Store) -> None:
    """A second word changes nothing, and says so."""
    job = await running_job(store)
    assert not await store.commands.resume(job.id, NOW)
    assert await store.commands.pause(job.id, "credit", "no money", NOW)
    assert not await store.commands.pause(job.id, "by_user", "why not", NOW)
    (paused,) = await store.commands.paused()
    assert (paused.id, paused.reason_code, paused.reason) == (job.id, "credit", "no money")
    assert await store.plan.plannable(limit=9) == []
    assert await store.commands.resume(job.id, NOW)
    assert await store.commands.paused() == []
    assert (await store.commands.get(job.id)).reason_code is None


@case
async def a_cancel_settles_what_waits_and_nothing_else(store: Store) -> None:
    """What is planned is dropped, what is at the API is asked to stop, what is queued is over."""
    job = await running_job(store, 6)
    sent = await in_progress(store, job.id, limit=2)
    await planned(store, job.id, limit=2, nonce="b")
    assert await store.commands.cancel(job.id, NOW)
    assert not await store.commands.cancel(job.id, NOW)
    now = await store.commands.get(job.id)
    assert (now.state, now.requests.canceled, now.requests.batched) == (JobState.CANCELING, 4, 2)
    assert [batch.id for batch in await store.poll.to_cancel()] == [sent.id]
    assert await store.commands.canceling() == []
    assert await store.commands.cancel_queued(job.id) == 0
    assert await store.settle.finish_jobs(NOW) == [], "a batch of it is out"


@case
async def a_job_that_is_canceled_while_a_batch_was_out_has_queued_requests_again(store: Store) -> None:
    """They are found by `canceling` and settled by `cancel_queued`."""
    job = await running_job(store, 4)
    doubted = await in_doubt(store, job.id)
    await store.commands.cancel(job.id, NOW)
    assert await store.doubt.void(doubted, NOW, "never seen", NOW)
    assert [found.id for found in await store.commands.canceling()] == [job.id]
    assert await store.commands.cancel_queued(job.id) == 4
    (before,) = await store.settle.finish_jobs(NOW)
    assert (before.state, (await store.commands.get(job.id)).state) == (JobState.CANCELING, JobState.CANCELED)


@case
async def a_retry_queues_what_failed_again(store: Store) -> None:
    """All of it, one error type or one cause; a purged job has nothing left to send."""
    job = await over(store)
    assert await store.retries.retry(job, ("no_such_error",), NOW) == 0
    assert await store.retries.retry(job, (), NOW, ("no such cause",)) == 0
    (group,) = await store.read(lambda reads: reads.errors(job))
    assert len(await store.retries.page(job, (), 0, 1 << 20, (group.cause,))) == 1
    assert await store.retries.retry(job, ("no_such_error",), NOW, (group.cause, "no such cause")) == 1
    assert await store.retries.retry(job, (), NOW) == 0
    again = await store.commands.get(job)
    assert (again.state, again.requests.queued, again.requests.succeeded) == (JobState.RUNNING, 1, 2)
    purged = await over(store, "purged")
    assert await store.purge.mark(purged, BY_PERSON, NOW)
    with pytest.raises(GuardRefused):
        await store.retries.retry(purged, (), NOW)


@case
async def a_request_is_tried_again_with_other_params(store: Store) -> None:
    """As it was read and no otherwise; what was handed in stays, and is shown beside what is sent."""
    job = await over(store)
    (failed,) = await store.retries.page(job, (), 0, 1 << 20)
    spec = ParamChange(set={"max_tokens": b"2"}).spec
    size = len(applied(failed.params, change_of(spec)))
    stale = ChangedRequest(failed.number, failed.retries + 1, spec, size)
    assert await store.retries.retry_changed(job, [stale], NOW) == 0
    assert (await store.commands.get(job)).state is JobState.FINISHED
    assert await store.retries.retry_changed(job, [stale._replace(retries=failed.retries)], NOW) == 1
    assert await store.retries.page(job, (), 0, 1 << 20) == []
    found = await store.read(lambda reads: reads.request(job, failed.custom_id))
    assert (found.state, found.original_params) == ("queued", failed.params)
    assert found.params == applied(failed.params, change_of(spec))
    ((number, sent),) = await store.budgets.queued_params(job, 0, 1 << 20)
    assert (number, sent) == (failed.number, found.params)


@case
async def a_batch_made_elsewhere_is_adopted_for_the_whole_of_a_job(store: Store) -> None:
    """Only where the numbers agree, and nothing of the job was planned."""
    job = await running_job(store, 3)
    assert not await store.commands.adopt(job, remote("x", 2), META, Nonce("x" * 20), NOW)
    assert await store.commands.adopt(job, remote("x", 3), META, Nonce("x" * 20), NOW)
    assert not await store.commands.adopt(job, remote("y", 3), META, Nonce("y" * 20), NOW)
    (batch,) = await store.poll.watched()
    assert (batch.adopted, batch.remote_id, batch.count) == (True, "msgbatch_x", 3)
    assert await store.collect.numbers(job.id, ["r2", "nobody", "r1"]) == {"r1": 1, "r2": 2}


@case
async def a_person_says_that_a_candidate_is_not_ours(store: Store) -> None:
    """Once; what is proven or unknown is no matter of opinion."""
    job = await running_job(store)
    doubted = await in_doubt(store, job.id)
    await store.evidence.add_candidates(doubted, [remote("p", 4)])
    assert [batch.id for batch in await store.commands.doubts_about("msgbatch_p")] == [doubted.id]
    assert not await store.commands.disown("msgbatch_nobody", NOW)
    assert await store.commands.disown("msgbatch_p", NOW)
    assert [one.verdict for one in await store.evidence.candidates(doubted)] == ["foreign"]
    assert not await store.commands.disown("msgbatch_p", NOW)


@case
async def a_purge_takes_bodies_and_keeps_the_counts(store: Store) -> None:
    """From the mark on nobody is shown a body; the rows go afterwards, step by step."""
    running = await running_job(store, 1, "young")
    with pytest.raises(GuardRefused):
        await store.purge.mark(running.id, BY_PERSON, NOW)
    job = await over(store)
    assert [old.id for old in await store.purge.over_since(NOW)] == [job]
    assert await store.purge.over_since(NOW - timedelta(seconds=1)) == []
    assert not await store.purge.purge_some()
    assert await store.purge.mark(job, BY_PERSON, NOW)
    assert not await store.purge.mark(job, BY_RETENTION, NOW)
    with pytest.raises(Purged):
        await store.read(lambda reads: reads.results(job, above=0, limit=9))
    while await store.purge.purge_some():
        pass
    left = await store.commands.get(job)
    assert (left.purged_by, left.requests.succeeded, left.requests.failed) == (BY_PERSON, 2, 1)
    assert await store.purge.over_since(NOW) == []


@case
async def a_notice_waits_for_every_endpoint_that_wants_it(store: Store) -> None:
    """From its event on, until it is delivered, put off or given up."""
    specs = [EndpointSpec(url="https://all"), EndpointSpec(url="https://done", events=("job.finished",))]
    await store.notices.mirror(specs, NOW)
    await store.notices.mirror(specs, NOW)
    await over(store)
    due = await store.notices.due(NOW, 9, each=9)
    assert [(one.url, one.tries) for one in due] == [("https://all", 0), ("https://done", 0)]
    assert b'"type":"job.finished"' in due[0].payload
    assert await store.notices.due(NOW, 1, each=9) == due[:1]
    assert await store.notices.delivered(due[0], 204, NOW)
    assert not await store.notices.delivered(due[0], 204, NOW)
    failed = DeliveryResult(status=500, error="no")
    assert await store.notices.put_off(due[1], failed, LATER, NOW)
    assert not await store.notices.put_off(due[1], failed, LATER, NOW), "somebody else moved it"
    assert await store.notices.due(NOW, 9, each=9) == []
    (again,) = await store.notices.due(LATER, 9, each=9)
    assert (again.message_id, again.tries) == (due[1].message_id, 1)
    assert await store.notices.put_off(again, failed, None, LATER)
    assert not await store.notices.replay(999, LATER)
    assert await store.notices.replay(again.delivery_id, LATER)
    assert not await store.notices.replay(again.delivery_id, LATER), "it waits already"


@case
async def notices_of_an_endpoint_that_is_gone_are_given_up(store: Store) -> None:
    """And what is over for long is dropped."""
    await store.notices.mirror([EndpointSpec(url="https://a"), EndpointSpec(url="https://b")], NOW)
    assert len(await store.notices.test(None, NOW)) == 2
    (one,) = await store.notices.test("https://b", NOW)
    assert await store.notices.test("https://nobody", NOW) == []
    await store.notices.mirror([EndpointSpec(url="https://a")], NOW)
    assert {notice.url for notice in await store.notices.due(NOW, 9, each=9)} == {"https://a"}
    gone = await store.read(lambda reads: reads.delivery(one))
    assert gone.state is DeliveryState.FAILED
    assert await store.notices.delete_old(NOW) == 0
    assert await store.notices.delete_old(LATER) == 2
    assert len(await store.notices.due(NOW, 9, each=9)) == 1, "what waits stays"


@case
async def a_sample_is_taken_where_something_changed(store: Store) -> None:
    """A quiet store writes nothing; old samples go."""
    await running_job(store)
    assert await store.samples.take(NOW, keep_from=NOW, watched=True)
    assert not await store.samples.take(LATER, keep_from=NOW, watched=True)
    job = await running_job(store, 2, "more")
    await submitting(store, job.id)
    assert await store.samples.take(LATER, keep_from=LATER, watched=False)
    found = await store.read(lambda reads: reads.samples(since=NOW, step=timedelta(minutes=1)))
    assert [(one.at, one.queued, one.in_flight_batches, one.watched) for one in found] == [(LATER, 4, 1, False)]
    states = (await store.read(lambda reads: reads.totals())).batches
    assert states[BatchState.SUBMITTING] == 1


@case
async def who_asks_is_stored(store: Store) -> None:
    """The name of the token stands with the job and with every step that somebody took, and with no other."""
    with acting_for(Bearer(name="ana@example.com", role=AccessRole.SUBMIT)):
        job = await running_job(store, 1, "hers")
    other = await running_job(store, 1, "nobody's")
    with acting_for(Bearer(name="root", role=AccessRole.ADMIN)):
        assert await store.commands.pause(job.id, "by_user", "why", NOW)
        assert not await store.budgets.cap_job(job.id, 5, NOW)
    assert await store.commands.resume(job.id, NOW)
    assert (await store.commands.get(job.id)).submitted_by == "ana@example.com"
    assert (await store.commands.get(other.id)).submitted_by is None
    events = await store.read(lambda reads: reads.events(job.id))
    told = [(event.kind, event.new, event.actor) for event in events]
    assert told == [
        ("job.created", "importing", "ana@example.com"),
        ("job.moved", "running", "ana@example.com"),
        ("job.moved", "paused", "root"),
        ("job.capped", None, "root"),
        ("job.moved", "running", None),
    ]
    hers = JobFilter(submitted_by="ana@example.com")
    assert [each.id for each in await store.read(lambda reads: reads.jobs(limit=9, where=hers))] == [job.id]


@case
async def what_a_person_had_done_is_an_event_of_no_job(store: Store) -> None:
    """With its kind and why."""
    await store.commands.note("webhook.tested", "1 notice", NOW)
    (event,) = await store.read(lambda reads: reads.newest_events(None, limit=1))
    assert (event.kind, event.why, event.job_id, event.at) == ("webhook.tested", "1 notice", None, NOW)
