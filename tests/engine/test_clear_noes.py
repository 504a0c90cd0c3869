"""Promise 2, the other half: a clear no is never doubt. The batch waits and goes out again under its nonce."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.world import in_a_loop, new_world, next_life

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("fault", ["refuse", "drop_mid", "429", "529"])
@in_a_loop
async def test_a_clear_no_is_sent_again_under_the_same_nonce(tmp_path: Path, fault: str) -> None:
    """Promise 2: no connection, a body cut before its end, 429, and 529 in the API's own words prove nothing exists."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        await world.tick("plan")
        (planned,) = await world.batches(job.id)
        world.script("create", fault)
        await world.tick("submit")
        assert await world.states(job.id) == ["planned"]
        await world.settle()
        (settled,) = await world.batches(job.id)
        assert (settled.state, settled.nonce) == ("settled", planned.nonce)
        assert (world.creates, world.machine.batches_created) == (2, 1)
        assert await world.intents() == 2


@in_a_loop
async def test_a_529_without_the_apis_own_words_is_doubt(tmp_path: Path) -> None:
    """Promise 2: a proxy's overload page proves nothing."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(5)
        world.script("create", "502")
        await world.tick("plan", "submit")
        assert await world.states(job.id) == ["in_doubt"]


@in_a_loop
async def test_retry_after_is_obeyed_and_survives_a_restart(tmp_path: Path) -> None:
    """Promise 5: a wait that the API asked for is stored, not slept."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.machine.plan.set({"retry_after": 600})
        world.script("create", "429")
        await world.tick("plan", "submit", "submit")
        assert world.creates == 1
        async with next_life(world) as second:
            second.advance(9 * MINUTE)
            await second.tick("submit")
            assert second.creates == 1
            second.advance(2 * MINUTE)  # its ten minutes, and up to a tenth of jitter
            await second.tick("submit")
            assert (second.creates, await second.states(job.id)) == (2, ["in_progress"])


@in_a_loop
async def test_noes_in_a_row_do_not_make_the_pauses_grow(tmp_path: Path) -> None:
    """Promise 5: a 429 says how long to wait, the eleventh as well as the first; our own doubling is for failures."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.machine.plan.set({"retry_after": 5})
        world.script("create", "429", 11)
        await world.tick("plan", "submit")
        for sent in range(2, 13):
            world.advance(timedelta(seconds=4.9))
            await world.tick("submit")
            assert world.creates == sent - 1
            world.advance(timedelta(seconds=0.7))
            await world.tick("submit")
            assert world.creates == sent
        assert await world.states(job.id) == ["in_progress"]


@in_a_loop
async def test_a_failure_after_noes_is_the_first_of_its_streak(tmp_path: Path) -> None:
    """Promise 5: what the API put off is no failure, so one lost answer afterwards costs a second, not minutes."""
    async with new_world(tmp_path / "store.db", max_uploads=1) as world:
        await world.submit(300)
        world.machine.plan.set({"retry_after": 1})
        world.script("create", "429", 8)
        world.script("create", "500")
        await world.tick("plan")
        for _ in range(9):
            await world.tick("submit")
            world.advance(timedelta(seconds=1.3))
        assert world.creates == 9
        await world.tick("submit")
        assert world.creates > 9


@in_a_loop
async def test_a_doubt_that_ends_as_ours_ends_the_streak(tmp_path: Path) -> None:
    """Promise 5: eleven lost answers were eleven batches; once they are found, nothing waits for a storm any more."""
    async with new_world(tmp_path / "store.db", max_uploads=1) as world:
        job = await world.submit(1200)
        world.script("create", "drop_after_accept", 11)
        await world.tick("plan")
        for _ in range(11):
            await world.tick("plan", "submit")
            world.advance(3 * MINUTE)
        gate = await world.store.gates.get("create")
        assert gate is not None
        assert (gate.tries, (await world.states(job.id)).count("in_doubt")) == (11, 11)
        world.advance(20 * MINUTE)
        await world.tick("doubt", "doubt", "submit")
        assert await world.store.gates.get("create") is None
        await world.settle()
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_doubt_that_ends_as_ours_does_not_shorten_what_the_api_asked_for(tmp_path: Path) -> None:
    """Promise 5: the streak is ours to forget, the API's own figure is not."""
    async with new_world(tmp_path / "store.db", max_uploads=1) as world:
        await world.submit(200)
        world.machine.plan.set({"retry_after": 7200})
        world.script("create", "drop_after_accept")
        world.script("create", "429")
        await world.tick("plan", "submit", "doubt")
        world.advance(3 * MINUTE)
        await world.tick("submit")
        assert world.creates == 2
        world.advance(30 * MINUTE)
        await world.tick("doubt", "doubt", "submit")
        assert world.creates == 2
        assert await world.store.gates.get("create") is None


@in_a_loop
async def test_a_gate_set_by_a_clock_that_was_set_back_since_is_open(tmp_path: Path) -> None:
    """Promise 2: our clock may be wrong by a day between two lives; the work does not wait for it."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "429")
        await world.tick("plan", "submit")
        world.advance(timedelta(hours=-24), api=timedelta(0))
        async with next_life(world) as second:
            await second.tick("submit")
            assert await second.states(job.id) == ["in_progress"]


@in_a_loop
async def test_after_a_failed_create_one_slot_probes_alone(tmp_path: Path) -> None:
    """A storm at the API must not put every batch in doubt at once (T40b)."""
    async with new_world(tmp_path / "store.db", max_uploads=4) as world:
        job = await world.submit(800)
        await world.tick("plan")
        world.machine.plan.set({"create.500": 1})
        await world.tick("submit")
        in_doubt = (await world.states(job.id)).count("in_doubt")
        assert in_doubt <= 4
        for _ in range(3):
            world.advance(3 * MINUTE)
            await world.tick("submit")
        assert (await world.states(job.id)).count("in_doubt") <= in_doubt + 3
        world.machine.plan.set({})
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 800
        assert set(world.bought().values()) == {1}


@in_a_loop
async def test_a_list_that_cannot_be_asked_sends_nothing(tmp_path: Path) -> None:
    """Promise 2: no cursor, no POST."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("list", "500", 3)
        await world.tick("plan", "submit")
        assert (world.creates, await world.states(job.id)) == (0, ["planned"])
        await world.settle()
        assert world.creates == 1


@in_a_loop
async def test_three_bodies_cut_in_a_row_count_as_too_large(tmp_path: Path) -> None:
    """Promise 2: the CDN refuses early and the client sees a reset; the third in a row halves the batch."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "drop_mid", 3)
        for _ in range(3):
            await world.tick("plan", "submit")
            world.advance(5 * MINUTE)
        assert (await world.states(job.id))[0] == "abandoned"
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 30
        assert world.machine.batches_created == 2


@in_a_loop
async def test_a_small_request_alone_outlives_a_flapping_network(tmp_path: Path) -> None:
    """Promise 1: three resets do not fail a request of a hundred bytes as too large; it is sent until it arrives."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(1)
        world.script("create", "drop_mid", 6)
        await world.settle(step=5 * MINUTE)
        assert (await world.status(job.id)).job.requests.succeeded == 1


@in_a_loop
async def test_a_request_alone_that_never_gets_through_fails_as_too_large_in_the_end(tmp_path: Path) -> None:
    """Promise 4: ten bodies in a row cut; nothing is tried for ever."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(1)
        world.script("create", "drop_mid", 10)
        await world.settle(step=5 * MINUTE)
        (line,) = await world.results(job.id)
        assert line["result"]["error"]["error"]["type"] == "request_too_large"  # type: ignore[index]


@in_a_loop
async def test_cuts_that_are_not_in_a_row_do_not_halve(tmp_path: Path) -> None:
    """Promise 2: three cuts in a row mean 413, not three in a life."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        for fault in ("drop_mid", "drop_mid", "refuse", "drop_mid", "drop_mid"):
            world.script("create", fault)
        await world.settle(step=5 * MINUTE)
        assert await world.states(job.id) == ["settled"]


@in_a_loop
async def test_an_early_413_halves_down_to_what_fits(tmp_path: Path) -> None:
    """Promise 4: a 413 narrows the batch down; what is too large alone fails, the others are answered."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(30)
        world.script("create", "early_413", 2)
        await world.settle(step=5 * MINUTE)
        assert (await world.status(job.id)).job.requests.succeeded == 30
        assert set(world.bought().values()) == {1}
