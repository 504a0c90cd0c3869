"""Notices to other programs: each is written down with its event, and carried at least once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.receiver import Got, Receiver, receiving
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.domain.notices import PAUSES, DeliveryState, EndpointSpec
from orchestrator.sandbox import MachineSettings
from orchestrator.webhooks.courier import HttpCourier, SigningSecret, Target

SECRET = SigningSecret(b"s" * 32)


def with_courier(*receivers: Receiver) -> dict[str, Any]:
    targets = {receiver.url: Target(secret=SECRET, allow_private=True) for receiver in receivers}
    return {"wrap": lambda context: replace(context, courier=HttpCourier(targets))}


async def mirror(world: World, *specs: EndpointSpec) -> None:
    await world.store.notices.mirror(specs, world.clock.now())


async def states(world: World) -> list[tuple[str, str, int]]:
    """(type, state, tries) of every notice, the oldest first."""
    found = await world.store.read(lambda reads: reads.deliveries(limit=1000))
    return [(delivery.type, delivery.state.value, delivery.tries) for delivery in reversed(found)]


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(got.body) for got in receiver.got]


async def finish(world: World) -> None:
    for _ in range(60):
        await world.round()
        world.advance(timedelta(seconds=30))


@in_a_loop
async def test_a_finished_job_is_told_once_with_its_counts(tmp_path: Path) -> None:
    """Ids and counts as of the moment; no prompt, no answer, no name."""
    async with (
        receiving() as receiver,
        new_world(tmp_path / "store.db", **with_courier(receiver)) as world,
    ):
        await mirror(world, EndpointSpec(url=receiver.url))
        job = await world.submit(3, name="a name")
        await finish(world)
        assert await states(world) == [("job.finished", "delivered", 1)]
        (notice,) = told(receiver)
        counts = {"total": 3, "queued": 0, "batched": 0, "succeeded": 3, "failed": 0, "canceled": 0}
        assert notice["type"] == "job.finished"
        assert notice["data"]["job"] == {
            "id": job.public_id,
            "state": "finished",
            "requests": counts,
            "stop_reasons": {"end_turn": 3},
            "cost": {"currency": "USD", "spent": "0.000076500", "unpriced": 0},
        }
        assert notice["data"]["batch"] is None
        assert set(notice) == {"type", "timestamp", "data"}
        assert set(notice["data"]) == {"event", "reason", "job", "batch"}


@in_a_loop
async def test_an_endpoint_is_told_what_it_asked_for(tmp_path: Path) -> None:
    """Two endpoints, two choices; nobody is told of a step that no type stands for."""
    async with (
        receiving() as ends,
        receiving() as doubts,
        new_world(tmp_path / "store.db", **with_courier(ends, doubts)) as world,
    ):
        wanted = (EndpointSpec(url=ends.url, events=("job.finished", "job.canceled")),)
        await mirror(world, *wanted, EndpointSpec(url=doubts.url, events=("batch.in_doubt",)))
        world.script("create", "drop_after_accept")
        await world.submit(3)
        await finish(world)
        assert [notice["type"] for notice in told(ends)] == ["job.finished"]
        (doubt,) = told(doubts)
        assert doubt["type"] == "batch.in_doubt"
        assert doubt["data"]["batch"]["state"] == "in_doubt"
        assert doubt["data"]["batch"]["requests"] == 3


@in_a_loop
async def test_a_batch_that_expired_is_told(tmp_path: Path) -> None:
    """With how many requests; they are sent again, and the job goes on."""
    machine = MachineSettings(batch_seconds=(60, 600))
    async with (
        receiving() as receiver,
        new_world(tmp_path / "store.db", machine=machine, **with_courier(receiver)) as world,
    ):
        await mirror(world, EndpointSpec(url=receiver.url, events=("batch.expired",)))
        world.machine.plan.set({"expire": 1.0})
        await world.submit(3)
        await finish(world)
        assert [notice["data"]["batch"]["expired"] for notice in told(receiver)][:1] == [3]


@in_a_loop
async def test_a_person_is_called_when_only_a_person_can_help(tmp_path: Path) -> None:
    """A pause for the account's sake is told; one that a person asked for is not."""
    async with (
        receiving() as receiver,
        new_world(tmp_path / "store.db", **with_courier(receiver)) as world,
    ):
        await mirror(world, EndpointSpec(url=receiver.url))
        job = await world.submit(3)
        assert await world.commands.pause(job.id)
        await world.tick("notify")
        assert receiver.got == []
        assert await world.commands.resume(job.id)
        await world.store.commands.pause(job.id, "billing", "the credit is used up", world.clock.now())
        await world.tick("notify")
        (notice,) = told(receiver)
        assert (notice["type"], notice["data"]["reason"]) == ("job.attention", "billing")
        assert "credit" not in receiver.got[0].body.decode()


@in_a_loop
async def test_a_notice_that_fails_is_sent_again_less_and_less_often_and_then_given_up(tmp_path: Path) -> None:
    """5 s, 30 s, 2 m, 10 m, 1 h, 6 h, 24 h, all with one id; then it waits for a person, who may replay it."""
    async with (
        receiving(500) as receiver,
        new_world(tmp_path / "store.db", **with_courier(receiver)) as world,
    ):
        await mirror(world, EndpointSpec(url=receiver.url))
        (number,) = await world.commands.test_notice(None)
        await world.tick("notify")
        for done, pause in enumerate(PAUSES, start=1):
            world.advance(pause * 0.99)
            await world.tick("notify")
            assert len(receiver.got) == done
            world.advance(pause * 0.12)
            await world.tick("notify")
        assert await states(world) == [("webhook.test", "failed", 8)]
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
        delivery = await world.store.read(lambda reads: reads.delivery(number))
        assert (delivery.last_status, delivery.last_error) == (500, "500 words")
        receiver.answers[:] = [204]
        await world.commands.replay_notice(number)
        await world.tick("notify")
        assert await states(world) == [("webhook.test", "delivered", 1)]
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


@in_a_loop
async def test_a_kill_between_sending_and_noting_sends_again_with_the_same_id(tmp_path: Path) -> None:
    """At least once: whoever receives it twice can tell by its id."""
    async with receiving() as receiver:
        async with new_world(tmp_path / "store.db", **with_courier(receiver)) as world:
            await mirror(world, EndpointSpec(url=receiver.url))
            await world.commands.test_notice(receiver.url)
            tick = asyncio.ensure_future(world.tick("notify"))

            def kill(_: Got) -> None:
                tick.cancel()

            receiver.heard = kill
            with pytest.raises(asyncio.CancelledError):
                await tick
            assert await states(world) == [("webhook.test", "waiting", 0)]
            receiver.heard = lambda _: None
            async with next_life(world, **with_courier(receiver)) as again:
                await again.tick("notify")
                assert await states(again) == [("webhook.test", "delivered", 1)]
        assert len(receiver.got) == 2
        assert len({(got.headers["webhook-id"], got.body) for got in receiver.got}) == 1


@in_a_loop
async def test_an_endpoint_that_is_gone_is_not_asked_again(tmp_path: Path) -> None:
    """By its own word (410), or because the settings do not name it any more."""
    async with (
        receiving(410) as receiver,
        new_world(tmp_path / "store.db", **with_courier(receiver)) as world,
    ):
        await mirror(world, EndpointSpec(url=receiver.url))
        await world.commands.test_notice(None)
        await world.tick("notify")
        assert await states(world) == [("webhook.test", "failed", 1)]
        await world.commands.test_notice(None)
        await mirror(world)
        assert [state for _, state, _ in await states(world)] == ["failed", "failed"]
        job = await world.submit(1)
        await world.commands.cancel(job.id)
        assert len(await states(world)) == 2


@in_a_loop
async def test_a_dead_endpoint_does_not_hold_the_others_up(tmp_path: Path) -> None:
    """They are carried side by side."""
    async with (
        receiving(None) as dead,
        receiving() as alive,
        new_world(tmp_path / "store.db", **with_courier(dead, alive)) as world,
    ):
        await mirror(world, EndpointSpec(url=dead.url), EndpointSpec(url=alive.url))
        await world.commands.test_notice(None)
        tick = asyncio.ensure_future(world.tick("notify"))
        async with asyncio.timeout(5):
            while not alive.got or [s for _, s, _ in await states(world)] != ["waiting", "delivered"]:  # noqa: ASYNC110 - a database sets no Event
                await asyncio.sleep(0.01)
        tick.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tick


@in_a_loop
async def test_what_waits_for_a_dead_endpoint_leaves_the_others_their_turn(tmp_path: Path) -> None:
    """However much it is: a few of each endpoint go out together."""
    async with (
        receiving(503) as dead,
        receiving() as alive,
        new_world(tmp_path / "store.db", **with_courier(dead, alive)) as world,
    ):
        await mirror(world, EndpointSpec(url=dead.url), EndpointSpec(url=alive.url))
        for _ in range(30):
            await world.commands.test_notice(dead.url)
        await world.commands.test_notice(alive.url)
        await world.tick("notify")
        assert (len(dead.got), len(alive.got)) == (4, 1)
        for _ in range(10):
            await world.tick("notify")
        assert len(dead.got) == 30


@in_a_loop
async def test_what_is_over_is_forgotten_after_thirty_days(tmp_path: Path) -> None:
    """What waits stays."""
    async with (
        receiving(200, 500) as receiver,
        new_world(tmp_path / "store.db", **with_courier(receiver)) as world,
    ):
        await mirror(world, EndpointSpec(url=receiver.url))
        await world.commands.test_notice(None)
        await world.tick("notify")
        world.advance(timedelta(days=31))
        await world.commands.test_notice(None)
        await world.tick("notify")
        assert [state for _, state, _ in await states(world)] == ["waiting"]
        counts = await world.store.read(lambda reads: reads.delivery_counts())
        assert counts == {DeliveryState.WAITING: 1, DeliveryState.DELIVERED: 0, DeliveryState.FAILED: 0}


@in_a_loop
async def test_who_holds_the_stage_says_which_endpoints_there_are(tmp_path: Path) -> None:
    """Daemons that start beside it change nothing; whoever takes the stage over has the last word, once."""
    async with receiving() as receiver, new_world(tmp_path / "store.db", **with_courier(receiver)) as world:
        other = world.beside()
        for one, events in ((world, ("job.finished",)), (other, ("job.paused",))):
            one.context.courier = world.context.courier
            one.context.endpoints = [EndpointSpec(url=receiver.url, events=events)]
            one.wire(one.context)

        async def asked() -> list[tuple[str, ...]]:
            return [known.events for known in await world.store.read(lambda reads: reads.endpoints())]

        assert await asked() == []
        await world.tick("notify")
        assert await asked() == [("job.finished",)]
        await other.tick("notify")
        assert await asked() == [("job.paused",)]
        await world.tick("notify")
        assert await asked() == [("job.paused",)]
