"""Collect and settle: the first line wins, attempts are burnt only where the API tried, jobs end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from store.store_world import (
    LATER,
    NOW,
    batch_of,
    collected,
    dump,
    ended,
    lost,
    open_store,
    running_job,
    settle_all,
    won,
)

from orchestrator.domain.model import JudgedLine
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.states import BatchState


def test_the_first_of_two_different_lines_wins(tmp_path: Path) -> None:
    """Promise 3: in one chunk, in two chunks, and when the whole download is repeated."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await ended(store, job.id)
            first, second = b'{"type":"succeeded","n":1}', b'{"type":"succeeded","n":2}'
            chunk = [
                won(1, first),
                won(1, second),
                lost(1),
                lost(2),
                won(2, second),
                lost(3, Outcome.FAILED, "errored"),
            ]
            assert await store.collect.store_lines(batch, chunk, NOW) == 3
            assert (
                await store.collect.store_lines(batch, [won(1, second), lost(1), won(2), won(3), won(99)], LATER) == 0
            )
            before = dump(store.path)
            assert await store.collect.store_lines(batch, [*reversed(chunk)], LATER) == 0
            assert dump(store.path) == before, "a repeated download changes not one byte"
            progress = await store.collect.progress(batch)
            assert (progress.seen, progress.by_kind) == (3, {"succeeded": 1, "expired": 1, "errored": 1})
            rows = await store.read(lambda reads: reads.results(job.id, above=0, limit=9))
            assert [(row.custom_id, row.body) for row in rows] == [("r1", first), ("r3", b'{"type":"errored"}')]

    asyncio.run(run())


@pytest.mark.parametrize("late", [won(2), lost(2), lost(2, Outcome.FAILED, "errored")])
def test_a_line_that_comes_alone_after_another_word_changes_nothing(tmp_path: Path, late: JudgedLine) -> None:
    """Nothing else in its chunk is stored already, so the chunk as a whole does not tell: the row itself must."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await ended(store, job.id)
            assert await store.collect.store_lines(batch, [lost(2)], NOW) == 1
            before = dump(store.path)
            assert await store.collect.store_lines(batch, [late], LATER) == 0
            assert dump(store.path) == before
            assert await store.collect.store_lines(batch, [won(1), late], LATER) == 1
            assert (await store.collect.progress(batch)).by_kind == {"succeeded": 1, "expired": 1}

    asyncio.run(run())


def test_lines_of_another_batch_change_nothing(tmp_path: Path) -> None:
    """A number that is another batch's business, or nobody's, is left alone."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            one = await ended(store, job.id, limit=2, nonce="a")
            two = await ended(store, job.id, limit=2, nonce="b")
            assert await store.collect.store_lines(one, [won(3), won(4), won(2**32 - 1), won(1)], NOW) == 1
            assert (await store.collect.progress(two)).seen == 0

    asyncio.run(run())


def test_what_never_came_fails_at_the_end_of_patience(tmp_path: Path) -> None:
    """Promise 3: loud, and never bought again silently."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await ended(store, job.id)
            await store.collect.store_lines(batch, [won(1), lost(2)], NOW)
            assert await store.collect.again(batch, LATER, NOW, full=True)
            assert await store.collect.to_collect(NOW, 9) == []
            (due,) = await store.collect.to_collect(LATER, 9)
            assert (due.downloads, due.download_tries, due.first_download_date) == (1, 1, NOW)
            assert await store.collect.give_up(due, ("missing_result", "m"), b'{"type":"errored"}', NOW) == 2
            (done,) = await store.settle.to_settle()
            await settle_all(store, done)
            counts = (await store.commands.get(job.id)).requests
            assert (counts.succeeded, counts.queued, counts.failed) == (1, 1, 2)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("outcome", "state", "attempts"),
    [
        (Outcome.AGAIN, "queued", 1),
        (Outcome.CREDIT, "queued", 0),
        (Outcome.CANCELED, "queued", 0),
        (Outcome.FAILED, "failed", 1),
    ],
)
def test_settling_burns_an_attempt_only_where_the_api_tried(
    tmp_path: Path, outcome: Outcome, state: str, attempts: int
) -> None:
    """Expired and errored trips count; empty credit and a cancel do not."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 2)
            batch = await collected(store, job.id, [won(1), lost(2, outcome)])
            await settle_all(store, batch)
            view = await store.read(lambda reads: reads.request(job.id, "r2"))
            assert (view.state, view.attempts) == (state, attempts)
            assert [trip.kind for trip in view.failed_attempts] == ["expired"]
            after = await batch_of(store, batch.id)
            assert (after.state, after.settled_at) == (BatchState.SETTLED, NOW)
            assert (await store.commands.get(job.id)).resubmitted == int(outcome is Outcome.AGAIN)

    asyncio.run(run())


def test_the_last_attempt_fails_with_the_apis_own_words_and_body(tmp_path: Path) -> None:
    """The output line of a request that ran out of attempts is what the API said last."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            for nonce in "abc":
                batch = await collected(store, job.id, [lost(1)], nonce)
                await settle_all(store, batch, max_attempts=3)
            view = await store.read(lambda reads: reads.request(job.id, "r1"))
            assert (view.state, view.attempts, view.error_type, len(view.failed_attempts)) == (
                "failed",
                3,
                "expired",
                3,
            )
            assert view.result == b'{"type":"expired"}'
            assert [done.id for done in await store.settle.finish_jobs(NOW)] == [job.id]
            assert await store.settle.finish_jobs(NOW) == []

    asyncio.run(run())


def test_a_canceled_job_ends_canceled_and_keeps_what_succeeded(tmp_path: Path) -> None:
    """What was bought is delivered; what was not is not bought any more."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            batch = await ended(store, job.id, limit=3)
            assert await store.commands.cancel(job.id, NOW)
            assert not await store.commands.cancel(job.id, NOW)
            await store.collect.store_lines(batch, [won(1), lost(2), lost(3, Outcome.CANCELED, "canceled")], NOW)
            assert await store.collect.collected(batch, NOW)
            await settle_all(store, await batch_of(store, batch.id))
            await store.settle.finish_jobs(NOW)
            over = await store.commands.get(job.id)
            assert (over.state, over.requests.succeeded, over.requests.canceled) == ("canceled", 1, 3)

    asyncio.run(run())


def test_retry_queues_failures_again_and_never_a_success(tmp_path: Path) -> None:
    """`retry --only TYPE` narrows it; the old result is gone, the trips stay as history."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 3)
            batch = await collected(store, job.id, [won(1), lost(2, Outcome.FAILED, "errored"), lost(3)])
            await settle_all(store, batch, max_attempts=1)
            await store.settle.finish_jobs(NOW)
            assert await store.retries.retry(job.id, ("no_such_type",), NOW) == 0
            assert (await store.commands.get(job.id)).state == "finished"
            assert await store.retries.retry(job.id, ("expired",), NOW) == 1
            view = await store.read(lambda reads: reads.request(job.id, "r3"))
            assert (view.state, view.attempts, view.result, len(view.failed_attempts)) == ("queued", 0, None, 1)
            assert (await store.commands.get(job.id)).state == "running"
            assert await store.retries.retry(job.id, (), NOW) == 1
            assert await store.retries.retry(job.id, (), NOW) == 0
            counts = (await store.commands.get(job.id)).requests
            assert (counts.succeeded, counts.queued) == (1, 2)

    asyncio.run(run())


def test_gates_count_refusals_in_a_row_and_attention_is_said_once(tmp_path: Path) -> None:
    """Waits survive a restart; a person is told once, and no longer than it is true."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            assert await store.gates.get("create") is None
            for _ in range(3):
                await store.gates.shut("create", LATER, "429", NOW)
            gate = await store.gates.get("create")
            assert gate is not None
            assert (gate.tries, gate.until) == (3, LATER)
            await store.gates.open("create")
            assert await store.gates.get("create") is None
            job = await running_job(store)
            for words in ("one", "two"):
                await store.attention.attend(job.id, "stuck", None, words, NOW)
            status = await store.read(lambda reads: reads.status(reads.get(job.id)))
            assert [(a.kind, a.message, a.batch_id) for a in status.attention] == [("stuck", "two", None)]
            events = await store.read(lambda reads: reads.events(job.id))
            assert [event.kind for event in events].count("attention.stuck") == 1
            await store.attention.unattend(job.id, "stuck", None)
            status = await store.read(lambda reads: reads.status(reads.get(job.id)))
            assert status.attention == ()

    asyncio.run(run())


def test_the_road_is_written_in_the_event_log(tmp_path: Path) -> None:
    """Who moved what: each step of job and batch with its old and new state, in the same transaction."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            await settle_all(store, await collected(store, job.id, [won(1)]))
            await store.settle.finish_jobs(NOW)
            events = await store.read(lambda reads: reads.events(job.id))
            assert [(e.kind, e.old, e.new) for e in events] == [
                ("job.created", None, "importing"),
                ("job.moved", "importing", "running"),
                ("batch.planned", None, "planned"),
                ("batch.moved", "planned", "submitting"),
                ("batch.moved", "submitting", "in_progress"),
                ("batch.moved", "in_progress", "ended"),
                ("batch.collected", None, None),
                ("batch.moved", "ended", "settled"),
                ("job.moved", "running", "finished"),
            ]

    asyncio.run(run())


def test_batches_are_deleted_at_the_api_once(tmp_path: Path) -> None:
    """`delete_after_collect`: only settled batches, and each until it is known to be gone."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            batch = await collected(store, job.id, [won(1)])
            assert await store.settle.to_delete(9) == []
            await settle_all(store, batch)
            (done,) = await store.settle.to_delete(9)
            await store.settle.deleted(done, NOW)
            await store.settle.deleted(done, LATER)
            assert await store.settle.to_delete(9) == []
            assert (await batch_of(store, batch.id)).deleted_at == NOW

    asyncio.run(run())


@pytest.mark.parametrize("outcome", [Outcome.CREDIT, Outcome.CANCELED])
def test_a_trip_that_burnt_nothing_never_uses_up_the_last_attempt(tmp_path: Path, outcome: Outcome) -> None:
    """An empty balance for a week does not fail a request."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            for nonce in "abc":
                batch = await collected(store, job.id, [lost(1, outcome)], nonce)
                await settle_all(store, batch, max_attempts=1)
            view = await store.read(lambda reads: reads.request(job.id, "r1"))
            assert (view.state, view.attempts, len(view.failed_attempts)) == ("queued", 0, 3)

    asyncio.run(run())


def test_a_batch_with_a_request_still_waiting_is_never_settled(tmp_path: Path) -> None:
    """Settled means that every member has its last word: the statement asks again, whatever the stage believes."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 2)
            batch = await collected(store, job.id, [won(1)])
            await settle_all(store, batch)
            assert (await batch_of(store, batch.id)).state == "ended"
            assert (await store.commands.get(job.id)).requests.batched == 1

    asyncio.run(run())


def test_a_command_applies_only_where_it_makes_sense(tmp_path: Path) -> None:
    """Pause what runs, resume what is paused: anything else changes nothing and says so."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 1)
            assert not await store.commands.resume(job.id, NOW)
            assert await store.commands.pause(job.id, "by_hand", "first", NOW)
            assert not await store.commands.pause(job.id, "billing", "second", NOW)
            (paused,) = await store.commands.paused()
            assert (paused.reason_code, paused.reason, paused.resumes) == ("by_hand", "first", 0)
            assert await store.commands.resume(job.id, NOW)
            assert not await store.commands.resume(job.id, NOW)
            now = await store.commands.get(job.id)
            assert (now.state, now.reason, now.resumes) == ("running", None, 1)

    asyncio.run(run())
