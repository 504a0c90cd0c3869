"""What a person commands: cancel, retry, adopt; and the moments at which the command meets the road."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from support.world import World, in_a_loop, message, new_world, next_life

from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.domain.errors import GuardRefused, NoSuchThing
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import Event, JobRow
from orchestrator.ports.caller import acting_for
from orchestrator.ports.reads import Reads
from orchestrator.sandbox import MachineSettings

MINUTE = timedelta(minutes=1)


async def canceled(world: World, job: JobRow) -> tuple[int, int]:
    """(succeeded, canceled) of a job that has ended `canceled`, with a line for every request."""
    await world.settle()
    status = await world.status(job.id)
    assert status.job.state == "canceled"
    counts = status.job.requests
    assert counts.succeeded + counts.canceled == counts.total
    assert len(await world.results(job.id)) == counts.total
    return counts.succeeded, counts.canceled


@in_a_loop
async def test_cancel_keeps_what_had_succeeded_and_ends_canceled(tmp_path: Path) -> None:
    """Partial results are normal after a cancel; what the API had done is paid for, so it is kept."""
    machine = MachineSettings(batch_seconds=(600, 600))
    async with new_world(tmp_path / "store.db", machine=machine, max_requests=100, max_in_flight_batches=1) as world:
        job = await world.submit(200)
        await world.tick("plan", "submit")
        world.advance(5 * MINUTE)
        assert await world.commands.cancel(job.id)
        succeeded, dropped = await canceled(world, job)
        assert 20 < succeeded < 80
        assert dropped == 200 - succeeded
        assert sum(world.bought().values()) == succeeded
        assert world.creates == 1
        assert {line["result"]["type"] for line in await world.results(job.id)} == {"succeeded", "canceled"}  # type: ignore[index]


def _events(job: JobId, reads: Reads) -> list[Event]:
    return reads.events(job)


@in_a_loop
async def test_a_job_that_ends_while_somebody_cancels_another_has_no_name_on_its_end(tmp_path: Path) -> None:
    """A cancel finishes whatever is at its end; only the job that was meant says who did it."""
    async with new_world(tmp_path / "store.db") as world:
        hers, his = await world.submit(2, name="hers"), await world.submit(2, name="his")
        assert await world.store.commands.cancel(hers.id, world.clock.now())
        with acting_for(Bearer(name="root", role=AccessRole.ADMIN)):
            assert await world.commands.cancel(his.id)
        for job, who in ((hers, None), (his, "root")):
            events = await world.store.read(partial(_events, job.id))
            moves = [(event.new, event.actor) for event in events if event.kind == "job.moved"]
            assert moves[-2:] == [("canceling", who), ("canceled", None)]


@pytest.mark.parametrize("late", [True, False])
@in_a_loop
async def test_cancel_of_a_batch_that_has_just_ended_keeps_its_results(tmp_path: Path, late: bool) -> None:
    """T46: the race with the end; whether the API refuses a late cancel or not."""
    machine = MachineSettings(batch_seconds=(60, 60), refuse_late_cancel=late)
    async with new_world(tmp_path / "store.db", machine=machine) as world:
        job = await world.submit(20)
        await world.tick("plan", "submit")
        world.advance(5 * MINUTE)
        await world.commands.cancel(job.id)
        assert await canceled(world, job) == (20, 0)


@in_a_loop
async def test_cancel_before_anything_was_sent_sends_nothing(tmp_path: Path) -> None:
    """T46: between plan and POST."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        await world.tick("plan")
        await world.commands.cancel(job.id)
        assert await canceled(world, job) == (0, 20)
        assert world.creates == 0


@in_a_loop
async def test_cancel_while_a_batch_is_in_doubt_resolves_the_doubt_first(tmp_path: Path) -> None:
    """T46: a batch that exists is found, proven and its results kept; one that does not is void, and canceled."""
    for fault, expected in (("drop_after_accept", (20, 0)), ("drop", (0, 20))):
        async with new_world(tmp_path / f"{fault}.db") as world:
            job = await world.submit(20)
            world.script("create", fault)
            await world.tick("plan", "submit")
            await world.commands.cancel(job.id)
            assert await canceled(world, job) == expected
            assert world.creates == 1


@in_a_loop
async def test_cancel_while_a_batch_is_being_sent_cancels_it_at_the_api(tmp_path: Path) -> None:
    """T46: a clear yes that comes after the cancel is followed by a cancel of the batch."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        await world.tick("plan")
        (batch,) = await world.store.submit.sendable(1)
        page = await world.provider.page(after_id=None, limit=1)
        sent = await world.store.submit.intend(batch, None, page.meta, world.clock.now())
        assert sent is not None
        await world.commands.cancel(job.id)
        (remote,) = (world.machine.add_foreign(20),)
        shown = await world.provider.retrieve(remote[0])
        assert await world.store.submit.accept(sent, shown, page.meta, world.clock.now())
        world.machine._by_id[remote[0]].work_ends_at += timedelta(hours=2)
        await world.tick("poll")
        assert await world.states(job.id) == ["canceling"]
        assert world.machine.calls["cancel"] == 1


@pytest.mark.parametrize("fault", ["404", "401", "409", "500", "429", "drop"])
@in_a_loop
async def test_a_cancel_that_the_api_did_not_take_is_asked_again(tmp_path: Path, fault: str) -> None:
    """T46: a lost cancel would let a batch run on at the user's cost; a 404 is not proof of absence."""
    machine = MachineSettings(batch_seconds=(36_000, 36_001))
    async with new_world(tmp_path / "store.db", machine=machine) as world:
        job = await world.submit(20)
        await world.tick("plan", "submit")
        await world.commands.cancel(job.id)
        world.script("cancel", fault, 3)
        await canceled(world, job)
        (remote,) = world.machine.list().data
        assert remote.cancel_initiated_at is not None
        assert world.machine.calls["cancel"] <= 5


@in_a_loop
async def test_a_cancel_survives_a_crash(tmp_path: Path) -> None:
    """What was commanded is stored: the next life asks the API and cancels what is queued."""
    machine = MachineSettings(batch_seconds=(36_000, 36_001))
    async with new_world(tmp_path / "store.db", machine=machine, max_requests=10, max_in_flight_batches=1) as world:
        job = await world.submit(30)
        await world.tick("plan", "submit")
        await world.commands.cancel(job.id)
        async with next_life(world) as second:
            await canceled(second, job)
            assert second.machine.calls["cancel"] == 1


@in_a_loop
async def test_retry_queues_only_the_errors_of_one_type(tmp_path: Path) -> None:
    """`retry --only TYPE`: the others keep their last word, succeeded requests are never touched."""
    async with new_world(tmp_path / "store.db", max_attempts=1) as world:
        params = [message(f"m{i}", **({"max_tokens": 10**7} if i == 3 else {})) for i in range(1, 21)]
        world.machine.plan.set({"overloaded": 0.4})
        job = await world.submit(params=params)
        await world.settle()
        before = (await world.status(job.id)).job.requests
        assert before.failed > 2
        world.machine.plan.set({})
        assert await world.commands.retry(job.id, ("overloaded_error",)) == before.failed - 1
        await world.settle()
        after = (await world.status(job.id)).job.requests
        assert (after.succeeded, after.failed) == (19, 1)
        assert await world.commands.retry(job.id, ("overloaded_error",)) == 0
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_retry_of_a_canceled_job_goes_on_with_what_was_dropped(tmp_path: Path) -> None:
    """`retry --only canceled`."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(20)
        await world.commands.cancel(job.id)
        await world.settle()
        assert await world.commands.retry(job.id, ("canceled",)) == 20
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 20


async def made_elsewhere(world: World) -> str:
    """A batch that another program made of requests r1…r5, with the users' own ids."""
    params = '{"model":"claude-haiku-4-5","max_tokens":9,"messages":[]}'
    items = [f'{{"custom_id":"r{i}","params":{params}}}' for i in range(1, 6)]
    return world.machine.create(('{"requests":[' + ",".join(items) + "]}").encode()).id


@in_a_loop
async def test_a_batch_made_elsewhere_is_adopted_and_collected_by_the_users_own_ids(tmp_path: Path) -> None:
    """`batches adopt ID INPUT`: its results come into the job, nothing is sent."""
    async with new_world(tmp_path / "store.db") as world:
        remote = await made_elsewhere(world)
        job = await world.submit(5)
        assert "watched" in await world.commands.adopt(remote, job.id)
        await world.settle()
        counts = (await world.status(job.id)).job.requests
        assert counts.succeeded + counts.failed == 5
        assert world.machine.batches_created == 1
        assert (await world.status(job.id)).job.state == "finished"


@in_a_loop
async def test_a_batch_of_another_size_or_a_job_on_its_way_is_not_adopted(tmp_path: Path) -> None:
    """The file must hold exactly the requests of the batch, and the job be new."""
    async with new_world(tmp_path / "store.db") as world:
        remote = await made_elsewhere(world)
        other = await world.submit(6)
        with pytest.raises(GuardRefused):
            await world.commands.adopt(remote, other.id)
        sent = await world.submit(5, name="sent")
        await world.tick("plan", "submit")
        with pytest.raises(GuardRefused):
            await world.commands.adopt(remote, sent.id)


@in_a_loop
async def test_what_the_api_does_not_show_or_nobody_doubts_is_not_adopted(tmp_path: Path) -> None:
    """No such thing: exit 4, nothing is changed."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(5)
        with pytest.raises(NoSuchThing):
            await world.commands.adopt("msgbatch_nobody", job.id)
        with pytest.raises(NoSuchThing):
            await world.commands.adopt("msgbatch_nobody", None)
        with pytest.raises(NoSuchThing):
            await world.commands.disown("msgbatch_nobody")
