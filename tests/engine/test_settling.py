"""Settle: what is tried again, what it costs, and when it is the last word."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from support.length import IS_LONG
from support.mortal import Fuse, Killed, on_a_fuse
from support.world import World, in_a_loop, message, new_world, next_life

from orchestrator.domain.model import JobRow
from orchestrator.domain.queries import RequestDetails


async def requests(world: World, job: JobRow, count: int) -> list[RequestDetails]:
    """Every request of *job*."""
    return await world.store.read(lambda reads: [reads.request(job.id, f"r{i}") for i in range(1, count + 1)])


@in_a_loop
async def test_server_errors_and_expiries_end_succeeded_resubmitting_only_those(tmp_path: Path) -> None:
    """13 % of trouble on the server's side: every request ends `succeeded`, only the troubled ones are sent again."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"error": 0.05, "expire": 0.04, "overloaded": 0.02, "timeout": 0.02})
        job = await world.submit(400)
        await world.settle()
        status = await world.status(job.id)
        assert (status.job.requests.succeeded, status.job.requests.failed) == (400, 0)
        executed = [row.params_sha256 for row in world.machine.ledger()]
        troubled = sum(1 for row in world.machine.ledger() if not row.billed)
        assert troubled > 20
        assert len(executed) == 400 + troubled
        assert status.job.resubmitted == troubled
        assert set(world.bought().values()) == {1}


@pytest.mark.parametrize(("fault", "kind"), [("error", "errored"), ("expire", "expired")])
@in_a_loop
async def test_attempts_run_out_with_the_apis_own_last_word(tmp_path: Path, fault: str, kind: str) -> None:
    """`max_attempts` trips, then `failed`, and the output has the API's own last result."""
    async with new_world(tmp_path / "store.db", max_attempts=3) as world:
        world.machine.plan.set({fault: 1, "sticky": 1})
        job = await world.submit(5)
        await world.settle()
        assert (await world.status(job.id)).job.requests.failed == 5
        assert world.creates == 3
        assert {request.attempts for request in await requests(world, job, 5)} == {3}
        lines = await world.results(job.id)
        assert {line["result"]["type"] for line in lines} == {kind}  # type: ignore[index]


@in_a_loop
async def test_a_request_that_only_the_api_can_refuse_is_errored_in_place_and_sent_once(tmp_path: Path) -> None:
    """An `errored` that is the request's own fault is final at once, with the API's message."""
    async with new_world(tmp_path / "store.db") as world:
        params = [message(f"m{i}", **({"max_tokens": 10**7} if i in (3, 50, 77) else {})) for i in range(1, 101)]
        job = await world.submit(params=params)
        await world.settle()
        counts = (await world.status(job.id)).job.requests
        assert (counts.succeeded, counts.failed, world.creates) == (97, 3, 1)
        line = (await world.results(job.id))[49]
        assert line["result"]["error"]["error"]["type"] == "invalid_request_error"  # type: ignore[index]
        groups = await world.store.read(lambda reads: reads.errors(job.id))
        assert sum(group.count for group in groups) == 3


@pytest.mark.parametrize("fault", ["url_timeout", "odd_error"])
@in_a_loop
async def test_slow_urls_and_unknown_error_types_are_tried_again(tmp_path: Path, fault: str) -> None:
    """The transient `invalid_request_error` passes; error types are an open set and count as the server's fault."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({fault: 0.5})
        job = await world.submit(40)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 40
        assert any(request.failed_attempts for request in await requests(world, job, 40))


@in_a_loop
async def test_a_batch_canceled_elsewhere_is_queued_for_free_and_pauses_the_job(tmp_path: Path) -> None:
    """Promise 6: a person pressed stop in the Console; only a person's resume sends its requests again."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(60)
        await world.tick("plan", "submit")
        (batch,) = await world.batches(job.id)
        world.machine.cancel(str(batch.remote_id))
        await world.settle()
        status = await world.status(job.id)
        assert (status.job.state, status.job.reason_code) == ("paused", "canceled_elsewhere")
        assert status.job.requests.queued > 0
        assert {r.attempts for r in await requests(world, job, 60) if r.state == "queued"} == {0}
        assert world.creates == 1
        await world.commands.resume(job.id)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 60


@in_a_loop
async def test_empty_credit_in_the_rows_is_free_and_pauses_until_a_person_resumes(tmp_path: Path) -> None:
    """Promise 6: credit rows burn no attempt; batches sent before the last resume do not pause the job again."""
    async with new_world(tmp_path / "store.db", max_requests=20) as world:
        world.machine.plan.set({"credit_row": 1})
        job = await world.submit(40)
        await world.tick("plan", "submit")
        early, late = await world.batches(job.id)
        world.machine._by_id[str(late.remote_id)].work_ends_at += timedelta(hours=3)
        world.machine.plan.set({})
        world.advance(timedelta(minutes=20))
        await world.tick("poll", "collect", "settle")
        status = await world.status(job.id)
        assert (status.job.state, status.job.reason_code) == ("paused", "billing")
        assert {r.attempts for r in await requests(world, job, 40)} == {0}
        await world.commands.resume(job.id)
        await world.settle(step=timedelta(minutes=5))
        status = await world.status(job.id)
        assert (status.job.state, status.job.requests.succeeded) == ("finished", 40)
        assert early.resumes == late.resumes == 0


@in_a_loop
async def test_the_pause_for_credit_comes_before_its_requests_are_queued(tmp_path: Path) -> None:
    """A crash in between leaves a paused job, never one that sends again what a person has to settle first."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"credit_row": 1})
        job = await world.submit(10)
        await world.tick("plan", "submit")
        world.advance(timedelta(minutes=20))
        await world.tick("poll", "collect", "settle", "plan", "submit")
        assert world.creates == 1
        assert (await world.status(job.id)).job.state == "paused"


async def killed_in_settle(path: Path, fault: str, sparks: int) -> bool:
    """One settle that ends after *sparks* (True: it did), and a next life that plans and sends what it may."""
    fuse = Fuse(10**9)
    async with new_world(path, wrap=on_a_fuse(fuse)) as world:
        world.machine.plan.set({fault: 1})
        job = await world.submit(10)
        await world.tick("plan", "submit")
        world.machine.plan.set({})
        world.advance(timedelta(minutes=20))
        await world.tick("poll", "collect")
        fuse.left = sparks
        killed = False
        try:
            await world.tick("settle")
        except Killed:
            killed = True
        async with next_life(world) as second:
            await second.tick("recover", "plan", "submit")
            assert second.creates == 1, fuse.steps[-3:]
            await second.settle()
            assert (await second.status(job.id)).job.state == "paused"
            await second.commands.resume(job.id)
            await second.settle()
            assert (await second.status(job.id)).job.requests.succeeded == 10
    return killed


@pytest.mark.parametrize("fault", ["credit_row", "cancel"])
@in_a_loop
async def test_a_life_that_ends_while_stopped_requests_are_queued_sends_nothing(tmp_path: Path, fault: str) -> None:
    """Promise 6: at whatever step settling is killed, what a person has to decide first is not sent again."""
    sparks = 0
    while await killed_in_settle(tmp_path / f"{sparks}.db", fault, sparks):
        sparks += 1 if IS_LONG else 3
    assert sparks > 10


@in_a_loop
async def test_settled_batches_are_deleted_at_the_api_once_every_result_is_stored(tmp_path: Path) -> None:
    """`delete_after_collect`: after, never before; a lost answer or a batch that is gone already does no harm."""
    async with new_world(tmp_path / "store.db", delete_after_collect=True, max_requests=20) as world:
        job = await world.submit(40)
        world.script("delete", "drop", 3)
        await world.settle()
        for _ in range(5):
            await world.round()
            world.advance(timedelta(minutes=5))
        assert world.machine.list().data == []
        assert {batch.deleted_at is not None for batch in await world.batches(job.id)} == {True}
        assert len(await world.results(job.id)) == 40


@in_a_loop
async def test_a_refused_delete_does_not_stop_the_looks(tmp_path: Path) -> None:
    """Promise 5: trouble with a delete has a wait of its own."""
    async with new_world(tmp_path / "store.db", delete_after_collect=True) as world:
        await world.submit(10)
        world.machine.plan.set({"delete.403": 1})
        await world.settle()
        for _ in range(5):
            await world.round()
            world.advance(timedelta(minutes=1))
        assert await world.store.gates.get("read") is None
        assert world.machine.list().data != []


@in_a_loop
async def test_the_output_is_the_apis_own_bytes(tmp_path: Path) -> None:
    """Promise 3: each result is stored byte for byte as it came."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        await world.settle()
        (remote,) = world.machine.list().data
        served = {}
        for line in b"".join(world.machine.results(remote.id)).splitlines():
            served[json.loads(line)["custom_id"].rpartition("-")[2]] = line.split(b'"result":', 1)[1][:-1]
        rows = await world.store.read(lambda reads: reads.results(job.id, above=0, limit=100))
        assert {str(row.number): row.body for row in rows} == served
