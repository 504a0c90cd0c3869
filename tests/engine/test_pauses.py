"""Promise 6: a person is asked when only a person can help; nothing is failed, and what is in flight is collected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.engine.probe import ProbeStage
from orchestrator.sandbox import MachineSettings

MINUTE = timedelta(minutes=1)
TROUBLES = [
    ("401", "credentials", "ANTHROPIC_API_KEY"),
    ("402", "billing", "credit"),
    ("403", "permission", "access"),
    ("spend", "spend_limit", "spend limit"),
    ("credit", "billing", "credit"),
    ("404", "endpoint", "ANTHROPIC_BASE_URL"),
]
TWO_KEYS = MachineSettings(batch_seconds=(60, 600), valid_keys={"ours": "wrkspc_a", "theirs": "wrkspc_b"})


@pytest.mark.parametrize(("fault", "code", "remedy"), TROUBLES)
@in_a_loop
async def test_account_trouble_at_a_create_pauses_and_collects_what_is_in_flight(
    tmp_path: Path, fault: str, code: str, remedy: str
) -> None:
    """Promise 6: the job pauses with the reason and the remedy; a resume goes on with what is left."""
    async with new_world(tmp_path / "store.db", max_requests=10, max_uploads=1) as world:
        job = await world.submit(20)
        world.script("create", "ok")
        world.script("create", fault)
        await world.tick("plan", "submit")
        status = await world.status(job.id)
        assert (status.job.state, status.job.reason_code) == ("paused", code)
        assert remedy in str(status.job.reason)
        assert await world.states(job.id) == ["in_progress", "planned"]
        await world.until_collected(job.id)
        status = await world.status(job.id)
        assert (status.job.state, status.job.requests.succeeded, status.job.requests.failed) == ("paused", 10, 0)
        assert world.creates == 2
        await world.commands.resume(job.id)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 20
        assert (world.creates, world.machine.batches_created) == (3, 2)


@pytest.mark.parametrize("stage", ["poll", "collect", "doubt", "submit"])
@in_a_loop
async def test_a_key_that_is_refused_at_any_read_pauses_the_job(tmp_path: Path, stage: str) -> None:
    """Promise 6: whichever stage meets it, a person is told; nothing is voided, failed or sent."""
    async with new_world(tmp_path / "store.db", machine=TWO_KEYS, key="ours") as world:
        job = await world.submit(10)
        await world.tick("plan")
        if stage == "doubt":
            world.script("create", "drop_after_accept")
        if stage != "submit":
            await world.tick("submit")
        world.advance(20 * MINUTE)
        if stage == "collect":
            await world.tick("poll")
        before = await world.states(job.id)
        async with next_life(world, key="revoked") as second:
            for _ in range(5):
                await second.tick(stage)
                second.advance(10 * MINUTE)
            status = await second.status(job.id)
            assert (status.job.state, status.job.reason_code) == ("paused", "credentials")
            assert await second.states(job.id) == before
            async with next_life(second, key="ours") as third:
                await third.commands.resume(job.id)
                await third.settle()
                assert (await third.status(job.id)).job.requests.succeeded == 10
                assert set(third.bought().values()) == {1}


@pytest.mark.parametrize("stage", ["poll", "collect", "doubt", "submit"])
@in_a_loop
async def test_another_accounts_key_pauses_the_job_and_says_which_is_needed(tmp_path: Path, stage: str) -> None:
    """Another account's list proves nothing about our batches: nothing is voided, nothing is sent with its key."""
    async with new_world(tmp_path / "store.db", machine=TWO_KEYS, key="ours", max_requests=10, max_uploads=1) as world:
        job = await world.submit(20)
        if stage == "doubt":
            world.script("create", "drop_after_accept")
        world.script("create", "ok") if stage != "doubt" else None
        world.script("create", "529", 3)
        await world.tick("plan", "submit")
        if stage == "collect":
            world.advance(20 * MINUTE)
            await world.tick("poll")
        creates = world.creates
        async with next_life(world, key="theirs") as second:
            for _ in range(10):
                second.advance(10 * MINUTE)
                await second.tick(stage)
            status = await second.status(job.id)
            assert (status.job.state, status.job.reason_code) == ("paused", "other_account")
            assert "wrkspc_a" in str(status.job.reason)
            assert second.creates == creates
            assert "void" not in await second.states(job.id)
            second.machine.plan.script("create", "ok")
            async with next_life(second, key="ours") as third:
                await third.commands.resume(job.id)
                await third.settle()
                assert (await third.status(job.id)).job.requests.succeeded == 20
                assert set(third.bought().values()) == {1}


@pytest.mark.parametrize(("key", "code"), [("revoked", "credentials"), ("theirs", "other_account")])
@in_a_loop
async def test_a_job_being_canceled_says_why_it_does_not_end(tmp_path: Path, key: str, code: str) -> None:
    """It cannot be paused, but a person waits for it: attention says what is needed, and goes when it is there."""
    async with new_world(tmp_path / "store.db", machine=TWO_KEYS, key="ours") as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        await world.commands.cancel(job.id)
        async with next_life(world, key=key) as second:
            for _ in range(5):
                await second.tick("poll")
                second.advance(10 * MINUTE)
            assert await second.attention(job.id) == [code]
            assert (await second.status(job.id)).job.state == "canceling"
            async with next_life(second, key="ours") as third:
                await third.settle()
                assert (await third.status(job.id)).job.state == "canceled"
                assert await third.attention(job.id) == []


async def probing(world: World, span: timedelta) -> ProbeStage:
    """Tick a probe for a while."""
    probe = ProbeStage(world.context)
    for _ in range(int(span / MINUTE)):
        await probe.tick(world.clock.now())
        world.advance(MINUTE)
    return probe


@in_a_loop
async def test_a_daemon_goes_on_by_itself_once_the_account_works_again(tmp_path: Path) -> None:
    """Promise 6: `serve` asks every five minutes; a pause that is a person's own word is left alone."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10, name="blocked")
        world.script("create", "402")
        await world.tick("plan", "submit")
        mine = await world.submit(10, name="mine")
        await world.commands.pause(mine.id)
        world.machine.plan.set({"list.401": 1})
        await probing(world, 12 * MINUTE)
        assert 1 <= world.machine.calls["list"] - 1 <= 3
        assert (await world.status(job.id)).job.state == "paused"
        world.machine.plan.set({})
        await probing(world, 12 * MINUTE)
        assert (await world.status(job.id)).job.state == "running"
        assert (await world.status(mine.id)).job.state == "paused"


@in_a_loop
async def test_a_fresh_pause_waits_five_minutes_for_its_probe(tmp_path: Path) -> None:
    """Promise 6: a probe that was due long ago does not undo a pause in the moment it is made."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(10)
        world.script("create", "402", 2)
        await world.tick("plan", "submit")
        probe = await probing(world, 7 * MINUTE)
        assert (await world.status(job.id)).job.state == "running"
        await probe.tick(world.clock.now())
        world.advance(timedelta(hours=1))
        await world.tick("plan", "submit")
        await probe.tick(world.clock.now())
        assert (await world.status(job.id)).job.state == "paused"


@in_a_loop
async def test_a_paused_job_sends_nothing_and_still_collects(tmp_path: Path) -> None:
    """`pause` sends nothing new; what is in flight is collected; the job may even finish."""
    async with new_world(tmp_path / "store.db", max_requests=10) as world:
        job = await world.submit(20)
        await world.tick("plan", "submit")
        assert await world.commands.pause(job.id)
        assert not await world.commands.pause(job.id)
        await world.until("settled", job.id)
        await world.tick("settle")
        assert (await world.status(job.id)).job.state == "finished"
        assert not await world.commands.resume(job.id)


@in_a_loop
async def test_a_job_paused_while_its_batch_goes_out_keeps_what_the_answer_says(tmp_path: Path) -> None:
    """A pause that comes during the POST does not turn a clear answer into doubt; a clear no waits for the resume."""
    async with new_world(tmp_path / "store.db", max_requests=10) as world:
        job = await world.submit(20)
        await world.tick("plan")
        first, second = await world.store.submit.sendable(2)
        page = await world.provider.page(after_id=None, limit=1)
        one = await world.store.submit.intend(first, None, page.meta, world.clock.now())
        assert one is not None
        await world.commands.pause(job.id)
        assert await world.store.submit.intend(second, None, page.meta, world.clock.now()) is None
        assert await world.store.submit.give_back(one, "429", world.clock.now(), cut=False)
        await world.tick("submit")
        assert world.creates == 0
        await world.commands.resume(job.id)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 20
