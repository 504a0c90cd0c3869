"""An API that does all kinds of things with a POST, and keys that stop working: the real command, the API's books."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from proof.scene import Audit, Scene, Size
from support.processes import Stats, running_api

from orchestrator.sandbox.sandbox_settings import DEFAULT_WORKSPACE

#: What becomes of a POST, each with its probability; the rest is accepted and answered.
MIX = {
    "create.drop_after_accept": 0.15,
    "create.error_after_accept": 0.1,
    "create.garbled_after_accept": 0.05,
    "create.hang_after_accept": 0.1,
    "create.refuse": 0.1,
    "create.drop": 0.05,
    "create.500": 0.05,
}
SEEDS = (5, 7, 8)
SIZE = Size(requests=240, per_batch=40, rejections=0)
HANGS: dict[str, str] = {"API__TIMEOUT": "3s"}


@contextmanager
def scene(
    size: Size, *, seed: int = 0, settings: dict[str, str] | None = None, hours: tuple[int, int] = (1, 4)
) -> Iterator[Scene]:
    """Requests and an API; batches take so many hours of its time, which are seconds here."""
    folder = Path(tempfile.mkdtemp(prefix="o-"))  # short: a unix socket lies in it
    try:
        with running_api(speed=3600, batch_seconds=[3600 * each for each in hours], seed=seed) as api:
            yield Scene(folder, api, size, {} if settings is None else settings, "say {}".format)
    finally:
        shutil.rmtree(folder)


def all_is_right(played: Scene) -> None:
    """Every request accepted once, billed once, answered rightly, in its place; no batch too many."""
    size = played.size
    assert played.audit(None) == Audit(
        accepted=size.requests,
        outcomes={"succeeded": size.requests},
        billed_twice=0,
        lost=0,
        wrong=0,
        in_order=True,
        lines={"succeeded": size.requests},
    )
    assert played.api.stats().batches_created == size.batches


def play_mixed(seed: int) -> set[str]:
    """One world of mixed answers; the faults that struck."""
    with scene(SIZE, seed=seed, settings=HANGS) as mixed:
        mixed.api.order("faults", faults=MIX)
        mixed.run()
        assert mixed.exits == [0]
        all_is_right(mixed)
        return set(mixed.api.stats().faults_met)


@cache
def mixed_worlds() -> dict[int, set[str]]:
    """They wait most of the time: side by side."""
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        return dict(zip(SEEDS, pool.map(play_mixed, SEEDS), strict=True))


@pytest.mark.long
def test_whatever_becomes_of_the_posts_there_are_as_many_batches_as_there_should_be() -> None:
    """Promises 1 and 2: accepted and dropped, answered with 500, garbled, hanging, refused, in any mix; all met."""
    assert set.union(*mixed_worlds().values()) == set(MIX)


# --- keys -------------------------------------------------------------------------------------------------------------

#: Two batches at a time, so that others still wait when the key stops working.
TWO_AT_A_TIME = {"LIMITS__MAX_IN_FLIGHT_BATCHES": "2", "LIMITS__MAX_UPLOADS": "1"}
FOUR = Size(requests=160, per_batch=40, rejections=0)


def two_are_made(stats: Stats) -> bool:
    return bool(stats.batches_created == 2)


def a_person_was_asked(played: Scene, said: str, code: str, remedy: str) -> None:
    """The job is paused and says what to do; nothing is failed, no attempt is burnt."""
    assert remedy in said
    status = played.status()
    assert (status["state"], status["reason_code"]) == ("paused", code)
    assert (status["requests"]["failed"], status["requests"]["canceled"]) == (0, 0)
    assert played.burnt() == (0, 0)


@pytest.mark.long
def test_a_key_that_is_withdrawn_in_the_middle_of_a_run_costs_nothing() -> None:
    """Promise 6: exit 3 with the remedy; the same again as long as the key is bad; with a right one it goes on."""
    with scene(FOUR, settings=TWO_AT_A_TIME, hours=(2, 2)) as played:
        said = played.run_until(two_are_made, lambda: played.api.order("keys", keys={"new": DEFAULT_WORKSPACE}))
        a_person_was_asked(played, said, "credentials", "set a valid ANTHROPIC_API_KEY")
        a_person_was_asked(played, played.run(), "credentials", "set a valid ANTHROPIC_API_KEY")
        assert played.api.stats().batches_created == 2
        played.env["ANTHROPIC_API_KEY"] = "new"
        played.run()
        assert played.exits == [3, 3, 0]
        all_is_right(played)


@pytest.mark.long
def test_a_key_that_may_only_read_still_collects_what_is_in_flight() -> None:
    """Promise 6: what is at the API already is paid for, so it is fetched before the person is called."""
    with scene(FOUR, settings=TWO_AT_A_TIME, hours=(2, 2)) as played:
        said = played.run_until(two_are_made, lambda: played.api.order("faults", faults={"create.403": 1}))
        a_person_was_asked(played, said, "permission", "give the key access to this workspace")
        assert played.status()["requests"]["succeeded"] == 2 * FOUR.per_batch
        played.api.order("faults", faults={})
        played.run()
        assert played.exits == [3, 0]
        all_is_right(played)
