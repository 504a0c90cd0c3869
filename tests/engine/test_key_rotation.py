"""F6, N 1.7: another key in the key file is taken up while a daemon runs, and a blocked account is tried again soon."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.world import World, in_a_loop, new_world, next_life

from orchestrator.domain.account import probe_gate
from orchestrator.domain.errors import NeedsPerson
from orchestrator.domain.ids import JobId
from orchestrator.engine.probe import SELDOM, SOON, ProbeStage
from orchestrator.sandbox import MachineSettings

SECOND = timedelta(seconds=1)
#: Only these keys are taken; two accounts.
KEYS = MachineSettings(batch_seconds=(60, 600), valid_keys={"new": "wrkspc_a", "other": "wrkspc_b"})


def put(file: Path, key: str) -> Path:
    file.write_text(f"{key}\n")
    file.chmod(0o600)
    return file


async def state(world: World, job: JobId) -> tuple[str, str | None]:
    found = (await world.status(job)).job
    return found.state.value, found.reason_code


async def again_at(world: World, job: JobId) -> datetime | None:
    return (await world.status(job)).asked_again_at


async def asks(world: World, probe: ProbeStage, span: timedelta) -> list[int]:
    """At which seconds from now the probe asks the API."""
    found = []
    for second in range(int(span.total_seconds())):
        before = world.machine.calls["list"]
        await probe.tick(world.clock.now())
        if world.machine.calls["list"] != before:
            found.append(second)
        world.advance(SECOND)
    return found


@in_a_loop
async def test_a_key_that_was_refused_is_read_again_before_anybody_is_asked(tmp_path: Path) -> None:
    """F6: after a 401 the file is looked at; with another key in it the call is made again, and nothing pauses."""
    file = put(tmp_path / "key", "old")
    async with new_world(tmp_path / "store.db", machine=KEYS, key=file) as world:
        job = await world.submit(10)
        put(file, "new")
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_create_that_meets_the_old_key_is_sent_again_with_the_new_one(tmp_path: Path) -> None:
    """F6: a 401 is a clear no, so the batch goes back and out again; the job never pauses."""
    file = put(tmp_path / "key", "new")
    async with new_world(tmp_path / "store.db", machine=KEYS, key=file) as world:
        job = await world.submit(10)
        world.script("create", "401")
        put(file, "other")
        await world.tick("plan", "submit")
        assert await state(world, job.id) == ("running", None)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_resume_takes_the_key_that_is_in_the_file_now(tmp_path: Path) -> None:
    """F6: also where the old key is not refused, but is of the wrong account."""
    file = put(tmp_path / "key", "new")
    async with new_world(tmp_path / "store.db", machine=KEYS, key=file) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        put(file, "other")
        async with next_life(world, key=file) as second:
            second.advance(timedelta(minutes=20))
            await second.tick("poll")
            assert await state(second, job.id) == ("paused", "other_account")
            put(file, "new")
            assert await second.commands.resume(job.id)
            await second.settle()
            assert (await second.status(job.id)).job.requests.succeeded == 10


@pytest.mark.parametrize("broken", ["", "two words", None])
@in_a_loop
async def test_a_file_that_cannot_be_used_leaves_the_key_as_it_is(tmp_path: Path, broken: str | None) -> None:
    """F6: a file that is being written, or gone, does not stop what works."""
    file = put(tmp_path / "key", "new")
    async with new_world(tmp_path / "store.db", machine=KEYS, key=file) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        await world.commands.pause(job.id)
        file.unlink() if broken is None else put(file, broken)
        assert await world.commands.resume(job.id)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10


def others_can_read_it(file: Path) -> None:
    file.chmod(0o644)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "others can read it": (others_can_read_it, "others may read"),
    "a pipe": (a_pipe, "cannot be read"),
    "two lines": (lambda file: put(file, "one\ntwo"), "key"),
    "empty": (lambda file: put(file, ""), "key"),
    "gone": (Path.unlink, "cannot be read"),
}


@pytest.mark.parametrize("how", SPOILT)
@in_a_loop
async def test_a_job_that_needs_another_key_says_why_it_does_not_go_on(tmp_path: Path, how: str) -> None:
    """F6: `resume` said "goes on", and the reason was in the daemon's log alone."""
    spoil, words = SPOILT[how]
    file = put(tmp_path / "key", "old")
    async with new_world(tmp_path / "store.db", machine=KEYS, key=file) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        assert await state(world, job.id) == ("paused", "credentials")
        spoil(file)
        with pytest.raises(NeedsPerson, match="stays paused") as caught:
            await world.commands.resume(job.id)
        assert words in caught.value.message
        assert str(file) in f"{caught.value.message} {caught.value.hint}"
        assert await state(world, job.id) == ("paused", "credentials")
        file.unlink(missing_ok=True)
        put(file, "new")
        assert await world.commands.resume(job.id)
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 10


@in_a_loop
async def test_a_blocked_key_is_tried_again_after_seconds_then_more_and_more_seldom(tmp_path: Path) -> None:
    """F6: at first every few seconds, at last every five minutes; `status` says when."""
    file = put(tmp_path / "key", "old")
    async with new_world(tmp_path / "store.db", machine=KEYS, key=file) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        assert await state(world, job.id) == ("paused", "credentials")
        assert await again_at(world, job.id) is None
        probe = ProbeStage(world.context)
        await probe.tick(world.clock.now())
        assert await again_at(world, job.id) == world.clock.now() + SOON
        at = await asks(world, probe, timedelta(minutes=30))
        pauses = [later - earlier for earlier, later in zip([0, *at], at, strict=False)]
        assert pauses[:6] == [5, 10, 20, 40, 80, 160]
        assert set(pauses[6:]) == {300}
        put(file, "new")
        await asks(world, probe, SELDOM)
        assert await state(world, job.id) == ("running", None)
        assert await again_at(world, job.id) is None
        assert probe_gate("credentials") not in await gates(world)


async def gates(world: World) -> list[str]:
    return [gate.name for gate in await world.store.read(lambda reads: reads.gates())]


@in_a_loop
async def test_a_daemon_that_starts_with_a_new_key_goes_on_within_seconds(tmp_path: Path) -> None:
    """N 1.7: whatever the pause of its predecessor had grown to."""
    async with new_world(tmp_path / "store.db", machine=KEYS, key="old") as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        await asks(world, ProbeStage(world.context), timedelta(minutes=20))
        async with next_life(world, key="new") as second:
            await asks(second, ProbeStage(second.context), SOON + SECOND)
            assert await state(second, job.id) == ("running", None)


@in_a_loop
async def test_settings_that_are_read_again_let_the_account_be_tried_at_once(tmp_path: Path) -> None:
    """F6, N 1.7: SIGHUP is how a person says that something changed."""
    async with new_world(tmp_path / "store.db", machine=KEYS, key=put(tmp_path / "key", "old")) as world:
        job = await world.submit(10)
        await world.tick("plan", "submit")
        probe = ProbeStage(world.context)
        await asks(world, probe, timedelta(minutes=20))
        put(tmp_path / "key", "new")
        world.commands.retune(world.context.settings)
        await probe.tick(world.clock.now())
        assert await state(world, job.id) == ("running", None)


@in_a_loop
async def test_a_trouble_that_comes_back_at_once_is_not_tried_every_few_seconds(tmp_path: Path) -> None:
    """F6: a key that may read and not send pauses its job after every try; each is an event and a notice."""
    async with new_world(tmp_path / "store.db") as world:
        await world.submit(10)
        world.machine.plan.set({"create.401": 1})
        probe = ProbeStage(world.context)
        tries = 0
        for _ in range(30 * 60):
            await world.tick("plan", "submit")
            tries += await probe.tick(world.clock.now())
            world.advance(SECOND)
        assert 6 <= tries <= 12
