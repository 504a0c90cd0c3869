"""The facets' guards: a stale value moves nothing, a person's word comes first, the first of two lines wins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import (
    LATER,
    META,
    NOW,
    ROOM,
    batch_of,
    collected,
    dump,
    ended,
    finish,
    in_doubt,
    in_progress,
    lines,
    new_job,
    open_store,
    planned,
    raw,
    remote,
    running_job,
    submitting,
    won,
)

from orchestrator.domain.api_answers import ResponseMeta
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.model import BatchRow
from orchestrator.domain.packing import Pack
from orchestrator.store.sqlite_store import SqliteStore

Reach = Callable[[SqliteStore, JobId], Awaitable[BatchRow]]
Step = Callable[[SqliteStore, BatchRow], Awaitable[object]]
NONCES = (Nonce("x" * 20), Nonce("y" * 20))


async def complete(store: SqliteStore, job: JobId) -> BatchRow:
    """A collected batch."""
    return await collected(store, job, [won(n) for n in range(1, 5)])


GUARDED: dict[str, tuple[Reach, Step]] = {
    "intend": (planned, lambda s, b: s.submit.intend(b, None, META, NOW)),
    "accept": (submitting, lambda s, b: s.submit.accept(b, remote("a", 4), META, NOW)),
    "give_back": (submitting, lambda s, b: s.submit.give_back(b, "429", NOW, cut=True)),
    "doubt": (submitting, lambda s, b: s.submit.doubt(b, "reset", NOW)),
    "abandon": (submitting, lambda s, b: s.bisect.abandon(b, "400", NOW, failed=(0, "e", "m", b"{}"))),
    "halve": (submitting, lambda s, b: s.bisect.halve(b, NONCES, "413", NOW)),
    "park": (submitting, lambda s, b: s.bisect.park(b, "words", NOW)),
    "end_wait": (in_doubt, lambda s, b: s.doubt.end_wait(b, NOW)),
    "looked": (in_doubt, lambda s, b: s.doubt.looked(b, found=False)),
    "void": (in_doubt, lambda s, b: s.doubt.void(b, NOW, "never seen", NOW)),
    "claim": (in_doubt, lambda s, b: s.doubt.claim(b, remote("a", 4), NOW)),
    "asked_to_cancel": (in_progress, lambda s, b: s.poll.asked_to_cancel(b, NOW)),
    "seen_canceling": (in_progress, lambda s, b: s.poll.seen_canceling(b, NOW)),
    "ended": (in_progress, lambda s, b: s.poll.ended(b, remote("a", 4), NOW)),
    "again": (ended, lambda s, b: s.collect.again(b, LATER, NOW, full=True)),
    "collected": (ended, lambda s, b: s.collect.collected(b, NOW)),
    "give_up": (ended, lambda s, b: s.collect.give_up(b, ("e", "m"), b"{}", NOW)),
    "settle": (complete, lambda s, b: s.settle.settle(b, 3, NOW)),
}  # fmt: skip


@pytest.mark.parametrize("name", GUARDED)
def test_a_stale_fence_moves_nothing(tmp_path: Path, name: str) -> None:
    """Somebody else moved the row since it was read: stop, do not force. Not even an event is written."""
    reach, step = GUARDED[name]

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await reach(store, job.id)
            with closing(raw(store.path)) as c:
                c.execute("UPDATE batch SET fence = fence + 1")
            before = dump(store.path)
            assert not await step(store, batch)
            assert dump(store.path) == before
            with closing(raw(store.path)) as c:
                c.execute("UPDATE batch SET fence = fence - 1")
            done = await step(store, batch)
            assert done or name == "settle", "with the right fence the same step moves the row"
            assert dump(store.path) != before
            after = dump(store.path)
            assert not await step(store, batch), "the same value a second time is stale"
            assert dump(store.path) == after

    asyncio.run(run())


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_a_command_that_comes_before_the_intent_wins(tmp_path: Path, command: str) -> None:
    """Promise 2: the job is asked again inside the transaction of the intent; nothing is bought after a stop."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await planned(store, job.id)
            stop = (
                store.commands.pause(job.id, "by_hand", "r", NOW)
                if command == "pause"
                else store.commands.cancel(job.id, NOW)
            )
            assert await stop
            assert await store.submit.intend(batch, None, META, NOW) is None
            assert await store.submit.sendable(10) == []
            now = await store.commands.get(job.id)
            assert now.requests.batched == (4 if command == "pause" else 0)
            found = Pack(numbers=[1], size_bytes=100, full=False)
            assert await store.plan.plan(now, found, NONCES[0], ROOM, NOW) is None

    asyncio.run(run())


@pytest.mark.parametrize("answer", ["give_back", "park", "halve"])
def test_a_cancel_during_a_post_that_is_refused_leaves_nothing_planned(tmp_path: Path, answer: str) -> None:
    """A clear no for a canceled job: nobody would ever send the batch again, and the job would never end."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await submitting(store, job.id)
            assert await store.commands.cancel(job.id, NOW)
            assert await GUARDED[answer][1](store, batch)
            for left in await store.commands.canceling():
                await store.commands.cancel_queued(left.id)
            assert [done.id for done in await store.settle.finish_jobs(NOW)] == [job.id]
            assert (await store.commands.get(job.id)).state == "canceled"
            assert (await store.commands.get(job.id)).requests.canceled == 4

    asyncio.run(run())


def test_a_plan_is_whole_or_nothing(tmp_path: Path) -> None:
    """A request that moved since the planner read it: no batch at all, not one with a hole."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            assert await store.plan.fail_queued(job.id, 2, ("too_large", "m"), b"{}", NOW)
            assert not await store.plan.fail_queued(job.id, 2, ("too_large", "m"), b"{}", NOW)
            stale = Pack(numbers=[1, 2, 3], size_bytes=100, full=False)
            before = dump(store.path)
            assert await store.plan.plan(job, stale, NONCES[0], ROOM, NOW) is None
            assert dump(store.path) == before
            assert await store.plan.queued(job.id, 10, list) == [(1, 42), (3, 42), (4, 42)]
            load = await store.plan.queue_load()
            assert (load.batches, load.requests, load.waiting_batches) == (0, 0, 0)
            await planned(store, job.id, limit=2)
            load = await store.plan.queue_load()
            assert (load.batches, load.requests, load.waiting_batches) == (1, 2, 1)
            (candidate,) = await store.plan.plannable(limit=9)
            assert candidate.in_flight == 2

    asyncio.run(run())


def test_the_urgent_job_is_sent_first(tmp_path: Path) -> None:
    """Priority, then age."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            for name, priority in (("first", 10), ("urgent", 90)):
                job = await store.ingest.begin(new_job(name, priority=priority), name, NOW)
                await store.ingest.add(job.id, lines(["r1"]), NOW)
                await finish(store, job.id, name)
                await planned(store, job.id, nonce=name[0])
            assert [batch.nonce[0] for batch in await store.submit.sendable(9)] == ["u", "f"]

    asyncio.run(run())


def test_the_intent_carries_the_cursor_the_account_and_the_resumes(tmp_path: Path) -> None:
    """What a restart needs to find out what became of the POST is durable before the first byte leaves."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            await store.commands.pause(job.id, "billing", "r", NOW)
            assert await store.commands.resume(job.id, NOW)
            sent = await store.submit.intend(await planned(store, job.id), remote("z", 9), META, LATER)
            assert sent is not None
            assert (sent.state, sent.sent_at, sent.cursor_id, sent.cursor_created_at) == (
                "submitting",
                LATER,
                "msgbatch_z",
                NOW,
            )
            assert (sent.cursor_date, sent.organization, sent.workspace, sent.resumes) == (NOW, "org-1", "ws-1", 1)
            assert await store.submit.stranded() == [sent]
            assert await store.submit.give_back(sent, "429", NOW, cut=True)
            once = await batch_of(store, sent.id)
            assert (once.state, once.cuts, once.nonce) == ("planned", 1, sent.nonce)
            again = await store.submit.intend(once, None, ResponseMeta(date=LATER), LATER)
            assert again is not None
            assert await store.submit.accept(again, remote("a", 4), ResponseMeta(date=LATER), LATER)
            there = await batch_of(store, sent.id)
            assert (there.state, there.remote_id, there.cuts) == ("in_progress", "msgbatch_a", 0)

    asyncio.run(run())


def test_an_abandoned_batch_fails_the_named_request_and_queues_the_others(tmp_path: Path) -> None:
    """Promise 4: one is at fault; no other burns an attempt."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            batch = await submitting(store, job.id)
            assert await store.bisect.abandon(batch, "400", NOW, failed=(2, "invalid_request_error", "bad", b'{"e":1}'))
            assert await store.plan.queued(job.id, 9, list) == [(1, 42), (2, 42), (4, 42)]
            view = await store.read(lambda reads: reads.request(job.id, "r3"))
            assert (view.state, view.error_type, view.error_message, view.result) == (
                "failed", "invalid_request_error", "bad", b'{"e":1}',
            )  # fmt: skip
            other = await store.read(lambda reads: reads.request(job.id, "r1"))
            assert other.attempts == 0

    asyncio.run(run())


def test_halves_keep_order_and_exact_sizes_and_know_each_other(tmp_path: Path) -> None:
    """Promise 4: a parked half waits for its sibling's word."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 5)
            batch = await submitting(store, job.id)
            assert await store.bisect.halve(batch, NONCES, "413", NOW)
            one, two = await store.submit.sendable(9)
            assert [(b.count, b.depth, b.parent_id) for b in (one, two)] == [(2, 1, batch.id), (3, 1, batch.id)]
            bodies = [await store.params.slice(b.id, 0, 10**6) for b in (one, two)]
            assert [[n for n, _ in body] for body in bodies] == [[1, 2], [3, 4, 5]]
            frame = len('{"requests":[]}') + 2 * len('{"custom_id":"' + "x" * 20 + '-1","params":}') + len(",")
            assert one.size_bytes == frame + 2 * 42
            sent = await store.submit.intend(one, None, META, NOW)
            assert sent is not None
            assert await store.bisect.park(sent, "words", NOW)
            ((parked, sibling),) = await store.bisect.parked()
            assert sibling is not None
            assert (parked.id, parked.refusal, sibling.id) == (one.id, "words", two.id)
            assert [b.id for b in await store.submit.sendable(9)] == [two.id], "a parked half is not sent again"
            await store.commands.pause(job.id, "by_hand", "r", NOW)
            await store.commands.resume(job.id, NOW)
            assert await store.bisect.parked() == []
            assert (await store.commands.get(job.id)).requests.queued == 5, "a resume plans afresh"

    asyncio.run(run())
