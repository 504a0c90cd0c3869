"""What time does to a batch: cancel, 24 hours, 29 days; all by moving the clock."""

from collections import Counter
from datetime import timedelta

import pytest
from sandbox.sandbox_world import HOUR, START, World, body

from orchestrator.sandbox import ApiError, ScaledClock

SECOND = timedelta(seconds=1)


def test_cancel_keeps_what_was_done_and_takes_some_seconds() -> None:
    """Partial results are normal after a cancel."""
    world = World(batch_seconds=(200, 200))
    batch = world.machine.create(body(400))
    world.advance(100 * SECOND)
    canceling = world.machine.cancel(batch.id)
    assert (canceling.processing_status, canceling.request_counts.processing) == ("canceling", 400)
    assert canceling.cancel_initiated_at == world.at
    again = world.machine.cancel(batch.id)
    assert again.cancel_initiated_at == canceling.cancel_initiated_at
    world.advance(24 * SECOND)
    assert world.machine.retrieve(batch.id).processing_status == "canceling"
    world.advance(1 * SECOND)
    ended = world.machine.retrieve(batch.id)
    outcomes = Counter(world.outcomes(batch.id).values())
    assert ended.processing_status == "ended"
    assert outcomes == {"succeeded": ended.request_counts.succeeded, "canceled": ended.request_counts.canceled}
    assert 150 < outcomes["canceled"] < 250


def test_cancel_at_the_last_moment_may_cancel_nothing() -> None:
    """A cancel races with the end; the end may win."""
    world = World(batch_seconds=(200, 200))
    batch = world.machine.create(body(10))
    world.advance(199.9 * SECOND)
    world.machine.cancel(batch.id)
    world.advance(SECOND)
    assert world.machine.retrieve(batch.id).request_counts.canceled == 0


def test_cancel_of_an_ended_batch_is_a_setting() -> None:
    """What the API does is not documented: both answers can be had."""
    for refuse in (False, True):
        world = World(instant=True, refuse_late_cancel=refuse)
        batch = world.machine.create(body(1))
        if refuse:
            with pytest.raises(ApiError) as refused:
                world.machine.cancel(batch.id)
            assert refused.value.status == 400
        else:
            assert world.machine.cancel(batch.id).processing_status == "ended"
        assert world.outcomes(batch.id) == {"r-0": "succeeded"}


def test_after_24_hours_the_unfinished_rows_have_expired() -> None:
    """Finished rows are kept."""
    world = World(batch_seconds=(48 * 3600, 48 * 3600))
    batch = world.machine.create(body(400))
    world.advance(24 * HOUR - SECOND)
    assert world.machine.retrieve(batch.id).processing_status == "in_progress"
    world.advance(SECOND)
    ended = world.machine.retrieve(batch.id)
    outcomes = Counter(world.outcomes(batch.id).values())
    assert ended.ended_at == ended.expires_at == START + 24 * HOUR
    assert outcomes == {"succeeded": ended.request_counts.succeeded, "expired": ended.request_counts.expired}
    assert 150 < outcomes["expired"] < 250


def test_a_batch_may_be_stuck_past_its_expiry() -> None:
    """`expires_at` is a promise that the API may break: nothing is final before `ended`."""
    world = World(batch_seconds=(48 * 3600, 48 * 3600), overrun_hours=3)
    batch = world.machine.create(body(40))
    world.advance(26 * HOUR)
    assert world.machine.retrieve(batch.id).processing_status == "in_progress"
    world.advance(HOUR)
    assert world.machine.retrieve(batch.id).request_counts.expired > 0


def test_results_are_gone_29_days_after_the_creation() -> None:
    """Counted from `created_at`; the batch itself stays to be seen."""
    world = World()
    batch = world.machine.create(body(3))
    world.advance(timedelta(days=29) - SECOND)
    assert world.machine.retrieve(batch.id).results_url is not None
    world.advance(SECOND)
    seen = world.machine.retrieve(batch.id)
    assert (seen.results_url, seen.archived_at) == (None, START + timedelta(days=29))
    assert seen.request_counts.succeeded == 3
    with pytest.raises(ApiError, match="has no available results"):
        world.machine.results(batch.id)


def test_live_counts_are_a_setting() -> None:
    """Captures hint at counts that fill while a batch runs."""
    world = World(batch_seconds=(200, 200), live_counts=True)
    batch = world.machine.create(body(400))
    world.advance(100 * SECOND)
    counts = world.machine.retrieve(batch.id).request_counts
    assert counts.processing + counts.succeeded == 400
    assert 150 < counts.succeeded < 250


def test_the_clock_runs_at_its_speed_and_never_back() -> None:
    """An hour in ten seconds, and steps forward on request."""
    real = 0.0
    clock = ScaledClock(360, start=START, monotonic=lambda: real)
    real = 10.0
    assert clock.now() == START + HOUR
    assert clock.advance(HOUR) == START + 2 * HOUR
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-HOUR)
